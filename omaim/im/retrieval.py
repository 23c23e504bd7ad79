"""What users do about their deferred messages: hear of them, fetch them, delete them.

A user hears of them by SUBSCRIBE to one of three event packages, as clients differ, or by a
MESSAGE with the list when it registers. It fetches and deletes by a MESSAGE with such a list;
without a list all are meant.

Spec: OMA SIMPLE IM 1.0 (deferred messaging); RFC 6665; RFC 6080 (ua-profile)
Differs: how clients ask for and delete messages by MESSAGE is not confirmed by a published text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
from omaim.im.participating import ANONYMOUS, SOFTWARE, Mail, Served
from omaim.im.sending import Sending
from omaim.roles.incoming import Incoming
from omaim.roles.listmail import Refused
from omaim.roles.notifier import Notifier
from omaim.roles.packages import ALLOWED, EventPackage, State, watcher_of
from omaim.roles.packages import Served as Subscribed
from omaim.sip.message import Request
from omaim.sip.uri import canonical_aor

PACKAGES: Final = ("xcap-diff", "sip-profile", "ua-profile")
NOTED: Final = 100_000  # users of whom it is remembered what they were told

_log = Logger()


class Retrieval:
    """Serves the owners of deferred messages.

    Args:
        address: of the deferred messaging function.
        core: Route value of the core.
        ours: whether an address is one of our users.
        notices: users are told of their messages when they register, and ask for them.
    """

    def __init__(
        self,
        address: str,
        core: str,
        deferring: Deferring,
        delivery: Delivery,
        sending: Sending,
        notifier: Notifier,
        ids: Ids,
        ours: Callable[[str], bool],
        notices: bool,
    ) -> None:
        self._address = address
        self._core = core
        self._deferring = deferring
        self._delivery = delivery
        self._sending = sending
        self._notifier = notifier
        self._ids = ids
        self._ours = ours
        self._notices = notices
        self._told: dict[str, int] = {}  # user → position of the last message it knows of
        for name in PACKAGES:
            notifier.serve(DeferredList(name, address, deferring, ours))
        delivery.on_change = self._changed

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
        user, content = mail.leg.sender, mail.content
        if user == ANONYMOUS or not self._ours(user):
            raise PeerError("nothing is kept here for others than our users", 403)
        waiting = [one.reference for one in await self._deferring.waiting(user)]
        if not content.body:
            return waiting
        if content.media_type != MEDIA_TYPE:
            raise Refused("this is no list of messages", 415, (("Accept", MEDIA_TYPE),))
        named = {one.reference for one in parse_deferred_list(content.body)}
        if not named:
            return waiting
        found = [reference for reference in waiting if reference in named]
        if not found:
            raise PeerError("none of these messages is here", 404)
        return found

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
        if any(self._notifier.watchers(name, user) for name in PACKAGES):
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
        if response is not None and response.status < 300:
            if len(self._told) >= NOTED:
                self._told.clear()
            self._told[user] = waiting[-1].position

    def _changed(self, user: str) -> None:
        for name in PACKAGES:
            self._notifier.changed(name, user)


def _untold(failure: Failure) -> None:
    if failure.check(PeerError):
        _log.info("a user was not told: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("a user was not told of deferred messages", failure)


class DeferredList(EventPackage):
    """The list of one's own deferred messages.

    Args:
        address: of the deferred messaging function, which may stand in the Request-URI.
    """

    def __init__(
        self, name: str, address: str, deferring: Deferring, ours: Callable[[str], bool]
    ) -> None:
        super().__init__(name, (MEDIA_TYPE,))
        self._address = address
        self._deferring = deferring
        self._ours = ours

    def resource(self, request: Request) -> str:
        """Return whose messages it is about: those of who asks.

        Raises:
            PeerError: 403, the messages of somebody else; 404, no such address here.
        """
        watcher = watcher_of(request)
        asked = canonical_aor(request.uri)
        if not self._ours(watcher):
            raise PeerError("nothing is kept here for others than our users", 403)
        if asked not in (self._address, watcher):
            raise PeerError("others' messages are not shown", 403)
        return watcher

    def authorize(self, incoming: Incoming, resource: str) -> bool | Awaitable[bool]:
        """Everybody may see what is kept for them; who it is, the core has said."""
        if not incoming.request.has("P-Asserted-Identity"):
            raise PeerError("nobody vouches for the subscriber", 403)
        return ALLOWED

    def state(self, served: Subscribed, full: bool) -> Awaitable[State | None]:
        """Return the list, whole each time."""
        return self._state(served.resource)

    async def _state(self, user: str) -> State:
        return State(await self._deferring.document(user), MEDIA_TYPE)
