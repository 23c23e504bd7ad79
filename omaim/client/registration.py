"""Being registered: one binding that stands, and the news about it from the network.

Spec: RFC 3261 §10.2; RFC 3680 §5.3; RFC 5626 §4; OMA SIMPLE IM 1.0 (registration)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, TimeoutError

from omaim.client.access import Phone
from omaim.client.failures import Dismissed, Failure, failure_class, no_connection
from omaim.client.messages import State
from omaim.roles.registrant import Registrant
from omaim.roles.registration_watch import RegistrationWatch
from omaim.roles.watcher import Watcher
from omaim.sip.client_registration import FAILED, IDLE, REGISTERED, Granted, Moved
from omaim.sip.flow import Flow
from omaim.timers import NEVER

_NAMES: Final = {REGISTERED: "registered", FAILED: "failed", IDLE: "off"}


class Registration:
    """The registration of one client.

    Args:
        phone: the client's user agent, with its contact set.
        watcher: subscribes to what the network does with our bindings.
        registrar: URI of the home domain.
        expires: seconds wished.
        instance: "urn:uuid:…" of the device.
        parameters: of the Contact, with their semicolons.

    Attributes:
        on_state: gets each change as a :class:`~omaim.client.messages.State`.
    """

    def __init__(
        self,
        phone: Phone,
        watcher: Watcher,
        registrar: str,
        expires: int,
        instance: str,
        parameters: str,
    ) -> None:
        self._phone = phone
        self._registrant = Registrant(
            phone,
            registrar,
            expires=expires,
            instance=instance,
            reg_id=1,
            parameters=parameters,
            keep_alive=True,
            on_state=self._moved,
        )
        self._watch = RegistrationWatch(self._registrant, watcher)
        self._insist = False
        self._waiting: list[Deferred[Granted]] = []
        self.on_state: Callable[[State], object] | None = None

    @property
    def registered(self) -> bool:
        """The binding stands."""
        return self._registrant.state == REGISTERED

    @property
    def granted(self) -> Granted:
        """What the registrar said last."""
        return self._registrant.granted

    @property
    def flow(self) -> Flow | None:
        """The path that the binding stands on."""
        return self._registrant.flow

    def start(self, insist: bool) -> Deferred[Granted]:
        """Register, or refresh now; see :meth:`omaim.client.Client.register`."""
        self._insist = insist
        done: Deferred[Granted] = Deferred()
        self._waiting.append(done)
        self._registrant.start().addCallbacks(self._succeeded, lambda _: None)
        return done

    async def stop(self, patience: float, clock: Any) -> None:
        """Remove the binding; the network ends the subscription to it then.

        Args:
            patience: seconds that the registrar may take.
            clock: counts them.
        """
        self._watch.stop()
        stopping = self._registrant.stop()
        stopping.addTimeout(patience, clock)
        try:
            await stopping
        except TimeoutError:
            pass  # it runs out by itself
        self._fail(Failure(0, "the registration was given up"))

    def _succeeded(self, granted: Granted) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(granted)

    def _fail(self, failure: Exception) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.errback(failure)

    def _moved(self, moved: Moved) -> None:
        failure: Failure | None = None
        if moved.status == 503 and self._phone.cut:
            failure = no_connection()
        elif moved.status >= 300:
            failure = failure_class(moved.status)(moved.status)
        elif moved.state == FAILED:
            failure = Dismissed(0, "the network ended the registration")
        retry_in = -1.0 if moved.retry_at == NEVER else moved.retry_at - self._phone.now()
        state = State(_NAMES.get(moved.state, "registering"), failure, retry_in)
        if state.name == "registered":
            self._watch.start()
        elif failure is not None and self._waiting:
            given_up = state.name != "failed" and not self._insist
            if state.name == "failed" or given_up:
                self._fail(failure)
            if given_up:
                self._registrant.stop()
        if self.on_state is not None:
            self.on_state(state)
