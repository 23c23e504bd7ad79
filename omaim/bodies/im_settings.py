"""What a user wants of the IM service: active, deferral, visibility, history, answer mode.

A device publishes them for itself; what it does not say, it leaves to others. Each setting is read
from its text, from an attribute ``active``, and is on when it is there and empty, because
implementations differ.

Spec: OMA SIMPLE IM 1.0 (IM service settings); namespace urn:oma:xml:im:service-settings
Differs: the names of the root and of the media type, and the form of a value, are not confirmed by
a published text. They follow RFC 4354, which does the same for another service; so does the
answer mode, which only that one has (``am-settings``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from omaim.bodies.xml import (
    BadXml,
    Element,
    add,
    boolean,
    child,
    child_text,
    children,
    local_name,
    namespace_of,
    new_root,
    parse_xml,
    text_of,
    write_xml,
)

MEDIA_TYPE: Final = "application/vnd.oma.im.service-settings+xml"
NAMESPACE: Final = "urn:oma:xml:im:service-settings"
SIZE: Final = 8192  # octets of a document
ELEMENTS: Final = 64
SERVICE: Final = 200  # characters of a service-id

_ROOTS: Final = ("service-settings", "im-settings")
_VISIBLE: Final = {"visible": True, "invisible": False}
_ANSWERED: Final = {"automatic": True, "auto": True, "manual": False}


class BadSettings(BadXml):
    """The body is not a document of IM service settings."""


@attrs.frozen
class ServiceSettings:
    """What one device says; ``None`` where it says nothing."""

    active: bool | None = None  # takes messages and sessions
    deferred: bool | None = None  # what cannot be delivered is to wait
    visible: bool | None = None
    history_session: bool | None = None  # sessions are recorded
    history_pager: bool | None = None  # pager and large messages are recorded
    automatic: bool | None = None  # calls of those who may are answered without asking
    service: str = ""  # service-id


def write_settings(settings: ServiceSettings) -> bytes:
    """Return the document."""
    root = new_root(_tag(_ROOTS[0]), {None: NAMESPACE})
    if settings.service:
        add(root, _tag("service-id"), settings.service)
    if settings.active is not None:
        add(root, _tag("active"), _word(settings.active))
    if settings.deferred is not None:
        add(
            add(root, _tag("deferred-settings")), _tag("offline-delivery"), _word(settings.deferred)
        )
    if settings.visible is not None:
        add(add(root, _tag("vis-settings")), _tag("vis-status"), _word(settings.visible))
    if settings.automatic is not None:
        word = "automatic" if settings.automatic else "manual"
        add(add(root, _tag("am-settings")), _tag("answer-mode"), word)
    modes = (
        ("session-mode", settings.history_session),
        ("pager-large-mode", settings.history_pager),
    )
    if any(value is not None for _, value in modes):
        holder = add(root, _tag("hist-settings"))
        for name, value in modes:
            if value is not None:
                add(add(holder, _tag("hist-activation")), _tag(name), _word(value))
    return write_xml(root)


def parse_settings(data: bytes) -> ServiceSettings:
    """Return what a document says; elements that are not known are overlooked.

    Raises:
        BadXml: not this XML (400), or too large (413).
    """
    root = parse_xml(data, size=SIZE, depth=8, elements=ELEMENTS)
    if namespace_of(root) != NAMESPACE or local_name(root) not in _ROOTS:
        raise BadSettings("the body has another root than service-settings")
    service = child_text(root, _tag("service-id"))
    if len(service) > SERVICE:
        raise BadSettings(f"a service-id of more than {SERVICE} characters", 413)
    modes: dict[str, bool] = {}
    for holder in children(root, _tag("hist-settings")):
        for activation in children(holder, _tag("hist-activation")):
            for name in ("session-mode", "pager-large-mode"):
                value = _flag(child(activation, _tag(name)))
                if value is not None:
                    modes[name] = value
    return ServiceSettings(
        active=_flag(child(root, _tag("active"))),
        deferred=_inside(root, "deferred-settings", "offline-delivery"),
        visible=_inside(root, "vis-settings", "vis-status"),
        history_session=modes.get("session-mode"),
        history_pager=modes.get("pager-large-mode"),
        automatic=_inside(root, "am-settings", "answer-mode", _ANSWERED),
        service=service,
    )


def _inside(
    root: Element, holder: str, name: str, words: Mapping[str, bool] = _VISIBLE
) -> bool | None:
    found = child(root, _tag(holder))
    return None if found is None else _flag(child(found, _tag(name)), words)


def _flag(element: Element | None, words: Mapping[str, bool] = _VISIBLE) -> bool | None:
    """Return what an element says, ``None`` when it is not there.

    Raises:
        BadXml: neither yes nor no.
    """
    if element is None:
        return None
    text = (element.get("active") or text_of(element)).strip().lower()
    if not text:
        return True
    return words[text] if text in words else boolean(text)


def _word(value: bool) -> str:
    return "true" if value else "false"


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"
