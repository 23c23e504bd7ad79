"""Service profiles as XML, and one copy of each for all users who have the same.

Spec: 3GPP TS 29.228 Annex E (the schema of the Cx user profile)
"""

from __future__ import annotations

from typing import Any, Final

from omaim.bodies import xml
from omaim.core.service_profile import (
    ANY_PART,
    CONTINUE,
    INITIAL,
    ORIGINATING,
    ORIGINATING_UNREGISTERED,
    REFRESH,
    REMOVAL,
    TERMINATE,
    TERMINATING,
    TERMINATING_UNREGISTERED,
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

SIZE: Final = 65_536  # octets of one document
DEPTH: Final = 12
ELEMENTS: Final = 4000
POINTS: Final = 100  # in one trigger
GROUPS: Final = 16  # of one point
PROFILES: Final = 50  # of one private identity
TEXT: Final = 8192  # characters of a name or of service information


def parse_subscription(document: bytes) -> Subscription:
    """Return what an ``IMSSubscription`` says.

    Raises:
        BadXml: not XML that we read.
        BadProfile: not such a document, or over a limit.
        BadPattern: a pattern that is none.
    """
    root = _root(document, "IMSSubscription")
    found = _all(root, "ServiceProfile")
    if not 1 <= len(found) <= PROFILES:
        raise BadProfile(f"a subscription has no profile, or more than {PROFILES}")
    return Subscription(_text(root, "PrivateID"), tuple(_profile(one) for one in found))


def parse_profile(document: bytes) -> Profile:
    """Return what a document with the root ``ServiceProfile`` says.

    Raises:
        BadXml: not XML that we read.
        BadProfile: not such a document, or over a limit.
        BadPattern: a pattern that is none.
    """
    return _profile(_root(document, "ServiceProfile"))


def _root(document: bytes, name: str) -> xml.Element:
    root = xml.parse_xml(document, size=SIZE, depth=DEPTH, elements=ELEMENTS)
    if xml.local_name(root) != name:
        raise BadProfile(f"the document is no {name}")
    return root


def _all(parent: xml.Element, name: str) -> list[xml.Element]:
    """Return the children of this name, and those inside an Extension."""
    found = []
    for child in parent:
        local = xml.local_name(child)
        if local == name:
            found.append(child)
        elif local == "Extension":
            found.extend(_all(child, name))
    return found


def _one(parent: xml.Element, name: str) -> xml.Element | None:
    found = _all(parent, name)
    if len(found) > 1:
        raise BadProfile(f"{name} is there twice")
    return found[0] if found else None


def _text(parent: xml.Element, name: str, default: str | None = None) -> str:
    found = _one(parent, name)
    text = default if found is None else xml.text_of(found)
    if text is None:
        raise BadProfile(f"{name} is missing")
    if len(text) > TEXT:
        raise BadProfile(f"{name} is longer than {TEXT} characters")
    return text


def _number(parent: xml.Element, name: str, most: int, default: int | None = None) -> int:
    text = _text(parent, name, "" if default is not None else None)
    if not text and default is not None:
        return default
    value = xml.whole(text)
    if value > most:
        raise BadProfile(f"{name} is over {most}")
    return value


def _flag(parent: xml.Element, name: str, default: bool = False) -> bool:
    text = _text(parent, name, "")
    return xml.boolean(text) if text else default


def _profile(element: xml.Element) -> Profile:
    identities = tuple(
        Identity(_text(one, "Identity"), _flag(one, "BarringIndication"))
        for one in _all(element, "PublicIdentity")
    )
    services = _one(element, "CoreNetworkServicesAuthorization")
    media = None
    if services is not None and _one(services, "SubscribedMediaProfileId") is not None:
        media = _number(services, "SubscribedMediaProfileId", 2**31)
    return Profile(
        Filters(tuple(_criteria(one) for one in _all(element, "InitialFilterCriteria"))),
        identities,
        media,
        tuple(xml.whole(xml.text_of(one)) for one in _all(element, "SharedIFCSetID")),
    )


def _criteria(element: xml.Element) -> Criteria:
    trigger = _one(element, "TriggerPoint")
    server = _one(element, "ApplicationServer")
    if server is None:
        raise BadProfile("a filter criteria names no application server")
    name = _text(server, "ServerName")
    if not name.lower().startswith(("sip:", "sips:")):
        raise BadProfile("the name of an application server is no SIP URI")
    return Criteria(
        _number(element, "Priority", 2**31),
        Server(
            name,
            _number(server, "DefaultHandling", 1, CONTINUE),
            _text(server, "ServiceInfo", ""),
            _one(server, "IncludeRegisterRequest") is not None,
            _one(server, "IncludeRegisterResponse") is not None,
        ),
        None if trigger is None else _trigger(trigger),
        _number(element, "ProfilePartIndicator", 1, ANY_PART),
    )


def _trigger(element: xml.Element) -> Trigger:
    points = _all(element, "SPT")
    if not 1 <= len(points) <= POINTS:
        raise BadProfile(f"a trigger has no point, or more than {POINTS}")
    return Trigger(
        xml.boolean(_text(element, "ConditionTypeCNF")), tuple(_point(one) for one in points)
    )


def _point(element: xml.Element) -> Point:
    groups = tuple(xml.whole(xml.text_of(one)) for one in _all(element, "Group"))
    if len(groups) > GROUPS:
        raise BadProfile(f"a point is in more than {GROUPS} groups")
    found = [read(element) for read in (_method, _case, _uri, _header, _description)]
    conditions = [one for one in found if one is not None]
    if len(conditions) != 1:
        raise BadProfile("a point has no condition, or several")
    return Point(conditions[0], _flag(element, "ConditionNegated"), groups or (0,))


def _method(element: xml.Element) -> Condition | None:
    if _one(element, "Method") is None:
        return None
    types = tuple(xml.whole(xml.text_of(one)) for one in _all(element, "RegistrationType"))
    if any(one > REMOVAL for one in types):
        raise BadProfile(f"RegistrationType is over {REMOVAL}")
    return MethodIs(_text(element, "Method"), types)


def _case(element: xml.Element) -> Condition | None:
    if _one(element, "SessionCase") is None:
        return None
    return CaseIs(_number(element, "SessionCase", 4))


def _uri(element: xml.Element) -> Condition | None:
    if _one(element, "RequestURI") is None:
        return None
    return UriMatches(_text(element, "RequestURI"))


def _header(element: xml.Element) -> Condition | None:
    found = _one(element, "SIPHeader")
    if found is None:
        return None
    return HeaderMatches(_text(found, "Header"), _content(found))


def _description(element: xml.Element) -> Condition | None:
    found = _one(element, "SessionDescription")
    if found is None:
        return None
    return DescriptionMatches(_text(found, "Line").rstrip("="), _content(found))


def _content(element: xml.Element) -> str | None:
    return None if _one(element, "Content") is None else _text(element, "Content")


def write_subscription(subscription: Subscription) -> bytes:
    """Return the document that :func:`parse_subscription` reads back as this value."""
    root = xml.new_root("IMSSubscription", {})
    xml.add(root, "PrivateID", subscription.private_id)
    for profile in subscription.profiles:
        _write_profile(xml.add(root, "ServiceProfile"), profile)
    return xml.write_xml(root)


def write_profile(profile: Profile) -> bytes:
    """Return the document that :func:`parse_profile` reads back as this value."""
    root = xml.new_root("ServiceProfile", {})
    _write_profile(root, profile)
    return xml.write_xml(root)


def _write_profile(element: xml.Element, profile: Profile) -> None:
    for identity in profile.identities:
        public = xml.add(element, "PublicIdentity")
        if identity.barred:
            xml.add(public, "BarringIndication", "1")
        xml.add(public, "Identity", identity.uri)
    if profile.media_profile is not None:
        services = xml.add(element, "CoreNetworkServicesAuthorization")
        xml.add(services, "SubscribedMediaProfileId", str(profile.media_profile))
    for one in profile.filters.criteria:
        _write_criteria(xml.add(element, "InitialFilterCriteria"), one)
    if profile.shared_sets:
        extension = xml.add(element, "Extension")
        for number in profile.shared_sets:
            xml.add(extension, "SharedIFCSetID", str(number))


def _write_criteria(element: xml.Element, criteria: Criteria) -> None:
    xml.add(element, "Priority", str(criteria.priority))
    if criteria.trigger is not None:
        trigger = xml.add(element, "TriggerPoint")
        xml.add(trigger, "ConditionTypeCNF", str(int(criteria.trigger.conjunctive)))
        for point in criteria.trigger.points:
            _write_point(xml.add(trigger, "SPT"), point)
    server = xml.add(element, "ApplicationServer")
    xml.add(server, "ServerName", criteria.server.name)
    xml.add(server, "DefaultHandling", str(criteria.server.default_handling))
    if criteria.server.service_info:
        xml.add(server, "ServiceInfo", criteria.server.service_info)
    if criteria.server.include_request or criteria.server.include_response:
        extension = xml.add(server, "Extension")
        if criteria.server.include_request:
            xml.add(extension, "IncludeRegisterRequest")
        if criteria.server.include_response:
            xml.add(extension, "IncludeRegisterResponse")
    if criteria.part != ANY_PART:
        xml.add(element, "ProfilePartIndicator", str(criteria.part))


def _write_point(element: xml.Element, point: Point) -> None:
    xml.add(element, "ConditionNegated", str(int(point.negated)))
    for group in point.groups:
        xml.add(element, "Group", str(group))
    condition = point.condition
    if isinstance(condition, MethodIs):
        xml.add(element, "Method", condition.method)
        if condition.registration_types:
            extension = xml.add(element, "Extension")
            for kind in condition.registration_types:
                xml.add(extension, "RegistrationType", str(kind))
    elif isinstance(condition, CaseIs):
        xml.add(element, "SessionCase", str(condition.case))
    elif isinstance(condition, UriMatches):
        xml.add(element, "RequestURI", condition.pattern)
    elif isinstance(condition, HeaderMatches):
        header = xml.add(element, "SIPHeader")
        xml.add(header, "Header", condition.header)
        if condition.content is not None:
            xml.add(header, "Content", condition.content)
    else:
        description = xml.add(element, "SessionDescription")
        xml.add(description, "Line", condition.line)
        if condition.content is not None:
            xml.add(description, "Content", condition.content)


class ProfileBook:
    """Reads profiles and gives all users with the same criteria the same :class:`Filters`.

    Args:
        limit: how many different ones are remembered; the oldest goes first.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._documents: dict[bytes, Profile] = {}
        self._filters: dict[Filters, Filters] = {}

    def profile(self, document: bytes) -> Profile:
        """Return what :func:`parse_profile` does, the same object for the same octets."""
        profile = self._documents.get(document)
        if profile is None:
            profile = self._shared(parse_profile(document))
            self._forget_one(self._documents)
            self._documents[document] = profile
        return profile

    def subscription(self, document: bytes) -> Subscription:
        """Return what :func:`parse_subscription` does, with shared filters inside."""
        found = parse_subscription(document)
        return Subscription(found.private_id, tuple(self._shared(one) for one in found.profiles))

    def _shared(self, profile: Profile) -> Profile:
        filters = self._filters.get(profile.filters)
        if filters is None:
            filters = profile.filters
            self._forget_one(self._filters)
            self._filters[filters] = filters
        return Profile(filters, profile.identities, profile.media_profile, profile.shared_sets)

    def _forget_one(self, table: dict[Any, Any]) -> None:
        if len(table) >= self._limit:
            del table[next(iter(table))]


def im_profile(
    im_server: str,
    presence_server: str = "",
    xdm_server: str = "",
    *,
    tagged_only: bool = True,
    default_handling: int = TERMINATE,
    settings_event: str = "im-settings",
) -> Profile:
    """Return the profile of a user of the IM service.

    The IM Server is shown the answers to the user's own REGISTERs: they name all identities that
    are registered together, and all devices.

    Args:
        im_server: the SIP URI that MESSAGE, INVITE and third-party REGISTER go to.
        presence_server: that of presence; no criteria for it when empty.
        xdm_server: that of document changes; no criteria for it when empty.
        tagged_only: send the IM Server only what asks for the IM feature tag in
            Accept-Contact; otherwise every MESSAGE, and INVITE still by its tag.
        default_handling: of a MESSAGE while the IM Server is dead. :data:`TERMINATE` refuses it;
            with :data:`CONTINUE` it goes to the device directly, past what its user blocks and
            before older messages that the server keeps. Sessions and registrations always
            continue.
        settings_event: the event package of the service settings that users publish for the
            IM Server; no criteria for it when empty.

    Spec: OMA SIMPLE IM 1.0 architecture §5.6.2 (IM-2)
    """
    cases = (ORIGINATING, TERMINATING, TERMINATING_UNREGISTERED, ORIGINATING_UNREGISTERED)
    im = Server(im_server, CONTINUE, include_response=True)
    tag = HeaderMatches("Accept-Contact", r"\+g\.oma\.sip-im")
    tagged = Point(tag, False, (1,))
    anywhere = tuple(Point(CaseIs(case), False, (2,)) for case in cases)
    messages = (Point(MethodIs("MESSAGE")), *((tagged,) if tagged_only else ()), *anywhere)
    sessions = (Point(MethodIs("INVITE")), tagged, *anywhere)
    registrations = (Point(MethodIs("REGISTER", (INITIAL, REFRESH, REMOVAL))),)
    criteria = [
        Criteria(0, im, Trigger(True, registrations)),
        Criteria(10, Server(im_server, default_handling), Trigger(True, messages)),
        Criteria(11, Server(im_server), Trigger(True, sessions)),
    ]
    if settings_event:
        event = HeaderMatches("Event", rf"^{settings_event.replace('.', '[.]')}([ ;]|$)")
        publish = (
            Point(MethodIs("PUBLISH")),
            Point(CaseIs(ORIGINATING), False, (1,)),
            Point(event, False, (2,)),
        )
        criteria.append(Criteria(15, im, Trigger(True, publish)))
    if presence_server:
        event = HeaderMatches("Event", r"^presence(\.winfo)?([ ;]|$)")
        alternatives = (
            (MethodIs("PUBLISH"), ORIGINATING),
            (MethodIs("SUBSCRIBE"), TERMINATING),
            (MethodIs("SUBSCRIBE"), TERMINATING_UNREGISTERED),
        )
        points = []
        for group, (method, case) in enumerate(alternatives):
            for condition in (method, CaseIs(case), event):
                points.append(Point(condition, False, (group,)))
        criteria.append(Criteria(20, Server(presence_server), Trigger(False, tuple(points))))
    if xdm_server:
        event = HeaderMatches("Event", r"^(xcap-diff|ua-profile)([ ;]|$)")
        points = [Point(MethodIs("SUBSCRIBE")), Point(event, False, (1,))]
        criteria.append(Criteria(30, Server(xdm_server), Trigger(True, tuple(points))))
    return Profile(Filters(tuple(criteria)))
