"""The transport layer of one endpoint, all but its sockets: what has come, what is written.

Where datagrams go is one :class:`Flow <omaim.sip.flow.Flow>` per peer, kept by
:class:`DatagramPaths`; :class:`Arriving` takes them from the socket to the transactions,
:class:`Departing` brings what is written to the flow. ``net`` owns the sockets.

Spec: RFC 3261 §18
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast, final

from omaim.sip.arriving import Arrivals
from omaim.sip.flow import UDP, Flow
from omaim.sip.front import Front
from omaim.sip.parser import BadMessage, Limits, parse_datagram
from omaim.timers import Wakeup

_SIP: Final = 2  # no SIP message begins with a lower octet; STUN does (RFC 5626 §8)
FLOWS: Final = 65536  # datagram peers remembered; forgetting one costs a little time, no more


@final
class Watch:
    """Whether anybody looks at the wire.

    Attributes:
        on: somebody does.
    """

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on = False


@final
class DatagramPath:
    """The way to one UDP peer.

    Args:
        send: of the socket; false when the system refuses this peer or this size.
        address: of the peer, as the socket wants it.
    """

    __slots__ = ("_address", "_send")

    def __init__(self, send: Callable[[bytes, object], bool], address: object) -> None:
        self._send: Final = send
        self._address: Final = address

    def send(self, data: bytes) -> bool:
        """Write one message; False when it cannot be delivered."""
        return self._send(data, self._address)


@final
class DatagramPaths:
    """The flows over one UDP socket: one per peer, made when first needed.

    Args:
        serial: returns the number of the next flow.

    Attributes:
        ipv6: of which family it is.
    """

    __slots__ = ("_flows", "_front", "_host", "_port", "_send", "_serial", "ipv6")

    def __init__(self, serial: Callable[[], int]) -> None:
        self.ipv6 = False
        self._serial = serial
        self._host = ""
        self._port = 0
        self._send: Callable[[bytes, object], bool] = _unbound
        self._front = Front(UDP, "localhost", 0)
        self._flows: dict[tuple[object, ...], Flow] = {}

    def bind(
        self, host: str, port: int, front: Front, send: Callable[[bytes, object], bool]
    ) -> None:
        """Take the socket; nothing works before.

        Args:
            host: the address it is bound to, IPv6 without brackets.
            port: the port it is bound to.
            front: our Via for requests from there.
            send: writes a datagram to an address.
        """
        self._front = front
        self._host = host
        self._port = port
        self._send = send
        self.ipv6 = ":" in host

    def is_for(self, host: str, port: int) -> bool:
        """Tell whether this is the socket with that address."""
        return self._host == host and self._port == port

    def to(self, host: str, port: int) -> Flow:
        """Return the flow to a peer."""
        return self.flow(self._address(host, port))

    def known(self, host: str, port: int) -> Flow | None:
        """Return the flow to a peer, if we have sent something there lately."""
        return self._flows.get(self._address(host, port))

    def flow(self, address: tuple[object, ...]) -> Flow:
        """Return the flow to a peer; ``address`` is as the socket gives it."""
        flow = self._flows.get(address)
        if flow is None:
            host, port = cast(str, address[0]), cast(int, address[1])
            if len(self._flows) >= FLOWS:
                self._flows.clear()
            path = DatagramPath(self._send, address)
            flow = Flow(UDP, self._host, self._port, host, port, None, self._serial())
            flow.front = self._front
            flow.send = path.send
            self._flows[address] = flow
        return flow

    def _address(self, host: str, port: int) -> tuple[object, ...]:
        return (host, port, 0, 0) if self.ipv6 else (host, port)


def _unbound(data: bytes, address: object) -> bool:
    """Write to a socket that is not there yet."""
    return False


@final
class Departing:
    """Brings what is written to its flow.

    Args:
        watch: whether what leaves is shown.
        show: gets what has left, if it is.
        lost: gets what could not be written.
    """

    __slots__ = ("_lost", "_show", "_watch")

    def __init__(
        self,
        watch: Watch,
        show: Callable[[Flow, bytes], None],
        lost: Callable[[Flow, bytes], None],
    ) -> None:
        self._watch: Final = watch
        self._show: Final = show
        self._lost: Final = lost

    def write(self, flow: Flow, data: bytes) -> None:
        """Write one message; a failure is reported in the next turn."""
        if flow.open and flow.send(data):
            if self._watch.on:
                self._show(flow, data)
        else:
            self._lost(flow, data)


@final
class Arriving:
    """Takes the datagrams of one socket to the transactions.

    Args:
        paths: of the socket.
        arrivals: takes the messages.
        limits: what a message may be.
        now: returns the time.
        wakeup: to be kept when a message has been dealt with.
        watch: whether what arrives is shown.
        foreign: gets what begins as no SIP message does; true when it has dealt with it.
        show: gets what has arrived, if it is.
        bad: gets what is wrong with a message, the flow it came by, and its size in octets.
        count: counts under a name.
    """

    __slots__ = (
        "_arrivals",
        "_bad",
        "_count",
        "_foreign",
        "_limits",
        "_now",
        "_paths",
        "_show",
        "_wakeup",
        "_watch",
    )

    def __init__(
        self,
        paths: DatagramPaths,
        arrivals: Arrivals,
        limits: Limits,
        now: Callable[[], float],
        wakeup: Wakeup,
        watch: Watch,
        foreign: Callable[[bytes, Flow], bool],
        show: Callable[[Flow, bytes], None],
        bad: Callable[[BadMessage, Flow, int], None],
        count: Callable[[str], None],
    ) -> None:
        self._paths: Final = paths
        self._arrivals: Final = arrivals
        self._limits: Final = limits
        self._now: Final = now
        self._wakeup: Final = wakeup
        self._watch: Final = watch
        self._foreign: Final = foreign
        self._show: Final = show
        self._bad: Final = bad
        self._count: Final = count

    def received(self, data: bytes, address: tuple[object, ...]) -> None:
        """Take one datagram.

        Args:
            data: its octets.
            address: where it came from, as the socket gives it: host, port, and what else there is.
        """
        flow = self._paths.flow(address)
        if data and data[0] < _SIP and self._foreign(data, flow):
            return
        if self._watch.on:
            self._show(flow, data)
        try:
            message = parse_datagram(data, self._limits)
            if message is None:
                self._count("keepalive")
            elif not self._arrivals.take(message, flow, self._now()):
                self._count("response_foreign")
        except BadMessage as error:
            self._bad(error, flow, len(data))
        self._wakeup.arm()
