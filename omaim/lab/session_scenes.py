"""Scenes of the demo in which people talk: in sessions, in rooms, and with files."""

from __future__ import annotations

import hashlib
import random
from functools import partial
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred

from omaim.client import Client, Message
from omaim.client.failures import Failure, Refused
from omaim.client.file_offer import FileOffer
from omaim.client.messages import Typing
from omaim.client.room import Room
from omaim.errors import Unavailable
from omaim.lab.rooms import BOARD, LOBBY
from omaim.lab.scene import LATEST, Scene

FILE: Final = 1_000_000  # octets
PEOPLE: Final = ("alice", "bob", "carol", "xenia", "yusuf", "zoe")


async def session(scene: Scene) -> None:
    """Alice invites Xenia to talk. INVITE and 200 carry session descriptions; each IM Server puts
    itself between, so that three MSRP connections make one session, the middle one over TLS.
    Xenia sees that Alice is writing, gets the line, and Alice gets her delivery mark."""
    alice = scene.phone("alice")
    talk = await scene.within(alice.invite(scene.aor("xenia"), subject="Lunch"), "the session")
    there = await scene.invited("xenia")
    scene.check(
        "xenia knows who talks to her, and what about",
        (there.peer, there.subject, there.verified) == (scene.aor("alice"), "Lunch", True),
        f"{there.peer}, {there.subject!r}, verified: {there.verified}",
    )
    typing: list[Typing] = []
    there.on_typing(typing.append)
    talk.typing()
    await scene.stage.until(lambda: typing, LATEST)
    scene.check("xenia sees that alice is writing", typing and typing[0].active, typing)
    sent = await scene.within(talk.send("Hungry?"), "what alice says")
    message = await scene.within(there.next(), "what alice says at xenia's")
    scene.check("xenia reads it", message.text == "Hungry?", message.text)
    report = await sent.delivered(LATEST)
    scene.check("alice has the delivery mark", report.status == "delivered", report.status)
    await scene.within(there.send("Always.", reports=()), "the answer")
    answer = await scene.within(talk.next(), "the answer at alice's")
    scene.check("alice reads the answer", answer.text == "Always.", answer.text)
    points = await scene.media_points()
    scene.check("it went by IM-7 and IM-8", points == {"IM-7", "IM-8"}, sorted(points))
    await talk.leave()
    over = await scene.stage.until(lambda: there.ended, LATEST)
    scene.check("when alice leaves, the session is over at xenia's", over, "it goes on")


async def direct(scene: Scene) -> None:
    """Carol invites Yusuf. Their operators let them talk without a server between: INVITE and BYE
    go the same way as ever, but the descriptions are left as they are, so that MSRP goes from
    phone to phone."""
    carol = await scene.aside("Carol switches her phone on", lambda: scene.arrive("carol"))
    talk = await scene.within(carol.invite(scene.aor("yusuf")), "the session")
    there = await scene.invited("yusuf")
    await scene.within(talk.send("Just between us.", reports=()), "what carol says")
    message = await scene.within(there.next(), "what carol says at yusuf's")
    scene.check("yusuf reads it", message.text == "Just between us.", message.text)
    points = await scene.media_points()
    scene.check("no server has seen it", points == {"IM-9"}, sorted(points))
    await talk.leave()
    over = await scene.stage.until(lambda: there.ended, LATEST)
    scene.check("BYE has ended it", over, "it goes on")


async def relayed(scene: Scene) -> None:
    """Carol is behind a NAT now: nobody can connect to her. Her phone opens a connection to the
    MSRP relay of her domain, proves who she is by AUTH, and gets a URI, which she offers Yusuf
    in the place of her own; he connects to that, and all that he says comes to her by her
    connection."""
    await scene.aside("Carol switches her phone off", lambda: scene.leave("carol"))
    relay = scene.stage.person("carol").relay
    carol = await scene.aside("… and on behind a NAT", lambda: scene.arrive("carol", relay=relay))
    talk = await scene.within(carol.invite(scene.aor("yusuf")), "the session")
    there = await scene.invited("yusuf")
    await scene.within(talk.send("From behind a wall.", reports=()), "what carol says")
    message = await scene.within(there.next(), "what carol says at yusuf's")
    scene.check("yusuf reads it", message.text == "From behind a wall.", message.text)
    await scene.within(there.send("To behind one.", reports=()), "the answer")
    answer = await scene.within(talk.next(), "the answer at carol's")
    scene.check("carol reads the answer", answer.text == "To behind one.", answer.text)
    ways = await scene.media_ways()
    scene.check(
        "it went by her relay, both hops of it IM-9",
        ways == {("carol", "relay-north", "IM-9"), ("relay-north", "yusuf", "IM-9")},
        sorted(ways),
    )
    await talk.leave()
    over = await scene.stage.until(lambda: there.ended, LATEST)
    scene.check("BYE has ended it", over, "it goes on")
    await scene.aside("Carol switches her phone off", lambda: scene.leave("carol"))
    await scene.aside("… and on at home", lambda: scene.arrive("carol"))


async def file(scene: Scene) -> None:
    """Alice sends Bob a file. The offer has its name, size and hash. It is one MSRP message that
    is passed on while it comes: its beginning is at Bob's before its end has left Alice's. When
    all is there, Bob's phone checks the hash."""
    octets = random.Random(1).randbytes(FILE)
    path = scene.folder / "picture.jpg"
    path.write_bytes(octets)
    moves: list[tuple[str, int]] = []
    taken: list[Deferred[Path]] = []

    async def take(offer: FileOffer) -> None:
        download = await offer.accept(scene.folder / "bob")
        download.on_progress(lambda one: moves.append(("in", one.octets)))
        taken.append(download.done())

    scene.phone("bob").on_file(take)
    upload = await scene.within(
        scene.phone("alice").send_file(
            scene.aor("bob"), path, progress=lambda one: moves.append(("out", one.octets))
        ),
        "bob's consent",
    )
    await scene.within(upload.done(), "the transfer")
    if not taken:
        raise Unavailable("bob was not offered the file")
    came = (await scene.within(taken[0], "the transfer")).read_bytes()
    going = [octets for way, octets in moves if way == "out"]
    scene.check("alice sees how far it is", len(set(going)) > 2 and going[-1] == FILE, going)
    first = next((at for at, (way, _) in enumerate(moves) if way == "in"), len(moves))
    scene.check("bob has its beginning before she has sent its end", ("out", FILE) in moves[first:])
    wanted, found = (hashlib.sha1(one).hexdigest() for one in (octets, came))
    scene.check(
        f"bob has all {FILE} octets, and their hash is {wanted[:8]}…",
        found == wanted,
        f"{len(came)} octets, {found[:8]}…",
    )


async def retrieve(scene: Scene) -> None:
    """Zoe has said that she takes no messages now, and switched her phone off. What Alice writes
    her waits. When Zoe is back she invites the deferred messaging function of her IM Server,
    which sends her all that waits, in order, and hangs up."""
    zoe = await scene.aside("Zoe comes, says that she is busy, and goes", lambda: _busy(scene))
    texts = ("One.", "Two.", "Three.")
    sent = [await scene.phone("alice").send(scene.aor("zoe"), text) for text in texts]
    scene.check(
        "all three wait",
        [one.status for one in sent] == ["pending"] * 3,
        [one.status for one in sent],
    )
    await scene.aside("Zoe switches her phone on", zoe.register)
    scene.check("nothing came before she asked", not scene.got["zoe"], len(scene.got["zoe"]))
    await scene.within(zoe.deferred.fetch(), "the session")
    came = [(one.sender, one.text) for one in scene.got["zoe"]]
    wanted = [(scene.aor("alice"), text) for text in texts]
    scene.check("zoe has all that alice wrote, in order, once", came == wanted, came)
    left = await scene.aside("Zoe asks what is left", zoe.deferred.list)
    scene.check("nothing is left", not left, left)
    report = await sent[-1].delivered(LATEST)
    scene.check("alice has the report now", report.status == "delivered", report.status)
    await scene.aside("Zoe is there for all again", lambda: zoe.settings.be(active=True))


async def room(scene: Scene) -> None:
    """Six people of two domains come into a chat room. Its focus takes each of them in by an
    INVITE, its switch makes five copies of what somebody says, and whoever subscribes is told
    who comes and goes. Alice takes a nickname, and Zoe leaves."""
    rooms = await _come_in(scene)
    alice = rooms["alice"]
    scene.check("each sees six people in the room", _count(rooms) == [6] * 6, _count(rooms))
    await scene.within(alice.nickname("Queen"), "the nickname")
    known = await scene.aside(
        "The focus tells all that Alice is called Queen",
        lambda: scene.stage.until(
            lambda: _called(rooms, scene.aor("alice")) == ["Queen"] * 6, LATEST
        ),
    )
    scene.check("each sees her nickname", known, _called(rooms, scene.aor("alice")))
    heard = _listen(rooms)
    await scene.within(alice.send("Tea is ready."), "what alice says")
    await scene.stage.until(lambda: all(heard[name] for name in PEOPLE[1:]), LATEST)
    scene.check(
        "each of the others has it, once, from the Queen",
        all(_said(heard[name]) == [("Queen", "Tea is ready.")] for name in PEOPLE[1:]),
        {name: _said(heard[name]) for name in PEOPLE[1:]},
    )
    await rooms["zoe"].leave()
    there = await scene.aside(
        "The focus tells all that Zoe has left",
        lambda: scene.stage.until(lambda: _count(rooms) == [5] * 5, LATEST),
    )
    scene.check("when zoe leaves, the others see five", there, _count(rooms))
    await scene.within(rooms["xenia"].send("Poor Zoe."), "what xenia says")
    await scene.stage.until(lambda: heard["alice"], LATEST)
    await scene.draw()
    said = _said(heard["alice"])
    scene.check("alice hears what xenia says then", said == [("", "Poor Zoe.")], said)
    scene.check("zoe does not", len(heard["zoe"]) == 1, _said(heard["zoe"]))


async def private(scene: Scene) -> None:
    """In the room, Bob says something to Xenia alone: the CPIM To inside his message is hers, and
    the switch makes one copy. And Yusuf finds that the Board's room is for its members."""
    rooms = await _come_in(scene)
    heard = _listen(rooms)
    await scene.within(
        rooms["bob"].whisper(scene.aor("xenia"), "Sugar?", reports=()), "what bob says"
    )
    await scene.stage.until(lambda: heard["xenia"], LATEST)
    ladder = await scene.draw()
    got = heard["xenia"]
    scene.check("xenia has it", [one.text for one in got] == ["Sugar?"], _said(got))
    scene.check(
        "she is told that it is for her alone",
        got and rooms["xenia"].is_private(got[0]),
        [one.to for one in got],
    )
    others = {name: len(heard[name]) for name in heard if name != "xenia" and heard[name]}
    scene.check("nobody else has it", not others, others)
    sends = [one for one in ladder.steps if one.protocol == "MSRP" and b"Sugar?" in one.data]
    seen = {one.target.name for one in sends} - {"im-north", "im-south", "xenia"}
    scene.check("no other phone was sent it", not seen, sorted(seen))
    try:
        await scene.phone("yusuf").join(BOARD)
        scene.check("yusuf is not let into the Board's room", False, "he is")
    except Failure as failure:
        scene.check("yusuf is not let into the Board's room", isinstance(failure, Refused), failure)
    await scene.aside("All leave the room", lambda: _leave(rooms))


async def conference(scene: Scene) -> None:
    """Alice invites Bob and Xenia at once: her INVITE with their list goes to the conference
    factory, which makes a focus, and the focus invites them. Later Alice has Bob put out by a
    REFER that stands for his BYE."""
    alice = scene.phone("alice")
    people = [scene.aor("bob"), scene.aor("xenia")]
    here = await scene.within(alice.conference(people, "Plans"), "the conference")
    bob, xenia = [await scene.invited(name) for name in ("bob", "xenia")]
    scene.check(
        "bob and xenia are in a conference about Plans",
        isinstance(bob, Room)
        and isinstance(xenia, Room)
        and (bob.peer, xenia.subject) == (here.uri, "Plans"),
        f"{bob.peer}, {xenia.peer}, {xenia.subject!r}",
    )
    await scene.aside(
        "The focus tells all who is there",
        lambda: scene.stage.until(lambda: _here(here) == 3, LATEST),
    )
    scene.check("alice sees three people", _here(here) == 3, _here(here))
    await scene.within(here.send("Who cooks?"), "what alice says")
    said = [(await scene.within(one.next(), "what alice says")).text for one in (bob, xenia)]
    scene.check("both hear alice", said == ["Who cooks?"] * 2, said)
    await scene.draw()
    await scene.within(here.expel(scene.aor("bob")), "the request")
    gone = await scene.stage.until(lambda: bob.ended and _here(here) == 2, LATEST)
    scene.check("bob is put out, and alice sees two people", gone, f"{_here(here)} people")
    await scene.aside("Alice leaves, and that is its end", here.leave)


async def _busy(scene: Scene) -> Client:
    zoe = await scene.arrive("zoe")
    await zoe.settings.be(active=False)
    await zoe.unregister()
    return zoe


async def _come_in(scene: Scene) -> dict[str, Room]:
    """Return everybody's room, of the same people in each; if all come in, the first is drawn."""
    for name in PEOPLE:
        if name not in scene.phones:
            await scene.aside(f"{name.title()} switches on", partial(scene.arrive, name))
    rooms: dict[str, Room] = {}
    for name in PEOPLE:
        for one in scene.phone(name).conversations:
            if isinstance(one, Room) and one.uri == f"sip:{LOBBY}":
                rooms[name] = one
    news = [name for name in PEOPLE if name not in rooms]
    if not rooms:
        first = news.pop(0)
        rooms[first] = await scene.within(scene.phone(first).join(LOBBY), f"{first}'s coming")

    async def others() -> None:
        for name in news:
            rooms[name] = await scene.within(scene.phone(name).join(LOBBY), f"{name}'s coming")
        await scene.stage.until(lambda: _count(rooms) == [6] * 6, LATEST)

    *most, last = (name.title() for name in news)
    names = f"{', '.join(most)} and {last} come" if most else f"{last} comes"
    await scene.aside(f"{names} in alike, and the focus tells all who is there", others)
    return {name: rooms[name] for name in PEOPLE}


async def _leave(rooms: dict[str, Room]) -> None:
    for one in rooms.values():
        await one.leave()


def _listen(rooms: dict[str, Room]) -> dict[str, list[Message]]:
    """Return the lists in which it stands what each hears from now on."""
    heard: dict[str, list[Message]] = {}
    for name, one in rooms.items():
        one.on_message(heard.setdefault(name, []).append)
    return heard


def _said(messages: list[Message]) -> list[tuple[str, str]]:
    return [(one.name, one.text) for one in messages]


def _here(one: Room) -> int:
    return sum(1 for person in one.participants if person.here)


def _count(rooms: dict[str, Room]) -> list[int]:
    """Return how many people each sees who is in the room."""
    return [_here(one) for one in rooms.values() if not one.ended]


def _called(rooms: dict[str, Room], uri: str) -> list[str]:
    """Return what each knows as somebody's nickname."""
    return [
        "".join(person.nickname for person in one.participants if person.uri == uri)
        for one in rooms.values()
    ]
