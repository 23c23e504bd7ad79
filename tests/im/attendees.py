"""People in conferences, scripted: what a client with chat rooms does."""

from __future__ import annotations

from typing import Any

from omaim.bodies.conference_info import MEDIA_TYPE as CONFERENCE_INFO
from omaim.bodies.conference_info import parse_conference
from omaim.bodies.conference_state import ConferenceTable
from omaim.bodies.cpim import MEDIA_TYPE, Address, Cpim
from omaim.bodies.mime import Part
from omaim.bodies.resource_lists import Entry, ResourceList, write_lists
from omaim.msrp import Outgoing
from omaim.roles.call import Call
from omaim.roles.invitation import Invitation
from omaim.roles.negotiation import Negotiation, Wish
from omaim.sip.headers import NameAddr
from omaim.testing.scenario import ScenarioNetwork
from tests.im.parties import TAG, Party

LIST = "application/resource-lists+xml"
FACTORY = "sip:conference@north.example"


def cpim(author: str, to: str, text: str, kind: str = "text/plain", **more: str) -> bytes:
    """Return a message in its wrapper."""
    message = Cpim.make(
        Address("", author),
        [Address("", to)],
        "2026-01-01T00:00:00Z",
        Part([("Content-Type", kind)], text.encode()),
    )
    for name, value in more.items():
        message.add(name, value)
    return message.to_bytes()


def list_of(*entries: Entry | str) -> bytes:
    """Return a list of people."""
    items = tuple(one if isinstance(one, Entry) else Entry(one) for one in entries)
    return write_lists([ResourceList(items)])


def listed(offer: bytes, *entries: Entry | str) -> tuple[str, bytes]:
    """Return a body of an offer and a recipient list, with its type (RFC 5366 §3)."""
    body = (
        b"--b\r\nContent-Type: application/sdp\r\n\r\n" + offer + b"\r\n--b\r\n"
        b"Content-Type: " + LIST.encode() + b"\r\nContent-Disposition: recipient-list\r\n\r\n"
        + list_of(*entries) + b"\r\n--b--\r\n"
    )  # fmt: skip
    return "multipart/mixed;boundary=b", body


class Attendee(Party):
    """Somebody who goes into rooms.

    Attributes:
        room: address of the conference that was joined last.
    """

    def __init__(self, net: ScenarioNetwork, client: Any) -> None:
        super().__init__(net, client)
        self.room = ""
        self.wish = self.wished()

    @staticmethod
    async def come(net: ScenarioNetwork, name: str, **more: Any) -> Attendee:
        """Return somebody who has registered."""
        client = await net.online(name, **more)
        attendee = Attendee(net, client)
        await attendee.msrp.listen("TCP", client.endpoint.listeners[0].host, 0)
        return attendee

    def wished(self, **more: Any) -> Wish:
        more.setdefault("accept_types", (MEDIA_TYPE,))
        more.setdefault("accept_wrapped_types", ("*",))
        more.setdefault("chatroom", ("nickname", "private-messages"))
        return Wish(self.user.user, **more)

    async def join(self, room: str, *wishes: Wish, **more: Any) -> Call:
        """Go into a room."""
        call = await self.invite(room, *wishes, **more)
        self.room = room
        return call

    async def _invited(self, invitation: Invitation) -> None:
        await super()._invited(invitation)
        if invitation.replaces is not None and not isinstance(self.answers, int):
            await invitation.replaces.bye()

    async def create(
        self,
        *entries: Entry | str,
        headers: tuple[tuple[str, str], ...] = (),
        factory: str = FACTORY,
    ) -> Call:
        """Have a conference made, with these people."""
        negotiation = Negotiation(self.msrp)
        offer = negotiation.offer([self.wished()]).body
        kind, body = listed(offer, *entries)
        fields = (TAG, ("Require", "recipient-list-invite"), *headers)
        try:
            call = await self.inviter.invite(factory, body, kind, headers=fields)
        except BaseException:
            negotiation.close()
            raise
        await negotiation.read_answer(call.remote)
        self._up(call, negotiation)
        self.room = focus_of(call)
        return call

    def tell(self, text: str, to: str = "", author: str = "", **more: Any) -> Outgoing:
        """Say something to all, or to one."""
        kind = more.pop("kind", "text/plain")
        body = cpim(author or self.aor, to or self.room, text, kind)
        return self.session().send(Outgoing(MEDIA_TYPE, body, **more))

    def watch(self, room: str = "") -> Onlooker:
        """Follow who is in a room."""
        onlooker = Onlooker()
        watcher: Any = self.client._watcher
        watcher.watch(
            room or self.room,
            "conference",
            onlooker.hear,
            on_state=onlooker.moved,
            accept=(CONFERENCE_INFO,),
            keep=False,
        )
        return onlooker

    @property
    def heard(self) -> list[str]:
        """The texts that came, oldest first."""
        return [Cpim.parse(one).part.text() for one in self.user.bodies]

    @property
    def heard_from(self) -> list[tuple[str, str]]:
        """Who said which text."""
        found = []
        for one in self.user.bodies:
            message = Cpim.parse(one)
            assert message.from_ is not None
            found.append((message.from_.uri, message.part.text()))
        return found


def focus_of(call: Call) -> str:
    """Return the address of the conference that a call leads to."""
    message = call.request if call.response is None else call.response
    contact = NameAddr.parse(message.first("Contact") or "")
    assert "isfocus" in contact.params.names, contact
    return contact.uri_text


class Onlooker:
    """Follows who is in a room.

    Attributes:
        table: what is known.
        documents: that came.
        over: the subscription has ended, with this reason.
    """

    def __init__(self) -> None:
        self.table = ConferenceTable()
        self.documents: list[bytes] = []
        self.outcomes: list[str] = []
        self.over = ""
        self.changes: list[Any] = []

    def moved(self, change: Any) -> None:
        """Note why there is nothing more to hear."""
        self.changes.append(change)

    def hear(self, notify: Any) -> None:
        state = notify.first("Subscription-State") or ""
        if state.startswith("terminated"):
            self.over = state
        if notify.body:
            assert notify.first("Content-Type") == CONFERENCE_INFO
            self.documents.append(notify.body)
            self.outcomes.append(self.table.apply(parse_conference(notify.body)))

    @property
    def status(self) -> int:
        """With which it was refused or ended, 0 for none."""
        return next((one.status for one in self.changes if one.status), 0)

    @property
    def people(self) -> dict[str, str]:
        """The status of everybody who is known."""
        users = self.table.users.values()
        return {one.entity: one.endpoints[-1].status for one in users if one.endpoints}
