"""IM Clients in sessions: through their servers, directly, and in rooms (§5.6.7 to §5.6.9)."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred

from omaim.client import Client
from omaim.client.conversation import Conversation
from omaim.client.failures import Busy, Declined, WrongFormat
from omaim.client.file_offer import FileOffer
from omaim.client.room import Room
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

DIRECT = Layout(settings={"im-north": {"media": "direct"}, "im-south": {"media": "direct"}})
PICTURE = bytes(range(256)) * 16
LONG = "A long story. " * 500
LOBBY = "sip:room.lobby@north.example"


class Guest:
    """Somebody who accepts everything.

    Attributes:
        talks: what was begun.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.talks: list[Conversation] = []
        client.auto_accept = True
        client.on_conversation(self.talks.append)

    @staticmethod
    async def come(net: ScenarioNetwork, name: str, **settings: object) -> Guest:
        return Guest(await net.online(name, **settings))

    async def talk(self, net: ScenarioNetwork) -> Conversation:
        """Return what was begun last."""
        await net.until(lambda: self.talks, "somebody begins to talk")
        return self.talks[-1]

    async def room(self, net: ScenarioNetwork) -> Room:
        """Return the room into which it was invited last."""
        talk = await self.talk(net)
        holds(isinstance(talk, Room), "it is a room")
        assert isinstance(talk, Room)
        return talk


async def heard(net: ScenarioNetwork, talk: Conversation, count: int) -> list[str]:
    """Return the texts of the next messages."""
    texts = []
    for _ in range(count):
        coming = talk.next()
        coming.addTimeout(10.0 * net.slack, net.clock)
        texts.append((await coming).text)
    return texts


@scenario(shows=("IMS-03", "IMS-04/session", "IMS-52", "IMS-54", "IMS-70"), stages=EVERYWHERE)
async def talk_across_domains(net: ScenarioNetwork) -> None:
    """Two people of two domains talk in a session: delivered, read, in order, ended."""
    alice, xenia = await net.online("alice"), await Guest.come(net, "xenia")
    hers = await alice.invite(xenia.client.identity, subject="Lunch")
    his = await xenia.talk(net)
    same((his.peer, his.subject, his.verified), (alice.identity, "Lunch", True), "who talks")
    sent = await hers.send("Hungry?")
    await sent.delivered(10.0 * net.slack)
    message = await his.next()
    same(message.text, "Hungry?", "what xenia reads")
    message.read()
    await sent.displayed(10.0 * net.slack)
    for number in range(10):
        await hers.send(f"h{number}", reports=())
        await his.send(f"x{number}", reports=())
    same(await heard(net, his, 10), [f"h{number}" for number in range(10)], "xenia hears")
    same(await heard(net, hers, 10), [f"x{number}" for number in range(10)], "alice hears")
    await his.leave()
    await net.until(lambda: hers.ended, "the end is known to alice")


@scenario(shows=("IMS-52",), stages=IN_PROCESS)
async def talk_from_behind_a_nat(net: ScenarioNetwork) -> None:
    """Nobody can connect to her: her session with the server goes by the relay of her domain."""
    home = net.plan.homes[0]
    ca = str(net.plan.folder / "ca.pem")
    relay = f"msrps://relay.{home.domain};tcp"
    alice = await net.online("alice", relay=relay, ca=ca)
    xenia = await Guest.come(net, "xenia")
    hers = await alice.invite(xenia.client.identity)
    his = await xenia.talk(net)
    for number in range(5):
        await hers.send(f"h{number}", reports=())
        await his.send(f"x{number}", reports=())
    same(await heard(net, his, 5), [f"h{number}" for number in range(5)], "xenia hears")
    same(await heard(net, hers, 5), [f"x{number}" for number in range(5)], "alice hears")
    steps = [step for step in net.ladder().steps if step.protocol == "MSRP" and step.point]
    hops = {(*sorted((one.source.name, one.target.name)), one.point) for one in steps}
    same(("alice", "relay-north", "IM-7") in hops, True, "it goes by the relay")
    same(("im-north", "relay-north", "IM-7") in hops, True, "which goes to the server")
    same(("alice", "im-north", "IM-7") in hops, False, "it goes another way")
    await his.leave()
    await net.until(lambda: hers.ended, "the end is known to alice")


@scenario(shows=("IMS-03", "IMS-04/session"), stages=IN_PROCESS)
async def talk_declined(net: ScenarioNetwork) -> None:
    """Who declines is left alone, and the caller knows whether for good or for now."""
    alice, bob = await net.online("alice"), await net.online("bob")
    for status, kind in ((603, Declined), (486, Busy)):
        bob.on_invitation(lambda invited, status=status: invited.decline(status))  # type: ignore[misc]
        try:
            await alice.invite(bob.identity)
        except kind:
            continue
        raise Missed(f"{status} is not {kind.__name__}")
    same((alice.conversations, bob.conversations), ([], []), "what is left")


@scenario(shows=("IMS-53", "IMS-55"), stages=IN_PROCESS)
async def rich_talk_across_domains(net: ScenarioNetwork) -> None:
    """Pictures and marked-up text pass both servers; what a client does not take is refused."""
    everything = ("message/cpim", "*/*")
    alice = await net.online("alice", accept=everything)
    xenia = await Guest.come(net, "xenia", accept=everything)
    hers = await alice.invite(xenia.client.identity)
    his = await xenia.talk(net)
    for kind, body in (("image/png", PICTURE), ("text/html", b"<b>bold</b>")):
        await hers.send(body, kind)
        message = await his.next()
        same((message.content_type, message.body), (kind, body), "what xenia gets")
    await hers.leave()
    plain = await Guest.come(net, "bob")
    talk = await alice.invite(plain.client.identity)
    try:
        await talk.send(PICTURE, "image/png")
    except WrongFormat as failure:
        holds("text/plain" in failure.accepted, "the failure says what would be taken")
    else:
        raise Missed("a picture went to who takes none")


@scenario(shows=("IMS-56", "IMS-58", "IMS-72"), stages=IN_PROCESS, layout=DIRECT)
async def talk_directly(net: ScenarioNetwork) -> None:
    """Where policy allows, MSRP goes from client to client; signalling still passes the servers."""
    everything = ("message/cpim", "*/*")
    alice = await net.online("alice", accept=everything)
    xenia = await Guest.come(net, "xenia", accept=everything)
    hers = await alice.invite(xenia.client.identity)
    his = await xenia.talk(net)
    sent = await hers.send("between us")
    await sent.delivered(10.0 * net.slack)
    await hers.send(PICTURE, "image/png")
    same([(await his.next()).content_type for _ in range(2)], ["text/plain", "image/png"], "got")
    medium = hers.talk.medium
    holds(medium is not None, "there is a session")
    assert medium is not None
    far = his.talk.medium
    assert far is not None
    same(medium.session.remote_path, (far.session.uri,), "whom alice's MSRP talks to")
    near_id, far_id = hers.leg.call.dialog.call_id, his.leg.call.dialog.call_id
    holds(near_id != far_id, "the INVITE passed servers, each with a call of its own")
    await hers.leave()


@scenario(shows=("IMS-57", "IMS-58", "IMS-72"), stages=IN_PROCESS, layout=DIRECT)
async def hosted_by_a_client(net: ScenarioNetwork) -> None:
    """A client hosts a conference across domains: all hear all, see one another; it ends it."""
    alice = await net.online("alice")
    bob, xenia = await Guest.come(net, "bob"), await Guest.come(net, "xenia")
    room = await alice.host("Plans", 3)
    await room.invite(bob.client.identity, xenia.client.identity)
    bobs, xenias = await bob.room(net), await xenia.room(net)
    await room.send("What shall we do?")
    await bobs.send("Eat")
    same(await heard(net, xenias, 2), ["What shall we do?", "Eat"], "xenia hears")
    same(await heard(net, bobs, 1), ["What shall we do?"], "bob hears")
    same((await room.next()).sender, bob.client.identity, "whom alice hears")
    people = {alice.identity, bob.client.identity, xenia.client.identity}
    await net.until(lambda: {one.uri for one in xenias.participants} == people, "the roster")
    try:
        await room.invite("carol")
    except Busy as failure:
        same(failure.status, 486, "beyond the cap")
    else:
        raise Missed("a fourth came into a room of three")
    await xenias.leave()
    await net.until(lambda: len(room.participants) == 2, "xenia has left")
    await room.leave()
    await net.until(lambda: bobs.ended, "it is over for bob")


@scenario(shows=("IMS-57", "IMS-72"), stages=IN_PROCESS, layout=DIRECT)
async def coming_and_going_at_a_clients(net: ScenarioNetwork) -> None:
    """In rooms that a client hosts people whisper, leave, come back, and call others in."""
    alice = await net.online("alice")
    guests = {name: await Guest.come(net, name) for name in ("bob", "xenia", "carol")}
    room, other = await alice.host("Plans", 4), await alice.host("Secrets")
    identities = {name: one.client.identity for name, one in guests.items()}
    await room.invite(identities["bob"], identities["xenia"])
    bobs, xenias = await guests["bob"].room(net), await guests["xenia"].room(net)
    await other.invite(identities["bob"])
    await net.until(lambda: len(guests["bob"].talks) == 2, "bob is in both rooms")
    await xenias.whisper(identities["bob"], "not for alice")
    await bobs.whisper(alice.identity, "not for xenia")
    await bobs.send("for all")
    same(await heard(net, bobs, 1), ["not for alice"], "what bob hears")
    message = await room.next()
    same((message.text, room.is_private(message)), ("not for xenia", True), "what alice hears")
    same((await room.next()).text, "for all", "what alice hears then")
    same(await heard(net, xenias, 1), ["for all"], "what xenia hears")
    await xenias.leave()
    await net.until(lambda: len(room.participants) == 2, "xenia has left")
    await bobs.send("while she is away")
    xenias = await xenias.rejoin()
    reference = await bobs.invite(identities["carol"])
    same(None if reference is None else await reference.done(), 200, "carol comes")
    carols = await guests["carol"].room(net)
    people = {alice.identity, *identities.values()}
    await net.until(lambda: {one.uri for one in xenias.participants} == people, "the roster")
    await carols.send("hello")
    same(await heard(net, xenias, 1), ["hello"], "xenia hears again")
    same({one.uri for one in other.participants}, {alice.identity, identities["bob"]}, "the other")
    await room.leave()
    await other.leave()
    await net.until(lambda: carols.ended and bobs.ended and xenias.ended, "it is over for all")


@scenario(shows=("IMS-72", "IMS-03"), stages=EVERYWHERE)
async def from_two_to_three(net: ScenarioNetwork) -> None:
    """A talk of two becomes a conference of three at the server, and the talk of two ends."""
    alice = await net.online("alice")
    bob, xenia = await Guest.come(net, "bob"), await Guest.come(net, "xenia")
    two = await alice.invite(bob.client.identity)
    talk = await bob.talk(net)
    room = await alice.conference([xenia.client.identity], "Plans", instead=two)
    xenias = await xenia.room(net)
    await net.until(lambda: len(bob.talks) == 2, "bob comes along")
    await net.until(lambda: talk.ended and two.ended, "the talk of two is over")
    people = {alice.identity, bob.client.identity, xenia.client.identity}
    await net.until(
        lambda: {one.uri for one in room.participants if one.here} == people, "the roster"
    )
    await room.send("Three now")
    same(await heard(net, xenias, 1), ["Three now"], "xenia hears")
    same(await heard(net, bob.talks[1], 1), ["Three now"], "bob hears")
    for one in (room, xenias, bob.talks[1]):
        await one.leave()


@scenario(shows=("IMS-04/large",), stages=EVERYWHERE)
async def large_by_its_size(net: ScenarioNetwork) -> None:
    """What does not fit into a MESSAGE goes in a session of its own, and is reported."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    sent = await alice.send(xenia.identity, LONG, subject="Story")
    message = await net.message(xenia)
    same((message.text, message.subject, message.sender), (LONG, "Story", alice.identity), "got")
    await sent.delivered(10.0 * net.slack)
    message.read()
    await sent.displayed(10.0 * net.slack)


@scenario(shows=("IMS-55", "IMS-04/session"), stages=EVERYWHERE)
async def file_across_domains(net: ScenarioNetwork) -> None:
    """A file is offered, taken, carried by both servers and checked; the talk goes on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "report.bin"
        path.write_bytes(PICTURE * 100)
        alice, xenia = await net.online("alice"), await Guest.come(net, "xenia")
        offers: list[FileOffer] = []
        xenia.client.on_file(offers.append)
        hers = await alice.invite(xenia.client.identity)
        his = await xenia.talk(net)
        sending = Deferred.fromCoroutine(hers.send_file(path))
        await net.until(lambda: offers, "the offer")
        await hers.send("meanwhile", reports=())
        download = await offers[0].accept(folder / "taken")
        upload = await sending
        where = await download.done()
        await upload.done()
        same(where, folder / "taken" / "report.bin", "where it is")
        digest = hashlib.sha1(where.read_bytes()).digest()
        same(digest, hashlib.sha1(PICTURE * 100).digest(), "its hash")
        same(await heard(net, his, 1), ["meanwhile"], "xenia hears")
        await hers.leave()


@scenario(shows=("IMS-72", "IMS-54"), stages=EVERYWHERE)
async def in_the_lobby(net: ScenarioNetwork) -> None:
    """People of two domains meet in a chat room: roster, nickname, private message, coming back."""
    rooms: dict[str, Room] = {}
    for name in ("alice", "bob", "xenia", "zoe"):
        client = await net.online(name)
        rooms[name] = await client.join(LOBBY)
    people = {net.person(name).aor for name in rooms}
    for name, room in rooms.items():
        await net.until(
            lambda room=room: {one.uri for one in room.participants} == people,  # type: ignore[misc]
            f"{name}'s roster",
        )
    await rooms["alice"].nickname("Queen")
    await rooms["alice"].send("Tea is ready.")
    for name in ("bob", "xenia", "zoe"):
        same(await heard(net, rooms[name], 1), ["Tea is ready."], f"{name} hears")
    await net.until(
        lambda: "Queen" in [one.nickname for one in rooms["xenia"].participants], "her nickname"
    )
    await rooms["xenia"].whisper("Queen", "With sugar?", reports=())
    message = await rooms["alice"].next()
    same(message.text, "With sugar?", "what alice hears alone")
    holds(rooms["alice"].is_private(message), "it is private")
    await rooms["zoe"].leave()
    await net.until(lambda: len(rooms["bob"].participants) == 3, "zoe has left")
    rooms["zoe"] = await rooms["zoe"].rejoin()
    await rooms["bob"].send("Welcome back")
    same(await heard(net, rooms["zoe"], 1), ["Welcome back"], "zoe hears")
    for room in rooms.values():
        await room.leave()
