"""The typed header values of sessions; :mod:`omaim.sip.headers` has them with all others.

Refer-To and Referred-By are addresses, read them as :class:`~omaim.sip.headers.NameAddr`.

Spec: RFC 3326 §2; RFC 3891 §6.1; RFC 4028 §4, §5; RFC 4538 §7
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.grammar import (
    NO_PARAMS,
    Params,
    clamped,
    is_token,
    number,
    parse_params,
    quote,
    split_outside,
)

_MAX_CAUSE: Final = 2147483647


def _cut(text: str) -> tuple[str, Params]:
    pieces = split_outside(text, ";")
    if len(pieces) == 1:
        return pieces[0], NO_PARAMS
    return pieces[0], parse_params(";" + ";".join(pieces[1:]))


@final
class SessionExpires:
    """How long a session lasts without a refresh, and who refreshes it (RFC 4028 §4).

    Min-SE has the same shape, without a refresher (§5).

    Attributes:
        seconds: the session interval.
        refresher: "uac", "uas", or "" when it is not said.
        params: all parameters.
    """

    __slots__ = ("params", "refresher", "seconds")

    def __init__(self, seconds: int, refresher: str = "", params: Params = NO_PARAMS) -> None:
        self.seconds: Final = seconds
        self.refresher: Final = refresher
        self.params: Final = params

    @staticmethod
    def parse(text: str) -> SessionExpires:
        """Return the interval that ``text`` is.

        Raises:
            PeerError: no number, bad parameters, or a refresher that is neither side.
        """
        digits, params = _cut(text)
        refresher = (params.get("refresher") or "").lower()
        if params.has("refresher") and refresher not in ("uac", "uas"):
            raise PeerError("a session is refreshed by the uac or the uas")
        return SessionExpires(clamped(digits), refresher, params.without("refresher"))

    def __str__(self) -> str:
        text = str(self.seconds)
        if self.refresher:
            text += ";refresher=" + self.refresher
        return text + str(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SessionExpires) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"SessionExpires({str(self)!r})"


@final
class DialogRef:
    """Which dialog of its receiver a request is about.

    Replaces calls the receiver's own tag to-tag and the other from-tag, Target-Dialog
    local-tag and remote-tag; :meth:`parse` reads both.

    Attributes:
        call_id: of the dialog.
        local_tag: the tag of who receives this.
        remote_tag: the tag of its peer in that dialog.
        early_only: replace it only as long as it is early.

    Spec: RFC 3891 §3, §6.1; RFC 4538 §4, §7
    """

    __slots__ = ("call_id", "early_only", "local_tag", "remote_tag")

    def __init__(
        self, call_id: str, local_tag: str, remote_tag: str, early_only: bool = False
    ) -> None:
        self.call_id: Final = call_id
        self.local_tag: Final = local_tag
        self.remote_tag: Final = remote_tag
        self.early_only: Final = early_only

    @staticmethod
    def parse(text: str) -> DialogRef:
        """Return the reference that ``text``, a Replaces or Target-Dialog value, is.

        Raises:
            PeerError: no Call-ID, or not one tag of each side.
        """
        call_id, params = _cut(text)
        if not call_id or " " in call_id or "\t" in call_id or "," in call_id:
            raise PeerError("a dialog is named by one Call-ID")
        local, remote = params.get("to-tag"), params.get("from-tag")
        if local is None and remote is None:
            local, remote = params.get("local-tag"), params.get("remote-tag")
        if not local or not remote:
            raise PeerError("a dialog is named by the tags of both sides")
        return DialogRef(call_id, local, remote, params.has("early-only"))

    @property
    def key(self) -> tuple[str, str, str]:
        """The dialog's id at who receives this: Call-ID, local tag, remote tag."""
        return (self.call_id, self.local_tag, self.remote_tag)

    @property
    def target_dialog(self) -> str:
        """The reference as a Target-Dialog value."""
        return f"{self.call_id};local-tag={self.local_tag};remote-tag={self.remote_tag}"

    def __str__(self) -> str:
        text = f"{self.call_id};to-tag={self.local_tag};from-tag={self.remote_tag}"
        return text + ";early-only" if self.early_only else text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DialogRef) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"DialogRef({str(self)!r})"


@final
class Reason:
    """Why a request is sent, or a session ended (RFC 3326 §2).

    Attributes:
        protocol: as "SIP" or "Q.850".
        cause: 0 when it is not said.
        text: without its quotes, or "".
    """

    __slots__ = ("cause", "protocol", "text")

    def __init__(self, protocol: str, cause: int = 0, text: str = "") -> None:
        self.protocol: Final = protocol
        self.cause: Final = cause
        self.text: Final = text

    @staticmethod
    def parse(text: str) -> Reason:
        """Return the reason that ``text``, one element of the header, is.

        Raises:
            PeerError: no protocol, or a cause that is no number.
        """
        protocol, params = _cut(text)
        if not is_token(protocol):
            raise PeerError("a Reason names no protocol")
        cause = params.get("cause")
        return Reason(
            protocol,
            0 if cause is None else number(cause, _MAX_CAUSE),
            params.get("text") or "",
        )

    def __str__(self) -> str:
        text = self.protocol
        if self.cause:
            text += ";cause=" + str(self.cause)
        if self.text:
            text += ";text=" + quote(self.text)
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reason) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"Reason({str(self)!r})"
