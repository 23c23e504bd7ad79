"""Who may write to whom, and how much: one question in, one verdict out.

What users want comes through :class:`ISettings`: from what their devices publish
(:mod:`omaim.im.settings`), and later from their documents.

Spec: OMA SIMPLE IM 1.0 (access policy); RFC 3325 §9.1; RFC 5360
"""

from __future__ import annotations

from typing import Final

import attrs
from zope.interface import Interface, implementer

from omaim.bodies.imdn import DELIVERY
from omaim.errors import PeerError
from omaim.im.content import Content
from omaim.im.participating import ANONYMOUS, ORIGINATING, TERMINATING, Leg, Mail
from omaim.sip.uri import canonical_aor

FORBIDDEN: Final = "forbidden"
FAILED: Final = "failed"
KIND: Final = DELIVERY  # of the report on a message that was not delivered

NOT_ALLOWED: Final = "119 Function not allowed due to the policy of the recipient"
TOO_LARGE: Final = "133 Size exceeded"
EVERYBODY: Final = "*"  # in a set of callers: all whom the network knows


class Refusal(PeerError):
    """The message goes no further.

    Attributes:
        disposition: what an IMDN tells the sender: FORBIDDEN, FAILED or "" for none.
    """

    def __init__(self, why: str, status: int = 403, disposition: str = FORBIDDEN) -> None:
        super().__init__(why, status)
        self.disposition = disposition


@attrs.frozen
class Settings:
    """What one user wants of the service; addresses are canonical."""

    willing: bool = True  # takes messages now; otherwise they wait
    defers: bool = True  # what cannot be delivered is kept
    accepts: frozenset[str] = frozenset()
    rejects: frozenset[str] = frozenset()  # wins over accepts
    strangers: bool = True  # takes messages of people on neither list
    anonymous: bool = True  # takes messages of unknown people
    polite: bool = False  # who is rejected does not learn it
    consents: frozenset[str] = frozenset()  # whose list messages are welcome, where that counts
    history_pager: bool = False  # pager and large messages are recorded
    history_session: bool = False  # sessions are recorded
    auto: frozenset[str] = frozenset()  # whose calls devices may answer by themselves
    automatic: bool = False  # theirs are answered so without their asking
    override: frozenset[str] = frozenset()  # who has a right to say how calls are answered


class ISettings(Interface):
    """Where the users' settings come from."""

    def of(user: str) -> Settings:
        """Return the settings of an address of record; never waits."""


@implementer(ISettings)
class KnownSettings:
    """Settings that somebody has put here; everybody else has the ordinary ones."""

    def __init__(self, ordinary: Settings | None = None) -> None:
        self._settings: dict[str, Settings] = {}
        self._ordinary = ordinary or Settings()

    def of(self, user: str) -> Settings:
        return self._settings.get(user, self._ordinary)

    def put(self, user: str, settings: Settings) -> None:
        """Let these be the settings of a user."""
        self._settings[user] = settings


@attrs.frozen
class Policy:
    """The rules of one domain."""

    settings: ISettings
    max_size: int  # octets of a body
    check_author: bool = True  # the CPIM From has to be the sender

    def admit(self, mail: Mail) -> bool:
        """Return whether a message may go on; False: answer as if it did, and drop it.

        Raises:
            Refusal: the sender may know that it may not.
        """
        if len(mail.request.body) > self.max_size:
            raise Refusal(TOO_LARGE, 413)
        if mail.expires_at < mail.at:
            raise Refusal("the message came too late", 480, FAILED)
        if mail.leg.side != TERMINATING:
            if self.check_author and mail.leg.side == ORIGINATING:
                check_author(mail.content, mail.leg)
            return True
        return self.welcome(mail.leg)

    def welcome(self, leg: Leg) -> bool:
        """Return whether the served user takes a message of this sender; see :meth:`admit`.

        The list of the rejected is a step of its own, before any other rule: inside one
        common-policy document the higher value would win (RFC 4745 §10).
        """
        settings: Settings = self.settings.of(leg.user)
        known = leg.identities or (leg.sender,)
        if not settings.rejects.isdisjoint(known):
            allowed = False
        elif leg.hidden:
            allowed = settings.anonymous
        else:
            allowed = settings.strangers or not settings.accepts.isdisjoint(known)
        if not allowed and not settings.polite:
            raise Refusal(NOT_ALLOWED)
        return allowed

    def consents(self, sender: str, recipient: str) -> bool:
        """Return whether a person agreed to get list messages of a sender (RFC 5360)."""
        settings: Settings = self.settings.of(recipient)
        return sender in settings.consents


def check_author(content: Content, leg: Leg) -> None:
    """Refuse a message inside which somebody else than its sender is said to have written it.

    Raises:
        Refusal: so it is.
        PeerError: its envelope is broken (400).
    """
    cpim = content.cpim
    if cpim is None or cpim.from_ is None:
        return
    author = sip_form(cpim.from_.uri)
    if author not in leg.identities and author != ANONYMOUS:
        raise Refusal("the CPIM From is not the sender")


def sip_form(uri: str) -> str:
    """Return the canonical address of a URI, that of an im URI as a sip one.

    Raises:
        PeerError: no URI.
    """
    if uri[:3].lower() == "im:":
        uri = "sip:" + uri[3:].partition("?")[0]
    return canonical_aor(uri)
