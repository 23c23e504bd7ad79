"""application/conference-info+xml: who is in a conference, told to who watches it.

:func:`parse_conference` and :func:`write_conference` for the documents; one serves many
watchers, as :func:`renumbered` gives it each one's version. How documents follow one another is in
:mod:`omaim.bodies.conference_state`.

Spec: RFC 4575; RFC 6501 and RFC 7701 §7.4 (nickname)
Differs: sidebars are overlooked, and so are the elements of other specifications.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import attrs

from omaim.bodies.moments import parse_moment, write_moment
from omaim.bodies.xml import (
    BadXml,
    Element,
    add,
    boolean,
    child,
    child_text,
    children,
    new_root,
    parse_xml,
    text_of,
    whole,
    write_xml,
)
from omaim.errors import UsageError

MEDIA_TYPE: Final = "application/conference-info+xml"
NAMESPACE: Final = "urn:ietf:params:xml:ns:conference-info"
XCON_NAMESPACE: Final = "urn:ietf:params:xml:ns:xcon-conference-info"

SIZE: Final = 4_194_304  # octets of a document: a room of some thousands
ELEMENTS: Final = 100_000

FULL: Final = "full"  # states of a document and its parts, §4.4
PARTIAL: Final = "partial"
DELETED: Final = "deleted"

CONNECTED: Final = "connected"  # statuses of an endpoint, §5.7.3
DISCONNECTED: Final = "disconnected"
ON_HOLD: Final = "on-hold"
MUTED: Final = "muted-via-focus"
PENDING: Final = "pending"
ALERTING: Final = "alerting"
DIALING_IN: Final = "dialing-in"
DIALING_OUT: Final = "dialing-out"
DISCONNECTING: Final = "disconnecting"

DIALED_IN: Final = "dialed-in"  # joining methods, §5.7.4
DIALED_OUT: Final = "dialed-out"
FOCUS_OWNER: Final = "focus-owner"

DEPARTED: Final = "departed"  # disconnection methods, §5.7.6
BOOTED: Final = "booted"
FAILED: Final = "failed"
BUSY: Final = "busy"

_MAX_VERSION: Final = 4294967295
_STATES: Final = (FULL, PARTIAL, DELETED)
_T = TypeVar("_T")


class BadConference(BadXml):
    """The body is not conference information."""


@attrs.frozen
class ConferenceUri:
    """A URI with what it is good for.

    Spec: RFC 4575 §5.3.1, §5.3.2
    """

    uri: str
    text: str = ""  # for people
    purpose: str = ""  # participation, streaming, web-page, recording, event


@attrs.frozen
class AvailableMedia:
    """A medium that can be had in a conference.

    Spec: RFC 4575 §5.3.4
    """

    label: str
    type: str  # message, audio and so on
    text: str = ""
    status: str = ""  # a direction, as participants see it


@attrs.frozen
class Description:
    """What a conference is about.

    Spec: RFC 4575 §5.3
    """

    text: str = ""
    subject: str = ""
    free_text: str = ""
    keywords: tuple[str, ...] = ()
    conf_uris: tuple[ConferenceUri, ...] = ()
    service_uris: tuple[ConferenceUri, ...] = ()
    maximum_user_count: int | None = None
    available_media: tuple[AvailableMedia, ...] = ()


@attrs.frozen
class Host:
    """Who hosts a conference.

    Spec: RFC 4575 §5.4
    """

    text: str = ""
    web_page: str = ""
    uris: tuple[ConferenceUri, ...] = ()


@attrs.frozen
class Activity:
    """How it goes with a conference: its conference-state.

    Spec: RFC 4575 §5.5
    """

    user_count: int | None = None
    active: bool | None = None
    locked: bool | None = None


@attrs.frozen
class Event:
    """When, why and by whom somebody was referred, joined or left.

    Spec: RFC 4575 §5.7.2, §5.7.5, §5.7.7
    """

    when: float | None = None  # seconds since the epoch
    reason: str = ""
    by: str = ""  # URI


@attrs.frozen
class Stream:
    """One medium of an endpoint.

    Spec: RFC 4575 §5.8
    """

    id: str  # unique in the endpoint
    type: str = ""
    label: str = ""
    source: str = ""  # src-id
    status: str = ""  # a direction, as the endpoint sees it
    text: str = ""


@attrs.frozen
class DialogId:
    """The dialog of an endpoint with the focus.

    Spec: RFC 4575 §5.7.9
    """

    call_id: str
    from_tag: str
    to_tag: str
    text: str = ""


@attrs.frozen
class Endpoint:
    """One device or session of a participant.

    Spec: RFC 4575 §5.7
    """

    entity: str  # unique in the user: a Contact, often
    status: str = ""  # CONNECTED and so on
    text: str = ""
    referred: Event | None = None
    joining_method: str = ""
    joining_info: Event | None = None
    disconnection_method: str = ""
    disconnection_info: Event | None = None
    media: tuple[Stream, ...] = ()
    dialog: DialogId | None = None
    state: str = FULL


@attrs.frozen
class User:
    """One participant.

    Spec: RFC 4575 §5.6; RFC 6501 (nickname)
    """

    entity: str  # URI, unique in the conference
    text: str = ""  # a name for people
    nickname: str = ""
    aors: tuple[ConferenceUri, ...] = ()  # further URIs of the same person
    roles: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    cascaded_focus: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    state: str = FULL


@attrs.frozen
class ConferenceInfo:
    """One document, or the state of a conference.

    Spec: RFC 4575 §5.2
    """

    entity: str  # the URI of the conference
    version: int = 0  # one more in each further document of a subscription
    state: str = FULL
    description: Description | None = None
    host: Host | None = None
    activity: Activity | None = None
    users: tuple[User, ...] = ()
    users_state: str | None = FULL  # None: says nothing about users


def parse_conference(data: bytes) -> ConferenceInfo:
    """Return what a document says.

    Raises:
        BadXml: not XML, not this XML, or a key stands twice (400); too large (413).

    Spec: RFC 4575 §5, §6
    """
    root = parse_xml(data, _tag("conference-info"), size=SIZE, elements=ELEMENTS)
    if root.get("version") is None:
        raise BadConference("conference-info without a version")
    version = whole(root.get("version", ""))
    if version > _MAX_VERSION:
        raise BadConference("the version of conference-info is too large")
    users = child(root, _tag("users"))
    found = () if users is None else tuple(_user(one) for one in children(users, _tag("user")))
    _unique("user", [one.entity for one in found])
    return ConferenceInfo(
        entity=_needed(root, "entity"),
        version=version,
        state=_state(root),
        description=_optional(root, "conference-description", _description),
        host=_optional(root, "host-info", _host),
        activity=_optional(root, "conference-state", _activity),
        users=found,
        users_state=None if users is None else _state(users),
    )


def _description(element: Element) -> Description:
    count = child_text(element, _tag("maximum-user-count"))
    holder = child(element, _tag("available-media"))
    available = [] if holder is None else children(holder, _tag("entry"))
    return Description(
        text=_text(element, "display-text"),
        subject=_text(element, "subject"),
        free_text=_text(element, "free-text"),
        keywords=tuple(_text(element, "keywords").split()),
        conf_uris=_uris(element, "conf-uris"),
        service_uris=_uris(element, "service-uris"),
        maximum_user_count=whole(count) if count else None,
        available_media=tuple(_available(one) for one in available),
    )


def _available(element: Element) -> AvailableMedia:
    names = ("type", "display-text", "status")
    return AvailableMedia(_needed(element, "label"), *(_text(element, name) for name in names))


def _host(element: Element) -> Host:
    return Host(_text(element, "display-text"), _text(element, "web-page"), _uris(element, "uris"))


def _activity(element: Element) -> Activity:
    count, active, locked = (_text(element, one) for one in ("user-count", "active", "locked"))
    return Activity(
        whole(count) if count else None,
        boolean(active) if active else None,
        boolean(locked) if locked else None,
    )


def _user(element: Element) -> User:
    endpoints = tuple(_endpoint(one) for one in children(element, _tag("endpoint")))
    _unique("endpoint", [one.entity for one in endpoints])
    holder = child(element, _tag("roles"))
    roles = [] if holder is None else children(holder, _tag("entry"))
    return User(
        entity=_needed(element, "entity"),
        text=_text(element, "display-text"),
        nickname=element.get(_NICKNAME) or element.get("nickname") or "",
        aors=_uris(element, "associated-aors"),
        roles=tuple(text_of(one) for one in roles),
        languages=tuple(_text(element, "languages").split()),
        cascaded_focus=_text(element, "cascaded-focus"),
        endpoints=endpoints,
        state=_state(element),
    )


def _endpoint(element: Element) -> Endpoint:
    media = tuple(_stream(one) for one in children(element, _tag("media")))
    _unique("media", [one.id for one in media])
    call = child(element, _tag("call-info"))
    return Endpoint(
        entity=_needed(element, "entity"),
        status=_text(element, "status"),
        text=_text(element, "display-text"),
        referred=_optional(element, "referred", _event),
        joining_method=_text(element, "joining-method"),
        joining_info=_optional(element, "joining-info", _event),
        disconnection_method=_text(element, "disconnection-method"),
        disconnection_info=_optional(element, "disconnection-info", _event),
        media=media,
        dialog=None if call is None else _optional(call, "sip", _dialog),
        state=_state(element),
    )


def _event(element: Element) -> Event:
    when = _text(element, "when")
    return Event(
        parse_moment(when) if when else None, _text(element, "reason"), _text(element, "by")
    )


def _stream(element: Element) -> Stream:
    names = ("type", "label", "src-id", "status", "display-text")
    return Stream(_needed(element, "id"), *(_text(element, name) for name in names))


def _dialog(element: Element) -> DialogId:
    names = ("call-id", "from-tag", "to-tag", "display-text")
    return DialogId(*(_text(element, name) for name in names))


def _uris(parent: Element, name: str) -> tuple[ConferenceUri, ...]:
    holder = child(parent, _tag(name))
    if holder is None:
        return ()
    found = []
    for one in children(holder, _tag("entry")):
        uri = _text(one, "uri")
        if not uri:
            raise BadConference(f"an entry of {name} without its URI")
        found.append(ConferenceUri(uri, _text(one, "display-text"), _text(one, "purpose")))
    return tuple(found)


def _optional(parent: Element, name: str, parse: Callable[[Element], _T]) -> _T | None:
    found = child(parent, _tag(name))
    return None if found is None else parse(found)


def _text(parent: Element, name: str) -> str:
    return child_text(parent, _tag(name))


def _needed(element: Element, name: str) -> str:
    value = element.get(name, "").strip()
    if not value:
        raise BadConference(f"an element of conference-info without {name}")
    return value


def _state(element: Element) -> str:
    state = element.get("state", FULL).strip()
    if state not in _STATES:
        raise BadConference("a state is neither full nor partial nor deleted")
    return state


def _unique(what: str, keys: Sequence[str]) -> None:
    if len(set(keys)) != len(keys):
        raise BadConference(f"two elements {what} have the same key")


def write_conference(info: ConferenceInfo) -> bytes:
    """Return the document.

    Raises:
        UsageError: a state that RFC 4575 does not have.

    Spec: RFC 4575 §5, §6
    """
    root = new_root(_tag("conference-info"), {None: NAMESPACE, "xcon": XCON_NAMESPACE})
    root.set("version", str(info.version))
    root.set("entity", info.entity)
    _set_state(root, info.state)
    if info.state == DELETED:
        return write_xml(root)
    if info.description is not None:
        _write_description(add(root, _tag("conference-description")), info.description)
    if info.host is not None:
        host = add(root, _tag("host-info"))
        _write_texts(host, ("display-text", info.host.text), ("web-page", info.host.web_page))
        _write_uris(host, "uris", info.host.uris)
    if info.activity is not None:
        state = add(root, _tag("conference-state"))
        count = info.activity.user_count
        _write_texts(
            state,
            ("user-count", "" if count is None else str(count)),
            ("active", _boolean(info.activity.active)),
            ("locked", _boolean(info.activity.locked)),
        )
    if info.users_state is not None:
        users = add(root, _tag("users"))
        _set_state(users, info.users_state)
        for user in info.users:
            _write_user(users, user)
    return write_xml(root)


def renumbered(document: bytes, version: int) -> bytes:
    """Return a document of :func:`write_conference` with another version.

    Spec: RFC 4575 §5.2 (each subscription counts for itself)
    """
    start = document.index(b' version="', document.index(b"?>")) + 10
    return document[:start] + b"%d" % version + document[document.index(b'"', start) :]


def _write_description(element: Element, what: Description) -> None:
    _write_texts(
        element,
        ("display-text", what.text),
        ("subject", what.subject),
        ("free-text", what.free_text),
        ("keywords", " ".join(what.keywords)),
    )
    _write_uris(element, "conf-uris", what.conf_uris)
    _write_uris(element, "service-uris", what.service_uris)
    if what.maximum_user_count is not None:
        add(element, _tag("maximum-user-count"), str(what.maximum_user_count))
    if what.available_media:
        holder = add(element, _tag("available-media"))
        for one in what.available_media:
            entry = add(holder, _tag("entry"), "", [("label", one.label)])
            _write_texts(entry, ("display-text", one.text))
            add(entry, _tag("type"), one.type)
            _write_texts(entry, ("status", one.status))


def _write_user(parent: Element, user: User) -> None:
    element = add(parent, _tag("user"), "", [("entity", user.entity)])
    _set_state(element, user.state)
    if user.state == DELETED:
        return
    if user.nickname:
        element.set(_NICKNAME, user.nickname)
    _write_texts(element, ("display-text", user.text))
    _write_uris(element, "associated-aors", user.aors)
    if user.roles:
        roles = add(element, _tag("roles"))
        for role in user.roles:
            add(roles, _tag("entry"), role)
    _write_texts(
        element, ("languages", " ".join(user.languages)), ("cascaded-focus", user.cascaded_focus)
    )
    for endpoint in user.endpoints:
        _write_endpoint(element, endpoint)


def _write_endpoint(parent: Element, endpoint: Endpoint) -> None:
    element = add(parent, _tag("endpoint"), "", [("entity", endpoint.entity)])
    _set_state(element, endpoint.state)
    if endpoint.state == DELETED:
        return
    _write_texts(element, ("display-text", endpoint.text))
    _write_event(element, "referred", endpoint.referred)
    _write_texts(element, ("status", endpoint.status), ("joining-method", endpoint.joining_method))
    _write_event(element, "joining-info", endpoint.joining_info)
    _write_texts(element, ("disconnection-method", endpoint.disconnection_method))
    _write_event(element, "disconnection-info", endpoint.disconnection_info)
    for one in endpoint.media:
        _write_texts(
            add(element, _tag("media"), "", [("id", one.id)]),
            ("display-text", one.text),
            ("type", one.type),
            ("label", one.label),
            ("src-id", one.source),
            ("status", one.status),
        )
    if endpoint.dialog is not None:
        sip = add(add(element, _tag("call-info")), _tag("sip"))
        _write_texts(sip, ("display-text", endpoint.dialog.text))
        for name, value in (
            ("call-id", endpoint.dialog.call_id),
            ("from-tag", endpoint.dialog.from_tag),
            ("to-tag", endpoint.dialog.to_tag),
        ):
            add(sip, _tag(name), value)


def _write_event(parent: Element, name: str, event: Event | None) -> None:
    if event is not None:
        when = "" if event.when is None else write_moment(event.when)
        element = add(parent, _tag(name))
        _write_texts(element, ("when", when), ("reason", event.reason), ("by", event.by))


def _write_uris(parent: Element, name: str, uris: Iterable[ConferenceUri]) -> None:
    holder = None
    for one in uris:
        holder = add(parent, _tag(name)) if holder is None else holder
        entry = add(holder, _tag("entry"))
        add(entry, _tag("uri"), one.uri)
        _write_texts(entry, ("display-text", one.text), ("purpose", one.purpose))


def _write_texts(parent: Element, *pairs: tuple[str, str]) -> None:
    """Add a child for each text that is not empty."""
    for name, value in pairs:
        if value:
            add(parent, _tag(name), value)


def _set_state(element: Element, state: str) -> None:
    if state not in _STATES:
        raise UsageError(f"no state {state!r}: use one of {', '.join(_STATES)}")
    element.set("state", state)


def _boolean(value: bool | None) -> str:
    return "" if value is None else str(value).lower()


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


_NICKNAME: Final = f"{{{XCON_NAMESPACE}}}nickname"
