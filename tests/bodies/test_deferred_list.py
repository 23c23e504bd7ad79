"""application/vnd.oma.im.deferred-list+xml."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import binary, builds, characters, floats, integers, lists, text
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.deferred_list import (
    ENTRIES,
    NAMESPACE,
    BadDeferredList,
    Waiting,
    parse_deferred_list,
    write_deferred_list,
)
from omaim.errors import PeerError

words = text(
    characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Z", "Cn", "Co")), max_size=8
)
moments = floats(1, 4e9).map(int).map(float)
entries = builds(
    Waiting,
    reference=words.filter(bool),
    size=integers(0, 10**9),
    expires_at=moments,
    subject=words,
    date=moments,
    sent_at=moments,
    sender=words,
    recipient=words,
)


class DeferredListTests(SynchronousTestCase):
    @given(lists(entries, max_size=5))
    def test_law(self, found: list[Waiting]) -> None:
        """What is written is read again."""
        self.assertEqual(parse_deferred_list(write_deferred_list(found)), tuple(found))

    @given(binary(max_size=200))
    def test_junk(self, data: bytes) -> None:
        """Junk raises PeerError only."""
        try:
            parse_deferred_list(data)
        except PeerError:
            pass

    def test_elements(self) -> None:
        """References and the rest may be elements, addresses inside entries."""
        document = f"""<history-list xmlns="{NAMESPACE}">
          <history><history-reference>r1</history-reference><size>12</size>
            <expiry>1970-01-01T00:01:00Z</expiry>
            <pager><from><entry uri="sip:a@b"/></from><to>sip:c@d</to></pager>
            <more/></history>
          <history history-reference="r2" size="3"/>
          </history-list>"""
        first, second = parse_deferred_list(document.encode())
        self.assertEqual(
            first,
            Waiting("r1", 12, expires_at=60.0, sender="sip:a@b", recipient="sip:c@d"),
        )
        self.assertEqual(second, Waiting("r2", 3))

    def test_no_reference(self) -> None:
        """An entry that names nothing is refused."""
        document = f'<history-list xmlns="{NAMESPACE}"><history/></history-list>'
        self.assertRaises(BadDeferredList, parse_deferred_list, document.encode())

    def test_many(self) -> None:
        """A list is bounded: 413."""
        document = write_deferred_list([Waiting(str(one)) for one in range(ENTRIES + 1)])
        error = self.assertRaises(BadDeferredList, parse_deferred_list, document)
        self.assertEqual(error.status, 413)

    def test_other_root(self) -> None:
        """Another document is refused."""
        self.assertRaises(PeerError, parse_deferred_list, b"<list/>")
