"""What those can whom we write to: asked once in a while, and remembered.

Spec: RFC 3261 §11; OMA SIMPLE IM 1.0 (the mode goes by size and by what the recipient can)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.defer import Deferred

from omaim.client.access import Phone
from omaim.client.capabilities import Capabilities, describe, wants_description
from omaim.client.leg import FEATURE
from omaim.errors import PeerError
from omaim.roles.incoming import Incoming
from omaim.sip.message import Request, Response
from omaim.sip.uri import canonical_aor

KEPT: Final = 3600.0  # seconds that an answer counts
FAILED: Final = 60.0  # seconds until who has not answered is asked again
MOST: Final = 500  # people of whom it is remembered
PATIENCE: Final = 5.0  # seconds for an answer


class Peers:
    """What others can.

    Args:
        phone: asks, and is asked.
        opened: returns when there is something to ask from.
        parameters: feature tags of our Contact, with their semicolons.
        host: returns our own address.
        busy: tells whether no further session can be had.
        clock: for not waiting for ever.
    """

    def __init__(
        self,
        phone: Phone,
        opened: Callable[[], Awaitable[object]],
        parameters: str,
        host: Callable[[], str],
        busy: Callable[[], bool],
        clock: Any,
    ) -> None:
        self._phone = phone
        self._opened = opened
        self._parameters = parameters
        self._host = host
        self._busy = busy
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Capabilities]] = OrderedDict()
        self._asking: dict[str, Deferred[Capabilities]] = {}
        phone.on("OPTIONS", self._answer)

    def known(self, uri: str) -> Capabilities:
        """Return what is known about somebody without asking."""
        moment, found = self._known.get(canonical_aor(uri), (0.0, Capabilities()))
        return found if self._phone.now() < moment else Capabilities()

    async def ask(self, uri: str, fresh: bool = False) -> Capabilities:
        """Return what somebody's client can; ask it, if that is not known.

        Args:
            uri: of the person.
            fresh: ask in any case.
        """
        key = canonical_aor(uri)
        known = self.known(key)
        if known.status and not fresh:
            return known
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = Deferred.fromCoroutine(self._ask(key))
            asking.addBoth(self._asked, key)
        waiting: Deferred[Capabilities] = Deferred()
        asking.addCallback(_told, waiting)
        return await waiting

    async def _ask(self, key: str) -> Capabilities:
        await self._opened()
        phone = self._phone
        fields = [("Accept", "application/sdp"), ("Accept-Contact", f"*;{FEATURE}")]
        request = phone.make("OPTIONS", key, fields)
        asking = Deferred.fromCoroutine(phone.request(request))
        asking.addTimeout(PATIENCE, self._clock, lambda *_: request.response(408))
        response: Response = await asking
        return Capabilities.told(response)

    def _asked(self, result: object, key: str) -> Capabilities:
        del self._asking[key]
        found = result if isinstance(result, Capabilities) else Capabilities(status=503)
        self._keep(key, found.filled(self.known(key)))
        return found

    def shown(self, uri: str, request: Request) -> None:
        """Learn from an INVITE of somebody."""
        try:
            key = canonical_aor(uri)
        except PeerError:
            return
        known = self.known(key)
        if known.status != 200:  # what was answered counts more, and for so long only
            self._keep(key, known.filled(Capabilities.shown(request)))

    def _keep(self, key: str, found: Capabilities) -> None:
        lasts = KEPT if found.status == 200 else FAILED
        self._known[key] = (self._phone.now() + lasts, found)
        self._known.move_to_end(key)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def _answer(self, incoming: Incoming) -> Response:
        """Say what we can; with the status that an INVITE would get (RFC 3261 §11.2)."""
        response = self._phone.options(incoming)
        if self._busy():
            return incoming.response(486)
        response.add("Contact", self._phone.contact + self._parameters)
        if wants_description(incoming.request):
            kind, body = describe(tuple(self._phone.accept), self._host())
            response.set_body(body, kind)
        return response


def _told(found: Capabilities, waiting: Deferred[Capabilities]) -> Capabilities:
    if not waiting.called:
        waiting.callback(found)
    return found
