"""What users say they want of the service: published by their devices, in force at once.

Each device publishes for itself, and what it says stands until it takes it back or lets it expire.
Somebody is there as soon as one of the devices that say so is; about the rest the device that
spoke last is right. All of it is in the publication store, so that a restart forgets nothing.

Spec: RFC 3903 §6; OMA SIMPLE IM 1.0 (IM service settings)
Differs: how clients hand in their settings is not confirmed by a published text; PUBLISH to one's
own address follows RFC 4354.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs
from twisted.logger import Logger
from zope.interface import implementer

from omaim.bodies.im_settings import MEDIA_TYPE, ServiceSettings, parse_settings
from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.im.participating import SOFTWARE, leg_of
from omaim.im.policy import ISettings, Settings
from omaim.roles.listmail import Refused
from omaim.sip.message import Request, Response
from omaim.sip.publication import INITIAL, REFRESH, REMOVE, judge
from omaim.sip.subscription import Terms
from omaim.sip.uri import canonical_aor
from omaim.stores.interfaces import Conflict, IPublicationStore
from omaim.stores.records import Publication

MOST: Final = 16  # publications of one user; the oldest gives way to a further one

_log = Logger()


@implementer(ISettings)
class PublishedSettings:
    """The settings of one domain's users.

    Args:
        package: name of the event package.
        base: what holds for those who say nothing.
        ours: whether an address is one of our users.
        now: seconds since the epoch.
        terms: how long a publication stands.

    Attributes:
        on_change: called with a user, and the settings before and now.
        before_recording: awaited before the history of a user is switched on.
    """

    def __init__(
        self,
        package: str,
        store: IPublicationStore,
        base: ISettings,
        ids: Ids,
        ours: Callable[[str], bool],
        now: Callable[[], float],
        terms: Terms,
    ) -> None:
        self._package = package
        self._store = store
        self._base = base
        self._ids = ids
        self._ours = ours
        self._now = now
        self._terms = terms
        self._said: dict[str, tuple[ServiceSettings, ...]] = {}  # the latest last
        self._until: dict[str, float] = {}  # when the first of a user's publications expires
        self._turns: dict[str, int] = {}  # which reading of the store is in force
        self._turn = 0
        self._merged: dict[str, tuple[Settings, Settings]] = {}  # base and result
        self.on_change: Callable[[str, Settings, Settings], object] = _nobody
        self.before_recording: Callable[[], Awaitable[object]] = _nothing

    def of(self, user: str) -> Settings:
        base: Settings = self._base.of(user)
        said = self._said.get(user)
        if said is None:
            return base
        known = self._merged.get(user)
        if known is None or known[0] is not base:
            known = self._merged[user] = base, composed(base, said)
        return known[1]

    @property
    def recorded(self) -> bool:
        """Whether somebody has switched history on."""
        return any(one.history_pager or one.history_session for one in map(self.of, self._said))

    async def load(self) -> None:
        """Read what stands, after a start."""
        after = ""
        while True:
            users = await self._store.aors(self._package, after)
            for user in filter(self._ours, users):
                await self._read(user)
            if not users:
                return
            after = users[-1]

    async def receive(self, request: Request, tag: str) -> Response:
        """Serve a PUBLISH; return the answer.

        Args:
            request: our own Route is off it.
            tag: the To tag of the answer.

        Raises:
            PeerError: it is answered with that; nothing has changed.
            Unavailable: the store cannot answer.

        Spec: RFC 3903 §6
        """
        user = self._publisher(request)
        event = request.event
        if event is None or event.package != self._package:
            headers = (("Allow-Events", self._package),)
            raise Refused("this event package is not published here", 489, headers)
        now = self._now()
        standing = await self._store.of(user, self._package, now)
        verdict = judge(request, (self._package,), [one.etag for one in standing], self._terms)
        self._check(request)
        old = next((one for one in standing if one.etag == verdict.etag), None)
        etag = self._ids.token(24)
        try:
            if verdict.operation == REMOVE:
                if old is not None and not await self._store.remove(old.etag):
                    raise Conflict("somebody else has removed it")
            else:
                if verdict.operation == INITIAL and len(standing) >= MOST:
                    await self._store.remove(standing[0].etag)
                body, moment = request.body, now
                if verdict.operation == REFRESH and old is not None:
                    body, moment = old.body, old.published_at
                new = Publication(
                    user, self._package, etag, now + verdict.expires, MEDIA_TYPE, body, user, moment
                )
                await self._store.put(new, verdict.etag)
        except Conflict:
            raise PeerError("no publication has this entity-tag", 412) from None
        await self._read(user)
        response = request.response(200, None, tag)
        response.add("Expires", str(verdict.expires))
        response.add("SIP-ETag", etag)
        response.add("Server", SOFTWARE)
        return response

    def _publisher(self, request: Request) -> str:
        """Return whose settings a PUBLISH is about, who is also who sent it."""
        leg = leg_of(request)
        user = canonical_aor(request.uri)
        if not self._ours(user):
            raise PeerError("no settings are kept here for others than our users", 404)
        if user not in leg.identities:
            raise PeerError("settings are for their owner only", 403)
        return user

    def _check(self, request: Request) -> None:
        """Refuse a body that is no settings document."""
        if not request.body:
            return
        kind = request.content_type
        coding = (request.first("Content-Encoding") or "").strip().lower()
        if kind is None or kind.essence != MEDIA_TYPE or coding not in ("", "identity"):
            raise Refused("this is no settings document", 415, (("Accept", MEDIA_TYPE),))
        parse_settings(request.body)

    async def _read(self, user: str) -> None:
        """Let what is in the store be in force."""
        self._turn += 1
        turn = self._turn
        found = await self._store.of(user, self._package, self._now())
        said = tuple(_parsed(found))
        if any(one.history_pager or one.history_session for one in said):
            await self.before_recording()
        if self._turns.get(user, 0) > turn:
            return  # a later reading was quicker
        self._turns[user] = turn
        before = self.of(user)
        self._merged.pop(user, None)
        if said:
            self._said[user] = said
            self._until[user] = min(one.expires_at for one in found)
        else:
            self._said.pop(user, None)
            self._until.pop(user, None)
        after = self.of(user)
        if after != before:
            self.on_change(user, before, after)

    async def sweep(self) -> None:
        """Forget what has expired."""
        now = self._now()
        for user in [user for user, until in self._until.items() if until <= now]:
            await self._read(user)
        while await self._store.take_expired(now, package=self._package):
            pass


def composed(base: Settings, said: Sequence[ServiceSettings]) -> Settings:
    """Return what is in force.

    Args:
        base: what holds where nobody says anything.
        said: by each device, the latest last.
    """
    there = [
        one.active is not False and one.visible is not False
        for one in said
        if one.active is not None or one.visible is not None
    ]
    return attrs.evolve(
        base,
        willing=base.willing and (not there or any(there)),
        defers=_latest(base.defers, [one.deferred for one in said]),
        history_pager=_latest(base.history_pager, [one.history_pager for one in said]),
        history_session=_latest(base.history_session, [one.history_session for one in said]),
        automatic=_latest(base.automatic, [one.automatic for one in said]),
    )


def _latest(otherwise: bool, said: Sequence[bool | None]) -> bool:
    return next((value for value in reversed(said) if value is not None), otherwise)


def _parsed(found: Sequence[Publication]) -> list[ServiceSettings]:
    said = []
    for one in found:
        try:
            said.append(parse_settings(one.body))
        except PeerError as error:  # it was read once: another version has written it
            _log.error("settings of {user} cannot be read: {why}", user=one.aor, why=error.why)
    return said


def _nobody(user: str, before: Settings, after: Settings) -> None:
    """Nobody follows."""


async def _nothing() -> None:
    """Nothing has to be done before."""
