"""A conference that a client hosts itself (IMS-57)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import Address, Cpim
from omaim.bodies.mime import Part
from omaim.client import hosting
from omaim.client.failures import BadNickname, Busy, Declined, Ended, NotFound, Refused
from omaim.client.host_rules import HostRules
from omaim.client.hosting import HostedRoom
from omaim.client.messages import Message, Typing
from omaim.client.room import Room
from omaim.errors import PeerError, UsageError
from omaim.msrp import Outgoing
from tests.client.support import ALICE, BOB, DOMAIN, HomeTests, PairTests, cpim

CAROL = f"sip:carol@{DOMAIN}"


class HostCase(HomeTests):
    """Alice hosts; bob and carol accept everything. MSRP goes between the clients (IM-9)."""

    def im_settings(self) -> dict[str, Any]:
        return {"media": "direct"}

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.registered("alice")
        self.rooms: dict[str, list[Any]] = {}
        self.clients = {"alice": self.alice}
        for name in ("bob", "carol"):
            client = self.clients[name] = self.registered(name)
            client.auto_accept = True
            self.rooms[name] = []
            client.on_conversation(self.rooms[name].append)
        for client in self.clients.values():
            self.addCleanup(lambda client=client: self.wait(client.close()))

    def host(self, *people: str, **named: Any) -> HostedRoom:
        room: HostedRoom = self.wait(self.alice.host("Plans", **named))
        if people:
            self.wait(room.invite(*people))
        self.settle(3.0)
        return room

    def room(self, name: str) -> Room:
        room = self.rooms[name][-1]
        assert isinstance(room, Room)
        return room


class HostTests(HostCase):
    def test_all_hear_all(self) -> None:
        """What one says reaches all others, under its own address (RFC 7701 §6.1)."""
        room = self.host("bob", "carol")
        got: dict[str, list[Message]] = {"bob": [], "carol": [], "alice": []}
        room.on_message(got["alice"].append)
        for name in ("bob", "carol"):
            self.room(name).on_message(got[name].append)
        self.wait(room.send("What shall we do?"))
        self.wait(self.room("bob").send("Eat"))
        self.settle()
        self.assertEqual([(one.sender, one.text) for one in got["alice"]], [(BOB, "Eat")])
        self.assertEqual([one.text for one in got["bob"]], ["What shall we do?"])
        self.assertEqual(
            [(one.sender, one.text) for one in got["carol"]],
            [(ALICE, "What shall we do?"), (BOB, "Eat")],
        )
        self.wait(got["alice"][0].reply("Again?"))
        self.settle()
        self.assertEqual(got["carol"][-1].text, "Again?")

    def test_invitation(self) -> None:
        """Who is invited sees a room: isfocus, subject, who hosts (RFC 4579 §5.1)."""
        self.host("bob")
        bobs = self.room("bob")
        self.assertEqual((bobs.uri, bobs.subject, bobs.inviter), (ALICE, "Plans", ALICE))
        self.assertTrue(bobs.leg.call.request.contacts[0].params.has("isfocus"))

    def test_roster(self) -> None:
        """Participants are told who is there, in whole and in part (RFC 4575)."""
        room = self.host("bob")
        told: list[list[str]] = []
        self.room("bob").on_roster(
            lambda people: told.append([one.uri for one in people if one.here])
        )
        self.wait(room.invite("carol"))
        self.settle(3.0)
        self.wait(self.room("carol").leave())
        self.settle(3.0)
        self.assertEqual(told[0], [ALICE, BOB])
        self.assertIn([ALICE, BOB, CAROL], told)
        self.assertEqual(told[-1], [ALICE, BOB])
        self.assertEqual([one.uri for one in room.participants], [ALICE, BOB])

    def test_nicknames(self) -> None:
        """Nicknames are unique, and shown (RFC 7701 §7)."""
        room = self.host("bob", "carol")
        self.wait(self.room("bob").nickname("Bo"))
        self.settle(2.0)
        for taken in (self.room("carol").nickname("bo"), room.nickname("BO")):
            with self.assertRaises(BadNickname):
                self.wait(taken)
        self.wait(room.nickname("Boss"))
        self.settle(3.0)
        self.assertEqual(
            [one.shown for one in self.room("carol").participants], ["Boss", "Bo", CAROL]
        )
        self.wait(self.room("bob").nickname(""))
        self.wait(self.room("carol").nickname("Bo"))

    def test_no_whispering(self) -> None:
        """Private messages there are none, and a client does not even try."""
        self.host("bob", "carol")
        with self.assertRaises(Refused):
            self.wait(self.room("bob").whisper("carol", "Psst"))

    def test_false_name(self) -> None:
        """Nobody speaks in another's name; nor to one only (RFC 7701 §6.1)."""
        self.host("bob", "carol")
        medium = self.room("bob").talk.medium
        assert medium is not None
        statuses: list[int] = []
        for sender, to, kind in (
            (CAROL, ALICE, "message/cpim"),
            (BOB, CAROL, "message/cpim"),
            (BOB, ALICE, "text/plain"),
        ):
            body = cpim("psst", sender=sender, to=to, message_id="", reports=())
            medium.session.send(Outgoing(kind, body, on_end=statuses.append))
        self.settle()
        self.assertEqual(statuses, [403, 403, 415])
        nothing = self.room("carol").next().addErrback(lambda _: None)
        self.assertNoResult(nothing)

    def test_typing(self) -> None:
        """Who writes is told to the others and the host."""
        room = self.host("bob", "carol")
        told: dict[str, list[Typing]] = {"alice": [], "carol": []}
        room.on_typing(told["alice"].append)
        self.room("carol").on_typing(told["carol"].append)
        self.room("bob").typing()
        room.typing()
        self.settle()
        self.assertEqual(told["alice"], [Typing(BOB, True)])
        self.assertCountEqual(told["carol"], [Typing(BOB, True), Typing(ALICE, True)])

    def test_reports(self) -> None:
        """Reports reach who said it, host or guest."""
        room = self.host("bob", "carol")
        wanted = ("positive-delivery", "display")
        sent = self.wait(room.send("hello", reports=wanted))
        his = self.wait(self.room("bob").send("hello", reports=wanted))
        self.settle(2.0)
        self.assertEqual({one.recipient for one in sent.reports}, {BOB, CAROL})
        self.assertEqual({one.recipient for one in his.reports}, {ALICE, CAROL})

    def test_cap(self) -> None:
        """No more than the host wants (spec: max_adhoc_group_size)."""
        room = self.host("bob", maximum=2)
        with self.assertRaises(Busy) as caught:
            self.wait(room.invite("carol"))
        self.assertEqual(caught.exception.status, 486)
        self.assertIn("102 Too many participants", str(caught.exception))
        self.assertEqual(self.rooms["carol"], [])

    def test_declined(self) -> None:
        """Who does not want to come is reported; the others are not disturbed."""
        self.clients["carol"].auto_accept = False
        self.clients["carol"].on_invitation(lambda invited: invited.decline())
        room = self.host()
        with self.assertRaises(Declined):
            self.wait(room.invite("bob", "carol"))
        self.assertEqual([one.uri for one in room.participants], [ALICE, BOB])
        self.wait(room.send("Two of us"))
        self.settle()
        self.assertEqual(self.successResultOf(self.room("bob").next()).text, "Two of us")

    def test_expel(self) -> None:
        """The host puts somebody out."""
        room = self.host("bob", "carol")
        self.wait(room.expel("bob"))
        self.settle()
        self.assertTrue(self.room("bob").ended)
        self.assertEqual([one.uri for one in room.participants], [ALICE, CAROL])
        with self.assertRaises(NotFound):
            self.wait(room.expel("bob"))

    def test_end(self) -> None:
        """When the host leaves it is over for all."""
        room = self.host("bob", "carol")
        self.wait(room.leave())
        self.settle(2.0)
        self.assertTrue(self.room("bob").ended and self.room("carol").ended)
        self.assertEqual(self.room("bob").why, "the host has left")
        with self.assertRaises(Ended):
            self.wait(room.send("anybody?"))
        self.assertEqual(self.alice.sessions._means.legs, set())
        self.wait(self.alice.host("Another"))

    def test_closed(self) -> None:
        """A client that is closed ends its conference."""
        self.host("bob")
        self.wait(self.alice.close())
        self.settle(2.0)
        self.assertTrue(self.room("bob").ended)

    def test_one_at_a_time(self) -> None:
        """A client hosts one conference."""
        self.host()
        with self.assertRaises(UsageError):
            self.wait(self.alice.host())

    def test_strangers_do_not_watch(self) -> None:
        """Who is not in it is not told who is (allow-conference-state)."""
        self.host("bob")
        watcher = self.clients["carol"].sessions._means.watcher
        fetching = watcher.fetch(ALICE, "conference", accept=("application/conference-info+xml",))
        fetching.addErrback(lambda failure: failure.value.status)
        self.settle(5.0)
        self.assertEqual(self.successResultOf(fetching), 403)

    def test_slow(self) -> None:
        """Who does not read what comes has to go; the others are not held up."""
        self.patch(hosting, "BEHIND", -1)
        room = self.host("bob")
        self.wait(room.send("x"))
        self.settle(3.0)
        self.assertTrue(self.room("bob").ended)


class DirectTests(PairTests):
    def test_direct(self) -> None:
        """Host and guest without a server between (IM-9)."""
        begun: list[Any] = []
        self.bob.auto_accept = True
        self.bob.on_conversation(begun.append)
        room = self.wait(self.alice.host("Two"))
        self.wait(room.invite("bob"))
        self.settle(2.0)
        self.wait(begun[0].send("hi"))
        self.settle()
        self.assertEqual(self.successResultOf(room.next()).text, "hi")
        self.assertEqual([one.uri for one in begun[0].participants], [ALICE, BOB])


PEOPLE = ("sip:a@x.example", "sip:b@x.example", "sip:c@x.example", "sip:d@x.example")
ROOM = "sip:host@x.example"


class RulesTests(SynchronousTestCase):
    """The rules alone, whatever happens."""

    def message(self, author: str, to: str) -> bytes:
        part = Part([("Content-Type", "text/plain")], b"x")
        return Cpim.make(Address("", author), [Address("", to)], "", part).to_bytes()

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("enter", "leave", "say", "name")),
                st.sampled_from(PEOPLE),
                st.sampled_from((*PEOPLE, ROOM)),
                st.sampled_from(("", "Al", "AL", " al ", "Bo", "\x00")),
            ),
            max_size=40,
        )
    )
    def test_always(self, steps: list[tuple[str, str, str, str]]) -> None:
        """Nobody hears itself, nobody outside hears, nobody speaks as another, the cap holds."""
        rules = HostRules(ROOM, 3)
        for act, person, other, nickname in steps:
            if act == "enter":
                try:
                    rules.make_room(1)
                except PeerError as error:
                    self.assertEqual((error.status, len(rules.people)), (486, 3))
                else:
                    rules.enter(person)
            elif act == "leave":
                rules.leave(person)
            elif act == "name":
                rules.name(person, nickname)
            else:
                body = self.message(other, ROOM)
                try:
                    _, to = rules.recipients(person, "message/cpim", body)
                except PeerError:
                    self.assertTrue(other != person or person not in rules.people)
                else:
                    self.assertEqual(set(to), set(rules.people) - {person})
            self.assertIn(ROOM, rules.people)
            self.assertLessEqual(len(rules.people), 3)
            names = [name.strip().lower() for name in rules.people.values() if name]
            self.assertEqual(len(names), len(set(names)))
