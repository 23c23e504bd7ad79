"""Who may have a device answer by itself: what the callee's own server decides.

The caller asks, the policy of the callee decides, and the callee's device is told by nobody else.

Spec: RFC 5373; OMA SIMPLE IM 1.0 (answer modes); OMA XDM (allow-auto-answermode,
allow-manual-answer-override)
"""

from __future__ import annotations

from collections.abc import Sequence

from omaim.im.participating import Leg
from omaim.im.policy import EVERYBODY, Refusal, Settings
from omaim.sip.answer_mode import AUTO, MANUAL, AnswerMode, answer_mode
from omaim.sip.message import Request


def asked_for(request: Request) -> list[AnswerMode]:
    """Return how a caller wants to be answered; what it claims a right to stands first.

    Raises:
        PeerError: that cannot be read.
    """
    found = (answer_mode(request, privileged) for privileged in (True, False))
    return [one for one in found if one is not None]


def decided(asked: Sequence[AnswerMode], leg: Leg, settings: Settings) -> AnswerMode | None:
    """Return what the callee's devices are told about an INVITE; ``None`` for nothing.

    What the callee has not allowed becomes :data:`~omaim.sip.answer_mode.MANUAL`.

    Args:
        asked: what the caller wants, see :func:`asked_for`.
        leg: the callee's.
        settings: the callee's.

    Raises:
        Refusal: the caller wants it so or not at all, and may not.

    Spec: RFC 5373
    """
    permitted = _is_among(leg, settings.auto)
    forced = permitted and settings.automatic
    for one in asked:
        if one.privileged and one.mode in (AUTO, MANUAL) and _is_among(leg, settings.override):
            return one
        granted = not one.privileged and _grants(one, permitted, forced)
        if granted:
            return one
        if one.required:
            raise Refusal(f"119 Function not allowed: {one.forbidden}")
    if forced:
        return AnswerMode(AUTO)
    return AnswerMode(MANUAL) if asked else None


def _grants(asked: AnswerMode, permitted: bool, forced: bool) -> bool:
    if asked.mode == AUTO:
        return permitted
    return asked.mode == MANUAL and not forced


def _is_among(leg: Leg, people: frozenset[str]) -> bool:
    """Tell whether the caller is one of these; one whom nobody knows never is."""
    if not leg.identities or leg.hidden:
        return False
    return EVERYBODY in people or not people.isdisjoint(leg.identities)
