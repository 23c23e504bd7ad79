"""MSRP without I/O: messages of any size between two ends, by chunks over a byte stream.

Spec: RFC 4975, RFC 7701 §6, §7
"""

from omaim.msrp.accepting import Accepting
from omaim.msrp.channel import Channel, Line
from omaim.msrp.content import Content
from omaim.msrp.frame import (
    ABORTED,
    LAST,
    MORE,
    NO,
    PARTIAL,
    YES,
    ByteRange,
    Head,
    Report,
    Status,
    write_request,
    write_response,
)
from omaim.msrp.framing import FrameLimits, FrameParser, Part
from omaim.msrp.incoming import Incoming
from omaim.msrp.means import Limits, Means
from omaim.msrp.outgoing import BURDEN, GONE, Outgoing
from omaim.msrp.recent import Recent
from omaim.msrp.session import CLOSED, LATER, OPEN, RESERVED, WAITING, Session, SessionUser
from omaim.msrp.switch import Shared
from omaim.msrp.uri import MsrpUri, parse_path, write_path

__all__ = [
    "ABORTED",
    "BURDEN",
    "CLOSED",
    "GONE",
    "LAST",
    "LATER",
    "MORE",
    "NO",
    "OPEN",
    "PARTIAL",
    "RESERVED",
    "WAITING",
    "YES",
    "Accepting",
    "ByteRange",
    "Channel",
    "Content",
    "FrameLimits",
    "FrameParser",
    "Head",
    "Incoming",
    "Limits",
    "Line",
    "Means",
    "MsrpUri",
    "Outgoing",
    "Part",
    "Recent",
    "Report",
    "Session",
    "SessionUser",
    "Shared",
    "Status",
    "parse_path",
    "write_path",
    "write_request",
    "write_response",
]
