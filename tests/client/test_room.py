"""Rooms and conferences of a real IM Server, from the client's side."""

from __future__ import annotations

from typing import Any

from omaim.client import Client
from omaim.client.conversation import Conversation
from omaim.client.failures import (
    BadNickname,
    Busy,
    Ended,
    Failure,
    NotFound,
    Refused,
)
from omaim.client.invited import Invited
from omaim.client.messages import Message, Typing
from omaim.client.room import Room
from omaim.errors import UsageError
from tests.client.support import ALICE, BOB, DOMAIN, HomeTests

LOBBY = f"sip:room.lobby@{DOMAIN}"
CAROL = f"sip:carol@{DOMAIN}"


class RoomCase(HomeTests):
    """A test with a chat room."""

    def setUp(self) -> None:
        super().setUp()
        self.group(LOBBY, f"{ALICE} {BOB} {CAROL}", owners=ALICE)
        self.clients: dict[str, Client] = {}

    def online(self, name: str) -> Client:
        if name not in self.clients:
            self.clients[name] = self.registered(name)
            self.addCleanup(lambda: self.wait(self.clients[name].close()))
        return self.clients[name]

    def join(self, name: str) -> Room:
        """Return the room as somebody sees it who has come in."""
        room: Room = self.wait(self.online(name).join("room.lobby"))
        self.settle(3.0)
        return room

    def heard(self, room: Room) -> list[Message]:
        """Return the list in which what is said appears."""
        got: list[Message] = []
        room.on_message(got.append)
        return got


class JoinTests(RoomCase):
    def test_talk(self) -> None:
        """Who comes in hears what all say, and by whom (RFC 7701 §6.1)."""
        hers, his, carols = (self.join(name) for name in ("alice", "bob", "carol"))
        got = {name: self.heard(room) for name, room in (("b", his), ("c", carols), ("a", hers))}
        sent = self.wait(hers.send("Good day"))
        self.settle()
        self.assertEqual(sent.status, "delivered")
        for name in ("b", "c"):
            (message,) = got[name]
            self.assertEqual((message.text, message.sender), ("Good day", ALICE))
            self.assertTrue(message.verified)
            self.assertFalse(his.is_private(message))
        self.assertEqual(got["a"], [])
        self.wait(got["b"][0].reply("And to you"))
        self.settle()
        self.assertEqual([one.text for one in got["a"]], ["And to you"])
        self.assertEqual(len(got["c"]), 2)

    def test_no_room(self) -> None:
        """A room that is not there is NotFound; a person is none."""
        alice = self.online("alice")
        with self.assertRaises(NotFound):
            self.wait(alice.join("room.nowhere"))
        bob = self.online("bob")
        bob.auto_accept = True
        with self.assertRaises(NotFound) as caught:
            self.wait(alice.join("bob"))
        self.assertIn("is no room", str(caught.exception))
        self.settle()
        self.assertEqual((alice.conversations, bob.conversations), ([], []))

    def test_not_for_all(self) -> None:
        """Who is no member is refused (restricted group)."""
        self.group(f"sip:room.club@{DOMAIN}", ALICE)
        with self.assertRaises(Refused):
            self.wait(self.online("bob").join("room.club"))

    def test_roster(self) -> None:
        """Who is there is told, in whole and in part, as people come and go (RFC 4575)."""
        hers = self.join("alice")
        told: list[list[str]] = []
        hers.on_roster(lambda people: told.append([one.uri for one in people]))
        his = self.join("bob")
        self.wait(his.leave())
        self.settle(5.0)
        self.assertEqual(told, [[ALICE], [ALICE, BOB], [ALICE]])
        self.assertTrue(hers.roster_known)
        self.assertEqual([one.here for one in hers.participants], [True])

    def test_leave_and_rejoin(self) -> None:
        """Who left can come back, and hears what is said then."""
        hers, his = self.join("alice"), self.join("bob")
        self.wait(his.leave())
        self.wait(hers.send("He is gone"))
        with self.assertRaises(Ended):
            self.wait(his.send("I am not"))
        again = self.wait(his.rejoin())
        self.settle(3.0)
        self.wait(hers.send("He is back"))
        self.settle()
        self.assertEqual(self.successResultOf(again.next()).text, "He is back")

    def test_typing(self) -> None:
        """Who writes in a room is told to the others (RFC 3994)."""
        hers, his = self.join("alice"), self.join("bob")
        told: list[Typing] = []
        his.on_typing(told.append)
        hers.typing()
        self.settle()
        self.assertEqual(told, [Typing(ALICE, True)])
        self.wait(hers.send("done"))
        self.settle()
        self.assertEqual(told[1:], [Typing(ALICE, False)])

    def test_cut(self) -> None:
        """Who lost the connection can come in again."""
        hers = self.join("alice")
        ends: list[str] = []
        hers.on_end(ends.append)
        self.network.reset("10.0.0.11")
        self.settle(60.0)
        self.assertEqual(len(ends), 1)
        again = self.wait(hers.rejoin())
        self.wait(again.send("back"))


class NameTests(RoomCase):
    def test_nickname(self) -> None:
        """A nickname is shown to the others, and is its owner's (RFC 7701 §7)."""
        hers, his = self.join("alice"), self.join("bob")
        got = self.heard(his)
        self.wait(hers.nickname("Al"))
        self.settle(3.0)
        self.assertIn("Al", [one.shown for one in his.participants])
        self.wait(hers.send("It is me"))
        self.settle()
        self.assertEqual(got[0].name, "Al")
        with self.assertRaises(BadNickname) as caught:
            self.wait(his.nickname("Al"))
        self.assertEqual(caught.exception.status, 425)
        self.wait(hers.nickname(""))
        self.settle(3.0)
        self.assertNotIn("Al", [one.nickname for one in his.participants])
        with self.assertRaises(UsageError):
            self.wait(hers.nickname("x" * 2000))

    def test_whisper(self) -> None:
        """A private message reaches one only, and so does its answer (RFC 7701 §6.2)."""
        hers, his, carols = (self.join(name) for name in ("alice", "bob", "carol"))
        got = {name: self.heard(room) for name, room in (("b", his), ("c", carols), ("a", hers))}
        self.wait(his.nickname("Bo"))
        self.settle(3.0)
        sent = self.wait(hers.whisper("bo", "Psst"))
        self.settle(2.0)
        (message,) = got["b"]
        self.assertEqual(message.text, "Psst")
        self.assertTrue(his.is_private(message))
        self.assertEqual(sent.status, "delivered")
        self.wait(message.reply("What?"))
        self.settle()
        self.assertEqual([one.text for one in got["a"]], ["What?"])
        self.assertEqual(got["c"], [])
        message.read()
        self.settle(2.0)
        self.assertEqual(sent.status, "displayed")

    def test_whisper_to_nobody(self) -> None:
        """A private message to somebody who is not there goes nowhere."""
        hers = self.join("alice")
        for who in ("Nobody", "carol"):
            with self.assertRaises(NotFound):
                self.wait(hers.whisper(who, "Psst"))


class ReferTests(RoomCase):
    def test_invite(self) -> None:
        """A participant has the room invite somebody, who comes (RFC 4579 §5.5)."""
        hers = self.join("alice")
        carol = self.online("carol")
        asked: list[Invited] = []
        carol.on_invitation(asked.append)
        reference = self.wait(hers.invite("carol"))
        self.settle()
        (invited,) = asked
        self.assertEqual((invited.sender, invited.room), (ALICE, LOBBY))
        room = self.wait(invited.accept())
        self.assertIsInstance(room, Room)
        self.settle(3.0)
        self.assertEqual(self.wait(reference.done()), 200)
        self.assertEqual([one.uri for one in hers.participants], [ALICE, CAROL])
        self.wait(room.send("Here I am"))
        self.settle()
        self.assertEqual(self.successResultOf(hers.next()).text, "Here I am")
        self.assertEqual([one.uri for one in room.participants], [ALICE, CAROL])

    def test_invite_several(self) -> None:
        """Several are invited by one request (RFC 5368)."""
        hers = self.join("alice")
        for name in ("bob", "carol"):
            self.online(name).auto_accept = True
        self.assertIsNone(self.wait(hers.invite("bob", "carol")))
        self.settle(5.0)
        self.assertEqual({one.uri for one in hers.participants}, {ALICE, BOB, CAROL})

    def test_declines(self) -> None:
        """Who does not want to come is reported to have declined."""
        hers = self.join("alice")
        self.online("carol").on_invitation(lambda invited: invited.decline())
        reference = self.wait(hers.invite("carol"))
        self.assertEqual(self.wait(reference.done()), 603)

    def test_expel(self) -> None:
        """The owner puts somebody out, who learns it; others may not."""
        hers, his = self.join("alice"), self.join("bob")
        with self.assertRaises(Refused):
            self.wait(his.expel("alice"))
        ends: list[str] = []
        his.on_end(ends.append)
        self.wait(hers.expel("bob"))
        self.settle(3.0)
        self.assertEqual(len(ends), 1)
        self.assertEqual([one.uri for one in hers.participants], [ALICE])

    def test_nobody(self) -> None:
        """Whom to invite has to be said."""
        hers = self.join("alice")
        with self.assertRaises(UsageError):
            self.wait(hers.invite())


class ConferenceTests(RoomCase):
    def gather(self, name: str) -> list[Conversation]:
        """Have somebody accept everything; return the list where that appears."""
        found: list[Conversation] = []
        client = self.online(name)
        client.auto_accept = True
        client.on_conversation(found.append)
        return found

    def test_conference(self) -> None:
        """The factory makes a conference, and those on the list are called (RFC 5366)."""
        alice = self.online("alice")
        his, carols = self.gather("bob"), self.gather("carol")
        room = self.wait(alice.conference(["bob", "carol"], "Plans"))
        self.settle(5.0)
        self.assertTrue(room.uri.startswith("sip:conf."))
        self.assertEqual({one.uri for one in room.participants}, {ALICE, BOB, CAROL})
        (bobs,) = his
        assert isinstance(bobs, Room)
        self.assertEqual((bobs.uri, bobs.subject, bobs.inviter), (room.uri, "Plans", ALICE))
        self.wait(bobs.send("What plans?"))
        self.settle()
        self.assertEqual(self.successResultOf(room.next()).text, "What plans?")
        self.assertEqual(self.successResultOf(carols[0].next()).text, "What plans?")

    def test_too_many(self) -> None:
        """More than the cap are refused (spec: max_adhoc_group_size)."""
        people = [f"p{number}" for number in range(150)]
        with self.assertRaises(Busy) as caught:
            self.wait(self.online("alice").conference(people))
        self.assertEqual(caught.exception.status, 486)

    def test_nobody(self) -> None:
        """A conference needs somebody else."""
        with self.assertRaises(UsageError):
            self.wait(self.online("alice").conference([]))

    def test_instead(self) -> None:
        """A talk of two becomes one of three; the talk of two ends (RFC 3891; RFC 5366 §4)."""
        alice = self.online("alice")
        his, carols = self.gather("bob"), self.gather("carol")
        two = self.wait(alice.invite("bob"))
        self.settle()
        replaced: list[Any] = []
        self.online("bob").auto_accept = False
        his[0].on_replaced(replaced.append)
        room = self.wait(alice.conference(["carol"], instead=two))
        self.settle(5.0)
        self.assertEqual({one.uri for one in room.participants}, {ALICE, BOB, CAROL})
        self.assertTrue(two.ended and his[0].ended)
        self.assertEqual(replaced, [his[1]])
        self.wait(his[1].send("Three now"))
        self.settle()
        self.assertEqual(self.successResultOf(room.next()).text, "Three now")
        self.assertEqual(len(carols), 1)

    def test_through_the_server(self) -> None:
        """A talk of two through the server: sent, delivered, read, ended (IM-7)."""
        alice = self.online("alice")
        his = self.gather("bob")
        hers = self.wait(alice.invite("bob", subject="Lunch"))
        self.settle()
        sent = self.wait(hers.send("Hungry?"))
        self.settle()
        message = self.successResultOf(his[0].next())
        self.assertEqual((message.text, message.sender, message.verified), ("Hungry?", ALICE, True))
        message.read()
        self.settle()
        self.assertEqual(sent.status, "displayed")
        self.wait(his[0].leave())
        self.settle()
        self.assertTrue(hers.ended)

    def test_nobody_there(self) -> None:
        """Who is not registered cannot be invited."""
        with self.assertRaises(Failure) as caught:
            self.wait(self.online("alice").invite("bob"))
        self.assertEqual(caught.exception.status, 480)
