"""The dialogs of one user agent, found by the messages that belong to them.

Spec: RFC 3261 §12, §12.2.2, §12.3
"""

from __future__ import annotations

from typing import final

from omaim.sip.dialog import EARLY, Dialog
from omaim.sip.message import Request, Response


@final
class Dialogs:
    """The dialogs of one user agent, by id; forked siblings can be found together.

    Spec: RFC 3261 §12, §12.2.2, §12.3
    """

    __slots__ = ("_count", "_halves")

    def __init__(self) -> None:
        # By Call-ID and local tag, then by remote tag: forked siblings lie together.
        self._halves: dict[tuple[str, str], dict[str, Dialog]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, dialog: Dialog) -> None:
        """Keep a dialog; a second one of the same id replaces the first."""
        half = self._halves.setdefault((dialog.call_id, dialog.local_tag), {})
        if dialog.remote_tag not in half:
            self._count += 1
        half[dialog.remote_tag] = dialog

    def discard(self, dialog: Dialog) -> None:
        """Forget a dialog, if it is here."""
        key = (dialog.call_id, dialog.local_tag)
        half = self._halves.get(key)
        if half is not None and half.pop(dialog.remote_tag, None) is not None:
            self._count -= 1
            if not half:
                del self._halves[key]

    def find(self, request: Request) -> Dialog | None:
        """Return the dialog of a request from a peer; None means 481 if it has a To tag."""
        half = self._halves.get((request.call_id, request.to.tag))
        return None if half is None else half.get(request.from_.tag)

    def find_response(self, response: Response) -> Dialog | None:
        """Return the dialog of a response to a request of ours."""
        half = self._halves.get((response.call_id, response.from_.tag))
        return None if half is None else half.get(response.to.tag)

    def siblings(self, call_id: str, local_tag: str) -> list[Dialog]:
        """Return all dialogs that one request of ours made by forking."""
        half = self._halves.get((call_id, local_tag))
        return [] if half is None else list(half.values())

    def end_early(self, call_id: str, local_tag: str) -> int:
        """End the early dialogs of a request that got its final response.

        Returns: how many there were.

        Spec: RFC 3261 §12.3, §13.2.2.4
        """
        ended = 0
        for dialog in self.siblings(call_id, local_tag):
            if dialog.state == EARLY:
                dialog.end()
                self.discard(dialog)
                ended += 1
        return ended
