"""What taps hear: facts, said once they are true.

An event that charging, history or interception must not lose is written to the outbox in the
same commit as the fact itself: :func:`to_json` and :func:`from_json` are its written form.
"""

from __future__ import annotations

import json
from typing import Any, Final

import attrs

from omaim.errors import UsageError


@attrs.frozen(kw_only=True)
class ServiceEvent:
    """The root of all service events."""

    at: float  # seconds since the epoch, UTC
    entity: str  # the name of the entity that says it
    icid: str = ""  # IMS charging identity of the request, RFC 7315 §4.6


@attrs.frozen(kw_only=True)
class UserRegistered(ServiceEvent):
    """An AoR has its first binding, or a binding was added or refreshed."""

    aor: str
    contacts: tuple[str, ...]
    initial: bool


@attrs.frozen(kw_only=True)
class UserDeregistered(ServiceEvent):
    """The last binding of an AoR is gone."""

    aor: str
    why: str  # reg event word: "unregistered", "expired", "deactivated", "rejected"


@attrs.frozen(kw_only=True)
class MessageAccepted(ServiceEvent):
    """The IM Server answered a pager message with 2xx: it is ours now, or delivered."""

    message_id: str  # imdn.Message-ID when there is one, else Call-ID
    side: str  # "originating", "terminating", "list"
    sender: str
    recipients: tuple[str, ...]
    content_type: str
    size: int  # octets of the body


@attrs.frozen(kw_only=True)
class MessageDelivered(ServiceEvent):
    """A client of the recipient answered 200."""

    message_id: str
    sender: str
    recipient: str
    deferred: bool  # it had waited in the store


@attrs.frozen(kw_only=True)
class MessageDeferred(ServiceEvent):
    """A message waits in the store for its recipient."""

    message_id: str
    sender: str
    recipient: str
    size: int
    expires_at: float


@attrs.frozen(kw_only=True)
class MessageRefused(ServiceEvent):
    """A message was not accepted."""

    message_id: str
    sender: str
    recipient: str
    status: int
    why: str


@attrs.frozen(kw_only=True)
class MessageExpired(ServiceEvent):
    """A deferred message was dropped because its validity ran out."""

    message_id: str
    sender: str
    recipient: str


@attrs.frozen(kw_only=True)
class MessageDeleted(ServiceEvent):
    """A user deleted a deferred message unread."""

    message_id: str
    recipient: str


@attrs.frozen(kw_only=True)
class MessageRecorded(ServiceEvent):
    """A message is to be in the history of its owner.

    It holds what was said, so it is written to the outbox and never told to taps.
    """

    owner: str  # whose history
    reference: str  # the same for a repeat of the message
    kind: str  # "pager" or "large"
    message_id: str
    sender: str  # as the owner may see it
    peer: str  # the other side, or the service that the message went to
    recipients: tuple[str, ...]
    subject: str
    sent_at: float
    content_type: str
    content: str  # the body in Base64


@attrs.frozen(kw_only=True)
class HistoryRetrieved(ServiceEvent):
    """A user was given the content of recorded conversations."""

    owner: str
    references: tuple[str, ...]
    entries: int


@attrs.frozen(kw_only=True)
class HistoryDeleted(ServiceEvent):
    """A user deleted recorded conversations."""

    owner: str
    references: tuple[str, ...]


@attrs.frozen(kw_only=True)
class ReportSent(ServiceEvent):
    """The server made an IMDN of its own."""

    message_id: str  # of the message reported on
    recipient: str  # who gets the report: the sender of the message
    disposition: str  # "stored", "failed", "forbidden"


@attrs.frozen(kw_only=True)
class SessionStarted(ServiceEvent):
    """Somebody accepted a conversation."""

    side: str  # "originating", "terminating"
    caller: str
    callee: str
    subject: str
    direct: bool  # what is said does not pass the server


@attrs.frozen(kw_only=True)
class SessionEnded(ServiceEvent):
    """A conversation is over."""

    side: str
    caller: str
    callee: str
    seconds: float  # that it took
    messages: int  # that passed, reports and signs of typing among them
    octets: int
    why: str  # a Reason value; "" without


@attrs.frozen(kw_only=True)
class SessionRefused(ServiceEvent):
    """The server did not let a conversation begin."""

    caller: str
    callee: str
    status: int
    why: str


@attrs.frozen(kw_only=True)
class RoomEvent(ServiceEvent):
    """Something happened in a conference room of the IM Server."""

    room: str  # its canonical SIP URI


@attrs.frozen(kw_only=True)
class RoomStarted(RoomEvent):
    """The first participant has come: the room is open."""

    kind: str  # "ad-hoc", "pre-defined", "chat"
    initiator: str


@attrs.frozen(kw_only=True)
class RoomInvited(RoomEvent):
    """The room asks somebody to come in."""

    user: str
    by: str  # who wished so


@attrs.frozen(kw_only=True)
class RoomJoined(RoomEvent):
    """A device of a participant has come in."""

    user: str  # address of record, also of who is anonymous to the others
    shown: str  # address that the others see
    device: str  # the endpoint in the roster
    method: str  # "dialed-in", "dialed-out"


@attrs.frozen(kw_only=True)
class RoomLeft(RoomEvent):
    """A device of a participant has gone."""

    user: str
    shown: str
    device: str
    how: str  # "departed", "booted", "failed"
    by: str = ""  # who expelled it, "" for the room itself
    seconds: float  # that it was in


@attrs.frozen(kw_only=True)
class RoomEnded(RoomEvent):
    """The room is closed."""

    why: str


@attrs.frozen(kw_only=True)
class RoomPosted(RoomEvent):
    """A message was said in a room: to all, or to one. Reports and typing are none."""

    message_id: str  # imdn.Message-ID when there is one, else that of MSRP
    sender: str  # address of record
    shown: str  # address that the others see
    recipient: str  # of a private message: address of record; else ""
    content_type: str  # inside the CPIM wrapper
    size: int  # octets of the whole
    copies: int  # sessions to which it went


@attrs.frozen(kw_only=True)
class NicknameChanged(RoomEvent):
    """A participant is called something else, or nothing any more."""

    user: str
    shown: str
    nickname: str


def _kinds(root: type[ServiceEvent]) -> dict[str, type[ServiceEvent]]:
    found = {root.__name__: root}
    for kind in root.__subclasses__():
        found.update(_kinds(kind))
    return found


_names: dict[type[ServiceEvent], tuple[str, ...]] = {}  # of the fields of each kind
_write: Final = json.JSONEncoder(separators=(",", ":"), default=attrs.asdict).encode


def to_json(event: ServiceEvent) -> tuple[str, str]:
    """Return the kind of ``event`` and its fields as JSON text."""
    kind = type(event)
    names = _names.get(kind)
    if names is None:
        names = _names[kind] = tuple(field.name for field in attrs.fields(kind))
    return kind.__name__, _write({name: getattr(event, name) for name in names})


def from_json(kind: str, text: str) -> ServiceEvent:
    """Return the event that :func:`to_json` wrote.

    Raises:
        UsageError: no event class of that name is loaded.
    """
    cls = _kinds(ServiceEvent).get(kind)
    if cls is None:
        raise UsageError(f"no service event is called {kind}: load the plugin that defines it")
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(text).items()
    }
    return cls(**fields)
