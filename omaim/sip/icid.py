"""The charging identity of what passes the core.

One ICID for a transaction and for the dialog it begins; the names of both networks; the
charging functions inside our own domain only.

Spec: RFC 7315 §4.5, §4.6; 3GPP TS 24.229 §5.4.3 (P-Charging-Vector)
"""

from __future__ import annotations

from typing import Final, final

from omaim.ids import Ids
from omaim.sip.charging import (
    ChargingFunctions,
    ChargingVector,
    complete_response,
)
from omaim.sip.identity import FUNCTIONS, VECTOR
from omaim.sip.message import Request, Response

DIALOGS: Final = 100_000  # dialogs whose ICID is remembered; the oldest is forgotten first
KNOWN: Final = 2000  # vectors that need not be parsed again


@final
class Charging:
    """Keeps and writes charging identities.

    Args:
        network: our inter operator identifier: the domain.
        host: ours, for icid-generated-at.
        functions: told to services unless the user has its own.
        ims: whether charging header fields are written at all.
    """

    __slots__ = ("_dialogs", "_functions", "_host", "_ids", "_ims", "_known", "_network")

    def __init__(
        self, ids: Ids, network: str, host: str, functions: ChargingFunctions, ims: bool
    ) -> None:
        self._ids = ids
        self._network = network
        self._host = host
        self._functions = str(functions)
        self._ims = ims
        self._dialogs: dict[int, ChargingVector] = {}
        self._known: dict[str, ChargingVector] = {}  # by text: it comes back from each service

    def begin(self, request: Request, ours: bool) -> ChargingVector | None:
        """Return the vector of a request outside a dialog: its own, or a new one.

        Args:
            request: what a stranger wrote there is gone already.
            ours: it originates in our network.

        Raises:
            PeerError: a trusted neighbour's vector does not parse.
        """
        if not self._ims:
            return None
        vector = self._read(request)
        if vector is None:
            orig = self._network if ours else ""
            vector = ChargingVector(self._ids.token(32), self._host, orig)
        elif ours and not vector.orig_ioi:
            vector = vector.with_origin(self._network)
        return vector

    def remember(self, request: Request, response: Response, vector: ChargingVector) -> None:
        """Keep the vector for the dialog that an answer to a request begins.

        What a dialog has it keeps: its Call-ID and tags can be written by anybody who has seen
        them into a request of another.
        """
        dialog = _dialog(request.call_id, request.from_.tag, response.to.tag)
        if dialog in self._dialogs:
            return
        if len(self._dialogs) >= DIALOGS:
            del self._dialogs[next(iter(self._dialogs))]
        self._dialogs[dialog] = vector

    def recall(self, request: Request) -> ChargingVector | None:
        """Return the vector of the dialog that a request is in."""
        if not self._ims:
            return None
        dialog = _dialog(request.call_id, request.from_.tag, request.to.tag)
        known = self._dialogs.get(dialog)
        if request.method == "BYE" and known is not None:
            del self._dialogs[dialog]
        return self._read(request) or known

    def to_service(self, copy: Request, vector: ChargingVector | None, functions: str = "") -> None:
        """Tell an application server of our own.

        Args:
            functions: the charging functions of whom it serves, "" for the usual ones.
        """
        if vector is None:
            return
        self._write(copy, vector)
        functions = functions or self._functions
        if functions:
            copy.set(FUNCTIONS, functions)

    def lines_for(self, functions: str) -> list[tuple[str, str]]:
        """Return header lines for a request to a service that nobody's request caused.

        Args:
            functions: the charging functions of whom it serves, "" for the usual ones.
        """
        if not self._ims:
            return []
        vector = ChargingVector(self._ids.token(32), self._host, self._network)
        lines = [(VECTOR, str(vector))]
        functions = functions or self._functions
        if functions:
            lines.append((FUNCTIONS, functions))
        return lines

    def to_network(self, copy: Request, vector: ChargingVector | None) -> None:
        """Tell a trusted network: the vector, not our functions (RFC 7315 §4.5)."""
        if vector is not None:
            self._write(copy, vector)
        copy.remove(FUNCTIONS)

    def answer(self, response: Response, vector: ChargingVector | None, terminating: bool) -> None:
        """Give a response to a trusted neighbour the vector, and our name when we terminate."""
        if vector is not None:
            complete_response(response, vector, self._network if terminating else "")
        response.remove(FUNCTIONS)

    def _read(self, request: Request) -> ChargingVector | None:
        text = request.first(VECTOR)
        if text is None:
            return None
        return self._known.get(text) or ChargingVector.parse(text)

    def _write(self, copy: Request, vector: ChargingVector) -> None:
        text = copy.first(VECTOR)
        if text is not None and self._known.get(text) is vector:
            return
        text = str(vector)
        copy.set(VECTOR, text)
        if len(self._known) >= KNOWN:
            del self._known[next(iter(self._known))]
        self._known[text] = vector


def _dialog(call_id: str, tag: str, other: str) -> int:
    """Return what stands for a dialog, whichever of the two sends (RFC 3261 §12).

    As a number, since a Call-ID may be thousands of octets.
    """
    return hash((call_id, tag, other) if tag <= other else (call_id, other, tag))
