"""What can go wrong, by who is at fault.

A parser raises :class:`PeerError` only, whatever the bytes. One function per protocol turns
an error into its answer (:func:`omaim.sip.message.error_response` for SIP).
"""

from __future__ import annotations


class OmaimError(Exception):
    """The root of every error that omaim raises on purpose."""


class PeerError(OmaimError):
    """The other side broke the protocol; the error carries the answer it deserves.

    Args:
        why: one sentence for the log and for the peer; never holds a secret.
        status: the response code of the protocol at hand; the class's own when not given.
    """

    status: int = 400

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        if status is not None:
            self.status = status


class UsageError(OmaimError):
    """The caller asked for what cannot be: a defect on our side or a wrong setting.

    The message says what to do instead.
    """


class Unavailable(OmaimError):
    """A network or a store cannot serve now; nothing was changed, a retry may succeed."""
