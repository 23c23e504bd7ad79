"""What a lab has ready for sessions, on every stage: rooms, direct sessions, what is kept."""

from __future__ import annotations

from typing import Any

from omaim.client import Client, Message
from omaim.client.failures import BadNickname, NotFound
from omaim.client.room import Room
from omaim.features.ladder_msrp import read_frame
from omaim.lab.rooms import BOARD, LOBBY
from omaim.net.wire import IN, OUT
from omaim.testing.scenario import (
    EVERYWHERE,
    IN_PROCESS,
    ScenarioNetwork,
    holds,
    refused,
    same,
    scenario,
)
from tests.scenarios.talks import Guest, heard

SIX = ("alice", "bob", "carol", "xenia", "yusuf", "zoe")
LONG = 900_000  # octets of a message


async def come_in(
    net: ScenarioNetwork, names: tuple[str, ...], room: str = LOBBY
) -> dict[str, Room]:
    """Return the room as each of some people has it, when all see all."""
    rooms = {name: await (await net.online(name)).join(room) for name in names}
    await net.until(lambda: people(rooms) == [len(names)] * len(names), "each sees all")
    return rooms


def people(rooms: dict[str, Room]) -> list[int]:
    """Return how many people each sees in the room."""
    return [sum(1 for one in room.participants if one.here) for room in rooms.values()]


def listen(rooms: dict[str, Room]) -> dict[str, list[Message]]:
    """Return the lists in which stands what each hears from now on."""
    heard: dict[str, list[Message]] = {name: [] for name in rooms}
    for name, room in rooms.items():
        room.on_message(heard[name].append)
    return heard


async def go(rooms: dict[str, Room]) -> None:
    for room in rooms.values():
        await room.leave()


@scenario(shows=("IMS-07/group", "IMS-10", "IMS-11", "IMS-70"), stages=EVERYWHERE)
async def six_in_a_room(net: ScenarioNetwork) -> None:
    """Each of six people of two domains hears each of the others, once and in order."""
    rooms = await come_in(net, SIX)
    got = listen(rooms)
    for number in range(5):
        for name in SIX:
            await rooms[name].send(f"{name} {number}")
    await net.until(lambda: all(len(one) >= 25 for one in got.values()), "all is heard")
    await net.sleep(0.5)
    for name in SIX:
        by = {other: [one.text for one in got[name] if one.sender == net.person(other).aor]
              for other in SIX}  # fmt: skip
        wanted = {other: [f"{other} {number}" for number in range(5)] for other in SIX}
        same(by, {**wanted, name: []}, f"what {name} hears")
    await rooms.pop("zoe").leave()
    await net.until(lambda: people(rooms) == [5] * 5, "zoe is seen to leave")
    await rooms["alice"].send("Is Zoe here?")
    await net.until(lambda: len(got["xenia"]) == 26, "xenia hears it")
    same(len(got["zoe"]), 25, "what zoe has heard")
    await go(rooms)


@scenario(shows=("IMS-10", "IMS-67"), stages=EVERYWHERE)
async def open_and_restricted(net: ScenarioNetwork) -> None:
    """One room lets everybody in; another its members only, and its owner puts people out."""
    alice, bob, yusuf = [await net.online(name) for name in ("alice", "bob", "yusuf")]
    room = await yusuf.join(LOBBY)
    await room.leave()
    await refused(yusuf.join(BOARD), 403)
    await refused(yusuf.join("room.nowhere@north.example"), 404)
    hers, his = await alice.join(BOARD), await bob.join(BOARD)
    await net.until(lambda: people({"a": hers, "b": his}) == [2, 2], "each sees both")
    reference = await hers.invite(yusuf.identity)
    holds(reference is None or await reference.done() >= 400, "whoever is no member stays out")
    await refused(his.expel(alice.identity), 403)
    await hers.expel(bob.identity)
    await net.until(lambda: his.ended, "bob is put out")
    await net.until(lambda: people({"a": hers}) == [1], "alice sees it")
    await hers.leave()


@scenario(shows=("IMS-10",), stages=EVERYWHERE)
async def private_in_a_room(net: ScenarioNetwork) -> None:
    """What is said to one in a room reaches that one only, and so does the answer."""
    rooms = await come_in(net, ("alice", "bob", "xenia", "yusuf"))
    got = listen(rooms)
    sent = await rooms["bob"].whisper(net.person("xenia").aor, "Sugar?")
    await net.until(lambda: got["xenia"], "xenia hears it")
    (message,) = got["xenia"]
    same((message.text, message.sender), ("Sugar?", net.person("bob").aor), "what xenia hears")
    holds(rooms["xenia"].is_private(message), "she sees that it is private")
    await sent.delivered(10.0 * net.slack)
    await message.reply("Two, please.")
    await net.until(lambda: got["bob"], "bob hears the answer")
    holds(rooms["bob"].is_private(got["bob"][0]), "the answer is private, too")
    await rooms["alice"].send("Who takes sugar?")
    await net.until(lambda: len(got["yusuf"]) > 0, "yusuf hears alice")
    same([one.text for one in got["yusuf"]], ["Who takes sugar?"], "what yusuf has heard")
    same(got["alice"], [], "what alice has heard")
    try:
        await rooms["bob"].whisper("nobody", "Hello?")
    except NotFound:
        pass
    else:
        raise AssertionError("nobody was there to hear it")
    await go(rooms)


@scenario(shows=("IMS-68",), stages=EVERYWHERE)
async def aliases(net: ScenarioNetwork) -> None:
    """People choose names; nobody has another one's, and messages and roster bear them."""
    rooms = await come_in(net, ("bob", "xenia"))
    await rooms["bob"].nickname("The Cook")
    for name in ("The Cook", "the cook"):
        try:
            await rooms["xenia"].nickname(name)
        except BadNickname as failure:
            same(failure.status, 425, "of a name that is taken")
        else:
            raise AssertionError("two have one name")
    await rooms["xenia"].nickname("Guest")

    def names(one: Room) -> set[str]:
        return {person.nickname for person in one.participants}

    both = {"The Cook", "Guest"}
    await net.until(lambda: [names(one) for one in rooms.values()] == [both, both], "the names")
    got = listen(rooms)
    await rooms["xenia"].whisper("The Cook", "What is there?", reports=())
    await net.until(lambda: got["bob"], "bob is found by his name")
    same(got["bob"][0].name, "Guest", "who says it")
    await rooms["bob"].nickname("")
    await net.until(lambda: names(rooms["xenia"]) == {"", "Guest"}, "bob has no name any more")
    await rooms["xenia"].nickname("")
    await go(rooms)


@scenario(shows=("IMS-11",), stages=IN_PROCESS)
async def copied_while_it_comes(net: ScenarioNetwork) -> None:
    """The switch sends the beginning of a long message on before its end has come, to each."""
    rooms = await come_in(net, ("alice", "bob", "carol", "xenia"))
    got = listen(rooms)
    text = "x" * LONG
    await rooms["alice"].send(text)
    others = ("bob", "carol", "xenia")
    await net.until(lambda: all(got[name] for name in others), "all have it", 60.0)
    same([[one.text == text for one in got[name]] for name in others], [[True]] * 3, "what comes")
    seen = [
        (one.direction, read_frame(one.data), len(one.data))
        for one in net.records
        if one.entity == "im-north" and one.protocol == "MSRP"
    ]
    starts = [
        at
        for at, (way, frame, _) in enumerate(seen)
        if way == OUT
        and frame is not None
        and frame.method == "SEND"
        and frame.range[0] == 1
        and frame.range[2] > LONG
    ]
    last = max(at for at, (way, _, size) in enumerate(seen) if way == IN and size > 1000)
    same(len(starts), 3, "copies that the switch begins")
    holds(max(starts) < last, "each begins before the end is here")
    await go(rooms)


@scenario(shows=("IMS-56", "IMS-58", "IMS-72"), stages=EVERYWHERE)
async def direct_by_provision(net: ScenarioNetwork) -> None:
    """Sessions of people who are provisioned so go from client to client, text and pictures."""
    everything = ("message/cpim", "*/*")
    carol = await net.online("carol", accept=everything)
    yusuf = await Guest.come(net, "yusuf", accept=everything)
    hers = await carol.invite(yusuf.client.identity)
    his = await yusuf.talk(net)
    for kind, body in (("text/html", b"<b>bold</b>"), ("image/png", bytes(range(256)))):
        await hers.send(body, kind)
        message = await his.next()
        same((message.content_type, message.body), (kind, body), "what yusuf gets")
    ours, theirs = hers.talk.medium, his.talk.medium
    assert ours is not None
    assert theirs is not None
    same(ours.session.remote_path, (theirs.session.uri,), "whom carol's MSRP talks to")
    await hers.leave()
    await net.until(lambda: his.ended, "BYE ends it for yusuf")


@scenario(shows=("IMS-35", "IMS-41"), stages=IN_PROCESS)
async def signalled_through_im_servers(net: ScenarioNetwork) -> None:
    """Each IM Server gets the INVITE by IM-2 and makes one of its own, with a path of its own."""
    alice, xenia = await net.online("alice"), await Guest.come(net, "xenia")
    talk = await alice.invite(xenia.client.identity)
    await xenia.talk(net)
    calls = []
    for name in ("im-north", "im-south"):
        (came,), (went,) = net.seen(name, "INVITE"), net.seen(name, "INVITE", OUT)
        place = net.home(name[3:]).im.encode()
        holds(place not in came.body and place in went.body, f"{name} puts itself into the path")
        calls += [came.call_id, went.call_id]
    same((calls[1] == calls[2], len(set(calls))), (True, 3), "one call on each side")
    await talk.leave()
    for name in ("im-north", "im-south"):
        await net.until(lambda name=name: net.seen(name, "BYE", OUT), f"{name} passes BYE on")  # type: ignore[misc]


@scenario(shows=("IMS-13/retrieve",), stages=EVERYWHERE)
async def fetched_when_it_suits(net: ScenarioNetwork) -> None:
    """Who takes no messages now fetches what waits in a session when he likes, long ones, too."""
    alice, zoe = await net.online("alice"), await net.online("zoe")
    await zoe.settings.be(active=False)
    texts = ["one", "two", "three " * 2000]
    sent = [await alice.send(zoe.identity, text) for text in texts]
    await net.nothing(zoe)
    same(await zoe.deferred.fetch(), 3, "how many come")
    same([(await net.message(zoe)).text for _ in texts], texts, "what zoe reads")
    for one in sent:
        await one.delivered(10.0 * net.slack)
    same(await zoe.deferred.list(), (), "what is left")
    await zoe.settings.be(active=True)


@scenario(shows=("IMS-14/session",), stages=EVERYWHERE)
async def said_and_recorded(net: ScenarioNetwork) -> None:
    """What was said in a session is found among the conversations, and fetched by its owner."""
    alice, xenia = await net.online("alice"), await Guest.come(net, "xenia")
    await alice.history.switch(session=True)
    hers = await alice.invite(xenia.client.identity, subject="Lunch")
    his = await xenia.talk(net)
    await hers.send("Hungry?", reports=())
    same(await heard(net, his, 1), ["Hungry?"], "xenia hears")
    await his.send("Always.", reports=())
    same(await heard(net, hers, 1), ["Always."], "alice hears")
    await hers.leave()
    found = await _listed(net, alice)
    same([one.subject for one in found], ["Lunch"], "what is listed")
    said = [(one.sender, one.text) for one in await alice.history.fetch(found)]
    wanted = [(alice.identity, "Hungry?"), (xenia.client.identity, "Always.")]
    same(said, wanted, "what was said")
    same(await xenia.client.history.list(), (), "what is recorded of xenia, who did not ask")
    await alice.history.delete()
    await alice.history.switch(session=False)


async def _listed(net: ScenarioNetwork, client: Client) -> Any:
    """Return what is recorded of somebody, once the last session is known to be over."""
    await net.sleep(1.0)
    return await client.history.list()
