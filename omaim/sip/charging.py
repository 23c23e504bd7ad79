"""How networks tell each other which message belongs to which bill.

The charging vector travels with a request and comes back with its response: one ICID for all
elements, and the names of the networks. The charging functions are addresses inside one network.

Spec: RFC 7315 §4.5, §4.6, §5.5, §5.6
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.grammar import NO_PARAMS, Params, is_token, parse_params, quote
from omaim.ids import Ids
from omaim.sip.identity import FUNCTIONS, VECTOR
from omaim.sip.message import Message, Request, Response

_OWN: Final = (
    "icid-value",
    "icid-generated-at",
    "orig-ioi",
    "term-ioi",
    "transit-ioi",
    "related-icid",
    "related-icid-generated-at",
)
_MAX_TRANSIT: Final = 40
VOID: Final = "void"


@final
class ChargingVector:
    """One P-Charging-Vector.

    Attributes:
        icid: one for all messages of a dialog or transaction, anywhere.
        generated_at: the host that made the icid, "" unknown.
        orig_ioi, term_ioi: names of the networks it comes from and goes to, "" unknown.
        transit: entries "name.index" or "void", in the order passed.
        related_icid, related_at: of another dialog that this one belongs to.
        extra: further parameters, kept as they came.

    Spec: RFC 7315 §5.6
    """

    __slots__ = (
        "extra",
        "generated_at",
        "icid",
        "orig_ioi",
        "related_at",
        "related_icid",
        "term_ioi",
        "transit",
    )

    def __init__(
        self,
        icid: str,
        generated_at: str = "",
        orig_ioi: str = "",
        term_ioi: str = "",
        transit: tuple[str, ...] = (),
        related_icid: str = "",
        related_at: str = "",
        extra: Params = NO_PARAMS,
    ) -> None:
        self.icid: Final = icid
        self.generated_at: Final = generated_at
        self.orig_ioi: Final = orig_ioi
        self.term_ioi: Final = term_ioi
        self.transit: Final = transit
        self.related_icid: Final = related_icid
        self.related_at: Final = related_at
        self.extra: Final = extra

    @staticmethod
    def parse(text: str) -> ChargingVector:
        """Return what a P-Charging-Vector value says.

        Raises:
            PeerError: no icid, or bad parameters.
        """
        params = parse_params(";" + text)
        icid = params.get("icid-value")
        if not icid:
            raise PeerError("a charging vector without icid-value")
        transit: list[str] = []
        passed = params.get("transit-ioi")
        if passed:
            transit = [entry.strip() for entry in passed.split(",")]
            if len(transit) > _MAX_TRANSIT:
                raise PeerError("a charging vector with too many transit networks")
        extra = NO_PARAMS
        for name in params.names:
            if name not in _OWN:
                extra = params
        if extra is params:
            for name in _OWN:
                extra = extra.without(name)
        return ChargingVector(
            icid,
            params.get("icid-generated-at") or "",
            params.get("orig-ioi") or "",
            params.get("term-ioi") or "",
            tuple([entry for entry in transit if entry]),
            params.get("related-icid") or "",
            params.get("related-icid-generated-at") or "",
            extra,
        )

    def with_origin(self, orig_ioi: str) -> ChargingVector:
        """Return the same with another originating network."""
        return self._with(orig_ioi, self.term_ioi, self.transit)

    def with_target(self, term_ioi: str) -> ChargingVector:
        """Return the same with another terminating network."""
        return self._with(self.orig_ioi, term_ioi, self.transit)

    def through(self, network: str) -> ChargingVector:
        """Return the same with one more transit network, :data:`VOID` for one unnamed.

        Spec: RFC 7315 §4.6.3: the index counts void entries too
        """
        entry = network
        if network != VOID:
            entry = f"{network}.{len(self.transit) + 1}"
        return self._with(self.orig_ioi, self.term_ioi, (*self.transit, entry))

    def _with(self, orig_ioi: str, term_ioi: str, transit: tuple[str, ...]) -> ChargingVector:
        return ChargingVector(
            self.icid,
            self.generated_at,
            orig_ioi,
            term_ioi,
            transit,
            self.related_icid,
            self.related_at,
            self.extra,
        )

    def __str__(self) -> str:
        text = "icid-value=" + _value(self.icid)
        if self.generated_at:
            text += ";icid-generated-at=" + self.generated_at
        if self.orig_ioi:
            text += ";orig-ioi=" + _value(self.orig_ioi)
        if self.term_ioi:
            text += ";term-ioi=" + _value(self.term_ioi)
        if self.transit:
            text += ";transit-ioi=" + quote(",".join(self.transit))
        if self.related_icid:
            text += ";related-icid=" + _value(self.related_icid)
        if self.related_at:
            text += ";related-icid-generated-at=" + self.related_at
        return text + str(self.extra)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChargingVector) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def _value(text: str) -> str:
    return text if is_token(text) else quote(text)


def charging_vector(message: Message) -> ChargingVector | None:
    """Return the charging vector of a message, ``None`` without.

    Raises:
        PeerError: it does not parse.
    """
    text = message.first(VECTOR)
    return None if text is None else ChargingVector.parse(text)


def complete_request(request: Request, ids: Ids, host: str, network: str) -> str:
    """Make sure that a request carries an icid, and our network where it comes from; return it.

    A vector that is there, from a trusted element, keeps its icid.

    Args:
        host: ours, as icid-generated-at; IPv6 in brackets.
        network: our inter operator identifier; "" says none.

    Raises:
        PeerError: the vector that is there does not parse.

    Spec: RFC 7315 §4.6.2.2
    """
    text = request.first(VECTOR)
    if text is None:
        icid = ids.token(32)
        value = f"icid-value={icid};icid-generated-at={host}"
        if network:
            value += ";orig-ioi=" + _value(network)
        request.add(VECTOR, value)
        return icid
    vector = ChargingVector.parse(text)
    if network and not vector.orig_ioi:
        request.set(VECTOR, str(vector.with_origin(network)))
    return vector.icid


def complete_response(response: Response, asked: ChargingVector, network: str) -> None:
    """Give a response the vector of its request, and our network as where it went.

    What a trusted element further on has put there stays.

    Args:
        asked: the vector of the request.
        network: our inter operator identifier; "" says none.

    Spec: RFC 7315 §4.6, §4.6.3 (transit networks of responses are their own)
    """
    if response.has(VECTOR):
        return
    answer = ChargingVector(
        asked.icid,
        asked.generated_at,
        asked.orig_ioi,
        network,
        (),
        asked.related_icid,
        asked.related_at,
    )
    response.add(VECTOR, str(answer))


@final
class ChargingFunctions:
    """Where charging data of this network go.

    Attributes:
        ccf: offline functions, the primary first.
        ecf: online functions, the primary first.

    Spec: RFC 7315 §5.5
    """

    __slots__ = ("ccf", "ecf")

    def __init__(self, ccf: tuple[str, ...] = (), ecf: tuple[str, ...] = ()) -> None:
        self.ccf: Final = ccf
        self.ecf: Final = ecf

    @staticmethod
    def parse(text: str) -> ChargingFunctions:
        """Return what a P-Charging-Function-Addresses element says.

        Raises:
            PeerError: bad parameters.
        """
        params = parse_params(";" + text)
        ccf = [params.get(name) or "" for name in ("ccf", "ccf-2")]
        ecf = [params.get(name) or "" for name in ("ecf", "ecf-2")]
        return ChargingFunctions(
            tuple([address for address in ccf if address]),
            tuple([address for address in ecf if address]),
        )

    def __str__(self) -> str:
        pieces = [
            name + "=" + _value(address)
            for names, addresses in (
                (("ccf", "ccf-2"), self.ccf),
                (("ecf", "ecf-2"), self.ecf),
            )
            for name, address in zip(names, addresses, strict=False)
        ]
        return ";".join(pieces)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChargingFunctions) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def charging_functions(message: Message) -> ChargingFunctions | None:
    """Return the charging functions that a message names, ``None`` without.

    Raises:
        PeerError: they do not parse.
    """
    lines = message.values(FUNCTIONS)
    return ChargingFunctions.parse(lines[0]) if lines else None
