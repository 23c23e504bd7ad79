"""What is said in rooms over real MSRP sessions: to all, to one, by nobody, and too slowly."""

from __future__ import annotations

from typing import Any

from omaim.bodies.cpim import MEDIA_TYPE, Cpim
from omaim.errors import Unavailable
from omaim.im.policy import Settings
from omaim.msrp import Outgoing
from omaim.node.events import (
    NicknameChanged,
    RoomEnded,
    RoomEvent,
    RoomJoined,
    RoomLeft,
    RoomPosted,
    RoomStarted,
)
from omaim.testing.scenario import ScenarioNetwork
from tests.im.attendees import Attendee, cpim
from tests.im.parties import SessionCase, refused
from tests.im.test_conferences import ROOM, attendees, define

COMPOSING = (
    "<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>active</state></isComposing>"
)


async def together(net: ScenarioNetwork, *names: str, **values: Any) -> list[Attendee]:
    """Return people who are in the room."""
    people = await attendees(net, *names)
    members = " ".join(one.aor for one in people)
    await define(net, **{"members": members, **values})
    for one in people:
        await one.join(ROOM)
    await net.sleep(1.0)
    return people


class SayingTests(SessionCase):
    def test_answers(self) -> None:
        """The order of the checks of RFC 7701 §6.1 and §6.2, seen by a sender."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = await together(net, "alice", "bob", "xenia")
            said: list[tuple[str, int]] = []

            def note(name: str) -> Any:
                return lambda status: said.append((name, status))

            alice.session().send(Outgoing("text/plain", b"bare", on_end=note("no CPIM")))
            alice.tell("as Bob", author=bob.aor, on_end=note("somebody else"))
            alice.tell("psst", to=xenia.aor, on_end=note("to one"))
            alice.tell("psst", to="sip:nobody@north.example", on_end=note("to nobody"))
            two = cpim(alice.aor, ROOM, "x").replace(b"\r\nDate", b"\r\nTo: <sip:a@b.c>\r\nDate")
            alice.session().send(Outgoing(MEDIA_TYPE, two, on_end=note("to two")))
            alice.session().send(Outgoing(MEDIA_TYPE, b"junk", on_end=note("junk")))
            alice.tell("to all", on_end=note("to all"))
            await net.sleep(2.0)
            self.assertEqual(
                dict(said),
                {
                    "no CPIM": 415,
                    "somebody else": 403,
                    "to one": 200,
                    "to nobody": 404,
                    "to two": 403,
                    "junk": 400,
                    "to all": 200,
                },
            )
            self.assertEqual((bob.heard, xenia.heard), (["to all"], ["psst", "to all"]))

        self.play(script)

    def test_no_private_messages(self) -> None:
        """428 to one who does not know them, 403 where the room has none (RFC 7701 §6.2)."""

        async def script(net: ScenarioNetwork) -> None:
            (alice,) = await together(net, "alice", everybody="yes")
            bob = await Attendee.come(net, "bob")
            await bob.join(ROOM, bob.wished(chatroom=None))
            await net.sleep(1.0)
            self.assertIn("This is a chat room", bob.heard[0])
            statuses: list[int] = []
            alice.tell("psst", to=bob.aor, on_end=statuses.append)
            await net.sleep(1.0)
            self.assertEqual(statuses, [428])
            self.assertEqual(len(bob.heard), 1)

        async def forbidden(net: ScenarioNetwork) -> None:
            alice, bob = await together(net, "alice", "bob")
            statuses: list[int] = []
            alice.tell("psst", to=bob.aor, on_end=statuses.append)
            await net.sleep(1.0)
            self.assertEqual(statuses, [403])
            self.assertNotIn(b"private-messages", alice.calls[-1].remote.body)

        self.play(script)
        self.play(forbidden, room_private=False)

    def test_types(self) -> None:
        """Who does not take a type does not get it; the others do (RFC 7701 §6.1)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, bob, carol = await attendees(net, "alice", "bob", "carol")
            await alice.join(ROOM)
            await bob.join(ROOM, bob.wished(accept_wrapped_types=("text/plain",)))
            await carol.join(ROOM, carol.wished(max_size=300))
            await net.sleep(1.0)
            statuses: list[int] = []
            alice.tell("<p>hi</p>", kind="text/html", on_end=statuses.append)
            alice.tell("x" * 500, on_end=statuses.append)
            alice.tell("all", on_end=statuses.append)
            await net.sleep(1.0)
            self.assertEqual(statuses, [200, 200, 200])
            self.assertEqual(bob.heard, ["x" * 500, "all"])
            self.assertEqual(carol.heard, ["<p>hi</p>", "all"])

        self.play(script)

    def test_reports_and_typing(self) -> None:
        """Reports go to who asked, typing to all, and nothing of that is a message (§6.2)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = await together(net, "alice", "bob", "xenia")
            facts: list[RoomPosted] = []
            net.nodes["im-north"].taps.add(RoomPosted, facts.append)
            bob.tell(COMPOSING, kind="application/im-iscomposing+xml")
            report = (
                '<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>1</message-id>'
                "<datetime>2026-01-01T00:00:00Z</datetime>"
                f"<recipient-uri>{xenia.aor}</recipient-uri>"
                "<delivery-notification><status><delivered/></status></delivery-notification>"
                "</imdn>"
            )
            xenia.tell(report, to=alice.aor, kind="message/imdn+xml")
            await net.sleep(1.0)
            self.assertEqual(sorted(alice.heard), sorted([COMPOSING, report]))
            self.assertEqual((bob.heard, xenia.heard), ([], [COMPOSING]))
            self.assertEqual(facts, [])

        self.play(script)

    def test_nicknames(self) -> None:
        """425 for a name that is taken, 424 for none, and it can be given up (RFC 7701 §7)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = await together(net, "alice", "bob", "xenia")
            statuses: list[int] = []
            for one, name in (
                (alice, "Al"),
                (bob, "AL"),
                (xenia, "Al"),
                (alice, ""),
                (xenia, "Al"),
            ):
                one.session().nickname(name, statuses.append)
                await net.sleep(0.5)
            self.assertEqual(statuses, [200, 425, 425, 200, 425])  # kept for Alice for a while
            bob.session().nickname(" ", statuses.append)
            bob.session().nickname("Boss", statuses.append)
            await net.sleep(0.5)
            self.assertEqual(statuses[-2:], [424, 425])

        self.play(script, room_reserved=("boss",))

    def test_large_messages(self) -> None:
        """413 for more than the room allows, as soon as that is known (RFC 4975 §10.5)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await together(net, "alice", "bob")
            statuses: list[int] = []
            alice.tell("x" * 2000, on_end=statuses.append)
            await net.sleep(1.0)
            self.assertEqual((statuses, bob.heard), ([413], []))
            self.assertIn(b"max-size:1000", alice.calls[-1].remote.body)

        self.play(script, room_max_size=1000)

    def test_facts(self) -> None:
        """What happens is written down and told, in order: charging goes by it."""

        async def script(net: ScenarioNetwork) -> None:
            facts: list[Any] = []
            net.nodes["im-north"].taps.add(RoomEvent, facts.append)
            alice, bob = await together(net, "alice", "bob", everybody="yes")
            alice.tell("one")
            bob.session().nickname("Bo", lambda status: None)
            await net.sleep(1.0)
            await bob.leave()
            await alice.leave()
            await net.sleep(1.0)
            self.assertEqual(
                [type(one) for one in facts],
                [
                    RoomStarted,
                    RoomJoined,
                    RoomJoined,
                    RoomPosted,
                    NicknameChanged,
                    RoomLeft,
                    RoomLeft,
                    RoomEnded,
                ],
            )
            self.assertEqual(
                (facts[3].sender, facts[3].copies, facts[3].room), (alice.aor, 1, ROOM)
            )

        self.play(script)


class NamelessTests(SessionCase):
    def test_anonymous(self) -> None:
        """Who is anonymous stays so: in CPIM, in the roster, in what it does (RFC 7701 §5.2)."""

        async def script(net: ScenarioNetwork) -> None:
            private = (("Privacy", "id"),)
            people = "sip:alice@north.example sip:bob@north.example"
            (alice,) = await together(net, "alice", members=people, everybody="yes")
            carol, bob = await attendees(net, "carol", "bob")
            failed = await refused(carol.join(ROOM, headers=private))  # has no right to that
            self.assertEqual(failed.status, 403)
            await bob.join(ROOM, headers=private)
            await net.sleep(1.0)
            watch = alice.watch()
            await net.sleep(1.0)
            hidden = [one for one in watch.people if one.endswith("anonymous.invalid")]
            self.assertEqual(len(hidden), 1)
            bob.tell("boo", author="sip:anonymous@anonymous.invalid")
            await net.sleep(1.0)
            self.assertEqual(alice.heard_from, [(hidden[0], "boo")])
            alice.tell("who?", to=hidden[0])
            await net.sleep(1.0)
            self.assertEqual(bob.heard[-1], "who?")
            statuses: list[int] = []
            alice.tell("Bob?", to=bob.aor, on_end=statuses.append)
            bob.tell("it is me", on_end=statuses.append)
            await net.sleep(1.0)
            self.assertEqual(sorted(statuses), [403, 404])
            everything = b"".join(watch.documents[-1:]) + b"".join(alice.user.bodies)
            self.assertNotIn(b"bob", everything)

        self.play(script)

    def test_caller(self) -> None:
        """Who calls others anonymously is not named to them."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            await alice.create(bob.aor, xenia.aor, headers=(("Privacy", "id"),))
            await net.sleep(2.0)
            for one in (bob, xenia):
                self.assertNotIn(b"alice", one.invitations[0].request.to_bytes())

        self.play(script)


class SlowTests(SessionCase):
    def flood(self, one: Attendee, octets: int) -> list[int]:
        """Say much at once; return the statuses as they come."""
        statuses: list[int] = []
        for _ in range(octets // 40000):
            one.tell("x" * 40000, on_end=statuses.append)
        return statuses

    def test_speakers_wait(self) -> None:
        """With "pause" the speaker waits for who is slow, who has to go in the end (§6.4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, carol = await together(net, "alice", "bob", "carol")
            bob.session().pause()  # takes nothing
            statuses = self.flood(alice, 4_000_000)
            await net.sleep(8.0)
            said = len(statuses)
            self.assertLess(said, 50)
            room = net.entities["im-north"].focus.conferences[ROOM].room
            self.assertEqual(room.count, 3)
            await net.sleep(30.0)
            self.assertEqual(room.count, 2)
            self.assertEqual(len(statuses), 100)
            self.assertEqual(set(statuses), {200})
            self.assertEqual(len(carol.heard), 100)
            self.assertEqual(len(bob.ended), 1)
            self.assertIn("too slowly", bob.ended[0])

        self.play(script, room_mark=200_000, room_grace=10.0)

    def test_speakers_go_on(self) -> None:
        """Who was slow and keeps up again has lost nothing, and speakers go on."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, carol = await together(net, "alice", "bob", "carol")
            bob.session().pause()
            statuses = self.flood(alice, 2_000_000)
            await net.sleep(5.0)
            self.assertLess(len(statuses), 50)
            bob.session().resume()
            await net.sleep(10.0)
            self.assertEqual(statuses, [200] * 50)
            self.assertEqual((len(bob.heard), len(carol.heard)), (50, 50))

        self.play(script, room_mark=200_000)

    def test_slow_ones_go(self) -> None:
        """With "drop" nobody waits; who is too slow is put out (RFC 7701 §6.4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, carol = await together(net, "alice", "bob", "carol")
            bob.session().pause()
            statuses = self.flood(alice, 4_000_000)
            await net.sleep(5.0)
            self.assertEqual(statuses, [200] * 100)
            self.assertEqual(len(carol.heard), 100)
            await net.sleep(10.0)
            self.assertEqual(len(bob.ended), 1)

        self.play(script, room_congestion="drop", room_queue=1_000_000)


class ReplayTests(SessionCase):
    def test_who_comes_late(self) -> None:
        """Who comes late sees the last messages, also when all had left meanwhile."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await together(net, "alice", "bob")
            for text in ("one", "two", "three"):
                alice.tell(text)
            await net.sleep(1.0)
            await bob.leave()
            alice.tell("four")
            await net.sleep(1.0)
            await bob.join(ROOM)
            await net.sleep(1.0)
            self.assertEqual(bob.heard, ["one", "two", "three", "four"])
            await alice.leave()
            await bob.leave()
            await net.sleep(1.0)
            self.assertEqual(net.entities["im-north"].focus.conferences, {})
            carol = await Attendee.come(net, "carol")
            await define(net, "sip:room.other@north.example")
            self.assertEqual((await refused(carol.join(ROOM))).status, 403)
            await alice.join(ROOM)
            await net.sleep(1.0)
            self.assertEqual(alice.heard, [])

        self.play(script, room_replay=2 + 1)


class HistoryTests(SessionCase):
    def test_recorded(self) -> None:
        """A room is recorded for who wants that, from coming to leaving (spec 10 §11)."""

        async def script(net: ScenarioNetwork) -> None:
            on = Settings(history_session=True)
            north, south = net.entities["im-north"], net.entities["im-south"]
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            north.settings.put(alice.aor, on)
            south.settings.put(xenia.aor, on)
            await define(net, members=f"{alice.aor} {bob.aor} {xenia.aor}", subject="tea")
            for one in (bob, alice, xenia):
                await one.join(ROOM)
            await net.sleep(6.0)
            bob.tell("hello all")
            await net.sleep(1.0)
            alice.tell("hello Bob")
            await net.sleep(1.0)
            bob.tell("psst", to=xenia.aor)
            bob.tell("psst", to=alice.aor)
            bob.tell(COMPOSING, kind="application/im-iscomposing+xml")
            await net.sleep(1.0)
            await alice.leave()
            bob.tell("she has left")
            await net.sleep(1.0)
            store = net.nodes["im-north"].stores.history
            (kept,) = await store.search(alice.aor)
            self.assertEqual((kept.kind, kept.peer, kept.subject), ("conference", ROOM, "tea"))
            self.assertEqual(set(kept.participants), {ROOM, alice.aor, bob.aor, xenia.aor})
            self.assertLess(kept.ended_at, 1e12)
            entries = await store.entries(alice.aor, kept.reference, 0, 100)
            self.assertEqual(
                [(each.sender, Cpim.parse(each.body).part.text()) for each in entries],
                [(bob.aor, "hello all"), (alice.aor, "hello Bob"), (bob.aor, "psst")],
            )
            self.assertEqual(await store.search(bob.aor), ())
            # The server of another domain records what its user heard.
            (far,) = await net.nodes["im-south"].stores.history.search(xenia.aor)
            self.assertEqual(far.count, 4)

        self.play(script)

    def test_too_large_to_record(self) -> None:
        """A message above the limit is not in the record, but who said it, its type and its size
        are: the record has no hole. Up to the limit it is there as it was."""

        async def script(net: ScenarioNetwork) -> None:
            north = net.entities["im-north"]
            alice, bob = await together(net, "alice", "bob")
            north.settings.put(bob.aor, Settings(history_session=True))
            await bob.leave()
            await bob.join(ROOM)
            statuses: list[int] = []
            for size in (100, 1_500_000, 2_500_000):
                alice.tell("x" * size, kind="image/png", on_end=statuses.append)
                await net.sleep(5.0)
            alice.tell("after", on_end=statuses.append)
            await net.sleep(1.0)
            self.assertEqual(statuses, [200] * 4)
            self.assertEqual([len(one) > 2_000_000 for one in bob.user.bodies[-2:]], [True, False])
            store = net.nodes["im-north"].stores.history
            (one,) = await store.search(bob.aor)
            entries = await store.entries(bob.aor, one.reference)
            parts = [Cpim.parse(each.body).part for each in entries]
            self.assertEqual([each.sender for each in entries], [alice.aor] * 4)
            self.assertEqual([len(each.content) for each in parts[:2]], [100, 1_500_000])
            self.assertRegex(
                parts[2].text(), r"^\[image/png, 2500\d\d\d octets: too large to be recorded\]$"
            )
            self.assertEqual((parts[2].media_type, parts[3].text()), ("text/plain", "after"))
            self.assertIn(alice.aor.encode(), entries[2].body)

        self.play(script, room_recorded=2_000_000)

    def test_not_acknowledged_unrecorded(self) -> None:
        """What cannot be recorded is not acknowledged, and nobody comes in unrecorded."""

        async def script(net: ScenarioNetwork) -> None:
            north = net.entities["im-north"]
            alice, bob = await together(net, "alice", "bob")
            north.settings.put(bob.aor, Settings(history_session=True))
            await bob.leave()
            await bob.join(ROOM)
            store = north.recorder._store

            async def full(*args: Any, **named: Any) -> Any:
                raise Unavailable("the disk is full")

            before, store.record = store.record, full
            statuses: list[int] = []
            alice.tell("not kept", on_end=statuses.append)
            await net.sleep(1.0)
            self.assertEqual(statuses, [413])
            await bob.leave()
            failed = await refused(bob.join(ROOM))
            self.assertEqual(failed.status, 500)  # our 503, as a proxy tells it (RFC 3261 §16.7)
            store.record = before
            await bob.join(ROOM)
            alice.tell("kept", on_end=statuses.append)
            await net.sleep(1.0)
            self.assertEqual(statuses, [413, 200])

        self.play(script)
