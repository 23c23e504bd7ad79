"""How invitations are answered, and the message that comes with one (§5.6.7)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from omaim.client import Client, Conversation, Invited, Report
from omaim.client.failures import Kept, Refused
from omaim.net.wire import OUT
from omaim.roles.invitation import Invitation
from omaim.sip.answer_mode import AUTO, MANUAL, AnswerMode
from omaim.testing.scenario import (
    EVERYWHERE,
    IN_PROCESS,
    Layout,
    Missed,
    ScenarioNetwork,
    holds,
    same,
    scenario,
)
from tests.scenarios.talks import DIRECT, Guest, heard

OPEN = Layout(settings={"im-south": {"auto_answer": ("alice@north.example",)}})


class Asked:
    """Somebody whose device may answer by itself, and asks him otherwise.

    Attributes:
        invitations: those about which he was asked.
        talks: those that were accepted.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.invitations: list[Invited] = []
        self.talks: list[Conversation] = []
        client.auto_answer = True
        client.on_invitation(self._asked)
        client.on_conversation(self.talks.append)

    @staticmethod
    async def come(net: ScenarioNetwork, name: str) -> Asked:
        return Asked(await net.online(name))

    async def _asked(self, invited: Invited) -> None:
        self.invitations.append(invited)
        await invited.accept()


@scenario(shows=("IMS-03", "IMS-07/one-to-one", "IMS-35"), stages=IN_PROCESS, layout=OPEN)
async def answered_by_the_device(net: ScenarioNetwork) -> None:
    """A device answers by itself when its own server says so, and the server when policy allows
    it; all others ring; who wants it so or not at all is refused (RFC 5373)."""
    alice, bob = await net.online("alice"), await net.online("bob")
    xenia = await Asked.come(net, "xenia")
    auto, must = AnswerMode(AUTO), AnswerMode(AUTO, required=True)
    rung: list[int] = []
    for answer in (auto, must):
        talk = await alice.invite(xenia.client.identity, answer=answer, ringing=rung.append)
        same((talk.answered, rung, xenia.invitations), (AUTO, [], []), "how alice is answered")
        await talk.leave()
    talk = await bob.invite(xenia.client.identity, answer=auto, ringing=rung.append)
    same((talk.answered, rung), (MANUAL, [180]), "how bob is answered")
    same(len(xenia.invitations), 1, "who xenia was asked about")
    told = net.seen("im-south", "INVITE", OUT)[-1]
    same(told.all("Answer-Mode"), [MANUAL], "what xenia's device was told")
    await talk.leave()
    try:
        await bob.invite(xenia.client.identity, answer=must)
    except Refused as failure:
        holds("119 Function not allowed: automatic answer forbidden" in str(failure), "the Warning")
    else:
        raise Missed("bob was not refused")
    talk = await alice.invite(xenia.client.identity, ringing=rung.append)
    same((talk.answered, rung), ("", [180, 180]), "who asks for nothing")
    await talk.leave()


@scenario(shows=("IMS-03", "IMS-35", "IMS-54"), stages=EVERYWHERE)
async def first_message(net: ScenarioNetwork) -> None:
    """A message comes with the invitation, is shown with it, delivered before anybody accepts, and
    the first of the conversation."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    asked: list[Invited] = []
    xenia.on_invitation(asked.append)
    inviting = Deferred.fromCoroutine(alice.invite(xenia.identity, first="Hungry?"))
    reports: list[Report] = []
    alice.on_report(reports.append)
    await net.until(lambda: asked, "xenia is asked")
    (invited,) = asked
    assert invited.first is not None
    same((invited.first.text, invited.first.sender), ("Hungry?", alice.identity), "what is shown")
    await net.until(lambda: reports, "alice hears of it")
    same((reports[0].status, inviting.called), ("delivered", False), "while it rings")
    his = await invited.accept()
    hers = await inviting
    assert hers.first is not None
    same(hers.first.message_id, reports[0].message_id, "on what it was reported")
    await hers.send("Very?")
    first = await his.next()
    same([first.text, *await heard(net, his, 1)], ["Hungry?", "Very?"], "what xenia hears")
    first.read()
    await hers.first.displayed(10.0 * net.slack)
    await his.leave()


@scenario(shows=("IMS-03", "IMS-13/push", "IMS-54"), stages=IN_PROCESS)
async def first_message_to_nobody(net: ScenarioNetwork) -> None:
    """The first message to who is away is kept, and the caller is told so; once more as a message
    of its own it comes once all the same."""
    alice = await net.online("alice")
    yusuf = net.person("yusuf").aor
    try:
        await alice.invite(yusuf, first="Hungry?")
    except Kept as kept:
        sent = kept.sent
        same(kept.status, 480, "the answer")
    else:
        raise Missed("nobody answered for yusuf")
    assert sent is not None
    back = await net.online("yusuf")
    message = await net.message(back)
    same((message.text, message.message_id), ("Hungry?", sent.message_id), "what yusuf gets")
    await sent.delivered(10.0 * net.slack)
    await net.nothing(back)


def simple(client: Client) -> None:
    """Let a client be one that takes a session description only."""
    inviter = client.sessions._means.inviter
    take = inviter.on_invite
    assert take is not None

    def invited(invitation: Invitation) -> object:
        if (invitation.request.first("Content-Type") or "").startswith("multipart/"):
            invitation.reject(415, [("Accept", "application/sdp")])
            return None
        return take(invitation)

    inviter.on_invite = invited


async def first_said(net: ScenarioNetwork) -> None:
    """Have a first message go along, then one to a device that does not take it so."""
    alice, xenia = await net.online("alice"), await Guest.come(net, "xenia")
    for _ in range(2):
        talk = await alice.invite(xenia.client.identity, first="Hungry?")
        assert talk.first is not None
        same(await heard(net, await xenia.talk(net), 1), ["Hungry?"], "what xenia hears")
        await talk.first.delivered(10.0 * net.slack)
        await talk.leave()
        xenia.talks.clear()
        simple(xenia.client)
    same(len(net.seen("im-south", "INVITE", OUT)), 3, "INVITEs for xenia")


@scenario(shows=("IMS-03", "IMS-35"), stages=IN_PROCESS)
async def first_message_otherwise(net: ScenarioNetwork) -> None:
    """A device that takes no message beside a session description (415) is invited without, and
    hears it first in the session."""
    await first_said(net)


@scenario(shows=("IMS-03", "IMS-35"), stages=IN_PROCESS, layout=DIRECT)
async def first_message_directly(net: ScenarioNetwork) -> None:
    """It goes along, or is said first, where sessions go from client to client, too."""
    await first_said(net)
