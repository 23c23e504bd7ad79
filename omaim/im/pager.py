"""Pager mode: what happens to one MESSAGE.

Spec: RFC 3428; OMA SIMPLE IM 1.0 (participating functions)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
from twisted.internet.defer import Deferred

from omaim.errors import PeerError
from omaim.im.deferred import Deferring
from omaim.im.participating import ORIGINATING, Leg
from omaim.net.endpoint import Endpoint
from omaim.sip.message import Request, Response
from omaim.sip.proxying import forwarded_copy, postprocess, strip_via
from omaim.sip.transaction import ServerTransaction

LATER: Final = frozenset({408, 480})  # and every 5xx: the recipient may have it later


def may_wait(status: int) -> bool:
    """Tell whether a failed message is worth keeping: never after 6xx.

    Spec: RFC 3428 §7
    """
    return status in LATER or 500 <= status < 600


@attrs.frozen
class Pager:
    """Serves MESSAGE for the users of one domain."""

    endpoint: Endpoint
    deferring: Deferring
    leg_of: Callable[[Request], Leg]
    patience: float  # seconds a device has to answer before the message is deferred

    async def receive(self, transaction: ServerTransaction, request: Request) -> Response | None:
        """Pass a message on, or keep it for later; return the answer.

        Args:
            request: our own Route is off it.

        Raises:
            PeerError: it is answered with that.
        """
        leg = self.leg_of(request)
        if leg.side == ORIGINATING:
            return await self.pass_on(request)
        if leg.registered:
            response = await self.pass_on(request)
            if not may_wait(response.status):
                return response
        await self.deferring.keep(request, leg)
        return request.response(202, None, self.endpoint.tag_of(transaction))

    async def pass_on(self, request: Request) -> Response:
        """Send the message along its Route; return the final response, ready to go back."""
        copy = forwarded_copy(request, request.uri)
        postprocess(copy)
        done: Deferred[Response] = Deferred()

        def answered(response: Response) -> None:
            if response.status >= 200 and not done.called:
                done.callback(response)

        self.endpoint.send(copy, answered)
        response = await done
        if response.local:
            return request.response(response.status, None, self.endpoint.ids.tag())
        if not strip_via(response):
            raise PeerError("the answer has lost its way", 502)
        return response
