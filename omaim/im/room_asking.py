"""Service features and rooms: may somebody come in, may somebody say that.

A room waits for no one. While a feature thinks, the message stays where it is, and so do those
behind it of the same sender.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError
from omaim.im.chatroom import Room
from omaim.im.policy import Refusal
from omaim.im.posting import FORBIDDEN, TOO_LARGE, Post, Refused
from omaim.im.room_people import Applicant
from omaim.node.hooks import Deliver, Hooks, Refuse
from omaim.node.questions import MayJoin, MayPost

# What MSRP can answer: RFC 4975 §10, RFC 7701 §10.3.
_MSRP: Final = frozenset({400, FORBIDDEN, 404, TOO_LARGE, 415, 428})

_log = Logger()


class RoomAsking:
    """Asks the hooks of a node for its rooms.

    Args:
        domain: the home domain.
        now: seconds since the epoch.
        done: is called with a room after something was decided there, to have its outputs
            taken.
    """

    def __init__(
        self,
        hooks: Hooks,
        domain: str,
        now: Callable[[], float],
        done: Callable[[Room], None],
    ) -> None:
        self._hooks = hooks
        self._domain = domain
        self._now = now
        self._done = done

    async def may_join(self, room: Room, applicant: Applicant) -> None:
        """Let features decide on who wants to come in, and whom the room's rules let in.

        The room may have changed when this returns: :meth:`Room.join` looks again.

        Raises:
            PeerError: the rules or a feature do not let it in.
        """
        room.check(applicant, self._now())
        if not self._hooks.wanted(MayJoin):
            return
        opinion = await self._hooks.ask(
            MayJoin(
                domain=self._domain,
                room=room.uri,
                kind=room.rules.kind,
                user=applicant.identities[0],
                anonymous=applicant.hidden,
                invited=room.is_invited(applicant),
                present=room.count,
            )
        )
        if isinstance(opinion, Refuse):
            raise Refusal(opinion.reason, opinion.status)

    def attend(self, room: Room) -> None:
        """Have features asked about each message of a room, if there are any that want it."""
        room.asks = (lambda post: self._ask(room, post)) if self._hooks.wanted(MayPost) else None

    def _ask(self, room: Room, post: Post) -> None:
        asked = Deferred.fromCoroutine(self._hooks.ask(self._question(room, post)))
        asked.addCallback(self._decided, room, post)
        asked.addErrback(self._failed, room, post)

    def _question(self, room: Room, post: Post) -> MayPost:
        return MayPost(
            domain=self._domain,
            side="room",
            sender=post.sender,
            recipients=(post.to or room.uri,),
            content_type=post.media_type,
            text=post.text,
            size=max(post.size, post.received),
        )

    def _decided(self, opinion: object, room: Room, post: Post) -> None:
        refused: PeerError | None = None
        if isinstance(opinion, Refuse):
            status = opinion.status if opinion.status in _MSRP else FORBIDDEN
            refused = Refused(opinion.reason, status)
        text = opinion.text if isinstance(opinion, Deliver) else None
        post.decide(refused, text, self._now())
        self._done(room)

    def _failed(self, failure: Failure, room: Room, post: Post) -> None:
        _log.failure("a message in {room} could not be decided on", failure, room=room.uri)
        post.decide(
            Refused("it could not be decided whether this may be said", FORBIDDEN),
            None,
            self._now(),
        )
        self._done(room)
