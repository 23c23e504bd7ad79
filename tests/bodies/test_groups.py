"""omaim/bodies/groups.py: OMA-TS-XDM_Shared_Group V1.1."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.common_policy import (
    ANONYMOUS_REQUEST,
    EXTENSIONS,
    OTHER_IDENTITY,
    ExternalList,
    Identity,
    Many,
    Other,
    Permission,
    Rule,
    Validity,
)
from omaim.bodies.groups import (
    FILE_TRANSFER,
    LIST_MEMBER,
    MEMBERS,
    MESSAGE_SESSION,
    NAMESPACE,
    PERIODS,
    ActivePolicy,
    GroupDocument,
    Rights,
    Service,
    parse_groups,
    write_groups,
)
from omaim.bodies.resource_lists import Entry
from omaim.errors import PeerError
from omaim.testing.strategies import mutated

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"

EXAMPLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<group xmlns="urn:oma:xml:poc:list-service"
  xmlns:rl="urn:ietf:params:xml:ns:resource-lists"
  xmlns:cp="urn:ietf:params:xml:ns:common-policy"
  xmlns:ocp="urn:oma:xml:xdm:common-policy"
  xmlns:oxe="urn:oma:xml:xdm:extensions">
 <list-service uri="sip:club@example.com">
  <display-name xml:lang="en">The club</display-name>
  <list>
   <entry uri="sip:alice@example.com"><rl:display-name>Alice</rl:display-name></entry>
   <entry uri="sip:bob@example.com"><display-name>Bob</display-name></entry>
   <external anchor="http://xcap.example.com/resource-lists/users/sip:a/index"/>
  </list>
  <invite-members>true</invite-members>
  <max-participant-count>10</max-participant-count>
  <cp:ruleset>
   <cp:rule id="a7c">
    <cp:conditions><is-list-member/></cp:conditions>
    <cp:actions>
     <join-handling>true</join-handling>
     <allow-conference-state>true</allow-conference-state>
     <oxe:allow-private-message>true</oxe:allow-private-message>
    </cp:actions>
   </cp:rule>
   <cp:rule id="a7d">
    <cp:conditions>
     <cp:identity><cp:one id="sip:alice@example.com"/></cp:identity>
    </cp:conditions>
    <cp:actions>
     <allow-initiate-conference>true</allow-initiate-conference>
     <allow-invite-users-dynamically>true</allow-invite-users-dynamically>
     <allow-anonymity>true</allow-anonymity>
     <is-key-participant>true</is-key-participant>
     <oxe:allow-expelling>true</oxe:allow-expelling>
    </cp:actions>
   </cp:rule>
   <cp:rule id="a7e">
    <cp:conditions><ocp:other-identity/></cp:conditions>
    <cp:actions><join-handling>block</join-handling></cp:actions>
   </cp:rule>
  </cp:ruleset>
  <oxe:supported-services>
   <oxe:service enabler="urn:oma:im">
    <oxe:group-media><oxe:message-session/></oxe:group-media>
   </oxe:service>
  </oxe:supported-services>
  <oxe:subject>Chess</oxe:subject>
  <oxe:session-active-policy><oxe:duration>60</oxe:duration></oxe:session-active-policy>
 </list-service>
</group>"""

texts = st.text(st.characters(codec="utf-8", categories=("L", "N")), max_size=5)
some = texts.filter(bool)
actions = st.lists(
    st.builds(
        lambda name, text: Permission(f"{{{NAMESPACE}}}{name}", text),
        st.sampled_from(["join-handling", "allow-anonymity"]),
        st.sampled_from(["true", "false"]),
    ),
    max_size=2,
).map(tuple)
rules = st.lists(
    st.builds(
        lambda id, condition, given: Rule(id, condition, given),
        some,
        st.sampled_from([(), (Other(LIST_MEMBER),), (Other(OTHER_IDENTITY),)]),
        actions,
    ),
    max_size=3,
    unique_by=lambda one: one.id,
).map(tuple)
groups = st.builds(
    GroupDocument,
    uri=some,
    display_name=texts,
    members=st.lists(st.builds(Entry, some, texts), max_size=3, unique_by=lambda one: one.uri).map(
        tuple
    ),
    externals=st.lists(some, max_size=2, unique=True).map(tuple),
    entry_refs=st.lists(some, max_size=2, unique=True).map(tuple),
    invite_members=st.booleans(),
    max_participants=st.none() | st.integers(0, 99999),
    rules=rules,
    subject=texts,
    searchable=st.none() | st.booleans(),
    services=st.lists(
        st.builds(Service, texts, st.lists(st.sampled_from([MESSAGE_SESSION, "audio"])).map(tuple)),
        max_size=2,
    ).map(tuple),
    active=st.none()
    | st.builds(
        ActivePolicy,
        st.integers(0, 10**6),
        st.lists(st.tuples(st.integers(0, 10**9).map(float), st.just(2e9)), max_size=2).map(tuple),
    ),
)


def group(inner: str, attributes: str = "uri='sip:g@h'") -> bytes:
    return (
        f"<group xmlns='{NAMESPACE}' xmlns:cp='urn:ietf:params:xml:ns:common-policy' "
        f"xmlns:oxe='{EXTENSIONS}'><list-service {attributes}>{inner}</list-service></group>"
    ).encode()


def allow(*names: str, ns: str = NAMESPACE) -> tuple[Permission, ...]:
    return tuple(Permission(f"{{{ns}}}{name}", "true") for name in names)


class DocumentTests(SynchronousTestCase):
    @given(made=st.lists(groups, min_size=1, max_size=2, unique_by=lambda one: one.uri))
    def test_write_then_parse(self, made: list[GroupDocument]) -> None:
        self.assertEqual(parse_groups(write_groups(made)), tuple(made))

    @given(data=st.binary(max_size=60) | mutated([EXAMPLE]))
    def test_junk(self, data: bytes) -> None:
        try:
            parse_groups(data)
        except PeerError:
            pass

    def test_example(self) -> None:
        [found] = parse_groups(EXAMPLE)
        self.assertEqual(
            attrs.evolve(found, rules=()),
            GroupDocument(
                "sip:club@example.com",
                "The club",
                "en",
                (Entry(ALICE, "Alice"), Entry(BOB, "Bob")),
                ("http://xcap.example.com/resource-lists/users/sip:a/index",),
                (),
                True,
                10,
                (),
                "Chess",
                None,
                (Service("urn:oma:im", (MESSAGE_SESSION,)),),
                ActivePolicy(60),
            ),
        )
        self.assertEqual([one.id for one in found.rules], ["a7c", "a7d", "a7e"])
        self.assertTrue(found.has_member(["tel:+1", "sip:bob@EXAMPLE.com;transport=tcp"]))
        self.assertFalse(found.has_member(["sip:carol@example.com"]))
        self.assertTrue(found.supports(MESSAGE_SESSION))
        self.assertFalse(found.supports(FILE_TRANSFER))
        self.assertTrue(GroupDocument("sip:g").supports(FILE_TRANSFER))

    def test_refused(self) -> None:
        """The elements of a group have an order, each stands once, URIs are there and unique."""
        for data in (
            group("", ""),
            group("<list/><display-name>x</display-name>"),
            group("<invite-members>true</invite-members><list/>"),
            group("<cp:ruleset/><max-participant-count>1</max-participant-count>"),
            group("<oxe:subject>x</oxe:subject><cp:ruleset/>"),
            group("<list/><list/>"),
            group("<cp:ruleset/><cp:ruleset/>"),
            group("<other/>"),
            group("<invite-members>maybe</invite-members>"),
            group("<max-participant-count>many</max-participant-count>"),
            group("<list><entry/></list>"),
            group("<list><external/></list>"),
            group("<list><entry uri='sip:a'/><entry uri='sip:a'/></list>"),
            group("<cp:ruleset><cp:rule/></cp:ruleset>"),
            f"<group xmlns='{NAMESPACE}'/>".encode(),
            EXAMPLE.replace(b"urn:oma:xml:poc:", b"urn:oma:params:xml:ns:"),
            EXAMPLE.replace(b"</group>", b"") + EXAMPLE[EXAMPLE.index(b"<list-service") :],
        ):
            self.assertRaises(PeerError, parse_groups, data)

    def test_active_policy(self) -> None:
        """How long a session lasts is written in seconds or as a duration, and when there may be
        one as in RFC 4745 §7.4; what else the element holds is overlooked."""
        times = "<cp:from>1970-01-01T00:01:00Z</cp:from><cp:until>1970-01-01T00:02:00Z</cp:until>"
        for text, seconds, periods in (
            ("<oxe:duration>90</oxe:duration>", 90, ()),
            ("<oxe:duration>PT1H30M</oxe:duration>", 5400, ()),
            ("<oxe:duration>P1DT5.5S</oxe:duration><oxe:more/>", 86405, ()),
            (f"<cp:validity>{times}</cp:validity>", 0, ((60.0, 120.0),)),
            ("", 0, ()),
        ):
            wrapped = f"<oxe:session-active-policy>{text}</oxe:session-active-policy>"
            [found] = parse_groups(group(wrapped))
            self.assertEqual(found.active, ActivePolicy(seconds, periods))
        for text in (
            "<oxe:duration>soon</oxe:duration>",
            "<oxe:duration>-5</oxe:duration>",
            "<oxe:duration>P</oxe:duration>",
            "<oxe:duration>P1M</oxe:duration>",
            "<oxe:duration>PT</oxe:duration>",
            "<cp:validity/>",
            "<cp:validity><cp:from>1970-01-01T00:01:00Z</cp:from></cp:validity>",
            f"<cp:validity>{times * (PERIODS + 1)}</cp:validity>",
        ):
            wrapped = f"<oxe:session-active-policy>{text}</oxe:session-active-policy>"
            self.assertRaises(PeerError, parse_groups, group(wrapped))

    def test_members_elsewhere(self) -> None:
        """Lists inside the list, single entries and whole lists elsewhere are read, each at its
        place (RFC 4826 §3.1)."""
        rl = "xmlns='urn:ietf:params:xml:ns:resource-lists'"
        inside = (
            f"<entry uri='sip:a'/><list {rl}><entry uri='sip:b'/><external anchor='http://x/a'/>"
            "<list><entry uri='sip:a'/><entry-ref ref='resource-lists/b'/></list></list>"
            "<entry-ref ref='resource-lists/c'/><external anchor='http://x/d'/>"
        )
        [found] = parse_groups(group(f"<list>{inside}</list>"))
        self.assertEqual([one.uri for one in found.members], ["sip:a", "sip:b", "sip:a"])
        self.assertEqual(found.externals, ("http://x/a", "http://x/d"))
        self.assertEqual(found.entry_refs, ("resource-lists/b", "resource-lists/c"))
        deep = "<list>" * 12 + "</list>" * 12
        for text in (deep, "<entry-ref/>", "<entry-ref ref='a'/><entry-ref ref='a'/>"):
            self.assertRaises(PeerError, parse_groups, group(f"<list>{text}</list>"))

    def test_too_many(self) -> None:
        many = "".join(f"<entry uri='sip:{n}@b'/>" for n in range(MEMBERS + 1))
        error = self.assertRaises(PeerError, parse_groups, group(f"<list>{many}</list>"))
        self.assertEqual(error.status, 413)


class RightsTests(SynchronousTestCase):
    def test_example(self) -> None:
        """Members join, Alice may all, others nothing."""
        [found] = parse_groups(EXAMPLE)
        self.assertEqual(
            found.rights([ALICE], True, False, 0.0),
            Rights(True, True, True, True, True, True, True, False, True),
        )
        self.assertEqual(
            found.rights([BOB], True, False, 0.0),
            Rights(join=True, roster=True, private_messages=True),
        )
        for identities in (["sip:carol@example.com"], []):
            self.assertEqual(found.rights(identities, False, False, 0.0), Rights())

    def test_anonymity(self) -> None:
        """Who may not be anonymous may not come anonymously."""
        [found] = parse_groups(EXAMPLE)
        self.assertTrue(found.rights([ALICE], True, True, 0.0).join)
        self.assertFalse(found.rights([BOB], True, True, 0.0).join)
        self.assertTrue(found.rights([BOB], True, True, 0.0).roster)

    def test_nameless(self) -> None:
        """A rule for anonymous requests is for those whom nobody knows, too."""
        open_ = GroupDocument(
            "sip:g",
            rules=(
                Rule("1", (Other(ANONYMOUS_REQUEST),), allow("join-handling", "allow-anonymity")),
                Rule("2", (Other(OTHER_IDENTITY),), allow("join-handling")),
            ),
        )
        self.assertTrue(open_.rights([], False, False, 0.0).join)
        self.assertTrue(open_.rights([BOB], False, True, 0.0).join)
        self.assertEqual(open_.rights([BOB], False, False, 0.0), Rights(join=True))
        closed = attrs.evolve(open_, rules=open_.rules[1:])
        self.assertFalse(closed.rights([], False, False, 0.0).join)

    def test_restricted(self) -> None:
        """Restricted is join for members only, unrestricted for any identity."""
        restricted = GroupDocument(
            "sip:g", rules=(Rule("1", (Other(LIST_MEMBER),), allow("join-handling")),)
        )
        self.assertTrue(restricted.rights([BOB], True, False, 0.0).join)
        self.assertFalse(restricted.rights([BOB], False, False, 0.0).join)
        anyone = Rule("1", (Identity(many=(Many(),)),), allow("join-handling"))
        unrestricted = attrs.evolve(restricted, rules=(anyone,))
        self.assertTrue(unrestricted.rights([BOB], False, False, 0.0).join)
        self.assertFalse(unrestricted.rights([], False, False, 0.0).join)
        odd = Rule("1", (Other(LIST_MEMBER, "false"),), allow("join-handling"))
        self.assertFalse(
            attrs.evolve(restricted, rules=(odd,)).rights([BOB], True, False, 0.0).join
        )

    def test_times_and_lists(self) -> None:
        """Rules hold for their time; lists that stand elsewhere are asked for."""
        made = GroupDocument(
            "sip:g",
            rules=(
                Rule(
                    "1", (ExternalList(("x",)), Validity(((10.0, 20.0),))), allow("join-handling")
                ),
            ),
        )
        self.assertTrue(made.rights([BOB], False, False, 15.0, lambda anchor: anchor == "x").join)
        self.assertFalse(made.rights([BOB], False, False, 20.0, lambda anchor: True).join)
        self.assertFalse(made.rights([BOB], False, False, 15.0).join)

    def test_nothing(self) -> None:
        """Without rules nobody may anything."""
        self.assertEqual(GroupDocument("sip:g").rights([ALICE], True, False, 0.0), Rights())

    @given(one=groups, member=st.booleans(), anonymous=st.booleans())
    def test_member_never_less(self, one: GroupDocument, member: bool, anonymous: bool) -> None:
        """Nobody who may not be anonymous joins so."""
        found = one.rights([BOB], member, anonymous, 0.0)
        self.assertFalse(anonymous and found.join and not found.anonymity)
