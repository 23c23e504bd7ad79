"""A conference that a client hosts itself (IMS-57)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import Address, Cpim
from omaim.bodies.mime import Part
from omaim.client import guest, hosts
from omaim.client.failures import BadNickname, Busy, Declined, Ended, Failure, NotFound, Refused
from omaim.client.host_rules import HostRules, room_uri
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
            self.addCleanup(lambda client=client: self.wait(client.close()))  # type: ignore[misc]

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
        room = self.host("bob")
        bobs = self.room("bob")
        self.assertEqual((bobs.subject, bobs.inviter), ("Plans", ALICE))
        self.assertEqual(bobs.uri, room.uri)
        self.assertTrue(room.uri.startswith(f"{ALICE};conf="))
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

    def test_whispering(self) -> None:
        """What is for one only goes to that one, guest or host, and so does the answer (§6.2)."""
        room = self.host("bob", "carol")
        bobs, carols = self.room("bob"), self.room("carol")
        got: dict[str, list[Message]] = {"alice": [], "bob": [], "carol": []}
        for name, one in (("alice", room), ("bob", bobs), ("carol", carols)):
            one.on_message(got[name].append)
        sent = self.wait(bobs.whisper("carol", "Psst"))
        self.wait(bobs.whisper("alice", "Boss?"))
        self.wait(room.whisper("carol", "Quiet"))
        self.settle()
        texts = {name: [one.text for one in all] for name, all in got.items()}
        self.assertEqual(texts, {"alice": ["Boss?"], "bob": [], "carol": ["Psst", "Quiet"]})
        self.assertTrue(carols.is_private(got["carol"][0]))
        self.assertTrue(room.is_private(got["alice"][0]))
        self.assertEqual(sent.status, "delivered")
        self.wait(got["carol"][0].reply("Not here"))
        self.wait(got["alice"][0].reply("Yes?"))
        self.wait(room.send("To all"))
        self.settle()
        self.assertEqual([one.text for one in got["bob"]], ["Not here", "Yes?", "To all"])
        self.assertFalse(bobs.is_private(got["bob"][-1]))
        self.assertEqual(len(got["carol"]), 3)

    def test_whispering_to_nobody(self) -> None:
        """404 for who is not here, 428 for who takes nothing private; never passed on (§6.2)."""
        self.patch(Room, "chatroom", ("nickname",))  # as carol says, and then bob
        room = self.host("bob", "carol")
        medium = self.room("bob").talk.medium
        assert medium is not None
        statuses: list[int] = []
        for to in (CAROL, "sip:dave@north.example", "im:nobody@x"):
            body = cpim("psst", sender=BOB, to=to, message_id="", reports=())
            medium.session.send(Outgoing("message/cpim", body, on_end=statuses.append))
        self.settle()
        self.assertEqual(statuses, [428, 404, 404])
        nothing = self.room("carol").next().addErrback(lambda _: None)
        self.assertNoResult(nothing)
        for name, status in (("carol", 428), ("dave", 404)):
            with self.assertRaises(Failure) as caught:
                self.wait(room.whisper(name, "psst"))
            self.assertEqual(caught.exception.status, status)

    def test_false_name(self) -> None:
        """Nobody speaks in another's name, nor outside of an envelope (RFC 7701 §6.1)."""
        room = self.host("bob", "carol")
        medium = self.room("bob").talk.medium
        assert medium is not None
        statuses: list[int] = []
        for sender, kind in ((CAROL, "message/cpim"), (BOB, "text/plain")):
            body = cpim("psst", sender=sender, to=room.uri, message_id="", reports=())
            medium.session.send(Outgoing(kind, body, on_end=statuses.append))
        self.settle()
        self.assertEqual(statuses, [403, 415])
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

    def test_several(self) -> None:
        """One client hosts several rooms, each with people and talk of its own."""
        first = self.host("bob", "carol")
        second: HostedRoom = self.wait(self.alice.host("Secrets"))
        self.wait(second.invite("bob"))
        self.settle(3.0)
        bobs = self.rooms["bob"]
        self.assertEqual([one.subject for one in bobs], ["Plans", "Secrets"])
        got: list[tuple[str, str]] = []
        for one in bobs:
            one.on_message(lambda message, one=one: got.append((one.subject, message.text)))
        self.wait(second.send("between us"))
        self.wait(self.room("carol").send("hello"))
        self.settle()
        self.assertEqual(got, [("Secrets", "between us"), ("Plans", "hello")])
        self.assertEqual([one.uri for one in bobs[0].participants], [ALICE, BOB, CAROL])
        self.assertEqual([one.uri for one in bobs[1].participants], [ALICE, BOB])
        self.wait(first.leave())
        self.settle(2.0)
        self.assertEqual([one.ended for one in bobs], [True, False])
        self.wait(second.send("still here"))
        self.settle()
        self.assertEqual(got[-1], ("Secrets", "still here"))

    def test_too_many_rooms(self) -> None:
        """A client hosts some rooms, and not any number."""
        for _ in range(hosts.ROOMS):
            self.host()
        with self.assertRaises(UsageError):
            self.wait(self.alice.host())

    def test_comes_back(self) -> None:
        """Who has left comes in again, with the nickname it had (OMA SIMPLE IM 1.0: re-join)."""
        room = self.host("bob", "carol")
        self.wait(self.room("carol").leave())
        self.settle(2.0)
        self.assertEqual([one.uri for one in room.participants], [ALICE, BOB])
        again = self.wait(self.room("carol").rejoin())
        self.settle(2.0)
        self.assertEqual([one.uri for one in room.participants], [ALICE, BOB, CAROL])
        self.wait(again.send("back"))
        self.settle()
        self.assertEqual(self.successResultOf(self.room("bob").next()).text, "back")
        self.assertEqual([one.uri for one in again.participants], [ALICE, BOB, CAROL])
        self.wait(again.whisper("bob", "all the same"))

    def test_comes_in_twice(self) -> None:
        """Who comes in while it still seems to be there takes its own place (lost phone)."""
        room = self.host("bob", "carol")
        old = self.room("bob")
        new = self.wait(self.clients["bob"].join(old.uri))
        self.settle(2.0)
        self.assertEqual([one.uri for one in room.participants], [ALICE, BOB, CAROL])
        self.assertTrue(old.ended)
        self.wait(room.send("once"))
        self.settle()
        self.assertEqual(self.successResultOf(new.next()).text, "once")

    def test_not_for_strangers(self) -> None:
        """Who was not called, or was put out, does not come in; nor does one too many."""
        room = self.host("bob", maximum=2)
        with self.assertRaises(Refused):
            self.wait(self.clients["carol"].join(room.uri))
        self.wait(self.room("bob").leave())
        self.settle()
        self.wait(room.invite("carol"))
        self.settle(2.0)
        with self.assertRaises(Busy) as caught:
            self.wait(self.room("bob").rejoin())
        self.assertEqual(caught.exception.status, 486)
        self.assertIn("102 Too many participants", caught.exception.reason)
        self.wait(room.expel("carol"))
        with self.assertRaises(Refused):
            self.wait(self.room("carol").rejoin())
        self.wait(room.leave())
        self.settle()
        with self.assertRaises(Failure):
            self.wait(self.room("bob").rejoin())

    def test_not_in_another_name(self) -> None:
        """Who reaches the host past its server, in the name of somebody whom that has vouched for,
        does not come in, is not told who is there, and has nobody called (RFC 3325 §3)."""
        room = self.host("bob", "carol")
        self.wait(self.room("carol").leave())
        self.settle(2.0)
        address = self.alice.endpoint.listeners[0]
        at = f"{address.host}:{address.port}"
        forger = self.client("carol", at, listen="10.0.0.99:5060")
        self.wait(forger.open())
        self.addCleanup(lambda: self.wait(forger.close()))
        with self.assertRaises(Refused):
            self.wait(forger.join(room.uri))
        bob = self.client("bob", at, listen="10.0.0.98:5060")
        self.wait(bob.open())
        self.addCleanup(lambda: self.wait(bob.close()))
        means = bob.sessions._means
        fetching = means.watcher.fetch(
            room.uri, "conference", accept=("application/conference-info+xml",)
        )
        fetching.addErrback(lambda failure: failure.value.status)  # type: ignore[call-overload]
        referring = Deferred.fromCoroutine(
            means.inviter.referrer.refer(room.uri, "sip:dave@north.example")
        )
        self.settle(5.0)
        self.assertEqual(self.successResultOf(fetching), 403)
        self.assertEqual(self.failureResultOf(referring).value.response.status, 403)
        self.assertEqual([one.uri for one in room.participants], [ALICE, BOB])

    def test_connection_lost(self) -> None:
        """A guest whose MSRP connection breaks stays, and misses nothing (RFC 4975 §5.4)."""
        room = self.host("bob", "carol")
        got: list[str] = []
        self.room("bob").on_message(lambda message: got.append(message.text))
        self.wait(room.send("one"))
        self.network.reset("10.0.0.12", "10.0.0.11")
        self.wait(room.send("two"))
        self.settle(0.01)
        self.wait(room.send("three"))
        self.settle(10.0)
        self.assertEqual(got, ["one", "two", "three"])
        self.assertEqual([one.uri for one in room.participants], [ALICE, BOB, CAROL])
        self.wait(self.room("bob").send("still here"))
        self.settle()
        self.assertEqual(self.successResultOf(room.next()).text, "still here")

    def test_guest_adds(self) -> None:
        """A guest has the host call somebody in (RFC 4579 §5.5); up to the cap."""
        room = self.host("bob", maximum=3)
        reference = self.wait(self.room("bob").invite("carol"))
        self.assertEqual(self.wait(reference.done()), 200)
        self.settle(2.0)
        self.assertEqual([one.uri for one in room.participants], [ALICE, BOB, CAROL])
        with self.assertRaises(Busy) as caught:
            self.wait(self.room("bob").invite("dave"))
        self.assertIn("102 Too many participants", caught.exception.reason)

    def test_guest_adds_several(self) -> None:
        """By a list, too (RFC 5368 §7)."""
        room = self.host("bob")
        self.wait(self.room("bob").invite("carol", "dave"))
        self.settle(10.0)
        self.assertEqual([one.uri for one in room.participants], [ALICE, BOB, CAROL])

    def test_only_the_host(self) -> None:
        """Only the host puts people out; a closed room is not opened; strangers ask nothing."""
        room = self.host("bob", "carol")
        with self.assertRaises(Refused):
            self.wait(self.room("bob").expel("carol"))
        room.closed = True
        with self.assertRaises(Refused):
            self.wait(self.room("bob").invite("dave"))
        room.closed = False
        referrer = self.clients["carol"].sessions._means.inviter.referrer
        self.wait(self.room("carol").leave())
        self.settle()
        referring = Deferred.fromCoroutine(referrer.refer(room.uri, "sip:dave@north.example"))
        self.settle(3.0)
        self.assertEqual(self.failureResultOf(referring).value.response.status, 403)

    def test_strangers_do_not_watch(self) -> None:
        """Who is not in it is not told who is (allow-conference-state)."""
        room = self.host("bob")
        watcher = self.clients["carol"].sessions._means.watcher
        fetching = watcher.fetch(
            room.uri, "conference", accept=("application/conference-info+xml",)
        )
        fetching.addErrback(lambda failure: failure.value.status)  # type: ignore[call-overload]
        self.settle(5.0)
        self.assertEqual(self.successResultOf(fetching), 403)

    def test_slow(self) -> None:
        """Who does not read what comes has to go; the others are not held up."""
        self.patch(guest, "BEHIND", -1)
        room = self.host("bob")
        self.wait(room.send("x"))
        self.settle(3.0)
        self.assertTrue(self.room("bob").ended)

    def test_other_device(self) -> None:
        """Another device of the host's, which requests reach as well, keeps out of it."""
        other = self.registered("alice")
        self.addCleanup(lambda: self.wait(other.close()))
        other.on_invitation(lambda invited: self.fail("it is not for this device"))
        room = self.host("bob", "carol")
        self.wait(self.room("carol").leave())
        self.settle(2.0)
        self.wait(self.room("carol").rejoin())
        reference = self.wait(self.room("bob").invite("dave"))
        self.assertEqual(self.wait(reference.done()), 404)
        self.settle(2.0)
        self.assertEqual([one.uri for one in room.participants], [ALICE, BOB, CAROL])
        self.assertEqual(len(self.room("bob").participants), 3)


class AnchoredTests(HostCase):
    """MSRP passes the IM Server, which lets a host pass on what others say."""

    def im_settings(self) -> dict[str, Any]:
        return {}

    def test_all_hear_all(self) -> None:
        """In their own names, to all and to one; and who has left comes back."""
        room = self.host("bob", "carol")
        self.wait(self.room("bob").send("to all"))
        self.wait(self.room("bob").whisper("carol", "to carol"))
        self.settle()
        self.wait(self.room("carol").leave())
        again = self.wait(self.room("carol").rejoin())
        self.settle(2.0)
        self.wait(self.room("bob").send("welcome"))
        self.settle()
        heard = [self.successResultOf(room.next()) for _ in range(2)]
        said = [(one.sender, one.text) for one in heard]
        self.assertEqual(said, [(BOB, "to all"), (BOB, "welcome")])
        heard = [self.successResultOf(self.rooms["carol"][0].next()) for _ in range(2)]
        self.assertEqual([one.text for one in heard], ["to all", "to carol"])
        self.assertEqual(self.successResultOf(again.next()).sender, BOB)

    def test_connection_lost(self) -> None:
        """A guest whose MSRP connection breaks stays, and misses nothing (RFC 4975 §5.4)."""
        room = self.host("bob", "carol")
        got: list[str] = []
        self.room("bob").on_message(lambda message: got.append(message.text))
        self.wait(room.send("one"))
        self.settle()
        self.network.reset("10.0.0.12", "10.0.0.2")
        self.settle(0.01)
        self.wait(self.room("carol").send("two"))
        self.settle(10.0)
        self.assertEqual(got, ["one", "two"])
        self.assertFalse(room.ended or self.room("bob").ended)


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
HOST = "sip:host@x.example"
ROOM = room_uri(HOST, "token")


class RulesTests(SynchronousTestCase):
    """The rules alone, whatever happens."""

    def message(self, author: str, to: str) -> bytes:
        part = Part([("Content-Type", "text/plain")], b"x")
        return Cpim.make(Address("", author), [Address("", to)], "", part).to_bytes()

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("enter", "leave", "say", "whisper", "name")),
                st.sampled_from(PEOPLE),
                st.sampled_from((*PEOPLE, HOST)),
                st.sampled_from(("", "Al", "AL", " al ", "Bo", "\x00")),
                st.booleans(),
            ),
            max_size=40,
        )
    )
    def test_always(self, steps: list[tuple[str, str, str, str, bool]]) -> None:
        """Nobody hears itself, nobody outside hears, nobody speaks as another, the cap holds.

        What is for one goes to that one, if it is here and wants it (RFC 7701 §6.1, §6.2).
        """
        rules = HostRules(HOST, "token", 3)
        private: dict[str, bool] = {HOST: True}
        for act, person, other, nickname, hears in steps:
            if act == "enter":
                try:
                    rules.make_room(1)
                except PeerError as error:
                    self.assertEqual((error.status, len(rules.people)), (486, 3))
                else:
                    rules.enter(person, private=hears)
                    private[person] = hears
            elif act == "leave":
                rules.leave(person)
            elif act == "name":
                rules.name(person, nickname)
            elif act == "say":
                try:
                    _, to = rules.recipients(person, "message/cpim", self.message(other, ROOM))
                except PeerError:
                    self.assertTrue(other != person or person not in rules.people)
                else:
                    self.assertEqual(set(to), set(rules.people) - {person})
            elif person in rules.people:
                body = self.message(person, other)
                try:
                    _, to = rules.recipients(person, "message/cpim", body)
                except PeerError as error:
                    here = other in rules.people
                    self.assertEqual(error.status, 428 if here else 404)
                    self.assertFalse(here and private[other])
                else:
                    self.assertEqual(to, [other])
                    self.assertTrue(private[other] and other in rules.people)
            self.assertIn(HOST, rules.people)
            self.assertLessEqual(len(rules.people), 3)
            names = [name.strip().lower() for name in rules.people.values() if name]
            self.assertEqual(len(names), len(set(names)))
