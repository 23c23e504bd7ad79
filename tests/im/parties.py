"""People with session mode, scripted: what a client does, without a client's opinions."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import cache
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from omaim.client import Client
from omaim.msrp import Outgoing, Session
from omaim.net.msrp import MsrpEndpoint
from omaim.roles.call import Call
from omaim.roles.description import CallFailed, Description
from omaim.roles.invitation import Invitation
from omaim.roles.inviter import Inviter
from omaim.roles.negotiation import Negotiation, Wish
from omaim.testing.scenario import Layout, Scenario, ScenarioNetwork
from omaim.testing.stages import Simulated
from tests.msrp.support import User

TAG = ("Accept-Contact", "*;+g.oma.sip-im")
TEXT = ("message/cpim", "text/plain")


class Party:
    """Somebody who has registered, invites and is invited.

    Attributes:
        answers: what to do with an invitation: a status, or "accept".
        user: gets what comes by MSRP.
        calls: those that are up, oldest first.
        ended: the Reason of each call that the other side has ended.
    """

    def __init__(self, net: ScenarioNetwork, client: Client) -> None:
        self.net = net
        self.client = client
        self.msrp = MsrpEndpoint(
            net.network, net.clock, name=client.endpoint.name, ids=client.endpoint.ids,
            wire=client.endpoint.wire,
        )  # fmt: skip
        net.at_end(self.msrp.stop)
        agent: Any = client._phone
        self.agent = agent
        self.inviter = Inviter(agent)
        self.inviter.on_invite = self._invited
        agent.attach()
        self.user = User()
        self.answers: int | str = "accept"
        self.calls: list[Call] = []
        self.ended: list[str] = []
        self.invitations: list[Invitation] = []
        self.negotiations: dict[Call, Negotiation] = {}
        self.wish: Wish | None = None

    @staticmethod
    async def come(net: ScenarioNetwork, name: str, **more: Any) -> Party:
        """Return somebody who has registered and can be connected to by MSRP."""
        client = net.client(name, **more)
        party = Party(net, client)
        await client.register()
        host = client.endpoint.listeners[0].host
        await party.msrp.listen("TCP", host, 0)
        return party

    @property
    def aor(self) -> str:
        return self.client.identity

    def wished(self, **more: Any) -> Wish:
        """Return what this party brings to a medium."""
        return Wish(self.user.user, more.pop("accept_types", TEXT), **more)

    async def invite(
        self, to: str, *wishes: Wish, headers: tuple[tuple[str, str], ...] = (), **more: Any
    ) -> Call:
        """Invite somebody with these media, or an ordinary one."""
        negotiation = Negotiation(self.msrp)
        offer = negotiation.offer(wishes or (self.wished(),))
        try:
            tag = () if any(name == TAG[0] for name, _ in headers) else (TAG,)
            call = await self.inviter.invite(to, offer.body, headers=(*tag, *headers), **more)
        except BaseException:
            negotiation.close()
            raise
        await negotiation.read_answer(call.remote)
        self._up(call, negotiation)
        return call

    async def _invited(self, invitation: Invitation) -> None:
        self.invitations.append(invitation)
        if isinstance(self.answers, int):
            invitation.reject(self.answers)
            return
        invitation.ring()
        negotiation = Negotiation(self.msrp)
        offered = negotiation.read_offer(invitation.call.remote)
        wishes = [None if one is None else self.wish or self.wished() for one in offered]
        answer = await negotiation.answer(invitation.call.remote, wishes)
        self._up(invitation.call, negotiation)
        await invitation.accept(answer.body)

    def _up(self, call: Call, negotiation: Negotiation) -> None:
        self.calls.append(call)
        self.negotiations[call] = negotiation
        call.on_offer = negotiation.confirm

        def over(reason: str) -> None:
            self.ended.append(reason)
            negotiation.close("BYE")

        call.on_bye = over

    def session(self, index: int = 0, call: Call | None = None) -> Session:
        """Return the MSRP session of a medium of a call; of the latest if none is given."""
        medium = self.negotiations[call or self.calls[-1]].media[index]
        assert medium is not None
        return medium.session

    def say(self, text: str | bytes, kind: str = "text/plain", **more: Any) -> Outgoing:
        """Send a message in the latest call."""
        body = text.encode() if isinstance(text, str) else text
        return self.session().send(Outgoing(kind, body, **more))

    async def change(self, call: Call, *wishes: Wish | None) -> Description:
        """Offer other media in a call."""
        negotiation = self.negotiations[call]
        answer = await call.reinvite(negotiation.offer(wishes).body)
        await negotiation.read_answer(answer)
        return answer

    async def leave(self) -> None:
        """End the latest call."""
        call = self.calls[-1]
        await call.bye()
        self.negotiations[call].close("over")


async def refused(doing: Any) -> CallFailed:
    """Return how a call that has to fail fails."""
    try:
        await doing
    except CallFailed as failed:
        return failed
    raise AssertionError("it was accepted")


def laid_out(core: Any, settings: dict[str, Any]) -> Layout:
    """Return a network whose IM Servers, and northern core, have these settings."""
    tables = {"im-north": settings, "im-south": settings} if settings else {}
    return Layout(settings={**tables, **({"core-north": core} if core else {})})


class SessionCase(SynchronousTestCase):
    """Plays scripts on a fresh simulated network of two domains."""

    def play(
        self,
        script: Callable[[ScenarioNetwork], Any],
        core: Any = None,
        **settings: Any,
    ) -> None:
        """Play a script on a network whose IM Servers, and northern core, have these settings."""

        async def checked(net: ScenarioNetwork) -> None:
            await script(net)
            for name, entity in net.entities.items():
                self.assertEqual(entity.endpoint.counters["crashed"], 0, name)

        one = Scenario(self.id(), (), self.id(), checked, layout=laid_out(core, settings))
        outcome = _stage().play(one)
        if not outcome.passed:
            self.fail(outcome.why)


@cache
def _stage() -> Simulated:
    stage = Simulated()
    atexit.register(stage.close)
    return stage
