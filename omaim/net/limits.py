"""What the peers of an endpoint may cost it: a light module, for those who only configure."""

from __future__ import annotations

import attrs


@attrs.frozen
class StreamLimits:
    """What the peers of one endpoint may cost it."""

    total: int = attrs.field(default=20_000, metadata={"help": "connections at a time"})
    per_host: int = attrs.field(
        default=4_000, metadata={"help": "connections at a time from one address"}
    )
    idle: float = attrs.field(
        default=960.0, metadata={"help": "seconds without a message or keep-alive"}
    )
    first: float = attrs.field(
        default=32.0, metadata={"help": "seconds a new peer has for its first message"}
    )
    half: float = attrs.field(
        default=10.0, metadata={"help": "seconds a message may take from first to last octet"}
    )
    connect: float = attrs.field(
        default=8.0, metadata={"help": "seconds for a connection of ours to come up"}
    )
    pong: float = attrs.field(
        default=10.0, metadata={"help": "seconds to wait for the answer to a keep-alive"}
    )
    unread: int = attrs.field(
        default=8_388_608,
        metadata={
            "help": "octets that may wait for one peer; further requests to it are refused, and "
            "it is dropped when answers alone double that"
        },
    )
    unread_total: int = attrs.field(
        default=134_217_728,
        metadata={"help": "octets that may wait for all slow peers before those get no more"},
    )
    stalled: float = attrs.field(
        default=32.0,
        metadata={"help": "seconds a peer may take nothing of what waits for it"},
    )
    begun: int = attrs.field(
        default=67_108_864,
        metadata={"help": "octets of messages that have begun, of all peers; the oldest goes"},
    )
    begun_per_host: int = attrs.field(
        default=16_777_216,
        metadata={"help": "octets of messages that have begun, from one address"},
    )
