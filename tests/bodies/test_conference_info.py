"""omaim/bodies/conference_info.py: RFC 4575 §5, §6."""

from __future__ import annotations

from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.conference_info import (
    CONNECTED,
    DELETED,
    DEPARTED,
    DIALED_OUT,
    DISCONNECTED,
    FULL,
    PARTIAL,
    Activity,
    AvailableMedia,
    ConferenceInfo,
    ConferenceUri,
    Description,
    DialogId,
    Endpoint,
    Event,
    Host,
    Stream,
    User,
    parse_conference,
    renumbered,
    write_conference,
)
from omaim.errors import PeerError, UsageError
from omaim.testing.strategies import mutated

VECTORS = Path(__file__).parents[1] / "vectors" / "conference"

words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=6)
some = words.filter(bool)
uris = st.lists(st.builds(ConferenceUri, some, words, words), max_size=2).map(tuple)
events = st.none() | st.builds(Event, st.none() | st.integers(0, 2**32).map(float), words, words)
streams = st.builds(Stream, st.sampled_from("123"), words, words, words, words, words)
statuses = st.sampled_from(["", CONNECTED, DISCONNECTED])


def unlike(key: str, values: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    """Up to three values with different keys."""
    made = st.lists(values, max_size=3, unique_by=lambda one: getattr(one, key))
    return made.map(tuple)


endpoints = st.builds(
    Endpoint,
    entity=st.sampled_from(["sip:e1", "sip:e2", "sip:e3"]),
    status=statuses,
    text=words,
    referred=events,
    joining_method=st.sampled_from(["", DIALED_OUT]),
    joining_info=events,
    disconnection_method=st.sampled_from(["", DEPARTED]),
    disconnection_info=events,
    media=unlike("id", streams),
    dialog=st.none() | st.builds(DialogId, words, words, words, words),
)
users = st.builds(
    User,
    entity=st.sampled_from(["sip:u1", "sip:u2", "sip:u3"]),
    text=words,
    nickname=words,
    aors=uris,
    roles=st.lists(some, max_size=2).map(tuple),
    languages=st.lists(st.sampled_from(["en", "de"]), max_size=2).map(tuple),
    cascaded_focus=words,
    endpoints=unlike("entity", endpoints),
)
conferences = st.builds(
    ConferenceInfo,
    entity=st.just("sip:room@example.com"),
    version=st.integers(0, 2**32 - 1),
    description=st.none()
    | st.builds(
        Description,
        words,
        words,
        words,
        st.lists(some, max_size=2).map(tuple),
        uris,
        uris,
        st.none() | st.integers(0, 2**32 - 1),
        st.lists(st.builds(AvailableMedia, some, words, words, words), max_size=2).map(tuple),
    ),
    host=st.none() | st.builds(Host, words, words, uris),
    activity=st.none()
    | st.builds(
        Activity,
        st.none() | st.integers(0, 9999),
        st.none() | st.booleans(),
        st.none() | st.booleans(),
    ),
    users=unlike("entity", users),
)


def document(inner: str, attributes: str = "entity='sip:c' version='1'") -> bytes:
    return (
        f"<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' {attributes}>"
        f"{inner}</conference-info>"
    ).encode()


def user(inner: str) -> bytes:
    return document(f"<users><user entity='a'>{inner}</user></users>")


class DocumentTests(SynchronousTestCase):
    @given(one=conferences)
    def test_write_then_parse(self, one: ConferenceInfo) -> None:
        self.assertEqual(parse_conference(write_conference(one)), one)

    @given(
        data=st.binary(max_size=60)
        | mutated([path.read_bytes() for path in sorted(VECTORS.glob("*.xml"))])
    )
    def test_junk(self, data: bytes) -> None:
        try:
            parse_conference(data)
        except PeerError:
            pass

    def test_rfc_examples(self) -> None:
        """Both documents of RFC 4575 §7 are read, and written back mean the same."""
        paths = sorted(VECTORS.glob("rfc4575-*.xml"))
        self.assertEqual(len(paths), 2)
        for path in paths:
            found = parse_conference(path.read_bytes())
            self.assertEqual(parse_conference(write_conference(found)), found)

    def test_contents(self) -> None:
        """All of RFC 4575 §7.1 arrives."""
        found = parse_conference((VECTORS / "rfc4575-01-s7.1-conference-info.xml").read_bytes())
        page = ConferenceUri("http://sharepoint/salesgroup/", purpose="web-page")
        self.assertEqual(
            attrs.evolve(found, users=()),
            ConferenceInfo(
                "sips:conf233@example.com",
                1,
                FULL,
                Description(subject="Agenda: This month's goals", service_uris=(page,)),
                None,
                Activity(33),
            ),
        )
        left = Event(1109966400.0, "bad voice quality", "sip:mike@example.com")
        self.assertEqual(
            found.users[0],
            User(
                "sip:bob@example.com",
                "Bob Hoskins",
                endpoints=(
                    Endpoint(
                        "sip:bob@pc33.example.com",
                        DISCONNECTED,
                        "Bob's Laptop",
                        disconnection_method=DEPARTED,
                        disconnection_info=left,
                        media=(Stream("1", "audio", "34567", "432424", "sendrecv", "main audio"),),
                    ),
                ),
            ),
        )

    def test_partial_example(self) -> None:
        found = parse_conference((VECTORS / "rfc4575-02-s7.2-conference-info.xml").read_bytes())
        self.assertEqual((found.state, found.version), (PARTIAL, 5))
        assert found.description is not None
        self.assertEqual(found.description.maximum_user_count, 100)
        self.assertEqual(found.description.keywords, ("sales", "meeting", "weekly"))
        self.assertEqual(
            [one.label for one in found.description.available_media], ["34567", "34569"]
        )

    def test_nickname(self) -> None:
        """The nickname is an attribute of the XCON namespace; a plain one is read, too."""
        data = write_conference(ConferenceInfo("sip:c", users=(User("sip:a", nickname="Al"),)))
        self.assertIn(b'xcon:nickname="Al"', data)
        found = parse_conference(document("<users><user entity='sip:a' nickname='Al'/></users>"))
        self.assertEqual(found.users[0].nickname, "Al")

    def test_deleted(self) -> None:
        """What is deleted has no children (RFC 4575 §4.4)."""
        user = User("sip:a", "Al", endpoints=(Endpoint("e"),), state=DELETED)
        data = write_conference(ConferenceInfo("sip:c", 3, PARTIAL, users=(user,)))
        self.assertEqual(parse_conference(data).users, (User("sip:a", state=DELETED),))
        data = write_conference(
            ConferenceInfo("sip:c", 3, DELETED, Description("x"), users=(User("sip:a"),))
        )
        found = parse_conference(data)
        self.assertEqual((found.state, found.users, found.description), (DELETED, (), None))

    @given(one=conferences, version=st.integers(0, 2**32 - 1))
    def test_renumbered(self, one: ConferenceInfo, version: int) -> None:
        """One document serves every watcher; only the version differs."""
        data = renumbered(write_conference(one), version)
        self.assertEqual(parse_conference(data), attrs.evolve(one, version=version))

    def test_nasty_entity(self) -> None:
        """An entity that looks like a version is left alone."""
        info = ConferenceInfo('sip: version="5"', 1)
        self.assertEqual(
            parse_conference(renumbered(write_conference(info), 7)),
            attrs.evolve(info, version=7),
        )

    def test_refused(self) -> None:
        """Missing keys and versions, doubles and unknown states (RFC 4575 §4.3, §4.5)."""
        for data in (
            document("", "entity='sip:c'"),
            document("", "version='1'"),
            document("", "entity='sip:c' version='x'"),
            document("", "entity='sip:c' version='4294967296'"),
            document("", "entity='sip:c' version='1' state='new'"),
            document("<users><user/></users>"),
            document("<users><user entity='a'/><user entity='a'/></users>"),
            document("<users state='x'/>"),
            user("<endpoint/>"),
            user("<endpoint entity='e'/><endpoint entity='e'/>"),
            user("<endpoint entity='e'><media/></endpoint>"),
            user("<endpoint entity='e'><media id='1'/><media id='1'/></endpoint>"),
            document("<conference-state><active>maybe</active></conference-state>"),
            document("<conference-state><user-count>-1</user-count></conference-state>"),
            document("<host-info><uris><entry/></uris></host-info>"),
            b"<conference-info entity='sip:c' version='1'/>",
        ):
            self.assertRaises(PeerError, parse_conference, data)

    def test_usage(self) -> None:
        self.assertRaises(UsageError, write_conference, ConferenceInfo("sip:c", state="new"))

    def test_large(self) -> None:
        """A room of 2000 fits."""
        many = tuple(
            User(f"sip:user{n}@example.com", f"User {n}", endpoints=(Endpoint("e", CONNECTED),))
            for n in range(2000)
        )
        info = ConferenceInfo("sip:c", 1, users=many)
        self.assertEqual(parse_conference(write_conference(info)), info)
