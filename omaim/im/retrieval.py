"""What users do about their deferred messages: hear of them, fetch them, delete them.

A user hears of them by SUBSCRIBE (:mod:`omaim.im.own_lists`), or by a MESSAGE with the list when it
registers. It fetches and deletes by a MESSAGE with such a list, or fetches in a session
(:mod:`omaim.im.handover`); without a list all are meant.

Spec: OMA SIMPLE IM 1.0 (deferred messaging)
Differs: how clients ask for and delete messages by MESSAGE is not confirmed by a published text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies.deferred_list import MEDIA_TYPE, parse_deferred_list
from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.im.content import Content
from omaim.im.deferred import Deferring
from omaim.im.delivery import Delivery
from omaim.im.handover import Handover
from omaim.im.own_lists import Told
from omaim.im.participating import ANONYMOUS, SOFTWARE, Mail, Served
from omaim.im.sending import Sending
from omaim.roles.listmail import Refused
from omaim.sip.message import Request
from omaim.stores.interfaces import IDeferredStore

NOTED: Final = 100_000  # users of whom it is remembered what they were told

_log = Logger()


class Retrieval:
    """Serves the owners of deferred messages.

    Args:
        address: of the deferred messaging function.
        core: Route value of the core.
        told: the devices that watch the lists.
        ours: whether an address is one of our users.
        now: seconds since the epoch.
        notices: users are told of their messages when they register, and ask for them.
    """

    def __init__(
        self,
        address: str,
        core: str,
        deferring: Deferring,
        delivery: Delivery,
        store: IDeferredStore,
        sending: Sending,
        told: Told,
        ids: Ids,
        ours: Callable[[str], bool],
        now: Callable[[], float],
        notices: bool,
    ) -> None:
        self._address = address
        self._core = core
        self._deferring = deferring
        self._delivery = delivery
        self._store = store
        self._sending = sending
        self._watchers = told
        self._ids = ids
        self._ours = ours
        self._now = now
        self._notices = notices
        self._told: dict[str, int] = {}  # user → position of the last message it knows of
        delivery.on_change = told.changed

    async def fetch(self, mail: Mail) -> Served:
        """Deliver the messages that the sender names, or all that wait."""
        references = await self._meant(mail)
        self._delivery.ask(mail.leg.sender, references)
        return Served(202)

    async def delete(self, mail: Mail) -> Served:
        """Delete the messages that the sender names, or all that wait."""
        await self._deferring.delete(mail.leg.sender, await self._meant(mail))
        return Served(200)

    async def _meant(self, mail: Mail) -> list[str]:
        """Return the references of what the sender's MESSAGE is about, oldest first.

        Raises:
            PeerError: it has no messages here (403), none of these (404), or the body is
                something else (415).
        """
        content = mail.content
        named: list[str] = []
        if content.body:
            if content.media_type != MEDIA_TYPE:
                raise Refused("this is no list of messages", 415, (("Accept", MEDIA_TYPE),))
            named = [one.reference for one in parse_deferred_list(content.body)]
        return await self._waiting(mail.leg.sender, named)

    async def _waiting(self, user: str, named: Sequence[str]) -> list[str]:
        """Return which of these wait for a user, oldest first; all for none."""
        if user == ANONYMOUS or not self._ours(user):
            raise PeerError("nothing is kept here for others than our users", 403)
        waiting = [one.reference for one in await self._deferring.everything(user)]
        if not named:
            return waiting
        meant = set(named)
        found = [reference for reference in waiting if reference in meant]
        if not found:
            raise PeerError("none of these messages is here", 404)
        return found

    async def session(self, user: str, references: Sequence[str] = ()) -> Handover:
        """Return what a session of a user with the function is to be given.

        Args:
            references: what the user asked for; all, if empty.

        Raises:
            PeerError: the user has no messages here (403), or none of these (404).
            Unavailable: the store cannot answer.
        """
        found = await self._waiting(user, references)
        return Handover(user, found, self._store, self._delivery, self._now)

    # Telling them

    def registered(self, user: str, fresh: bool = False) -> None:
        """A user has a device: deliver, or tell what there is.

        Args:
            fresh: it is another one than before.
        """
        self._delivery.arrived(user, fresh)
        if self._notices:
            Deferred.fromCoroutine(self._tell(user)).addErrback(_untold)

    def deregistered(self, user: str) -> None:
        """A user has no device any more: the next one has to be told anew."""
        self._told.pop(user, None)

    async def _tell(self, user: str) -> None:
        waiting = await self._deferring.waiting(user)
        if not waiting or waiting[-1].position <= self._told.get(user, 0):
            return
        if self._watchers.watched(user):
            return
        body = await self._deferring.document(user)
        ids = self._ids
        request = Request.make(
            "MESSAGE",
            user,
            [
                ("Route", self._core),
                ("Max-Forwards", "70"),
                ("From", f"<{self._address}>;tag={ids.tag()}"),
                ("To", f"<{user}>"),
                ("Call-ID", ids.call_id()),
                ("CSeq", "1 MESSAGE"),
                ("User-Agent", SOFTWARE),
                ("P-Asserted-Identity", f"<{self._address}>"),
                ("Content-Type", MEDIA_TYPE),
            ],
            body,
        )
        response = await self._sending.post(request, Content(MEDIA_TYPE, body))
        if response.status < 300:
            if len(self._told) >= NOTED:
                self._told.clear()
            self._told[user] = waiting[-1].position


def _untold(failure: Failure) -> None:
    if failure.check(PeerError):
        _log.info("a user was not told: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("a user was not told of deferred messages", failure)
