"""application/reginfo+xml: who is registered where, told to who watches.

:func:`parse_reginfo` and :func:`write_reginfo` for the documents, :class:`RegistrationTable`
for a watcher that keeps the whole state up to date from full and partial ones.

Spec: RFC 3680 §5; RFC 5628 (GRUUs)
"""

from __future__ import annotations

from typing import Final, final

import attrs

from omaim.bodies.xml import (
    BadXml,
    Element,
    add,
    child,
    child_text,
    children,
    new_root,
    parse_xml,
    text_of,
    write_xml,
)
from omaim.errors import UsageError

MEDIA_TYPE: Final = "application/reginfo+xml"
NAMESPACE: Final = "urn:ietf:params:xml:ns:reginfo"
GRUU_NAMESPACE: Final = "urn:ietf:params:xml:ns:gruuinfo"

INIT: Final = "init"
ACTIVE: Final = "active"
TERMINATED: Final = "terminated"

EVENTS: Final = {  # what state a contact is in after each, RFC 3680 §3.2
    "registered": ACTIVE,
    "created": ACTIVE,
    "refreshed": ACTIVE,
    "shortened": ACTIVE,
    "expired": TERMINATED,
    "deactivated": TERMINATED,
    "probation": TERMINATED,
    "unregistered": TERMINATED,
    "rejected": TERMINATED,
}

APPLIED: Final = "applied"
OLD: Final = "old"  # seen already: nothing changed
MISSED: Final = "missed"  # something between is missing: ask for full state by a refresh

_MAX_NUMBER: Final = 18446744073709551615  # xs:unsignedLong
_MAX_VERSION: Final = 4294967295
_MAX_KEPT: Final = 1000  # registrations of a table, and contacts of each; more are not noted
_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"


class BadReginfo(BadXml):
    """The body is not registration information."""


@attrs.frozen
class Contact:
    """One contact of a registration, and what happened to it last.

    Spec: RFC 3680 §5.1; RFC 5628 §5
    """

    id: str  # unique in the subscription
    event: str  # one of EVENTS
    uri: str
    state: str = ""  # ACTIVE or TERMINATED; "" follows from the event when written
    display: str = ""
    display_lang: str = ""
    q: str = ""  # as in the Contact; "" not said
    duration: int | None = None  # seconds since it was first bound
    expires: int | None = None  # seconds left
    retry_after: int | None = None  # seconds, with "probation"
    call_id: str = ""
    cseq: int | None = None
    params: tuple[tuple[str, str], ...] = ()  # those of its Contact beyond RFC 3261
    pub_gruu: str = ""
    temp_gruu: str = ""  # the latest
    first_cseq: int = 0  # CSeq of the REGISTER that made the oldest one still valid


@attrs.frozen
class Registration:
    """One address of record and its contacts."""

    aor: str
    id: str  # the same in all documents of a subscription
    state: str  # INIT, ACTIVE or TERMINATED
    contacts: tuple[Contact, ...] = ()


@attrs.frozen
class Reginfo:
    """One document.

    Attributes:
        version: 0 at first, one more in each further document of the subscription.
        full: it tells all; otherwise only what changed.
    """

    version: int
    full: bool
    registrations: tuple[Registration, ...] = ()


def parse_reginfo(data: bytes) -> Reginfo:
    """Return what a document says; elements of other specifications are overlooked.

    Raises:
        BadXml: not XML, or not this XML.

    Spec: RFC 3680 §5.1; RFC 5628 §5
    """
    root = parse_xml(data, _tag("reginfo"))
    state = root.get("state", "").strip()
    if state not in ("full", "partial"):
        raise BadReginfo("reginfo is neither full nor partial")
    version = _number(root, "version", _MAX_VERSION)
    if version is None:
        raise BadReginfo("reginfo without a version")
    found = tuple(_registration(one) for one in children(root, _tag("registration")))
    if len({one.id for one in found}) != len(found):
        raise BadReginfo("two registrations have the same id")
    return Reginfo(version, state == "full", found)


def _registration(element: Element) -> Registration:
    state = element.get("state", "").strip()
    if state not in (INIT, ACTIVE, TERMINATED):
        raise BadReginfo("a registration without a good state")
    contacts = tuple(_contact(one) for one in children(element, _tag("contact")))
    return Registration(_needed(element, "aor"), _needed(element, "id"), state, contacts)


def _contact(element: Element) -> Contact:
    state = element.get("state", "").strip()
    event = element.get("event", "").strip()
    uri = child_text(element, _tag("uri"))
    if state not in (ACTIVE, TERMINATED) or event not in EVENTS or not uri:
        raise BadReginfo("a contact without a good state, event or uri")
    display = child(element, _tag("display-name"))
    public = child(element, _gruu_tag("pub-gruu"))
    temporary = child(element, _gruu_tag("temp-gruu"))
    first = None if temporary is None else _number(temporary, "first-cseq")
    return Contact(
        id=_needed(element, "id"),
        event=event,
        uri=uri,
        state=state,
        display="" if display is None else text_of(display),
        display_lang="" if display is None else display.get(_LANG, ""),
        q=element.get("q", "").strip(),
        duration=_number(element, "duration-registered"),
        expires=_number(element, "expires"),
        retry_after=_number(element, "retry-after"),
        call_id=element.get("callid", ""),
        cseq=_number(element, "cseq"),
        params=tuple(
            (_needed(one, "name"), text_of(one)) for one in children(element, _tag("unknown-param"))
        ),
        pub_gruu="" if public is None else _needed(public, "uri"),
        temp_gruu="" if temporary is None else _needed(temporary, "uri"),
        first_cseq=first or 0,
    )


def _needed(element: Element, name: str) -> str:
    value = element.get(name, "").strip()
    if not value:
        raise BadReginfo(f"an element of reginfo without {name}")
    return value


def _number(element: Element, name: str, largest: int = _MAX_NUMBER) -> int | None:
    text = element.get(name)
    if text is None:
        return None
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20:
        raise BadReginfo(f"{name} is not a number")
    value = int(digits)
    if value > largest:
        raise BadReginfo(f"{name} is too large")
    return value


def write_reginfo(reginfo: Reginfo) -> bytes:
    """Return the document.

    Raises:
        UsageError: an event that RFC 3680 does not have, "shortened" without expires, or
            "probation" without retry_after.

    Spec: RFC 3680 §5.1, §5.4; RFC 5628 §5
    """
    root = new_root(_tag("reginfo"), {None: NAMESPACE, "gr": GRUU_NAMESPACE})
    root.set("version", str(reginfo.version))
    root.set("state", "full" if reginfo.full else "partial")
    for registration in reginfo.registrations:
        attributes = [("aor", registration.aor), ("id", registration.id)]
        attributes.append(("state", registration.state))
        element = add(root, _tag("registration"), "", attributes)
        for contact in registration.contacts:
            _write_contact(element, contact)
    return write_xml(root)


def _write_contact(parent: Element, contact: Contact) -> None:
    if contact.event not in EVENTS:
        raise UsageError(f"no contact event {contact.event!r}: use one of {', '.join(EVENTS)}")
    if contact.event == "shortened" and contact.expires is None:
        raise UsageError("a shortened contact says expires")
    if contact.event == "probation" and contact.retry_after is None:
        raise UsageError("a contact on probation says retry_after")
    state = contact.state or EVENTS[contact.event]
    attributes = [("id", contact.id), ("state", state), ("event", contact.event)]
    for name, number in (
        ("duration-registered", contact.duration),
        ("expires", contact.expires),
        ("retry-after", contact.retry_after),
        ("cseq", contact.cseq),
    ):
        if number is not None:
            attributes.append((name, str(number)))
    if contact.q:
        attributes.append(("q", contact.q))
    if contact.call_id:
        attributes.append(("callid", contact.call_id))
    element = add(parent, _tag("contact"), "", attributes)
    add(element, _tag("uri"), contact.uri)
    if contact.display:
        lang = [(_LANG, contact.display_lang)] if contact.display_lang else []
        add(element, _tag("display-name"), contact.display, lang)
    for name, value in contact.params:
        add(element, _tag("unknown-param"), value, [("name", name)])
    if contact.pub_gruu:
        add(element, _gruu_tag("pub-gruu"), "", [("uri", contact.pub_gruu)])
    if contact.temp_gruu:
        first = str(contact.first_cseq)
        attributes = [("uri", contact.temp_gruu), ("first-cseq", first)]
        add(element, _gruu_tag("temp-gruu"), "", attributes)


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _gruu_tag(name: str) -> str:
    return f"{{{GRUU_NAMESPACE}}}{name}"


@final
class RegistrationTable:
    """A watcher's view of registrations, kept up to date by the documents of one subscription.

    Attributes:
        registrations: by id. Terminated registrations and contacts are told once, in the
            document, and not kept.

    Spec: RFC 3680 §5.2
    """

    __slots__ = ("_version", "registrations")

    def __init__(self) -> None:
        self._version = -1
        self.registrations: dict[str, Registration] = {}

    def apply(self, reginfo: Reginfo) -> str:
        """Take a document in.

        Returns:
            APPLIED; or OLD for one that came late or twice, nothing changed; or MISSED for a
            partial one after a gap, which was taken in, but refresh the subscription to be told
            all.
        """
        if reginfo.version <= self._version:
            return OLD
        missed = not reginfo.full and reginfo.version != self._version + 1
        missed = missed or (self._version < 0 and not reginfo.full)
        self._version = reginfo.version
        if reginfo.full:
            self.registrations.clear()
        for registration in reginfo.registrations:
            if registration.state == TERMINATED:
                self.registrations.pop(registration.id, None)
            else:
                self._merge(registration)
        return MISSED if missed else APPLIED

    def _merge(self, registration: Registration) -> None:
        known = self.registrations.get(registration.id)
        if known is None and len(self.registrations) >= _MAX_KEPT:
            return
        contacts = {} if known is None else {one.id: one for one in known.contacts}
        for contact in registration.contacts:
            if contact.state == TERMINATED:
                contacts.pop(contact.id, None)
            else:
                contacts[contact.id] = contact
        if len(contacts) > _MAX_KEPT:
            return
        merged = attrs.evolve(registration, contacts=tuple(contacts.values()))
        self.registrations[registration.id] = merged
