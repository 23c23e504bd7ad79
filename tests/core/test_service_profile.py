"""Filter criteria: truth tables, all session cases, and a naive evaluator to compare with."""

from __future__ import annotations

from itertools import product

import attrs
from hypothesis import given
from hypothesis.strategies import (
    DrawFn,
    SearchStrategy,
    booleans,
    builds,
    composite,
    integers,
    just,
    lists,
    none,
    one_of,
    sampled_from,
)
from twisted.trial.unittest import SynchronousTestCase

from omaim.core.profile_xml import (
    ProfileBook,
    im_profile,
    parse_profile,
    parse_subscription,
    write_profile,
    write_subscription,
)
from omaim.core.service_profile import (
    ANY_PART,
    CRITERIA,
    INITIAL,
    NO_REGISTRATION,
    NO_SESSION,
    ORIGINATING,
    ORIGINATING_DIVERTED,
    ORIGINATING_UNREGISTERED,
    REFRESH,
    REGISTERED_PART,
    REMOVAL,
    TERMINATE,
    TERMINATING,
    TERMINATING_UNREGISTERED,
    UNREGISTERED_PART,
    BadProfile,
    CaseIs,
    Condition,
    Criteria,
    DescriptionMatches,
    Filters,
    HeaderMatches,
    Identity,
    MethodIs,
    Point,
    Profile,
    Server,
    Subscription,
    Trigger,
    UriMatches,
)
from omaim.errors import PeerError, UsageError
from omaim.sip.message import Request

CASES = (
    NO_SESSION,
    ORIGINATING,
    TERMINATING,
    TERMINATING_UNREGISTERED,
    ORIGINATING_UNREGISTERED,
    ORIGINATING_DIVERTED,
)
AS = Server("sip:as.example")
SDP = b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nm=message 9 TCP/MSRP *\r\na=accept-types:text/plain\r\n"


def request(
    *headers: tuple[str, str],
    method: str = "MESSAGE",
    uri: str = "sip:bob@b.example",
    body: bytes = b"",
) -> Request:
    return Request.make(method, uri, list(headers), body)


def asked(
    trigger: Trigger | None,
    sent: Request,
    case: int = ORIGINATING,
    registration: int = NO_REGISTRATION,
) -> bool:
    """Return whether the one criteria with this trigger is met."""
    filters = Filters((Criteria(5, AS, trigger),))
    return filters.next_server(sent, case, registration) is not None


def alone(condition: Condition, negated: bool = False) -> Trigger:
    return Trigger(True, (Point(condition, negated),))


class ConditionTests(SynchronousTestCase):
    """3GPP TS 29.228 Annex B: what each point asks."""

    def check(
        self, condition: Condition, sent: Request, wanted: bool, case: int = ORIGINATING
    ) -> None:
        self.assertEqual(asked(alone(condition), sent, case), wanted, condition)
        self.assertEqual(asked(alone(condition, True), sent, case), not wanted, condition)

    def test_method(self) -> None:
        """The method is exact."""
        self.check(MethodIs("MESSAGE"), request(), True)
        self.check(MethodIs("INVITE"), request(), False)
        self.check(MethodIs("message"), request(), False)

    def test_uri(self) -> None:
        """The Request-URI is searched for the pattern."""
        self.check(UriMatches("^sip:.*@b\\.example"), request(), True)
        self.check(UriMatches("^sip:.*@c\\.example"), request(), False)

    def test_header(self) -> None:
        """A header, its compact form's meaning, and what is in it."""
        sent = request(("Event", "presence;id=1"), ("Subject", "x"), ("Subject", "two words"))
        for name, content, wanted in [
            ("Event", None, True),
            ("Event", "^presence(;|$)", True),
            ("Event", "^reg", False),
            ("Subject", "two", True),
            ("Subject", "three", False),
            ("Sub.*", "two", True),
            ("sub(ject|scription)", "two", True),
            ("Sub", None, False),
            ("Accept-Contact|Event", "id", True),
        ]:
            self.check(HeaderMatches(name, content), sent, wanted)

    def test_absent_header(self) -> None:
        """An absent header matches nothing; negated, it matches."""
        for content in (None, ".*", ""):
            self.check(HeaderMatches("Accept-Contact", content), request(), False)

    def test_session_cases(self) -> None:
        """Each case is itself and no other; a REGISTER is none."""
        for case, given_ in product(range(5), CASES):
            self.check(CaseIs(case), request(), case == given_, given_)

    def test_description(self) -> None:
        """A line of the SDP, alone or in a multipart; other bodies have none."""
        plain = request(("Content-Type", "application/sdp"), body=SDP)
        part = (
            b"--x\r\nContent-Type: application/sdp\r\n\r\n" + SDP + b"\r\n--x\r\n\r\nm=no\r\n--x--"
        )
        mixed = request(("Content-Type", 'multipart/mixed; boundary="x"'), body=part)
        for sent in (plain, mixed):
            self.check(DescriptionMatches("m"), sent, True)
            self.check(DescriptionMatches("m", "^message .*MSRP"), sent, True)
            self.check(DescriptionMatches("m", "audio"), sent, False)
            self.check(DescriptionMatches("m", "^no"), sent, False)
            self.check(DescriptionMatches("b"), sent, False)
        self.check(
            DescriptionMatches("m"), request(("Content-Type", "text/plain"), body=SDP), False
        )
        self.check(DescriptionMatches("m"), request(body=SDP), False)

    def test_registration_types(self) -> None:
        """Types narrow a REGISTER; none named means all."""
        sent = request(method="REGISTER")
        for types, given_ in product(
            [(), (INITIAL,), (REFRESH, REMOVAL)], [INITIAL, REFRESH, REMOVAL]
        ):
            trigger = alone(MethodIs("REGISTER", types))
            wanted = not types or given_ in types
            self.assertEqual(asked(trigger, sent, NO_SESSION, given_), wanted)


class TriggerTests(SynchronousTestCase):
    """3GPP TS 29.228 Annex C: conjunctive and disjunctive normal form."""

    def test_truth_table(self) -> None:
        """Two groups of two points, every combination of truth and negation, both forms."""
        for bits in product((False, True), repeat=4):
            for negated in product((False, True), repeat=4):
                values = [bit != no for bit, no in zip(bits, negated, strict=True)]
                # Half of the points are settled beforehand, half by the request.
                points = tuple(
                    Point(
                        CaseIs(ORIGINATING if bit else TERMINATING)
                        if place % 2
                        else HeaderMatches("Event" if bit else "Subject"),
                        no,
                        (place // 2,),
                    )
                    for place, (bit, no) in enumerate(zip(bits, negated, strict=True))
                )
                sent = request(("Event", "x"))
                cnf = (values[0] or values[1]) and (values[2] or values[3])
                dnf = (values[0] and values[1]) or (values[2] and values[3])
                self.assertEqual(asked(Trigger(True, points), sent), cnf)
                self.assertEqual(asked(Trigger(False, points), sent), dnf)

    def test_several_groups(self) -> None:
        """A point in several groups counts in each."""
        points = (
            Point(MethodIs("MESSAGE"), False, (0, 1)),
            Point(HeaderMatches("Event"), False, (1,)),
        )
        self.assertTrue(asked(Trigger(True, points), request()))
        self.assertTrue(asked(Trigger(False, points), request()))
        self.assertFalse(asked(Trigger(True, points), request(method="INFO")))

    def test_unconditional(self) -> None:
        """Without a trigger the server sees everything."""
        for case in CASES:
            self.assertTrue(asked(None, request(method="ANY"), case))


class FiltersTests(SynchronousTestCase):
    """3GPP TS 23.218 §5.2.2: order and parts."""

    def test_priority(self) -> None:
        """The lowest number first, then the next after the one met last."""
        filters = Filters(tuple(Criteria(n, Server(f"sip:as{n}")) for n in (30, 0, 10)))
        names = []
        after = -1
        for _ in range(4):
            found = filters.next_server(request(), ORIGINATING, after_priority=after)
            if found is None:
                break
            names.append(found.server.name)
            after = found.priority
        self.assertEqual(names, ["sip:as0", "sip:as10", "sip:as30"])

    def test_same_priority(self) -> None:
        """Two of one priority cannot both be reached, and are refused."""
        with self.assertRaises(BadProfile):
            Filters((Criteria(1, AS), Criteria(1, AS)))

    def test_parts(self) -> None:
        """The parts of a profile for registered and unregistered users."""
        for part, case, registered, wanted in [
            (REGISTERED_PART, ORIGINATING, True, True),
            (REGISTERED_PART, ORIGINATING, False, False),
            (REGISTERED_PART, TERMINATING_UNREGISTERED, True, False),
            (UNREGISTERED_PART, TERMINATING_UNREGISTERED, True, True),
            (UNREGISTERED_PART, TERMINATING, True, False),
            (UNREGISTERED_PART, ORIGINATING_DIVERTED, False, True),
            (ANY_PART, ORIGINATING_UNREGISTERED, False, True),
        ]:
            filters = Filters((Criteria(1, AS, None, part),))
            found = filters.next_server(request(), case, registered=registered)
            self.assertEqual(found is not None, wanted, (part, case, registered))

    def test_changed_request(self) -> None:
        """The next question is about the request as the last server left it."""
        filters = Filters(
            (Criteria(1, AS), Criteria(2, AS, alone(HeaderMatches("Subject", "urgent"))))
        )
        sent = request()
        self.assertIsNone(filters.next_server(sent, ORIGINATING, after_priority=1))
        sent.set("Subject", "urgent")
        self.assertIsNotNone(filters.next_server(sent, ORIGINATING, after_priority=1))

    def test_nonsense(self) -> None:
        """A session case or registration type that is none is our mistake."""
        for case, registration in [(5, -1), (0, 3), (-2, 0)]:
            with self.assertRaises(UsageError):
                Filters().next_server(request(), case, registration)

    def test_plans_are_bounded(self) -> None:
        """Methods that no trigger names do not pile up."""
        filters = Filters((Criteria(1, AS, alone(MethodIs("MESSAGE"))),))
        for n in range(100):
            filters.next_server(request(method=f"M{n}"), ORIGINATING)
        self.assertLess(len(filters._plans), 3)


def naive(criteria: Criteria, sent: Request, case: int, registration: int) -> bool:
    """Evaluate one criteria as the specification's text reads."""
    trigger = criteria.trigger
    if trigger is None:
        return True

    def holds(point: Point) -> bool:
        condition = point.condition
        if isinstance(condition, MethodIs):
            found = condition.method == sent.method and (
                condition.registration_types == () or registration in condition.registration_types
            )
        elif isinstance(condition, CaseIs):
            found = condition.case == case
        elif isinstance(condition, UriMatches):
            found = condition.pattern in sent.uri
        else:
            assert isinstance(condition, HeaderMatches)
            found = any((condition.content or "") in value for value in sent.all(condition.header))
        return found != point.negated

    groups = {group for point in trigger.points for group in point.groups}
    verdicts = []
    for group in groups:
        members = [holds(point) for point in trigger.points if group in point.groups]
        verdicts.append(any(members) if trigger.conjunctive else all(members))
    return all(verdicts) if trigger.conjunctive else any(verdicts)


METHODS = ("MESSAGE", "INVITE", "REGISTER", "OTHER")
conditions: SearchStrategy[Condition] = one_of(
    builds(
        MethodIs,
        sampled_from(METHODS[:3]),
        one_of(just(()), lists(integers(0, 2), max_size=2).map(tuple)),
    ),
    builds(CaseIs, integers(0, 4)),
    builds(UriMatches, sampled_from(["bob", "alice", "sip:"])),
    builds(
        HeaderMatches,
        sampled_from(["Event", "Subject", "Accept-Contact"]),
        one_of(none(), sampled_from(["a", "b", "presence"])),
    ),
)
points: SearchStrategy[Point] = builds(
    Point,
    conditions,
    booleans(),
    lists(integers(0, 2), min_size=1, max_size=2, unique=True).map(tuple),
)
triggers: SearchStrategy[Trigger] = builds(
    Trigger, booleans(), lists(points, min_size=1, max_size=6).map(tuple)
)


@composite
def filter_sets(draw: DrawFn) -> Filters:
    found = draw(lists(one_of(none(), triggers), max_size=4))
    return Filters(
        tuple(
            Criteria(
                priority * 7,
                Server(
                    f"sip:as{priority}",
                    draw(integers(0, 1)),
                    draw(sampled_from(["", "info <&>"])),
                    draw(booleans()),
                    draw(booleans()),
                ),
                trigger,
                draw(integers(-1, 1)),
            )
            for priority, trigger in enumerate(found)
        )
    )


class ReferenceTests(SynchronousTestCase):
    """The plans against the text of the specification."""

    @given(
        filter_sets(),
        sampled_from(METHODS),
        sampled_from(CASES),
        integers(-1, 2),
        integers(-1, 15),
        booleans(),
        lists(sampled_from([("Event", "presence"), ("Subject", "ab"), ("Subject", "b")])),
    )
    def test_same(
        self,
        filters: Filters,
        method: str,
        case: int,
        registration: int,
        after: int,
        registered: bool,
        headers: list[tuple[str, str]],
    ) -> None:
        """The first criteria found is the one that the naive evaluator finds, twice."""
        sent = request(*headers, method=method)
        there = registered and case not in (TERMINATING_UNREGISTERED, ORIGINATING_UNREGISTERED)
        wanted = None
        for criteria in filters.criteria:
            part = criteria.part == ANY_PART or (criteria.part == REGISTERED_PART) == there
            if (
                wanted is None
                and criteria.priority > after
                and part
                and naive(criteria, sent, case, registration)
            ):
                wanted = criteria
        for _ in range(2):
            found = filters.next_server(sent, case, registration, after, registered=registered)
            self.assertIs(found, wanted)

    @given(filter_sets(), lists(booleans(), max_size=3), one_of(none(), integers(0, 9)))
    def test_written(self, filters: Filters, barred: list[bool], media: int | None) -> None:
        """What is written is read back the same."""
        identities = tuple(Identity(f"sip:u{n}@a.example", bar) for n, bar in enumerate(barred))
        profile = Profile(filters, identities, media, (1, 4) if barred else ())
        self.assertEqual(parse_profile(write_profile(profile)), profile)
        whole = Subscription("alice@a.example", (profile, Profile()))
        self.assertEqual(parse_subscription(write_subscription(whole)), whole)


DOCUMENT = b"""<?xml version="1.0" encoding="UTF-8"?>
<IMSSubscription xmlns="urn:operator" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <PrivateID>alice@a.example</PrivateID>
 <ServiceProfile>
  <PublicIdentity>
   <BarringIndication>1</BarringIndication>
   <Identity>tel:+1555</Identity>
   <Extension><IdentityType>0</IdentityType></Extension>
  </PublicIdentity>
  <PublicIdentity><Identity>sip:alice@a.example</Identity></PublicIdentity>
  <CoreNetworkServicesAuthorization>
   <SubscribedMediaProfileId>3</SubscribedMediaProfileId>
  </CoreNetworkServicesAuthorization>
  <InitialFilterCriteria>
   <Priority>1</Priority>
   <TriggerPoint>
    <ConditionTypeCNF>1</ConditionTypeCNF>
    <SPT>
     <ConditionNegated>0</ConditionNegated><Group>0</Group><Method>REGISTER</Method>
     <Extension><RegistrationType>0</RegistrationType><RegistrationType>2</RegistrationType></Extension>
    </SPT>
    <SPT>
     <ConditionNegated>1</ConditionNegated><Group>1</Group><Group>2</Group>
     <SIPHeader><Header>Event</Header></SIPHeader>
    </SPT>
   </TriggerPoint>
   <ApplicationServer>
    <ServerName>sip:im.a.example;lr</ServerName><DefaultHandling>1</DefaultHandling>
    <ServiceInfo>gold</ServiceInfo>
    <Extension><IncludeRegisterRequest/><IncludeRegisterResponse/></Extension>
   </ApplicationServer>
   <ProfilePartIndicator>0</ProfilePartIndicator>
  </InitialFilterCriteria>
  <Extension><SharedIFCSetID>7</SharedIFCSetID></Extension>
 </ServiceProfile>
</IMSSubscription>"""


class DocumentTests(SynchronousTestCase):
    """3GPP TS 29.228 Annex E."""

    def test_whole(self) -> None:
        """Every element that we know is read, also inside Extension; others are passed over."""
        found = parse_subscription(DOCUMENT)
        self.assertEqual(found.private_id, "alice@a.example")
        (profile,) = found.profiles
        self.assertEqual(
            profile.identities, (Identity("tel:+1555", True), Identity("sip:alice@a.example"))
        )
        self.assertEqual((profile.media_profile, profile.shared_sets), (3, (7,)))
        self.assertIs(found.profile_of("tel:+1555"), profile)
        self.assertIsNone(found.profile_of("tel:+1556"))
        (criteria,) = profile.filters.criteria
        self.assertEqual(
            criteria,
            Criteria(
                1,
                Server("sip:im.a.example;lr", TERMINATE, "gold", True, True),
                Trigger(
                    True,
                    (
                        Point(MethodIs("REGISTER", (0, 2)), False, (0,)),
                        Point(HeaderMatches("Event"), True, (1, 2)),
                    ),
                ),
                REGISTERED_PART,
            ),
        )

    def test_refused(self) -> None:
        """Broken, hostile or contradictory documents raise PeerError."""
        for old, new in [
            (b"<IMSSubscription", b"<!DOCTYPE x []><IMSSubscription"),
            (b"<Priority>1</Priority>", b""),
            (b"<Priority>1</Priority>", b"<Priority>-1</Priority>"),
            (b"<Priority>1</Priority>", b"<Priority>1</Priority><Priority>2</Priority>"),
            (b"<ConditionTypeCNF>1", b"<ConditionTypeCNF>maybe"),
            (b"sip:im.a", b"http://im.a"),
            (b"<Method>REGISTER</Method>", b""),
            (
                b"<Method>REGISTER</Method>",
                b"<Method>REGISTER</Method><SessionCase>0</SessionCase>",
            ),
            (b"<Method>REGISTER</Method>", b"<SessionCase>5</SessionCase>"),
            (b"<Method>REGISTER</Method>", b"<RequestURI>(((</RequestURI>"),
            (b"<RegistrationType>0", b"<RegistrationType>3"),
            (b"<DefaultHandling>1", b"<DefaultHandling>2"),
            (b"<Group>1</Group>", b"<Group>1</Group>" * 20),
            (b"</IMSSubscription>", b""),
        ]:
            self.assertIn(old, DOCUMENT)
            with self.assertRaises(PeerError):
                parse_subscription(DOCUMENT.replace(old, new))
        with self.assertRaises(PeerError):
            parse_profile(DOCUMENT)
        with self.assertRaises(PeerError):
            parse_subscription(DOCUMENT + b" " * 70_000)

    def test_too_many(self) -> None:
        """The number of criteria is bounded."""
        many = Profile(Filters(tuple(Criteria(n, AS) for n in range(CRITERIA))))
        parse_profile(write_profile(many))
        with self.assertRaises(BadProfile):
            Filters(tuple(Criteria(n, AS) for n in range(CRITERIA + 1)))

    def test_shared(self) -> None:
        """Users with the same criteria share them; what is remembered is bounded."""
        book = ProfileBook(2)
        document = write_profile(im_profile("sip:im.a.example"))
        one = book.profile(document)
        self.assertIs(book.profile(document), one)
        filters = set()
        for n in range(3):
            user = attrs.evolve(one, identities=(Identity(f"sip:u{n}@a.example"),))
            found = book.subscription(write_subscription(Subscription(f"u{n}", (user,))))
            filters.add(id(found.profiles[0].filters))
        self.assertEqual(filters, {id(one.filters)})
        for n in range(5):
            book.profile(write_profile(im_profile(f"sip:im{n}.a.example")))
        self.assertIsNot(book.profile(document), one)
        self.assertEqual(book.profile(document), one)


class ImProfileTests(SynchronousTestCase):
    """The ready-made profile of an IM user."""

    profile = im_profile("sip:im.a.example", "sip:ps.a.example", "sip:xdms.a.example")

    def server(self, sent: Request, case: int, registration: int = NO_REGISTRATION) -> str:
        found = self.profile.next_server(sent, case, registration)
        return "" if found is None else found.server.name.split(".")[0]

    def test_table(self) -> None:
        """Who sees what, case by case."""
        tag = ("Accept-Contact", "*;+g.oma.sip-im;require")
        for case in CASES:
            im = "sip:im" if case in (0, 1, 2, 3) else ""
            for method in ("MESSAGE", "INVITE"):
                self.assertEqual(self.server(request(tag, method=method), case), im)
                self.assertEqual(self.server(request(method=method), case), "")
            event = ("Event", "presence")
            self.assertEqual(
                self.server(request(event, method="PUBLISH"), case), "sip:ps" if case == 0 else ""
            )
            self.assertEqual(
                self.server(request(event, method="SUBSCRIBE"), case),
                "sip:ps" if case in (1, 2) else "",
            )
            self.assertEqual(
                self.server(request(("Event", "xcap-diff; x=1"), method="SUBSCRIBE"), case),
                "sip:xdms",
            )
            self.assertEqual(self.server(request(("Event", "reg"), method="SUBSCRIBE"), case), "")
            for text, im in (
                ("im-settings", "sip:im"),
                ("im-settings;x=1", "sip:im"),
                ("im-settings2", ""),
                ("x-im-settings", ""),
            ):
                published = request(("Event", text), method="PUBLISH")
                self.assertEqual(self.server(published, case), im if case == 0 else "")
        for registration in (INITIAL, REFRESH, REMOVAL):
            sent = request(method="REGISTER")
            self.assertEqual(self.server(sent, NO_SESSION, registration), "sip:im")

    def test_settings_event(self) -> None:
        """What the package of the service settings is called can be chosen, or there is none."""
        sent = request(("Event", "poc.settings"), method="PUBLISH")
        other = request(("Event", "pocxsettings"), method="PUBLISH")
        for name, found in (("poc.settings", True), ("im-settings", False), ("", False)):
            profile = im_profile("sip:im.a.example", settings_event=name)
            self.assertEqual(profile.next_server(sent, ORIGINATING) is not None, found)
            self.assertIsNone(profile.next_server(other, ORIGINATING))

    def test_untagged(self) -> None:
        """Where clients do not tag their messages, every MESSAGE goes to the IM Server."""
        profile = im_profile("sip:im.a.example", tagged_only=False)
        self.assertIsNotNone(profile.next_server(request(), TERMINATING))
        self.assertIsNone(profile.next_server(request(method="INVITE"), TERMINATING))
