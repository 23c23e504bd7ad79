"""The list service: one message to many people whom it names.

Spec: RFC 5365 §7; RFC 5363; OMA SIMPLE IM 1.0 (controlling function)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from omaim.bodies.mime import Part
from omaim.bodies.resource_lists import Entry
from omaim.ids import Ids
from omaim.im.content import Content
from omaim.im.explosion import Copy, Explosion
from omaim.im.guest_lists import OPTION as OPTION_OF_INVITE
from omaim.im.guest_lists import listed_in
from omaim.im.participating import ANONYMOUS, Leg, Mail, Served
from omaim.im.policy import Refusal, sip_form
from omaim.im.sending import with_content
from omaim.roles.listmail import (
    OPTION,
    ListMail,
    Refused,
    check_consent,
    copies,
    is_list_mail,
    key_of,
    read,
)
from omaim.sip.message import Request
from omaim.sip.proxying import ExtensionRequired

DEMAND: Final = "demand"


@attrs.frozen
class Lists:
    """Explodes list messages of one domain.

    Args:
        most: entries in one list.
        consent: "demand": who did not agree makes the message fail with 470.
    """

    domain: str
    explosion: Explosion
    ids: Ids
    most: int
    consent: str

    async def expand(self, mail: Mail) -> Served:
        """Take charge of a copy of a MESSAGE for each recipient.

        Raises:
            PeerError: the request or the list cannot be used; 403 for the anonymous; 421
                without the option tag; 470 without consent.
        """
        request, leg = mail.request, mail.leg
        if leg.sender == ANONYMOUS:
            raise Refusal("a list message needs a sender")
        if not is_list_mail(request):
            raise ExtensionRequired(OPTION)
        return await self._explode(mail, read(request, most=self.most), large=False)

    def invited(self, request: Request, leg: Leg) -> tuple[Entry, ...]:
        """Return for whom a large message is that an INVITE announces, each once.

        Raises:
            PeerError: as :meth:`expand`.

        Spec: RFC 5366 §3, §5.1
        """
        if leg.sender == ANONYMOUS:
            raise Refusal("a list message needs a sender")
        if OPTION_OF_INVITE not in request.require:
            needed = (("Require", OPTION_OF_INVITE),)
            raise Refused(f"support for {OPTION_OF_INVITE} is required", 421, needed)
        people = listed_in(request)
        if not people:
            raise Refused("the recipient list is missing, or empty", 400)
        if len(people) > self.most:
            raise Refused(f"the recipient list has more than {self.most} entries", 413)
        for one in people:
            key_of(one.uri)
        self._check_consent(people, leg)
        return people

    async def expand_large(self, mail: Mail, people: tuple[Entry, ...]) -> Served:
        """Take charge of a copy of a large message for each recipient.

        Args:
            people: what :meth:`invited` returned.
        """
        content = mail.content
        parts = (Part([("Content-Type", content.content_type)], content.body),)
        return await self._explode(mail, ListMail(people, parts), large=True)

    async def _explode(self, mail: Mail, listed: ListMail, large: bool) -> Served:
        people = tuple(sorted({sip_form(one.uri) for one in listed.people}))
        await self.explosion.ask(mail, mail.leg, people)
        self._check_consent(listed.people, mail.leg)
        await self.explosion.take(mail, self._copies(mail, listed), large=large)
        return Served(202, people)

    def _copies(self, mail: Mail, listed: ListMail) -> Iterator[Copy]:
        for request in copies(mail.request, listed, self.ids, realm=self.domain):
            if mail.changed:
                content = Content(request.first("Content-Type") or "", request.body)
                with_content(request, content.with_text(mail.content.text))
            yield Copy(sip_form(request.uri), request)

    def _check_consent(self, people: Sequence[Entry], leg: Leg) -> None:
        if self.consent == DEMAND:
            check_consent(people, self._consents(leg.sender))

    def _consents(self, sender: str) -> Callable[[str], bool]:
        policy = self.explosion.policy
        return lambda recipient: policy.consents(sender, recipient)
