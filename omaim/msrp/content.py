"""What all chunks of one message have in common.

Spec: RFC 4975 §7.1.1, §9
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import UsageError
from omaim.msrp.frame import NO, PARTIAL, YES, is_ident


@final
class Content:
    """What all chunks of a message say alike, written once.

    Args:
        message_id: 4 to 32 characters.
        content_type: with its parameters; "" for a request without a body.
        headers: further MIME fields.
        success_report: ask for success reports.
        failure_report: ``YES``, ``PARTIAL`` or ``NO``.

    Raises:
        UsageError: something cannot be written so.

    Attributes:
        before: the fields before Byte-Range, each with its line end.
        after: those behind, and the empty line.
    """

    __slots__ = ("after", "before", "failure_report", "message_id", "success_report")

    def __init__(
        self,
        message_id: str,
        content_type: str,
        headers: list[tuple[str, str]] | None = None,
        success_report: bool = False,
        failure_report: str = YES,
    ) -> None:
        if is_ident(message_id.encode("utf-8")) is None:
            raise UsageError(f"{message_id!r} cannot be a Message-ID: RFC 4975 §9 (ident)")
        if failure_report not in (YES, NO, PARTIAL):
            raise UsageError(f"Failure-Report is yes, partial or no, not {failure_report!r}")
        before = f"Message-ID: {message_id}\r\n"
        if success_report:
            before += "Success-Report: yes\r\n"
        if failure_report != YES:
            before += f"Failure-Report: {failure_report}\r\n"
        after = ""
        for name, value in headers or ():
            if not name.lower().startswith("content-") or _breaks(name) or _breaks(value):
                raise UsageError(f"{name!r} cannot be a field of an MSRP message")
            after += f"{name}: {value}\r\n"
        if content_type:
            if _breaks(content_type):
                raise UsageError("a line end in a content type")
            after += f"Content-Type: {content_type}\r\n\r\n"
        self.message_id: Final = message_id
        self.success_report: Final = success_report
        self.failure_report: Final = failure_report
        self.before: Final = before.encode("utf-8")
        self.after: Final = after.encode("utf-8")


def _breaks(text: str) -> bool:
    return "\r" in text or "\n" in text or "\0" in text
