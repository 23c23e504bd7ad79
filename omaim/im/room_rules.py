"""What is allowed in a room: to all, and to each.

Spec: RFC 7701 §4.1 (conference policy); OMA SIMPLE IM 1.0 (group sessions)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import attrs

from omaim.im.policy import Refusal

Kind = Literal["ad-hoc", "pre-defined", "chat"]

AD_HOC: Final = "ad-hoc"  # made by a conference factory for the people on a list
PREDEFINED: Final = "pre-defined"  # a group whose members are invited when somebody starts it
CHAT: Final = "chat"  # people come in; nobody is invited

PAUSE: Final = "pause"  # who speaks waits for who is slow
DROP: Final = "drop"  # who is slow has to go

TOO_MANY: Final = "102 Too many participants"
CLOSED_NOW: Final = "119 Function not allowed: this group has no session at this time"
NOT_A_MEMBER: Final = "119 Function not allowed due to the policy of the group"


@attrs.frozen
class Rights:
    """What one person may do in a group.

    Spec: OMA XDM (group document, actions of its rules)
    """

    join: bool = False  # join-handling
    initiate: bool = False  # allow-initiate-conference
    invite: bool = False  # allow-invite-users-dynamically
    expel: bool = False  # allow-expelling
    see: bool = False  # allow-conference-state
    anonymous: bool = False  # allow-anonymity
    private: bool = False  # allow-private-message
    key: bool = False  # is-key-participant


NONE: Final = Rights()
GUEST: Final = Rights(join=True, see=True, private=True)  # who was invited and has no rights else
MEMBER: Final = Rights(join=True, invite=True, see=True, private=True, anonymous=True)
OWNER: Final = Rights(
    join=True, initiate=True, invite=True, expel=True, see=True, private=True, anonymous=True
)

# Of somebody by all canonical addresses, and whether the request is anonymous.
RightsOf = Callable[[tuple[str, ...], bool], Rights]


def combined(one: Rights, other: Rights) -> Rights:
    """Return what either allows: rights only ever add up (RFC 4745 §10)."""
    return Rights(
        **{
            field.name: getattr(one, field.name) or getattr(other, field.name)
            for field in attrs.fields(Rights)
        }
    )


@attrs.frozen
class Rules:
    """What holds for a whole room. Times are seconds, sizes octets, 0 is "no limit"."""

    kind: Kind = CHAT
    most: int = 0  # participants, whatever the number of their devices
    least: int = 1  # participants, those who are being invited too; with fewer the room ends
    ends_with_initiator: bool = False
    ends_with_key: bool = True  # with the last key participant
    duration: float = 0.0
    periods: tuple[tuple[float, float], ...] = ()  # when it may go on, from and until; none: always
    idle: float = 0.0  # without a message

    nicknames: bool = True
    reserved: tuple[str, ...] = ()  # nicknames that nobody may have
    quarantine: float = 300.0
    private: bool = True
    devices: int = 8  # with which one person may be in (RFC 7701 §4.1, simultaneous access)
    own_devices: bool = False  # what one says goes to one's other devices, too

    wrapped: tuple[str, ...] = ("*",)  # content types that may be said
    max_size: int = 0
    patience: float = 540.0  # until a message that does not go on is given up (RFC 7701 §6.1)
    hold: int = 2048  # of a message of unknown size that are waited for before it goes on
    under_way: int = 32  # messages of one session at a time

    congestion: str = PAUSE
    mark: int = 262_144  # waiting for one session: it is congested from here on
    grace: float = 20.0  # with PAUSE: who stays congested longer has to go
    queue: int = 4_194_304  # waiting for one session: it has to go

    keep: int = 65_536  # of a message, to be shown again or recorded; a larger one is not
    replay: int = 0  # messages that who comes late gets to see
    replay_size: int = 4_194_304  # octets of all of them
    linger: float = 30.0  # that the roster shows who has left as disconnected
    notices: bool = True  # the room itself says when somebody has to go, and why


def refuse_if_full(rules: Rules, present: int) -> None:
    """Make sure that one more person may come in.

    Raises:
        Refusal: 486, as many are there as may be.
    """
    if rules.most and present >= rules.most:
        raise Refusal(TOO_MANY, 486)
