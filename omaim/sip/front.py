"""Our Via for one transport and address, which only its branch is added to.

Spec: RFC 3261 §18.1.1, §20.42; RFC 3581 §3; RFC 5923 §4
"""

from __future__ import annotations

from typing import Final, final

from omaim.grammar import Params
from omaim.sip.headers import Via
from omaim.sip.message import Request


@final
class Front:
    """Our Via for one transport and address, all but its branch.

    Args:
        transport: "UDP", "TCP" or "TLS".
        host: as it stands in a Via.
        port: 0 for none.
        alias: ask the peer to send its requests by this connection too (RFC 5923 §4).
    """

    __slots__ = ("_host", "_names", "_port", "_text", "_transport", "_values")

    def __init__(self, transport: str, host: str, port: int, alias: bool = False) -> None:
        self._transport: Final = transport
        self._host: Final = host
        self._port: Final = port
        self._names = ["alias", "rport", "branch"] if alias else ["rport", "branch"]
        self._values: list[str | None] = [None] * (len(self._names) - 1)
        at = f"{host}:{port}" if port else host
        self._text = f"SIP/2.0/{transport} {at};" + ";".join(self._names) + "="

    def put_on(self, request: Request, branch: str) -> None:
        """Put the Via with this branch on top of a request."""
        values = self._values[:]
        values.append(branch)
        via = Via(self._transport, self._host, self._port, Params(self._names, values))
        request.push_via(via, self._text + branch)
