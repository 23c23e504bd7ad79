"""Messages to groups: one to the address of a group becomes one for each of its members.

What a member gets is addressed to the group in its CPIM envelope, so that a client can tell it
from what is for its user alone, and answer to the group; a message without an envelope gets one.

Who may not see who is in a group (allow-conference-state) is not told by reports either: these
come back by the group's address, which sends them on in its own name.

Spec: OMA SIMPLE IM 1.0 (pre-defined groups, controlling function); RFC 5365 §7; RFC 5438 §8, §14.2
Differs: messages of groups whose members may be groups elsewhere end because each server knows the
Message-ID of what it has taken; RFC 5365 says nothing of loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Final

import attrs

from omaim.bodies import cpim
from omaim.bodies.cpim import IMDN, Address, Cpim, escape
from omaim.bodies.imdn import destination, record_route, take_route
from omaim.bodies.mime import Part
from omaim.bodies.moments import write_moment
from omaim.bodies.multipart import parse_multipart
from omaim.bodies.resource_lists import RECIPIENT_LIST, RECIPIENT_LIST_HISTORY, Entry
from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.im.concealing import conceal_author, conceal_reporter
from omaim.im.content import Content
from omaim.im.explosion import Copy, Explosion
from omaim.im.group_people import Audience, audience, may_write
from omaim.im.groups import DocumentGroups, Group
from omaim.im.participating import ANONYMOUS, Leg, Mail, Served
from omaim.im.policy import FORBIDDEN, Refusal, check_author, sip_form
from omaim.im.reports import VALIDITY
from omaim.im.room_rules import NOT_A_MEMBER
from omaim.roles.listmail import copies_of, with_message
from omaim.sip.identity import VECTOR
from omaim.sip.uri import canonical_aor
from omaim.stores.records import REPORT, DeferredMessage

FRESH: Final = 30.0  # seconds for which it is believed which members are groups

_LISTS: Final = (RECIPIENT_LIST, RECIPIENT_LIST_HISTORY)
_OF_THE_PART: Final = ("Content-Disposition", "Content-Language")
_NO_TYPING: Final = "119 Function not allowed: a group is not told who is writing"


@attrs.frozen
class GroupMail:
    """Serves messages to the groups of one domain.

    Args:
        groups: those that are defined.
        lacks: tells why there is no group at an address.
        names_of: returns all known addresses of a user.
        most: people who get one message.
    """

    domain: str
    groups: DocumentGroups
    lacks: Callable[[str], PeerError]
    explosion: Explosion
    ids: Ids
    names_of: Callable[[str], tuple[str, ...]]
    most: int

    async def expand(self, mail: Mail) -> Served:
        """Take charge of a copy of a MESSAGE for each member but its sender.

        Raises:
            PeerError: 403 the sender may not, or the group takes none; 404, 410 no group.
            Unavailable: the groups cannot be read, or not all copies are kept.
        """
        return await self._serve(mail, large=False)

    async def expand_large(self, mail: Mail) -> Served:
        """Take charge of a copy of a large message for each member; see :meth:`expand`."""
        return await self._serve(mail, large=True)

    async def readers(self, address: str, leg: Leg) -> Audience:
        """Return who would get a message to a group.

        Args:
            address: canonical.

        Raises: as :meth:`expand`.
        """
        return await self._audience(await self._group(address), leg)

    async def _serve(self, mail: Mail, large: bool) -> Served:
        leg, group = mail.leg, await self._group(mail.recipient)
        if mail.content.is_report:
            await self._pass_report(mail, group)
            return Served(202)
        if mail.content.is_composing:
            raise Refusal(_NO_TYPING, 403, "")
        reached = await self._audience(group, leg)
        if self.explosion.policy.check_author:
            check_author(mail.content, leg)
        people = tuple(sorted(reached.people))
        await self.explosion.ask(mail, leg, people)
        disclosed = group.rights(leg.identities, leg.hidden).see
        name = mail.content.message_id or _name(mail)
        copied = self._copies(mail, group.uri, reached, name, disclosed)
        await self.explosion.take(mail, copied, name=name, large=large)
        for closed in reached.closed if disclosed else ():
            await self._report_closed(mail, closed, name)
        return Served(202, people, (group.uri,))

    # Who

    async def _group(self, address: str) -> Group:
        group: Group | None = await self.groups.get(address)
        if group is None:
            raise self.lacks(address)
        return group

    async def _audience(self, group: Group, leg: Leg) -> Audience:
        if leg.sender == ANONYMOUS:
            raise Refusal("a message to a group needs a sender")
        names = {name: None for one in leg.identities for name in (one, *self.names_of(one))}
        await self.groups.recall(FRESH)
        return await audience(group, tuple(names), leg.hidden, self._find, self.most)

    async def _find(self, address: str) -> Group | None:
        if not self.groups.knows(address):
            return None
        group: Group | None = await self.groups.get(address)
        return group

    # What

    def _copies(
        self, mail: Mail, outer: str, reached: Audience, name: str, disclosed: bool
    ) -> Iterator[Copy]:
        group, parts = "", [Part([], b"")]

        def parts_for(one: Entry) -> list[Part]:
            nonlocal group, parts
            if reached.people[one.uri] != group:
                group = reached.people[one.uri]
                parts = _addressed(mail, outer, group, name, disclosed)
            return parts

        # Those of one group come one after the other: their content is made once.
        people = sorted(reached.people, key=lambda one: reached.people[one])
        entries = [Entry(one) for one in people]
        made = copies_of(mail.request, entries, parts_for, self.ids, self.domain)
        for recipient, request in zip(people, made, strict=True):
            yield Copy(recipient, request, reached.people[recipient])

    # Reports

    async def _report_closed(self, mail: Mail, group: str, name: str) -> None:
        """Tell the sender of a message that a group inside did not get it."""
        explosion = self.explosion
        await explosion.reports.send(
            mail.content,
            FORBIDDEN,
            mail.leg.sender,
            group,
            mail.request.first(VECTOR) or "",
            explosion.delivery.post,
            _digest(f"{FORBIDDEN} {name} {group}"),
        )

    async def _pass_report(self, mail: Mail, group: Group) -> None:
        """Tell the sender of a message to a group what became of it, but not for whom.

        Raises:
            Refusal: who reports gets nothing of whom it tells by this group.
            PeerError: it is no report that came by this group (400).

        Spec: RFC 5438 §8, §14.2
        """
        message = mail.content.cpim
        if message is None or not take_route(message, lambda uri: sip_form(uri) == group.uri):
            raise PeerError("reports are not for groups")
        target = canonical_aor(destination(message))
        if not await self._may_report(group, mail.leg, target):
            raise Refusal(NOT_A_MEMBER, 403, "")
        conceal_author(message, group.uri)
        now, ids = mail.at, self.ids
        headers = [
            ("From", f"<{group.uri}>;tag={ids.tag()}"),
            ("P-Asserted-Identity", f"<{group.uri}>"),
        ]
        headers += [(VECTOR, value) for value in mail.request.all(VECTOR)]
        await self.explosion.delivery.post(
            DeferredMessage(
                recipient=target,
                reference=ids.call_id(),
                sender=group.uri,
                message_id=message.message_id,
                content_type=cpim.MEDIA_TYPE,
                body=conceal_reporter(message.to_bytes(), group.uri),
                stored_at=now,
                sent_at=now,
                expires_at=now + VALIDITY,
                kind=REPORT,
                headers=tuple(headers),
            )
        )

    async def _may_report(self, group: Group, leg: Leg, target: str) -> bool:
        """Tell whether somebody gets what somebody else writes to a group."""
        names = tuple(dict.fromkeys((target, *self.names_of(target))))
        if may_write(group, names, False) and not frozenset(leg.identities).isdisjoint(
            group.members
        ):
            return True
        reached = await audience(group, names, False, self._find, self.most)
        return not reached.people.keys().isdisjoint(leg.identities)


def _name(mail: Mail) -> str:
    """Return the Message-ID of a message that has none: the same when it is repeated."""
    return _digest(mail.message_id)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:24]


def _addressed(mail: Mail, outer: str, group: str, name: str, disclosed: bool) -> list[Part]:
    """Return what the members of a group get, in an envelope that is addressed to the group."""
    content = mail.content
    if mail.request.has("Content-Encoding"):  # nobody here can read it
        return [_part(mail, ("Content-Encoding", *_OF_THE_PART))]
    if content.cpim is None:
        return [_enveloped(mail, group, name)]
    parts: list[Part] = []
    for one in _parts(content):
        if one.media_type == cpim.MEDIA_TYPE:
            message = Cpim.parse(one.decoded())
            _address(message, group, mail.leg.hidden)
            if not disclosed and message.wanted:
                record_route(message, outer)
            parts.append(with_message(one, message))
        elif one.disposition not in _LISTS:
            parts.append(one)
    return parts


def _parts(content: Content) -> Sequence[Part]:
    if content.media_type == cpim.MEDIA_TYPE:
        return [Part([("Content-Type", content.content_type)], content.body)]
    return parse_multipart(content.content_type, content.body).parts


def _address(message: Cpim, group: str, hidden: bool) -> None:
    """Address a message to a group; its author hears what was written instead (RFC 5438 §6.4)."""
    old = message.to
    if [one.uri for one in old] != [group]:
        if message.wanted and old and message.first("Original-To", IMDN) is None:
            message.add("Original-To", str(old[0]), IMDN)
        message.replace("To", str(Address("", group)))
    if hidden:
        conceal_author(message, ANONYMOUS)


def _enveloped(mail: Mail, group: str, name: str) -> Part:
    """Return a message without an envelope in one."""
    request, leg = mail.request, mail.leg
    author = Address("" if leg.hidden else request.from_.display, leg.shown)
    moment = write_moment(mail.sent_at)
    message = Cpim.make(author, [Address("", group)], moment, _part(mail, _OF_THE_PART))
    subject = request.first("Subject")
    if subject:
        message.add("Subject", escape(subject))
    message.add("Message-ID", name, IMDN)
    return Part([("Content-Type", cpim.MEDIA_TYPE)], message.to_bytes())


def _part(mail: Mail, names: tuple[str, ...]) -> Part:
    request, content = mail.request, mail.content
    kind = request.first("Content-Type") if "Content-Encoding" in names else content.content_type
    head = [("Content-Type", kind or "text/plain")]
    head += [(name, value) for name in names for value in request.all(name)]
    return Part(head, content.body)
