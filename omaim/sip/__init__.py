"""SIP without I/O: octets in, decisions and octets out; no clock, no socket.

Reading order:

1. Formats: :mod:`~omaim.sip.uri`, :mod:`~omaim.sip.headers` (behind it
   :mod:`~omaim.sip.names`, :mod:`~omaim.sip.values` and
   :mod:`~omaim.sip.session_values`), :mod:`~omaim.sip.message` (behind it
   :mod:`~omaim.sip.reasons`), :mod:`~omaim.sip.parser`. Their names are here, too.
2. Transactions: :mod:`~omaim.sip.timing`, :mod:`~omaim.sip.flow`,
   :mod:`~omaim.sip.transitions`, :mod:`~omaim.sip.transaction`, :mod:`~omaim.sip.hop`,
   :mod:`~omaim.sip.user`, :mod:`~omaim.sip.matching`; the ways in and out of an endpoint,
   :mod:`~omaim.sip.transport`, :mod:`~omaim.sip.arriving` and :mod:`~omaim.sip.exchange`
   (behind it :mod:`~omaim.sip.front` and :mod:`~omaim.sip.locating`).
3. What is built on them: :mod:`~omaim.sip.dialog`; :mod:`~omaim.sip.proxying`,
   :mod:`~omaim.sip.forking` and :mod:`~omaim.sip.relaying`; :mod:`~omaim.sip.calling` and
   :mod:`~omaim.sip.session_timer`.
4. Services: :mod:`~omaim.sip.registration` and :mod:`~omaim.sip.bindings`,
   :mod:`~omaim.sip.outbound`, :mod:`~omaim.sip.gruu`, :mod:`~omaim.sip.preferences`;
   :mod:`~omaim.sip.subscription` and :mod:`~omaim.sip.subscribing`;
   :mod:`~omaim.sip.publication` and :mod:`~omaim.sip.publishing`.
5. Trust: :mod:`~omaim.sip.digest`, :mod:`~omaim.sip.nonces`, :mod:`~omaim.sip.answering`,
   :mod:`~omaim.sip.verifying`, :mod:`~omaim.sip.authenticating`, :mod:`~omaim.sip.admission`,
   :mod:`~omaim.sip.dismissing`, :mod:`~omaim.sip.identity`, :mod:`~omaim.sip.charging`.
6. The proxy of a domain, made of all that: :mod:`~omaim.sip.subscribed`,
   :mod:`~omaim.sip.neighbours`, :mod:`~omaim.sip.job`, :mod:`~omaim.sip.routing` (behind it
   :mod:`~omaim.sip.senders` and :mod:`~omaim.sip.icid`), :mod:`~omaim.sip.upstream`; and of its
   registrar, :mod:`~omaim.sip.admitting` and :mod:`~omaim.sip.bound`.

To read a message and to answer it:

>>> from omaim.sip import parse_datagram
>>> request = parse_datagram(
...     b"OPTIONS sip:example.com SIP/2.0\\r\\n"
...     b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK7\\r\\n"
...     b"From: <sip:alice@example.com>;tag=1\\r\\nTo: <sip:example.com>\\r\\n"
...     b"Call-ID: 8\\r\\nCSeq: 1 OPTIONS\\r\\n\\r\\n"
... )
>>> request.from_.uri.aor(), request.cseq.method
('sip:alice@example.com', 'OPTIONS')
>>> request.response(200, to_tag="2").to.tag
'2'
"""

from omaim.sip.headers import (
    AcceptItem,
    Challenge,
    ContentType,
    Credentials,
    CSeq,
    DialogRef,
    EventHeader,
    NameAddr,
    ParamValue,
    RAck,
    Reason,
    RetryAfter,
    SessionExpires,
    SubscriptionState,
    Via,
)
from omaim.sip.message import Message, Request, Response, error_response
from omaim.sip.parser import BadMessage, Limits, StreamParser, check, parse_datagram
from omaim.sip.uri import OtherUri, SipUri, TelUri, Uri, canonical_aor, parse_uri

__all__ = [
    "AcceptItem",
    "BadMessage",
    "CSeq",
    "Challenge",
    "ContentType",
    "Credentials",
    "DialogRef",
    "EventHeader",
    "Limits",
    "Message",
    "NameAddr",
    "OtherUri",
    "ParamValue",
    "RAck",
    "Reason",
    "Request",
    "Response",
    "RetryAfter",
    "SessionExpires",
    "SipUri",
    "StreamParser",
    "SubscriptionState",
    "TelUri",
    "Uri",
    "Via",
    "canonical_aor",
    "check",
    "error_response",
    "parse_datagram",
    "parse_uri",
]
