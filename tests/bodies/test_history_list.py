"""application/vnd.oma.im.history-list+xml."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import binary, builds, integers, lists, none
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.history_list import (
    ENTRIES,
    NAMESPACE,
    PEOPLE,
    BadHistoryList,
    Conference,
    HistoryList,
    Pager,
    Parties,
    Party,
    Recorded,
    parse_history_list,
    write_history_list,
)
from omaim.errors import PeerError
from tests.bodies.test_deferred_list import moments, words

parties = builds(
    Parties,
    people=lists(builds(Party, uri=words.filter(bool), name=words), max_size=4).map(tuple),
    group=words,
    group_name=words,
)
pagers = builds(
    Pager,
    sent_at=moments,
    sender=words,
    recipient=words,
    recipients=none() | parties,
    authorised=words,
)
conferences = builds(
    Conference, started_at=moments, ended_at=moments, name=words, parties=none() | parties
)
recorded = builds(
    Recorded,
    reference=words.filter(bool),
    size=integers(0, 10**9),
    expires_at=moments,
    subject=words,
    date=moments,
    pager=none() | pagers,
    conference=none() | conferences,
)


class HistoryListTests(SynchronousTestCase):
    @given(lists(recorded, max_size=5), integers(0, 10**9))
    def test_law(self, found: list[Recorded], more: int) -> None:
        """What is written is read again."""
        document = write_history_list(found, more)
        self.assertEqual(parse_history_list(document), HistoryList(tuple(found), more))

    @given(binary(max_size=200))
    def test_junk(self, data: bytes) -> None:
        """Junk raises PeerError only."""
        try:
            parse_history_list(data)
        except PeerError:
            pass

    def test_wish(self) -> None:
        """A list that only says which ones are meant has nothing but their references."""
        document = write_history_list([Recorded("r1")])
        self.assertIn(b'<history history-reference="r1"/>', document)
        self.assertEqual(parse_history_list(document).entries, (Recorded("r1"),))

    def test_elements(self) -> None:
        """References and addresses may be elements or attributes (spec 10 §11)."""
        document = f"""<history-list xmlns="{NAMESPACE}" next="7">
          <history><history-reference>r1</history-reference>
            <pager><from><entry><uri>sip:a@b</uri></entry></from>
              <recipient-list><entry>sip:c@d</entry><entry uri="sip:e@f" display-name="E"/>
                <entry/><group-uri>sip:g@h</group-uri></recipient-list>
              <auth-id>sip:a@b</auth-id></pager></history>
          <history history-reference="r2" size="3">
            <conference><time-start>1970-01-01T00:01:00Z</time-start>
              <recording-name>Lunch</recording-name>
              <conf-list group-uri="sip:g@h" group-display-name="G"/></conference></history>
          </history-list>"""
        people = Parties((Party("sip:c@d"), Party("sip:e@f", "E")), "sip:g@h")
        first = Recorded("r1", pager=Pager(0.0, "sip:a@b", "", people, "sip:a@b"))
        conference = Conference(60.0, 0.0, "Lunch", Parties((), "sip:g@h", "G"))
        second = Recorded("r2", 3, conference=conference)
        self.assertEqual(parse_history_list(document.encode()), HistoryList((first, second), 7))

    def test_cut_off(self) -> None:
        """An end that nobody saw is told from one that was."""
        for cut_off in (False, True):
            one = Recorded("r", date=60.0, conference=Conference(60.0, 120.0, cut_off=cut_off))
            document = write_history_list([one])
            self.assertEqual(b"cut-off" in document, cut_off)
            self.assertEqual(parse_history_list(document).entries, (one,))

    def test_refused(self) -> None:
        """An entry that names nothing, numbers and moments that are none."""
        for inside in (
            "<history/>",
            '<history history-reference="r" size="-1"/>',
            '<history history-reference="r" expiry="soon"/>',
        ):
            document = f'<history-list xmlns="{NAMESPACE}">{inside}</history-list>'
            self.assertRaises(PeerError, parse_history_list, document.encode())
        self.assertRaises(PeerError, parse_history_list, b"<history-list/>")

    def test_many(self) -> None:
        """Lists are bounded: 413."""
        crowd = Parties(tuple(Party(f"sip:{one}@b") for one in range(PEOPLE + 1)))
        for found in (
            [Recorded(str(one)) for one in range(ENTRIES + 1)],
            [Recorded("r", pager=Pager(recipients=crowd))],
        ):
            document = write_history_list(found)
            error = self.assertRaises(BadHistoryList, parse_history_list, document)
            self.assertEqual(error.status, 413)
