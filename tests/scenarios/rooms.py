"""Conferences and chat rooms of the IM Server (§5.3.2, §3.2): many talk to many."""

from __future__ import annotations

from typing import Any

from omaim.bodies.groups import ActivePolicy
from omaim.client.failures import BadNickname, Busy, Failure, NotFound, Refused
from omaim.client.room import Room
from omaim.roles.description import CallFailed
from omaim.testing.scenario import (
    EVERYWHERE,
    IN_PROCESS,
    Layout,
    Missed,
    ScenarioNetwork,
    same,
    scenario,
)
from tests.im.attendees import Attendee
from tests.im.test_conferences import ROOM
from tests.im.test_lasting_rooms import open_to_staff, staff
from tests.scenarios.talks import Guest, heard

TEA = "room.tea@north.example"
IN_CLEAR = Layout(settings={"im-north": {"peers_msrp": "tcp"}})  # of clients, too

MANY = 100  # messages that are more than a connection holds
PATIENT = Layout(settings={"im-north": {"room_mark": 50_000_000, "room_queue": 60_000_000}})
SHOWN_AGAIN = Layout(settings={"im-north": {"room_replay": 2}})


async def define(net: ScenarioNetwork, aor: str, **values: Any) -> None:
    """Define a group in the north."""
    wanted = {"command": "add-group", "entity": "im-north", "aor": aor, **values}
    await net.nodes["im-north"].control.run(wanted)


async def fails(doing: Any, kind: type[Failure], status: int) -> None:
    """Something must fail so."""
    try:
        await doing
    except kind as failure:
        same(failure.status, status, "the answer")
    else:
        raise Missed(f"it did not fail with {status}")


def who(room: Room) -> set[str]:
    return {one.uri for one in room.participants if one.here}


@scenario(shows=("IMS-07/group", "IMS-10", "IMS-11", "IMS-70"), stages=EVERYWHERE)
async def made_on_demand(net: ScenarioNetwork) -> None:
    """A conference is made for those on a list, across domains: all hear all, in order."""
    alice = await net.online("alice")
    bob, xenia, yusuf = [await Guest.come(net, name) for name in ("bob", "xenia", "yusuf")]
    people = [one.client.identity for one in (bob, xenia)]
    room = await alice.conference(people, "Plans")
    rooms = [await one.room(net) for one in (bob, xenia)]
    everybody = {alice.identity, *people}
    await net.until(lambda: who(room) == everybody, "the roster")
    for text in ("one", "two", "three"):
        await room.send(text)
    for one in rooms:
        same(await heard(net, one, 3), ["one", "two", "three"], "in order")
    await rooms[1].send("four")
    same(await heard(net, rooms[0], 1), ["four"], "bob hears xenia")
    # One more is called in, one is put out, one leaves and comes back.
    reference = await room.invite(yusuf.client.identity)
    same(None if reference is None else await reference.done(), 200, "yusuf comes")
    third = await yusuf.room(net)
    await room.send("welcome")
    same(await heard(net, third, 1), ["welcome"], "yusuf hears what is said since")
    await fails(rooms[0].expel(xenia.client.identity), Refused, 403)
    await room.expel(xenia.client.identity)
    await net.until(lambda: rooms[1].ended, "xenia is put out")
    await fails(rooms[1].rejoin(), Refused, 403)
    await rooms[0].leave()
    again = await rooms[0].rejoin()
    await again.send("back")
    left = {alice.identity, bob.client.identity, yusuf.client.identity}
    await net.until(lambda: who(third) == left, "who is left")
    await again.leave()
    await third.leave()
    await net.until(lambda: room.ended, "with one left it is over")


@scenario(shows=("IMS-67", "IMS-10"), stages=IN_PROCESS)
async def restricted_and_open_rooms(net: ScenarioNetwork) -> None:
    """Members come into a restricted group, everybody into an open one, as many as may."""
    alice, bob, xenia = [await net.online(name) for name in ("alice", "bob", "xenia")]
    await define(net, TEA, members=f"{alice.identity} {bob.identity}")
    await define(net, "room.hall@north.example", everybody="yes", most="2")
    tea = await alice.join(TEA)
    await fails(xenia.join(TEA), Refused, 403)
    hers, his = await xenia.join("room.hall@north.example"), await bob.join("room.hall")
    await fails(alice.join("room.hall"), Busy, 486)
    await fails(alice.join("room.nowhere"), NotFound, 404)
    await hers.send("open to all")
    same(await heard(net, his, 1), ["open to all"], "bob hears")
    for one in (tea, hers, his):
        await one.leave()


@scenario(shows=("IMS-68", "IMS-10"), stages=IN_PROCESS)
async def called_what_one_likes(net: ScenarioNetwork) -> None:
    """A nickname is shown to all, is one's own, and finds who is whispered to."""
    await define(net, TEA, everybody="yes")
    alice, bob, xenia = [await net.online(name) for name in ("alice", "bob", "xenia")]
    rooms = [await one.join(TEA) for one in (alice, bob, xenia)]
    await rooms[2].nickname("Xe")
    await fails(rooms[1].nickname("xE"), BadNickname, 425)
    await net.until(lambda: rooms[0].name_of(xenia.identity) == "Xe", "alice sees it")
    await rooms[0].whisper("Xe", "between us")
    await rooms[0].send("to all")
    same(await heard(net, rooms[2], 2), ["between us", "to all"], "xenia hears")
    same(await heard(net, rooms[1], 1), ["to all"], "bob hears")
    for one in rooms:
        await one.leave()


@scenario(shows=("IMS-07/group", "IMS-10"), stages=IN_PROCESS)
async def members_are_called(net: ScenarioNetwork) -> None:
    """Who starts a pre-defined group has its members called."""
    alice = await net.online("alice")
    bob, xenia = await Guest.come(net, "bob"), await Guest.come(net, "xenia")
    members = " ".join((alice.identity, bob.client.identity, xenia.client.identity))
    await define(net, TEA, members=members, owners=alice.identity, kind="pre-defined")
    await fails(bob.client.join(TEA), Refused, 403)
    room = await alice.join(TEA)
    rooms = [await one.room(net) for one in (bob, xenia)]
    await room.send("all here?")
    for one in rooms:
        same(await heard(net, one, 1), ["all here?"], "a member hears")
    for one in (room, *rooms):
        await one.leave()


@scenario(shows=("IMS-67", "IMS-10"), stages=IN_PROCESS)
async def as_its_documents_say(net: ScenarioNetwork) -> None:
    """Who is on the list that a group points to comes in, who is struck off has to go, and when
    the time of its policy is over everybody hears so before it is hung up on."""
    alice, bob, xenia = [await Attendee.come(net, name) for name in ("alice", "bob", "xenia")]
    await staff(net, alice.aor, bob.aor)
    await open_to_staff(net)
    await alice.join(ROOM)
    await bob.join(ROOM)
    try:
        await xenia.join(ROOM)
    except CallFailed as failed:
        same(failed.status, 403, "xenia is not on the list")
    else:
        raise Missed("xenia came in")
    await staff(net, alice.aor, xenia.aor)
    await net.entities["im-north"].groups.follow()
    await net.until(lambda: bob.ended, "bob has to go")
    same("may not be in this room" in bob.heard[-1], True, "he is told why")
    await xenia.join(ROOM)
    now = net.nodes["im-north"].now()
    await open_to_staff(net, ActivePolicy(0, ((now - 60.0, now + 2.0),)))
    await net.entities["im-north"].groups.follow()
    for one in (alice, xenia):
        await net.until(lambda one=one: one.ended, "the time is over")  # type: ignore[misc]
        same(one.heard[-1], "The room is closed: the time is over.", "what came before the BYE")


@scenario(shows=("IMS-10", "IMS-11"), stages=IN_PROCESS, layout=PATIENT)
async def goes_on_by_another_connection(net: ScenarioNetwork) -> None:
    """A device that hangs and joins anew by another connection gets all that was said, each once:
    what was on its way by the connection before, and the rest by the new one."""
    await define(net, TEA, everybody="yes")
    alice, bob = [await Attendee.come(net, name) for name in ("alice", "bob")]
    for one in (alice, bob):
        await one.join(f"sip:{TEA}")
    before = bob.session()
    before.pause()
    statuses: list[int] = []
    for number in range(MANY):
        alice.tell(f"#{number}#" + "x" * 60_000, on_end=statuses.append)
    await net.until(lambda: len(statuses) == MANY, "all is acknowledged")
    await bob.join(f"sip:{TEA}")
    before.resume()
    await net.until(lambda: len(bob.heard) == MANY, "bob hears all")
    await net.until(lambda: bob.ended, "the call before is over")
    names = [one.rstrip("x") for one in bob.heard]
    same(sorted(names), sorted(f"#{number}#" for number in range(MANY)), "each once")
    alice.tell("more")
    await net.until(lambda: bob.heard[-1] == "more", "and what comes then")
    for one in (alice, bob):
        await one.leave()


@scenario(shows=("IMS-10", "IMS-11"), stages=IN_PROCESS, layout=SHOWN_AGAIN)
async def what_was_said_before(net: ScenarioNetwork) -> None:
    """Who comes late sees what was said last, also when the server was started anew between;
    what one said to one other is shown to nobody."""
    await define(net, TEA, everybody="yes")
    alice, bob = [await Attendee.come(net, name) for name in ("alice", "bob")]
    for one in (alice, bob):
        await one.join(f"sip:{TEA}")
    statuses: list[int] = []
    for text in ("one", "two", "three"):
        alice.tell(text, on_end=statuses.append)
    alice.tell("psst", to=bob.aor, on_end=statuses.append)
    await net.until(lambda: len(statuses) == 4, "all is acknowledged")
    await net.stop("im-north")
    await net.start("im-north")
    late = await Attendee.come(net, "xenia")
    await late.join(f"sip:{TEA}")
    await net.until(lambda: len(late.heard) >= 2, "what was said")
    same(late.heard, ["two", "three"], "the last of it")
    await late.leave()


@scenario(shows=("IMS-53", "IMS-11"), stages=IN_PROCESS, layout=IN_CLEAR)
async def remote_client_direct_to_the_server(net: ScenarioNetwork) -> None:
    """A client of another domain has its MSRP session with the server of the room itself."""
    await define(net, TEA, everybody="yes")
    alice, xenia = await Attendee.come(net, "alice"), await Attendee.come(net, "xenia")
    await net.stop("im-south")  # nobody stands between: the core goes on without it
    room = f"sip:{TEA}"
    await alice.join(room)
    await xenia.join(room, xenia.wished(accept_wrapped_types=("*",)))
    await net.until(lambda: len(net.entities["im-north"].msrp.sessions) == 2, "two sessions")
    picture = "not quite a picture"
    alice.tell(picture, kind="image/png")
    xenia.tell("<b>bold</b>", kind="text/html")
    await net.until(lambda: xenia.user.bodies and alice.user.bodies, "both hear")
    same((xenia.heard, alice.heard), ([picture], ["<b>bold</b>"]), "rich content")
    same(
        xenia.session().remote_path[0].host,
        net.home("north").im,
        "whom xenia is connected to",
    )
    await alice.leave()
    await xenia.leave()
