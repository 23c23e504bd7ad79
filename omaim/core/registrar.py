"""REGISTER: who may, what it changes, and who is told.

The bindings of all identities that register together are kept under the first of them, the
default one, so that a user is found the same way by whichever identity.

Spec: RFC 3261 §10.3; 3GPP TS 24.229 §5.4.1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.core.registered import Follower, Registration, primary_of
from omaim.core.subscribers import user_of
from omaim.errors import PeerError, Unavailable
from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.node.hooks import Hooks, Refuse
from omaim.node.questions import MayRegister
from omaim.sip.admitting import Admitted, Admitting, accepted
from omaim.sip.bindings import Binding, Change, expire, lose_flow, shorten, terminate
from omaim.sip.flow import Flow
from omaim.sip.gruu import Gruus
from omaim.sip.message import error_response
from omaim.sip.outbound import FlowTokens, sender_of
from omaim.sip.registration import (
    ENDED,
    FETCHED,
    Outcome,
    Policy,
    Refused,
    register,
)
from omaim.sip.transaction import ServerTransaction
from omaim.stores.interfaces import Conflict, IBindingStore, IUserStore
from omaim.stores.records import BindingSet

RETRIES: Final = 5  # a store that says Conflict more often than this is not worth waiting for

_log = Logger()


class Registrar:
    """The registrar of one domain.

    Args:
        endpoint: answers go out through it.
        users, bindings: the stores.
        admitting: finds out who registers.
        policies: what is allowed and offered, by the transport a REGISTER came by.
        now: seconds since the epoch.
        flow_tokens: names the flows that user agents are connected by.

    Attributes:
        followers: called with every :class:`Registration` once it is durable.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        users: IUserStore,
        bindings: IBindingStore,
        admitting: Admitting,
        policies: Mapping[str, Policy],
        hooks: Hooks,
        domain: str,
        now: Callable[[], float],
        ids: Ids,
        flow_tokens: FlowTokens,
        gruus: Gruus,
    ) -> None:
        self.followers: list[Follower] = []
        self._endpoint = endpoint
        self._users = users
        self._bindings = bindings
        self._admitting = admitting
        self._policies = policies
        self._hooks = hooks
        self._domain = domain
        self._now = now
        self._ids = ids
        self._tokens = flow_tokens
        self._gruus = gruus
        self._by_flow: dict[str, set[str]] = {}  # flow token: primary identities

    def receive(self, transaction: ServerTransaction) -> None:
        """Serve a REGISTER.

        Raises:
            PeerError: to be answered by :meth:`refuse`.

        Spec: RFC 3261 §10.3 steps 1 to 5
        """
        admitted = self._admitting.admit(transaction)
        if admitted is None:
            return
        if self._hooks.wanted(MayRegister):
            Deferred.fromCoroutine(self._ask(transaction, admitted)).addErrback(
                self._failed, transaction
            )
        else:
            self._commit(transaction, admitted)

    def reachable(self, aor: str, now: float) -> list[Binding]:
        """Return the live bindings of a primary identity."""
        found = self._bindings.peek(aor).bindings
        if len(found) == 1:
            return [found[0]] if found[0].expires_at > now else []
        return expire(list(found), now)[0]

    def deregister(
        self, aor: str, event: str, retry_after: int = 0, contact: str = ""
    ) -> Deferred[int]:
        """End registrations by order of the network.

        Args:
            aor: any identity of the user.
            event: "deactivated", "probation" or "rejected" (RFC 3680 §5.1).
            retry_after: seconds, with "probation".
            contact: the one binding to end; empty for all.

        Returns:
            How many bindings were ended.
        """

        def chosen(bindings: list[Binding]) -> tuple[list[Binding], list[Change]]:
            marked = [one for one in bindings if contact in ("", one.contact)]
            return terminate(bindings, marked, event, retry_after)

        return Deferred.fromCoroutine(self._change(aor, chosen))

    def shorten(self, aor: str, seconds: float) -> Deferred[int]:
        """Make a user's devices register anew within ``seconds`` (RFC 3680 §3.2).

        Returns:
            How many bindings will end sooner.
        """
        now = self._now()
        return Deferred.fromCoroutine(
            self._change(aor, lambda bindings: shorten(bindings, now, seconds))
        )

    def flow_closed(self, flow: Flow) -> None:
        """The connection is gone: so are the outbound bindings that came by it (RFC 5626 §7).

        Several users may have shared it, as behind a gateway.

        Differs: only a connection can be gone. A datagram flow whose port is reported to be closed
        (RFC 5626 §7) fails the request at hand and keeps its binding: such reports can be forged,
        and a device that starts again comes back to the same port.
        """
        token = self._tokens.make(flow)
        for aor in self._by_flow.pop(token, ()):
            Deferred.fromCoroutine(
                self._change(aor, lambda bindings: lose_flow(bindings, token))
            ).addErrback(_lost, "ending bindings of a closed flow")

    async def sweep(self) -> int:
        """Remove bindings that have expired and tell the followers; return how many."""
        now = self._now()
        gone = 0
        for aor in self._bindings.due(now):
            gone += await self._change(aor, lambda bindings: expire(bindings, now))
        return gone

    # One REGISTER

    async def _ask(self, transaction: ServerTransaction, admitted: Admitted) -> None:
        request, flow = transaction.request, transaction.flow
        question = MayRegister(
            domain=self._domain,
            aor=admitted.served.aor,
            private_identity=admitted.served.subscriber.private_id,
            contacts=tuple(contact.uri_text for contact in request.contacts),
            source=f"{flow.transport}:{flow.remote_host}:{flow.remote_port}",
        )
        opinion = await self._hooks.ask(question)
        if isinstance(opinion, Refuse):
            raise PeerError(opinion.reason, opinion.status)
        self._commit(transaction, admitted)

    def _commit(
        self,
        transaction: ServerTransaction,
        admitted: Admitted,
        tries: int = RETRIES,
        stored: BindingSet | None = None,
    ) -> None:
        """Compute the outcome and store it; answer when it is durable."""
        request, flow, served = transaction.request, transaction.flow, admitted.served
        primary = served.primary
        if stored is None:
            stored = self._bindings.peek(primary)
        outcome = register(
            request,
            primary,
            list(stored.bindings),
            self._now(),
            self._policies[flow.transport],
            self._ids,
            sender_of(request, flow, served.subscriber.private_id, self._tokens),
            self._gruus,
        )
        if not outcome.changes:
            self._accept(transaction, admitted, outcome)
            return

        written = self._bindings.replace(primary, stored.version, outcome.bindings)
        if isinstance(getattr(written, "result", None), int):
            self._accept(transaction, admitted, outcome)  # a store in memory: at once
            return
        written.addCallbacks(
            self._written,
            self._not_written,
            callbackArgs=(transaction, admitted, outcome),
            errbackArgs=(transaction, admitted, tries),
        ).addErrback(self._failed, transaction)

    def _written(
        self, version: int, transaction: ServerTransaction, admitted: Admitted, outcome: Outcome
    ) -> None:
        self._accept(transaction, admitted, outcome)

    def _not_written(
        self, failure: Failure, transaction: ServerTransaction, admitted: Admitted, tries: int
    ) -> Deferred[None]:
        """Another node was faster: compute again on what it wrote."""
        failure.trap(Conflict)
        if tries <= 0:
            failure.raiseException()

        def again(found: BindingSet) -> None:
            self._commit(transaction, admitted, tries - 1, found)

        reading: Deferred[None] = self._bindings.get(admitted.served.primary).addCallback(again)
        return reading

    def _accept(self, transaction: ServerTransaction, admitted: Admitted, outcome: Outcome) -> None:
        request, flow, served = transaction.request, transaction.flow, admitted.served
        primary, bound = served.primary, bool(outcome.bindings)
        tag = self._endpoint.tag_of(transaction)
        response = accepted(request, tag, served, admitted.info, outcome.headers, bound)
        if flow.reliable:
            if bound:
                flow.identity = primary
                self._by_flow.setdefault(self._tokens.make(flow), set()).add(primary)
            elif flow.identity == primary:
                flow.identity = ""
        self._endpoint.respond(transaction, response)
        if self.followers:
            changes = tuple(outcome.changes)
            user, left = user_of(served), tuple(outcome.bindings)
            if outcome.kind != FETCHED:
                self._tell(
                    Registration(user, primary, left, changes, outcome.kind, request, response)
                )
            elif changes:  # it fetched only, but was the first to notice what had expired
                self._tell(Registration(user, primary, left, changes, FETCHED if left else ENDED))
        if flow.reliable and not flow.open:
            self.flow_closed(flow)  # it went while the store was writing

    def _failed(self, failure: Failure, transaction: ServerTransaction) -> None:
        """Answer a REGISTER that could not be carried out."""
        error = failure.value
        if isinstance(error, PeerError):
            self.refuse(transaction, error)
        elif isinstance(error, (Unavailable, Conflict)):
            self.refuse(transaction, PeerError("", 503))
        else:
            _log.failure("a REGISTER failed", failure)
            self.refuse(transaction, PeerError("", 500))

    def refuse(self, transaction: ServerTransaction, error: PeerError) -> None:
        """Answer a REGISTER with an error and what it says besides."""
        if transaction.answered:
            return
        answer = error_response(transaction.request, error, self._endpoint.tag_of(transaction))
        if isinstance(error, Refused):
            answer.add_all(error.headers)
        self._endpoint.respond(transaction, answer)

    # Changes by order of the network

    async def _change(
        self,
        aor: str,
        change: Callable[[list[Binding]], tuple[list[Binding], list[Change]]],
    ) -> int:
        user = self._users.peek_by_identity(aor)
        primary = aor if user is None else primary_of(user, aor)
        for _ in range(RETRIES):
            stored = await self._bindings.get(primary)
            left, changes = change(list(stored.bindings))
            if not changes:
                return 0
            try:
                await self._bindings.replace(primary, stored.version, left)
            except Conflict:
                continue
            if user is not None:
                kind = FETCHED if left else ENDED
                self._tell(Registration(user, primary, tuple(left), tuple(changes), kind))
            return len(changes)
        raise Unavailable(f"the bindings of {primary} keep changing; try again")

    def _tell(self, registration: Registration) -> None:
        for follower in self.followers:
            try:
                follower(registration)
            except Exception:
                _log.failure("a follower of registrations failed")


def _lost(failure: Failure, what: str) -> None:
    _log.failure("{what} failed", failure, what=what)
