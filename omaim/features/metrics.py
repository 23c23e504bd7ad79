"""Numbers about a node, on a page for Prometheus: what it sent, decided, and holds.

The page is at ``/metrics`` of the address that the setting ``metrics`` names; ``/ready`` beside
it says 200 once every entity is of use, 503 before. Counters come from the taps, everything else
is read when somebody asks. Names of people are nowhere in it, and every label has few values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import omaim
import omaim.sip.message as hot
from omaim.errors import UsageError
from omaim.net.http import Page, listen_http
from omaim.net.wire import WireRecord
from omaim.node import events
from omaim.node.config import parse_place

try:
    import prometheus_client as prometheus
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
except ImportError:
    if not TYPE_CHECKING:
        prometheus = None

if TYPE_CHECKING:
    from omaim.node.node import Node

METHODS: Final = frozenset(
    b"ACK BYE CANCEL INFO INVITE MESSAGE NOTIFY OPTIONS PRACK PUBLISH REFER REGISTER SUBSCRIBE "
    b"UPDATE".split()
)
SIZES: Final = (100, 300, 1000, 1300, 3000, 10_000, 30_000, 100_000)  # octets
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def attach(node: Node) -> None:
    """Serve the page of a node where its setting ``metrics`` says.

    Raises:
        UsageError: prometheus-client is not installed, or the setting is no address.
        Unavailable: the address is taken.
    """
    if prometheus is None:
        raise UsageError("metrics need prometheus-client: pip install 'omaim[metrics]'")
    if not node.config.metrics:
        raise UsageError('metrics need an address: metrics = "127.0.0.1:9090"')
    host, port = parse_place(node.config.metrics)
    metrics = Metrics(node)
    listener = listen_http(
        node.clock, host, port, {"/metrics": metrics.page, "/ready": metrics.ready}
    )
    node.on_stop(listener.close)


class Metrics:
    """Counts what happens in one node.

    Args:
        node: its taps are used until it stops.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._registry = prometheus.CollectorRegistry()
        self._service = prometheus.Counter(
            "omaim_service_events",
            "What the entities decided: see the events that features hear.",
            ("entity", "event"),
            registry=self._registry,
        )
        self._refused = prometheus.Counter(
            "omaim_messages_refused",
            "Instant messages that were not accepted, by the status that was answered.",
            ("entity", "status"),
            registry=self._registry,
        )
        self._sizes = prometheus.Histogram(
            "omaim_message_octets",
            "Sizes of the accepted instant messages' bodies.",
            ("entity",),
            buckets=SIZES,
            registry=self._registry,
        )
        self._registry.register(self)
        prometheus.ProcessCollector(registry=self._registry)
        self._wire: dict[tuple[str, str, str, bytes], int] = {}
        node.taps.add_wire(self._on_wire)
        node.taps.add(events.ServiceEvent, self._on_event)
        node.taps.add(events.MessageAccepted, self._on_accepted)
        node.taps.add(events.MessageRefused, self._on_refused)

    def page(self) -> Page:
        """Return the page as it is now."""
        return Page(prometheus.generate_latest(self._registry), CONTENT_TYPE)

    def ready(self) -> Page:
        """Return whether the node is of use."""
        if self._node.is_ready:
            return Page(b"ready\n")
        return Page(b"starting\n", status=503)

    def collect(self) -> Iterator[Any]:
        """Yield what is read from the node when somebody asks."""
        node = self._node
        form = "interpreted" if str(hot.__file__).endswith(".py") else "compiled"
        build = GaugeMetricFamily(
            "omaim_build", "Which omaim runs here.", labels=("version", "form", "node")
        )
        build.add_metric((omaim.__version__, form, node.config.name), 1)
        yield build
        yield GaugeMetricFamily("omaim_ready", "Every entity is of use.", float(node.is_ready))
        yield CounterMetricFamily("omaim_tap_failures", "Times a tap raised.", node.taps.failures)
        for name, value in sorted(node.stores.gauges().items()):
            about = f"What the stores say: {name.replace('_', ' ')}."
            yield GaugeMetricFamily(f"omaim_store_{name}", about, value)
        yield self._messages()
        yield from self._endpoints()

    def _messages(self) -> Any:
        messages = CounterMetricFamily(
            "omaim_messages_on_wire",
            "Messages that crossed a socket.",
            labels=("entity", "direction", "transport", "what"),
        )
        for (entity, direction, transport, what), count in sorted(self._wire.items()):
            messages.add_metric((entity, direction, transport, what.decode()), count)
        return messages

    def _endpoints(self) -> Iterator[Any]:
        transactions = GaugeMetricFamily(
            "omaim_transactions", "SIP transactions that live.", labels=("entity", "side")
        )
        connections = GaugeMetricFamily(
            "omaim_connections", "Streams that are open.", labels=("entity",)
        )
        counters = CounterMetricFamily(
            "omaim_endpoint_events",
            "What endpoints count: dropped, malformed, refused and lost.",
            labels=("entity", "event"),
        )
        for name, endpoint in self._node.endpoints.items():
            transactions.add_metric((name, "server"), endpoint.transactions.server_count)
            transactions.add_metric((name, "client"), endpoint.transactions.client_count)
            connections.add_metric((name,), len(endpoint.connections))
            for event, count in sorted(endpoint.counters.items()):
                counters.add_metric((name, event), count)
        yield transactions
        yield connections
        yield counters
        yield from self._msrp()

    def _msrp(self) -> Iterator[Any]:
        connections = GaugeMetricFamily(
            "omaim_msrp_connections", "MSRP connections that are open.", labels=("entity",)
        )
        counters = CounterMetricFamily(
            "omaim_msrp_events", "What MSRP endpoints and relays count.", labels=("entity", "event")
        )
        for name, endpoint in self._node.msrp_endpoints.items():
            connections.add_metric((name,), endpoint.connections)
            for event, count in sorted(endpoint.counters.items()):
                counters.add_metric((name, event), count)
        yield connections
        yield counters

    def _on_wire(self, record: WireRecord) -> None:
        words = record.data[:16].split(b" ", 2)
        word = words[1][:3] if words[0] == b"SIP/2.0" and len(words) > 1 else words[0]
        way = (record.entity, record.direction, record.transport, word)
        counts = self._wire
        if way not in counts:  # what peers make up must not fill the memory
            way = (*way[:3], kind_of(record))
            counts.setdefault(way, 0)
        counts[way] += 1

    def _on_event(self, event: events.ServiceEvent) -> None:
        self._service.labels(event.entity, type(event).__name__).inc()

    def _on_accepted(self, event: events.MessageAccepted) -> None:
        self._sizes.labels(event.entity).observe(event.size)

    def _on_refused(self, event: events.MessageRefused) -> None:
        self._refused.labels(event.entity, str(event.status)).inc()


def kind_of(record: WireRecord) -> bytes:
    """Return what a message is in one of few words: its method, its status, keep-alive, other."""
    if record.protocol != "SIP":
        return record.protocol.encode()
    words = record.data[:24].split(b" ", 2)
    if words[0] == b"SIP/2.0" and len(words) > 1:
        status = words[1][:3]
        known = len(status) == 3 and status.isdigit() and b"100" <= status <= b"699"
        return status if known else b"other"
    if not record.data.strip():
        return b"keep-alive"
    return words[0] if words[0] in METHODS else b"other"
