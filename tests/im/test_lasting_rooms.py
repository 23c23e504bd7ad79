"""Rooms as their documents say, through real cores: whom lists let in, and for how long."""

from __future__ import annotations

from typing import Any

from omaim.bodies.common_policy import Other, Permission, Rule
from omaim.bodies.conference_info import parse_conference
from omaim.bodies.groups import (
    LIST_MEMBER,
    MEDIA_TYPE,
    ActivePolicy,
    GroupDocument,
    write_groups,
)
from omaim.bodies.resource_lists import MEDIA_TYPE as LIST_TYPE
from omaim.bodies.resource_lists import Entry, ResourceList, write_lists
from omaim.im.group_documents import ACTIONS
from omaim.im.groups import GLOBAL
from omaim.stores.records import Document
from omaim.testing.scenario import ScenarioNetwork
from tests.im.parties import SessionCase, refused
from tests.im.test_conferences import ROOM, attendees

STAFF = "resource-lists/global/staff"
ANCHOR = f"http://xcap.north.example/{STAFF}/~~/resource-lists/list%5b@name=%22all%22%5d"


async def put(net: ScenarioNetwork, path: str, kind: str, body: bytes) -> None:
    """Write a document of the north over what is there."""
    store = net.nodes["im-north"].stores.documents
    old: Any = await store.get(path)
    etag = "" if old is None else old.etag
    await store.put(Document(path, etag + "x", kind, body), etag)


async def staff(net: ScenarioNetwork, *people: str) -> None:
    """Say who is on the list to which the room points."""
    entries = tuple(Entry(one) for one in people)
    await put(net, STAFF, LIST_TYPE, write_lists([ResourceList(entries, "all")]))


async def open_to_staff(
    net: ScenarioNetwork, active: ActivePolicy | None = None, anchor: str = ANCHOR
) -> None:
    """Define the room for those on the list."""
    given = tuple(Permission(ACTIONS[name], "true") for name in ("join", "see", "private"))
    rules = (Rule("r", (Other(LIST_MEMBER),), given),)
    document = GroupDocument(ROOM, externals=(anchor,), rules=rules, active=active)
    await put(net, GLOBAL + ROOM, MEDIA_TYPE, write_groups([document]))


class PolicyTests(SessionCase):
    def test_duration(self) -> None:
        """At the end of its time all hear why, are hung up on, and the roster says that it is
        over (OMA: session-active-policy; RFC 4575 §4.6; RFC 7701 §5.3)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            await staff(net, alice.aor, bob.aor, xenia.aor)
            await open_to_staff(net, ActivePolicy(30))
            for one in (alice, bob, xenia):
                await one.join(ROOM)
            watch = alice.watch()
            await net.sleep(20.0)
            self.assertEqual(alice.ended, [])
            self.assertEqual(watch.people[bob.aor], "connected")
            await net.sleep(15.0)
            for one in (alice, bob, xenia):
                self.assertEqual(one.heard[-1], "The room is closed: the time is over.")
                self.assertEqual(len(one.ended), 1)
            self.assertIn("the time is over", alice.ended[0])
            self.assertIn("terminated", watch.over)
            self.assertEqual(parse_conference(watch.documents[-1]).state, "deleted")
            self.assertEqual(net.entities["im-north"].focus.conferences, {})
            await alice.join(ROOM)  # another session, with a time of its own
            await net.sleep(20.0)
            self.assertEqual(len(alice.ended), 1)

        self.play(script)

    def test_periods(self) -> None:
        """Nobody comes in at other times than those of the policy; a change is in force soon."""

        async def script(net: ScenarioNetwork) -> None:
            (alice,) = await attendees(net, "alice")
            await staff(net, alice.aor)
            now = net.nodes["im-north"].now()
            await open_to_staff(net, ActivePolicy(0, ((now + 3600, now + 7200),)))
            failed = await refused(alice.join(ROOM))
            self.assertEqual(failed.status, 403)
            self.assertIn("119", failed.response.first("Warning") or "")
            await open_to_staff(net, ActivePolicy(0, ((now, now + 7200),)))
            await alice.join(ROOM)
            await open_to_staff(net, ActivePolicy(0, ((now, now + 40),)))
            await net.sleep(45.0)
            self.assertEqual(alice.heard[-1], "The room is closed: the time is over.")

        self.play(script)


class ListTests(SessionCase):
    def test_members_elsewhere(self) -> None:
        """Who is on the list that the group points to comes in; who is struck off has to go."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            await staff(net, alice.aor, bob.aor)
            await open_to_staff(net)
            await alice.join(ROOM)
            await bob.join(ROOM)
            self.assertEqual((await refused(xenia.join(ROOM))).status, 403)
            await staff(net, alice.aor, xenia.aor)
            await net.sleep(15.0)
            self.assertIn("you may not be in this room any more", bob.heard[-1])
            self.assertEqual((len(bob.ended), alice.ended), (1, []))
            await xenia.join(ROOM)
            alice.tell("hello")
            await net.sleep(1.0)
            self.assertEqual(xenia.heard[-1], "hello")

        self.play(script)

    def test_unreachable(self) -> None:
        """A list on another server lets nobody in, and not everybody."""

        async def script(net: ScenarioNetwork) -> None:
            (alice,) = await attendees(net, "alice")
            await open_to_staff(net, anchor="http://xcap.south.example/" + STAFF)
            self.assertEqual((await refused(alice.join(ROOM))).status, 403)

        self.play(script)


class ComingBackTests(SessionCase):
    def test_same_device(self) -> None:
        """Who joins anew by the same device gets what waited for the connection before."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await attendees(net, "alice", "bob")
            await staff(net, alice.aor, bob.aor)
            await open_to_staff(net)
            await alice.join(ROOM)
            await bob.join(ROOM)
            await net.sleep(1.0)
            session = bob.session()
            session.pause()
            for number in range(100):
                alice.tell(f"#{number}#" + "x" * 20_000)
            await net.sleep(5.0)
            await bob.join(ROOM)
            await net.sleep(5.0)
            names = [one.rstrip("x") for one in bob.heard if one.startswith("#")]
            self.assertGreater(len(names), 20)  # the connection before holds the rest
            self.assertEqual(names, [f"#{number}#" for number in range(100 - len(names), 100)])
            self.assertEqual(len(bob.ended), 1)

        self.play(script, room_mark=50_000_000, room_queue=60_000_000)
