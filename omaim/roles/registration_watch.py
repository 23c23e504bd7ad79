"""Follow one's own registration, to learn when the network ends it.

Plugin writers: make a :class:`RegistrationWatch` beside a
:class:`~omaim.roles.registrant.Registrant`; it subscribes once the registration stands, tells
the registrant what happened to its contact, and keeps the table of all contacts.

Spec: RFC 3680 §4, §5; 3GPP TS 24.229 §5.1.1.3, §5.1.1.7
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from omaim.bodies.reginfo import (
    MEDIA_TYPE,
    MISSED,
    OLD,
    TERMINATED,
    Contact,
    Reginfo,
    RegistrationTable,
    parse_reginfo,
)
from omaim.errors import PeerError
from omaim.roles.registrant import Registrant
from omaim.roles.watcher import Watch, Watcher
from omaim.sip.client_registration import REGISTERED
from omaim.sip.message import Request
from omaim.sip.uri import parse_uri

DURATION: Final = 3761  # seconds, RFC 3680 §4.4


class RegistrationWatch:
    """The reg event package of our own address of record.

    Args:
        registrant: whose registration it is.
        watcher: of the same user agent.
        on_change: gets the table after each notification.

    Attributes:
        table: all contacts of all addresses that were told.
    """

    def __init__(
        self,
        registrant: Registrant,
        watcher: Watcher,
        on_change: Callable[[RegistrationTable], object] | None = None,
    ) -> None:
        self.table = RegistrationTable()
        self._registrant = registrant
        self._watcher = watcher
        self._on_change = on_change
        self._dialog = ("", "")
        self._watch: Watch | None = None

    def start(self) -> None:
        """Subscribe; wanted once the registration stands.

        The notification that matters most comes when our GRUUs are gone, so the Contact is
        the address that was registered.

        Spec: 3GPP TS 24.229 §5.1.1.3
        """
        if self._watch is None:
            self._watch = self._watcher.watch(
                self._registrant.aor,
                "reg",
                self._notified,
                expires=DURATION,
                accept=[MEDIA_TYPE],
                contact=f"<{self._registrant.contact}>",
            )

    def stop(self) -> Deferred[None]:
        """Unsubscribe."""
        watch, self._watch = self._watch, None
        return succeed(None) if watch is None else watch.stop()

    def _notified(self, notify: Request) -> None:
        if not notify.body:
            return
        kind = notify.content_type
        if kind is None or kind.essence != MEDIA_TYPE:
            raise PeerError(f"only {MEDIA_TYPE} is understood here", 415)
        reginfo = parse_reginfo(notify.body)
        dialog = (notify.call_id, notify.from_.tag)
        if dialog != self._dialog:
            self._dialog = dialog  # a new subscription counts its documents anew
            self.table = RegistrationTable()
        applied = self.table.apply(reginfo)
        if applied == OLD:
            return
        if applied == MISSED and self._watch is not None:
            self._watch.refresh()
        own = self._own(reginfo)
        if own is not None and self._registrant.state == REGISTERED:
            if own.state == TERMINATED:
                wait = -1 if own.retry_after is None else own.retry_after
                self._registrant.dismissed(own.event, wait)
            elif own.event == "shortened":
                # The network wants to see our credentials again (3GPP TS 24.229 §5.1.1.5.3).
                self._registrant.start().addErrback(_told_otherwise)
        if self._on_change is not None:
            self._on_change(self.table)

    def _own(self, reginfo: Reginfo) -> Contact | None:
        """Return our own contact if the document tells of it."""
        own = parse_uri(self._registrant.contact)
        for registration in reginfo.registrations:
            for contact in registration.contacts:
                if parse_uri(contact.uri).equals(own):
                    return contact
        return None


def _told_otherwise(failure: Failure) -> None:
    """Let those hear of a refused registration who follow its state."""
