"""What a message is, in a few words: for ladders, which have little room.

Whatever the octets are, the words are printable: a peer cannot write on somebody's terminal.
"""

from __future__ import annotations

from omaim.features.ladder_msrp import PIECE, read_frame, summarise_frame
from omaim.features.ladder_sip import summarise_sip
from omaim.features.ladder_words import Summary, printable, size_words


def summarise(protocol: str, data: bytes) -> Summary:
    """Return what a message on the wire is.

    Args:
        protocol: "SIP", "MSRP" or "HTTP".
        data: the octets; anything at all.
    """
    if protocol == "SIP":
        return summarise_sip(data)
    if protocol == "MSRP":
        frame = read_frame(data)
        if frame is None:
            return Summary(PIECE, hint=f"{size_words(len(data))} without a start line")
        return summarise_frame(frame)
    start = printable(data[:200].partition(b"\r\n")[0].decode("utf-8", "replace"), 60)
    words = start.split(" ")
    if protocol == "HTTP" and words[-1].startswith("HTTP/"):
        return Summary(" ".join(words[:-1]))
    if protocol == "HTTP" and words[0].startswith("HTTP/"):
        return Summary(" ".join(words[1:]))
    return Summary(start)
