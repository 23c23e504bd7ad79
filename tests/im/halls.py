"""A conference with real MSRP sessions on a simulated network, and calls that are made up."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.bodies.cpim import MEDIA_TYPE, Cpim
from omaim.ids import Ids
from omaim.im.conference import Conference, House
from omaim.im.groups import Group
from omaim.im.journal import Journal
from omaim.im.participating import LIST, Leg
from omaim.im.replay_store import ReplayStore
from omaim.im.room_asking import RoomAsking
from omaim.im.room_history import RoomHistory
from omaim.im.room_journal import RoomJournal
from omaim.im.room_rules import CHAT, MEMBER, Rules
from omaim.msrp import Outgoing
from omaim.net.driver import Driver
from omaim.net.msrp import MsrpEndpoint
from omaim.net.resolver import Resolver
from omaim.node.hooks import Hooks
from omaim.node.taps import Taps
from omaim.roles.description import Description
from omaim.roles.negotiation import Negotiation, Wish
from omaim.sip.message import Request
from omaim.stores.memory import memory_stores
from omaim.testing.network import Clock, SimulatedNetwork
from tests.im.attendees import cpim
from tests.msrp.support import User

ROOM = "sip:room.hall@north.example"


class _Agent:
    """What conferences need of a user agent."""

    def __init__(self, clock: Clock) -> None:
        self._driver = Driver(clock)
        self._clock = clock
        self.endpoint = self

    def now(self) -> float:
        return self._clock.seconds()

    def arm(self, alarm: Any) -> None:
        self._driver.deadlines.arm(alarm)
        self._driver.arm()

    def later(self, act: Any, *args: Any) -> None:
        self._clock.callLater(0, act, *args)


class _Inviter:
    def __init__(self, agent: _Agent) -> None:
        self.agent = agent


class HallCall:
    """A call that is up as soon as it is accepted."""

    def __init__(self, guest: HallGuest) -> None:
        self.guest = guest
        self.over = self.early = False
        self.context: Any = None
        self.on_bye: Any = None
        self.on_offer: Any = None
        self.request = guest.request
        self.remote = guest.offer
        self.on_hung_up: Any = lambda: None

    async def bye(self, headers: Any = ()) -> None:
        arrived: Deferred[None] = Deferred()
        self.guest.hall.clock.callLater(0.1, arrived.callback, None)
        await arrived
        self.over = True
        self.on_hung_up()
        self.guest.gone = True
        self.guest.negotiation.close("BYE")


class HallInvitation:
    """An INVITE."""

    described = True
    answered = False
    replaces: HallCall | None = None

    def __init__(self, guest: HallGuest) -> None:
        self.guest = guest
        self.request = guest.request
        self.call = HallCall(guest)

    async def accept(self, body: bytes, kind: str, headers: Any) -> HallCall:
        await self.guest.negotiation.read_answer(Description(body, kind))
        return self.call


class HallGuest:
    """One stay of somebody in the room.

    Attributes:
        gone: it has left, has died, or was put out.
        hangs: it did not read for a while.
        older: sessions that another has taken the place of.
    """

    def __init__(self, hall: Hall, number: int, device: str = "") -> None:
        self.hall = hall
        self.number = number
        self.aor = f"sip:p{number}@north.example"
        self.user = User()
        self.gone = False
        self.hangs = False
        self.older: list[Any] = []
        host = self._connect()
        wish = Wish(self.user.user, (MEDIA_TYPE,), ("*",), chatroom=("private-messages",))
        self.offer: Any = self.negotiation.offer([wish])
        contact = f'<sip:{host}>;+sip.instance="<device{device or number}>"'
        self.request: Request = Request.make(
            "INVITE",
            ROOM,
            [
                ("From", f"<{self.aor}>;tag=x"),
                ("To", f"<{ROOM}>"),
                ("Call-ID", f"c{hall.stays}"),
                ("CSeq", "1 INVITE"),
                ("P-Asserted-Identity", f"<{self.aor}>"),
                ("Contact", contact),
            ],
        )
        self.invitation = HallInvitation(self)

    def _connect(self) -> str:
        """Have an address; return it."""
        hall = self.hall
        host = f"10.1.{self.number}.{hall.stays % 200 + 1}"
        self.msrp = MsrpEndpoint(
            hall.network, hall.clock, Resolver(hall.clock), ids=Ids(1000 + hall.stays)
        )
        hall.stays += 1
        hall.result(self.msrp.listen("TCP", host, 2855))
        self.negotiation = Negotiation(self.msrp)
        return host

    @property
    def session(self) -> Any:
        medium = self.negotiation.media[0]
        assert medium is not None
        return medium.session

    def come(self, leg: Leg | None = None) -> None:
        leg = leg or Leg(LIST, ROOM, self.aor, True, False, (self.aor,))
        invitation: Any = self.invitation
        self.hall.result(Deferred.fromCoroutine(self.hall.conference.admit(invitation, leg)))

    def move(self) -> None:
        """Go on by another connection of the same call (a re-INVITE); read the older one out."""
        self.older.append(self.session)
        self._connect()
        wish = Wish(self.user.user, (MEDIA_TYPE,), ("*",), chatroom=("private-messages",))
        offer = self.negotiation.offer([wish])
        answering = Deferred.fromCoroutine(self.invitation.call.on_offer(offer))
        answer = self.hall.result(answering)
        self.hall.result(Deferred.fromCoroutine(self.negotiation.read_answer(answer)))

    def resume(self) -> None:
        """Read again, by all connections."""
        for session in (*self.older, self.session):
            session.resume()

    def leave(self) -> None:
        self.gone = True
        call = self.invitation.call
        call.over = True
        hear, call.on_bye = call.on_bye, None
        if hear is not None:
            hear("")
        self.negotiation.close("left")

    def die(self) -> None:
        """Vanish without a word."""
        self.gone = True
        self.msrp.stop()

    def say(self, text: str, size: int, on_end: Any, to: str = ROOM) -> Outgoing:
        """Say something; with a size below zero it comes in pieces that the test writes."""
        body = cpim(self.aor, to, text + "x" * max(0, size))
        whole: Outgoing = self.session.send(Outgoing(MEDIA_TYPE, body, on_end=on_end))
        return whole

    @property
    def heard(self) -> list[tuple[str, str]]:
        found = []
        for one in self.user.bodies:
            message = Cpim.parse(one)
            assert message.from_ is not None
            found.append((message.from_.uri, message.part.text().rstrip("x")))
        return found


class Hall:
    """A conference and its network."""

    def __init__(self, rules: Rules, seed: int = 1) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, seed)
        self.stays = 0
        self.over = False
        stores = memory_stores()
        agent = _Agent(self.clock)
        inviter: Any = _Inviter(agent)
        self.msrp = MsrpEndpoint(self.network, self.clock, Resolver(self.clock), ids=Ids(3))
        self.result(self.msrp.listen("TCP", "10.0.0.1", 2855))
        self.facts: list[Any] = []
        taps = Taps()
        journal = Journal("im", stores.outbox, taps, lambda: None)
        recorder: Any = _NoRecorder()
        asking = RoomAsking(Hooks(), "north.example", self.clock.seconds, lambda room: None)
        house = House(
            "im",
            inviter,
            self.msrp,
            asking,
            RoomJournal(journal, agent.later),
            lambda room: RoomHistory(recorder, room, self.clock.callLater),
            ReplayStore(stores.history, Ids(9), agent.later, self.clock.seconds, 1000.0),
            "<sip:core;lr>",
            self.clock.seconds,
            lambda leg, asked: asked,
            lambda address: False,
            lambda address: False,
            lambda room: None,
            self._over,
        )
        group = Group(ROOM, lambda identities, anonymous: MEMBER, CHAT)
        self.conference = Conference(house, group, rules)

    def _over(self, conference: Conference) -> None:
        self.over = True

    def result(self, waiting: Deferred[Any]) -> Any:
        return self.clock.wait(waiting, 60.0)


class _NoRecorder:
    def wants(self, owner: str, kind: str) -> bool:
        return False
