"""Conferences and rooms through real cores: who comes in, who is called, what is said."""

from __future__ import annotations

from typing import Any

from omaim.bodies.resource_lists import Entry
from omaim.roles.description import CallFailed
from omaim.testing.scenario import ScenarioNetwork
from tests.im.attendees import Attendee
from tests.im.parties import SessionCase

ROOM = "sip:room.tea@north.example"


async def refused(doing: Any) -> CallFailed:
    try:
        await doing
    except CallFailed as failed:
        return failed
    raise AssertionError("it was accepted")


async def define(net: ScenarioNetwork, uri: str = ROOM, **values: Any) -> None:
    """Define a group at the IM Server of its domain."""
    name = "im-north" if "north" in uri else "im-south"
    entity = net.nodes[name].control
    await entity.run({"command": "add-group", "entity": name, "aor": uri, **values})


class RoomTests(SessionCase):
    def test_join_and_talk(self) -> None:
        """People of two domains come in; each hears what the others say, once (RFC 7701 §6.1)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            people = [await Attendee.come(net, name) for name in ("alice", "bob", "xenia")]
            for one in people:
                await one.join(ROOM)
            await net.sleep(1.0)
            for one in people:
                one.tell(f"I am {one.aor}")
            await net.sleep(1.0)
            for one in people:
                self.assertEqual(
                    sorted(one.heard_from),
                    sorted((two.aor, f"I am {two.aor}") for two in people if two is not one),
                )
            focus = net.entities["im-north"].focus
            for one in people:
                await one.leave()
            await net.sleep(1.0)
            self.assertEqual(focus.conferences, {})
            for name in ("im-north", "im-south"):
                self.assertEqual(net.entities[name].msrp.sessions, [])

        self.play(script)


class AdHocTests(SessionCase):
    def test_made_on_demand(self) -> None:
        """An INVITE with a list makes a conference, and all on the list are called (RFC 5366 §5)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = [
                await Attendee.come(net, name) for name in ("alice", "bob", "xenia")
            ]
            await alice.create(Entry(bob.aor, copy="to"), Entry(xenia.aor, copy="cc"))
            await net.sleep(2.0)
            self.assertTrue(alice.room.startswith("sip:conf."), alice.room)
            alice.tell("welcome")
            await net.sleep(1.0)
            self.assertEqual(bob.heard, ["welcome"])
            self.assertEqual(xenia.heard, ["welcome"])

        self.play(script)
