"""Requests inside one dialog, and the way that they take.

Spec: RFC 3261 §12.2.1; RFC 5626 §4.3
"""

from __future__ import annotations

from collections.abc import Callable

from omaim.roles.user_agent import UserAgent
from omaim.sip.dialog import Dialog
from omaim.sip.exchange import Exchange
from omaim.sip.flow import Flow
from omaim.sip.message import Request, Response


class Within:
    """What sends a user agent's requests inside a dialog.

    Args:
        agent: sends.
        dialog: gives each try its CSeq number.
        flow: the path by which the dialog was made, if it is known. It is taken again when it
            is the connection of a neighbour, which may be behind a NAT.
    """

    __slots__ = ("_agent", "_flow", "dialog")

    def __init__(self, agent: UserAgent, dialog: Dialog, flow: Flow | None) -> None:
        self._agent = agent
        self._flow = flow
        self.dialog = dialog

    @property
    def path(self) -> Flow | None:
        """The connection to take; ``None`` to look for a way."""
        flow = self._flow
        near = flow is not None and flow.reliable and flow.open and not self.dialog.routes
        return flow if near else None

    async def request(
        self,
        request: Request,
        *,
        sent: Callable[[Exchange], object] | None = None,
        again: Callable[[Response], object] | None = None,
    ) -> Response:
        """Send a request that the dialog has made; return its final response.

        Args: as :meth:`omaim.roles.user_agent.UserAgent.request` has them.
        """
        return await self._agent.request(
            request,
            flow=self.path,
            next_seq=self.dialog.next_seq,
            redirections=0,
            sent=sent,
            again=again,
        )

    def acknowledge(self, ack: Request) -> None:
        """Send an ACK for a 2xx, which nobody answers."""
        self._agent.endpoint.send_ack(ack, flow=self.path)
