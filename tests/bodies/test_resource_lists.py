"""omaim/bodies/resource_lists.py: RFC 4826, RFC 5363, RFC 5364."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.resource_lists import (
    ANONYMOUS,
    BCC,
    CC,
    NESTING,
    TO,
    Entry,
    EntryRef,
    External,
    ResourceList,
    entries,
    history,
    parse_lists,
    recipients,
    references,
    write_lists,
)
from omaim.errors import PeerError

texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=6)
levels = st.sampled_from(["", TO, CC, BCC])
people = st.builds(
    Entry,
    st.from_regex(r"sip:[a-f]@x\.example", fullmatch=True),
    texts,
    st.just(""),
    levels,
    st.booleans(),
    st.integers(0, 9),
)
references_ = st.builds(EntryRef, st.just("resource-lists/users/x"), texts) | st.builds(
    External, st.just("http://x.example/"), texts
)


def unlike(items: list[Any]) -> tuple[Any, ...]:
    """Keep the first of those that RFC 4826 does not let stand together."""
    kept: dict[object, object] = {}
    for one in items:
        key = (
            (type(one), one.name)
            if isinstance(one, ResourceList)
            else (type(one), getattr(one, "uri", None))
        )
        kept.setdefault(key, one)
    return tuple(kept.values())


lists = st.recursive(
    st.builds(ResourceList, st.lists(people | references_, max_size=4).map(unlike)),
    lambda inner: st.builds(
        ResourceList,
        st.lists(people | references_ | inner, max_size=4).map(unlike),
        st.none() | texts,
        texts,
    ),
    max_leaves=5,
)

# RFC 5364 §6, Figure 3 and Figure 4
SENT = b"""<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"
          xmlns:cp="urn:ietf:params:xml:ns:copycontrol">
  <list>
    <entry uri="sip:bill@example.com" cp:copyControl="to" />
    <entry uri="sip:randy@example.net" cp:copyControl="to" cp:anonymize="true"/>
    <entry uri="sip:eddy@example.com" cp:copyControl="to" cp:anonymize="true"/>
    <entry uri="sip:joe@example.org" cp:copyControl="cc" />
    <entry uri="sip:carol@example.net" cp:copyControl="cc" cp:anonymize="true"/>
    <entry uri="sip:ted@example.net" cp:copyControl="bcc" />
    <entry uri="sip:andy@example.com" cp:copyControl="bcc" />
  </list>
</resource-lists>"""


def listed(*inner: str) -> bytes:
    return (
        '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" '
        'xmlns:cp="urn:ietf:params:xml:ns:copycontrol" xmlns:o="urn:other">'
        + "".join(inner)
        + "</resource-lists>"
    ).encode()


class DocumentTests(SynchronousTestCase):
    @given(one=lists)
    def test_write_then_parse(self, one: ResourceList) -> None:
        self.assertEqual(parse_lists(write_lists([one])), (one,))

    @given(data=st.binary(max_size=60))
    def test_junk(self, data: bytes) -> None:
        try:
            parse_lists(data)
        except PeerError:
            pass

    def test_rfc_example(self) -> None:
        """The document of RFC 4826 §3.3 in short, with what other namespaces add."""
        (friends,) = parse_lists(
            listed(
                '<o:before/><list name="friends" o:x="y">',
                '<entry uri="sip:bill@example.com"><display-name xml:lang="en">Bill Doe'
                "</display-name><o:phone>1</o:phone></entry>",
                '<entry-ref ref="resource-lists/users/x/index/~~/resource-lists"/>',
                '<list name="close-friends"><display-name>Close Friends</display-name>',
                '<entry uri="sip:joe@example.com"/>',
                '<external anchor="http://www.example.org/xcap/resource-lists"/></list>',
                "<o:after/></list>",
            )
        )
        self.assertEqual(friends.name, "friends")
        self.assertEqual(
            list(entries(friends)),
            [Entry("sip:bill@example.com", "Bill Doe", "en"), Entry("sip:joe@example.com")],
        )
        self.assertEqual(
            list(references(friends)),
            [
                EntryRef("resource-lists/users/x/index/~~/resource-lists"),
                External("http://www.example.org/xcap/resource-lists"),
            ],
        )

    def test_refused(self) -> None:
        """Doubles, missing attributes and unknown values are refused (RFC 4826 §3.1, 5364 §5)."""
        for inner in (
            "<entry uri='sip:a@b'/>",
            "<list><entry/></list>",
            "<list><entry uri=' '/></list>",
            "<list><entry uri='sip:a@b'/><entry uri='sip:a@b'/></list>",
            "<list><list name='x'/><list name='x'/></list>",
            "<list name='x'/><list name='x'/>",
            "<list><external/></list>",
            "<list><entry-ref ref='a'/><entry-ref ref='a'/></list>",
            "<list><group/></list>",
            "<list><entry uri='sip:a@b' cp:copyControl='TO'/></list>",
            "<list><entry uri='sip:a@b' cp:anonymize='yes'/></list>",
            "<list><entry uri='sip:a@b' cp:count='-1'/></list>",
            "<list>" * (NESTING + 1) + "</list>" * (NESTING + 1),
        ):
            self.assertRaises(PeerError, parse_lists, listed(inner))

    def test_too_many(self) -> None:
        many = "".join(f"<entry uri='sip:{n}@b'/>" for n in range(1001))
        error = self.assertRaises(PeerError, parse_lists, listed("<list>", many, "</list>"))
        self.assertEqual(error.status, 413)


class CopyControlTests(SynchronousTestCase):
    def expand(self, *uris: Entry) -> list[Entry]:
        found = recipients([ResourceList(uris)], str.lower, lambda a, b: a.lower() == b.lower())
        return list(found)

    def test_rfc_example(self) -> None:
        """Figure 3 of RFC 5364 becomes Figure 4."""
        found = recipients(parse_lists(SENT), str, str.__eq__)
        self.assertEqual(len(found), 7)
        data = write_lists([history(found)])
        self.assertEqual(
            parse_lists(data)[0].items,
            (
                Entry("sip:bill@example.com", copy=TO),
                Entry(ANONYMOUS, copy=TO, count=2),
                Entry("sip:joe@example.org", copy=CC),
                Entry(ANONYMOUS, copy=CC, count=1),
            ),
        )
        self.assertIn(b'cp:count="1"', data)

    def test_default(self) -> None:
        """Who is in no copy level is in "bcc" (RFC 5364 §4)."""
        self.assertEqual(self.expand(Entry("sip:a@b")), [Entry("sip:a@b", copy=BCC)])

    def test_doubles(self) -> None:
        """Of doubles the highest level counts, and hiding wins (RFC 5364 §4)."""
        found = self.expand(
            Entry("sip:a@b", copy=CC),
            Entry("sip:c@d", copy=TO),
            Entry("sip:A@b", copy=BCC, anonymize=True),
            Entry("sip:a@B", copy=TO),
        )
        self.assertEqual(
            found, [Entry("sip:a@b", copy=TO, anonymize=True), Entry("sip:c@d", copy=TO)]
        )

    def test_what_uris_ask_for(self) -> None:
        """Headers of URIs reach the server, and nobody else (RFC 3891 §8)."""
        uri = "sip:a@b.example;transport=tcp;method=INVITE?Replaces=c%40d%3Bto-tag%3D1"
        others = ("tel:+1;phone-context=x?y", "SIPS:c@d?Accept-Contact=*")
        made = ResourceList((Entry(uri, copy=TO), *(Entry(one, copy=CC) for one in others)))
        found = recipients(parse_lists(write_lists([made])), str, str.__eq__)
        self.assertEqual([one.uri for one in found], [uri, *others])
        self.assertEqual(
            [one.uri for one in history(found).items if isinstance(one, Entry)],
            ["sip:a@b.example;transport=tcp", others[0], "SIPS:c@d"],
        )

    @given(everybody=st.lists(people, max_size=12))
    def test_nobody_is_betrayed(self, everybody: list[Entry]) -> None:
        """Who is bcc or anonymous never shows; the others are counted right (RFC 5364 §4)."""
        found = recipients([ResourceList(tuple(everybody))], str, str.__eq__)
        self.assertEqual(len({one.uri for one in everybody}), len(found))
        shown: Any = history(found).items
        visible = [one for one in found if one.copy != BCC]
        self.assertEqual(
            {one.uri for one in shown} - {ANONYMOUS},
            {one.uri for one in visible if not one.anonymize},
        )
        self.assertEqual(sum(one.count for one in shown), len(visible))
