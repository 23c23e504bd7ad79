"""Conferences and rooms through real cores: who comes in, who is called, who is refused."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.resource_lists import Entry
from omaim.bodies.sdp import SessionDescription
from omaim.im.participating import ANONYMOUS, LIST, Leg
from omaim.im.room_rules import Rules
from omaim.msrp import Outgoing
from omaim.node.hooks import Refuse
from omaim.node.questions import MayJoin, MayPost
from omaim.roles.description import CallFailed, Description
from omaim.roles.negotiation import Negotiation
from omaim.sip.headers import DialogRef, NameAddr
from omaim.testing.scenario import ScenarioNetwork
from tests.im.attendees import FACTORY, Attendee, cpim, focus_of
from tests.im.halls import ROOM as ROOM_OF_HALL
from tests.im.halls import Hall, HallGuest
from tests.im.parties import TAG, SessionCase, refused

ROOM = "sip:room.tea@north.example"


async def define(net: ScenarioNetwork, uri: str = ROOM, **values: Any) -> None:
    """Define a group at the IM Server of its domain."""
    name = "im-north" if "north" in uri else "im-south"
    control = net.nodes[name].control
    await control.run({"command": "add-group", "entity": name, "aor": uri, **values})


async def attendees(net: ScenarioNetwork, *names: str) -> list[Attendee]:
    return [await Attendee.come(net, name) for name in names]


def warning(failed: CallFailed) -> str:
    return failed.response.first("Warning") or ""


class RoomTests(SessionCase):
    def test_join_and_talk(self) -> None:
        """People of two domains come in; each hears what the others say, once (RFC 7701 §6.1)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            people = await attendees(net, "alice", "bob", "xenia")
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
                self.assertEqual(net.entities[name].focus.house.inviter.calls, {})

        self.play(script)

    def test_description(self) -> None:
        """The focus says isfocus, takes CPIM only, and what the room can do (RFC 7701 §5.2, §8)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, xenia = await attendees(net, "alice", "xenia")
            call = await alice.join(ROOM)
            self.assertEqual(focus_of(call), ROOM)
            assert call.response is not None
            self.assertEqual(call.response.first("Allow-Events"), "conference")
            media = SessionDescription.parse(call.remote.body).media[0]
            self.assertEqual(media.attribute("accept-types"), "message/cpim")
            self.assertEqual(media.attribute("accept-wrapped-types"), "*")
            self.assertEqual(media.attribute("chatroom"), "nickname private-messages")
            # Through the server of another domain it is still a focus (RFC 4579 §5.1).
            far = await xenia.join(ROOM)
            assert far.response is not None
            contact = NameAddr.parse(far.response.first("Contact") or "")
            self.assertTrue(contact.params.has("isfocus"))
            self.assertIn(ROOM, far.response.first("P-Asserted-Identity") or "")

        self.play(script)

    def test_refused(self) -> None:
        """Unknown, restricted and full rooms (spec 10 §6, §12)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, members="sip:alice@north.example sip:bob@north.example", most="1")
            alice, bob, carol, xenia = await attendees(net, "alice", "bob", "carol", "xenia")
            unknown = await refused(alice.join("sip:room.none@north.example"))
            self.assertEqual(unknown.status, 404)
            self.assertEqual((await refused(xenia.join("sip:conf.1@north.example"))).status, 404)
            stranger = await refused(carol.join(ROOM))
            self.assertEqual(stranger.status, 403)
            self.assertIn("119 Function not allowed", warning(stranger))
            self.assertEqual((await refused(xenia.join(ROOM))).status, 403)
            await alice.join(ROOM)
            full = await refused(bob.join(ROOM))
            self.assertEqual(full.status, 486)
            self.assertIn("102 Too many participants", warning(full))
            # Nobody in it was disturbed.
            self.assertEqual(alice.ended, [])
            self.assertEqual(net.entities["im-north"].focus.conferences[ROOM].room.count, 1)

        self.play(script)

    def test_no_session_for_it(self) -> None:
        """An offer without message/cpim is refused with 488 (RFC 7701 §5.2)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            (alice,) = await attendees(net, "alice")
            plain = alice.wished(accept_types=("text/plain",), accept_wrapped_types=())
            self.assertEqual((await refused(alice.join(ROOM, plain))).status, 488)
            audio = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
            audio += b"m=audio 4000 RTP/AVP 0\r\n"
            failed = await refused(alice.inviter.invite(ROOM, audio, headers=(TAG,)))
            self.assertEqual(failed.status, 488)
            self.assertEqual(net.entities["im-north"].focus.conferences, {})
            self.assertEqual(net.entities["im-north"].msrp.sessions, [])

        self.play(script)

    def test_lists_are_for_the_factory(self) -> None:
        """A room, a user and a call that is up know no recipient lists: 420 (RFC 5366 §5.1)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, bob = await attendees(net, "alice", "bob")
            for target in (ROOM, bob.aor):
                failed = await refused(alice.create(bob.aor, factory=target))
                self.assertEqual(failed.status, 420)
                self.assertEqual(failed.response.first("Unsupported"), "recipient-list-invite")
            call = await alice.join(ROOM)
            again = alice.negotiations[call].again()
            fields = [("Require", "recipient-list-invite")]
            failed = await refused(call.reinvite(again.body + b"a=x\r\n", headers=fields))
            self.assertEqual(failed.status, 420)

        self.play(script)

    def test_hooks(self) -> None:
        """Features decide who comes in and what is said."""

        async def script(net: ScenarioNetwork) -> None:
            asked: list[Any] = []

            async def join(question: MayJoin) -> Refuse | None:
                asked.append(question)
                return Refuse(403, "not you") if "bob" in question.user else None

            async def post(question: MayPost) -> Refuse | None:
                asked.append(question)
                return Refuse(403, "no shouting") if question.text.isupper() else None

            net.nodes["im-north"].hooks.add(MayJoin, "test", join)
            net.nodes["im-north"].hooks.add(MayPost, "test", post)
            await define(net, everybody="yes")
            alice, bob, carol = await attendees(net, "alice", "bob", "carol")
            await alice.join(ROOM)
            self.assertIn("not you", warning(await refused(bob.join(ROOM))))
            await carol.join(ROOM)
            statuses: list[int] = []
            alice.tell("HELLO", on_end=statuses.append)
            alice.tell("hello", on_end=statuses.append)
            await net.sleep(1.0)
            self.assertEqual(statuses, [403, 200])
            self.assertEqual(carol.heard, ["hello"])
            self.assertEqual(
                [type(one).__name__ for one in asked], ["MayJoin"] * 3 + ["MayPost"] * 2
            )

        self.play(script)

    def test_two_devices(self) -> None:
        """A user with two devices is one participant; each device hears (RFC 7701 §6.1)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            for name in ("bob", "xenia"):  # at home, and through the server of another domain
                alice = await Attendee.come(net, "alice")
                phone = await Attendee.come(net, name, device="phone")
                desk = await Attendee.come(net, name, device="desk")
                for one in (alice, phone, desk):
                    await one.join(ROOM)
                room = net.entities["im-north"].focus.conferences[ROOM].room
                self.assertEqual((room.count, len(room.members)), (2, 3))
                alice.tell("to both")
                await net.sleep(1.0)
                self.assertEqual((phone.heard, desk.heard), (["to both"], ["to both"]))
                # The same device comes back: its older session is dropped.
                first = desk.calls[-1]
                await desk.join(ROOM)
                await net.sleep(2.0)
                self.assertEqual((room.count, len(room.members)), (2, 3))
                self.assertTrue(first.over)
                for one in (alice, phone, desk):
                    await one.leave()
                await net.sleep(1.0)

        self.play(script)

    def test_without_an_offer(self) -> None:
        """An INVITE without an offer gets one, and its answer counts (RFC 3264; RFC 3261 §13)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, bob = await attendees(net, "alice", "bob")
            await alice.join(ROOM)
            negotiation = Negotiation(bob.msrp)

            async def offered(offer: Description) -> Description:
                return await negotiation.answer(offer, [bob.wished()])

            call = await bob.inviter.invite(ROOM, headers=(TAG,), on_offer=offered)
            bob.room = ROOM
            bob._up(call, negotiation)
            await net.sleep(1.0)
            alice.tell("hello")
            bob.tell("good day")
            await net.sleep(1.0)
            self.assertEqual((alice.heard, bob.heard), (["good day"], ["hello"]))

            async def useless(offer: Description) -> Description:
                nothing = Negotiation(bob.msrp)
                return await nothing.answer(
                    offer, [bob.wished(accept_types=("text/plain",), chatroom=None)]
                )

            other = await bob.inviter.invite(ROOM, headers=(TAG,), on_offer=useless)
            await net.sleep(1.0)
            self.assertTrue(other.over)

        self.play(script)

    def test_changed_offers(self) -> None:
        """A re-INVITE changes what a session takes, or moves it; nothing is lost (RFC 7701 §8)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, bob = await attendees(net, "alice", "bob")
            await alice.join(ROOM)
            call = await bob.join(ROOM)
            await bob.change(call, bob.wished())  # another path
            await net.sleep(1.0)
            alice.tell("first")
            bob.tell("from a new place")
            await net.sleep(1.0)
            self.assertEqual((bob.heard, alice.heard), (["first"], ["from a new place"]))
            await bob.change(call, bob.wished(accept_wrapped_types=("text/html",)))
            await net.sleep(1.0)
            alice.tell("second")
            alice.tell("<b>third</b>", kind="text/html")
            await net.sleep(1.0)
            self.assertEqual(bob.heard, ["first", "<b>third</b>"])
            failed = await refused(bob.change(call, bob.wished(accept_types=("text/plain",))))
            self.assertEqual(failed.status, 488)
            self.assertEqual(net.entities["im-north"].focus.conferences[ROOM].room.count, 2)

        self.play(script)

    def test_given_up(self) -> None:
        """Who gives up, or never connects, is not in the room."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, bob = await attendees(net, "alice", "bob")
            await alice.join(ROOM)
            negotiation = Negotiation(bob.msrp)
            offer = negotiation.offer([bob.wished()])
            call = await bob.inviter.invite(ROOM, offer.body, headers=(TAG,))
            negotiation.close()  # the answer is not acted on
            room = net.entities["im-north"].focus.conferences[ROOM].room
            self.assertEqual(room.count, 2)
            await net.sleep(40.0)
            self.assertEqual(room.count, 1)
            self.assertTrue(call.over)

        self.play(script)

    def test_lost_connection(self) -> None:
        """Who loses the MSRP connection has left, and is told by BYE."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, bob = await attendees(net, "alice", "bob")
            await alice.join(ROOM)
            await bob.join(ROOM)
            await net.sleep(1.0)
            await bob.msrp.stop()
            await net.sleep(2.0)
            self.assertEqual(net.entities["im-north"].focus.conferences[ROOM].room.count, 1)
            self.assertIn("MSRP", bob.ended[-1])

        self.play(script)

    def test_ends(self) -> None:
        """A room closes when it is idle, when its time is over, and when the server stops."""

        async def idle(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, bob = await attendees(net, "alice", "bob")
            await alice.join(ROOM)
            await bob.join(ROOM)
            await net.sleep(8.0)
            alice.tell("still here")
            await net.sleep(8.0)
            self.assertEqual(alice.ended, [])
            await net.sleep(4.0)
            self.assertIn("nobody has said anything", alice.ended[0])
            self.assertIn("nobody has said anything", bob.heard[-1])
            self.assertEqual(net.entities["im-north"].focus.conferences, {})

        async def stopped(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, xenia = await attendees(net, "alice", "xenia")
            await alice.join(ROOM)
            await xenia.join(ROOM)
            await net.sleep(1.0)
            await net.entities["im-north"].stopService()
            self.assertIn("cause=503", alice.ended[0])
            for one in (alice, xenia):
                self.assertIn("The room is closed: the server stops.", one.heard)
            self.assertEqual(len(xenia.ended), 1)

        self.play(idle, room_idle=10.0)
        self.play(stopped)

    def test_changed_group(self) -> None:
        """Who is struck off a group has to go; with the group goes its room."""

        async def script(net: ScenarioNetwork) -> None:
            people = "sip:alice@north.example sip:bob@north.example"
            await define(net, members=people)
            alice, bob = await attendees(net, "alice", "bob")
            await alice.join(ROOM)
            await bob.join(ROOM)
            await net.sleep(1.0)
            control = net.nodes["im-north"].control
            remove = {"command": "remove-group", "entity": "im-north", "aor": ROOM}
            await control.run(remove)
            await net.sleep(2.0)
            self.assertEqual(net.entities["im-north"].focus.conferences, {})
            self.assertEqual((len(alice.ended), len(bob.ended)), (1, 1))
            self.assertEqual((await refused(bob.join(ROOM))).status, 404)

        self.play(script)


class AdHocTests(SessionCase):
    def test_made_on_demand(self) -> None:
        """An INVITE with a list makes a conference; all on it are called (RFC 5366 §5)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, carol, xenia = await attendees(net, "alice", "bob", "carol", "xenia")
            await alice.create(
                Entry(bob.aor, copy="to"),
                Entry(xenia.aor, copy="cc"),
                Entry(carol.aor, copy="bcc"),
                headers=(("Subject", "tea"),),
            )
            await net.sleep(2.0)
            self.assertTrue(alice.room.startswith("sip:conf."), alice.room)
            alice.tell("welcome")
            await net.sleep(1.0)
            for one in (bob, carol, xenia):
                self.assertEqual(one.heard, ["welcome"])
                request = one.invitations[0].request
                self.assertIn(alice.room, request.first("From") or "")
                self.assertIn(alice.aor, request.first("Referred-By") or "")
                self.assertEqual(request.first("Subject"), "tea")
                body = request.body
                self.assertIn(b"recipient-list-history", body)
                self.assertIn(bob.aor.encode(), body)
                self.assertNotIn(carol.aor.encode(), body.partition(b"resource-lists")[2])
            self.assertEqual(focus_of(bob.calls[0]), alice.room)
            # Who is outside knows the address, and may not come in by it.
            yusuf = await Attendee.come(net, "yusuf")
            self.assertEqual((await refused(yusuf.join(alice.room))).status, 403)
            # Who has left may come back; with fewer than two it is over.
            await bob.leave()
            await bob.join(alice.room)
            bob.tell("back")
            await net.sleep(1.0)
            self.assertEqual(alice.heard[-1], "back")
            for one in (bob, carol, xenia):
                await one.leave()
            await net.sleep(1.0)
            self.assertEqual(len(alice.ended), 1)
            self.assertEqual((await refused(bob.join(alice.room))).status, 410)

        self.play(script)

    def test_nobody_comes(self) -> None:
        """Who declines or is away does not disturb the others; with nobody left it is over."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            bob.answers = 486
            await alice.create(bob.aor, xenia.aor, "sip:dave@north.example")
            await net.sleep(2.0)
            room = net.entities["im-north"].focus.conferences[alice.room].room
            self.assertEqual((room.count, room.pending), (2, ()))
            xenia.answers = 603
            await xenia.leave()
            await net.sleep(1.0)
            self.assertEqual(len(alice.ended), 1)

        self.play(script)

    def test_lists(self) -> None:
        """A missing or broken list is 400, one that is too long 486 (spec 10 §6, §12)."""

        async def script(net: ScenarioNetwork) -> None:
            (alice,) = await attendees(net, "alice")
            offer = Negotiation(alice.msrp).offer([alice.wished()]).body
            require = ("Require", "recipient-list-invite")
            for body, kind in (
                (offer, "application/sdp"),
                (offer + b"--b--", "multipart/mixed;boundary=b"),
            ):
                failed = await refused(
                    alice.inviter.invite(
                        FACTORY, body, kind, headers=(TAG, require), on_offer=lambda _: b""
                    )
                )
                self.assertEqual(failed.status, 400)
            unknown = ("Require", "recipient-list-invite, magic")
            failed = await refused(alice.inviter.invite(FACTORY, offer, headers=(TAG, unknown)))
            self.assertEqual(failed.status, 420)
            self.assertEqual(failed.response.first("Unsupported"), "magic")
            failed = await refused(alice.create(*(f"sip:p{n}@north.example" for n in range(3))))
            self.assertEqual(failed.status, 486)
            self.assertIn("102 Too many participants", warning(failed))
            self.assertEqual(net.entities["im-north"].focus.conferences, {})

        self.play(script, conference_people=3)

    def test_empty(self) -> None:
        """Without a list a conference is made for one, who calls others later (RFC 4579 §5.4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await attendees(net, "alice", "bob")
            call = await alice.join(FACTORY)
            alice.room = focus_of(call)
            await net.sleep(1.0)
            self.assertEqual(alice.ended, [])
            await alice.inviter.referrer.refer("", bob.aor, call=call)
            await net.sleep(2.0)
            alice.tell("hello")
            await net.sleep(1.0)
            self.assertEqual(bob.heard, ["hello"])

        self.play(script)

    def test_upgrade(self) -> None:
        """A conversation of two becomes a group: its dialogs are replaced (RFC 3891)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            for other, third in ((bob, xenia), (xenia, bob)):
                call = await alice.invite(other.aor)
                alice.say("just us")
                await net.sleep(1.0)
                dialog = call.dialog
                ref = DialogRef(dialog.call_id, dialog.remote_tag, dialog.local_tag)
                replaces = str(ref).replace(";", "%3B").replace("=", "%3D")
                await alice.create(f"{other.aor}?Replaces={replaces}", third.aor)
                await net.sleep(2.0)
                self.assertTrue(call.over)
                self.assertTrue(other.calls[-2].over)
                self.assertFalse(other.calls[-1].over)
                alice.tell("all of us")
                await net.sleep(1.0)
                self.assertEqual((other.heard[-1], third.heard[-1]), ("all of us", "all of us"))
                failed = await refused(alice.create(f"{other.aor}?Replaces={replaces}", third.aor))
                self.assertEqual(failed.status, 481)
                await alice.leave()
                await net.sleep(1.0)

        self.play(script)

    def test_not_somebody_elses(self) -> None:
        """Nobody replaces a conversation of others."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, carol = await attendees(net, "alice", "bob", "carol")
            call = await alice.invite(bob.aor)
            await net.sleep(1.0)
            dialog = call.dialog
            ref = DialogRef(dialog.call_id, dialog.remote_tag, dialog.local_tag)
            replaces = str(ref).replace(";", "%3B").replace("=", "%3D")
            failed = await refused(carol.create(f"{bob.aor}?Replaces={replaces}"))
            self.assertEqual(failed.status, 403)
            self.assertFalse(call.over)

        self.play(script)


class PredefinedTests(SessionCase):
    def test_members_are_called(self) -> None:
        """Who may start a pre-defined group has its members called (spec 10 §6)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            await define(
                net,
                ROOM,
                members=f"{alice.aor} {bob.aor} {xenia.aor}",
                owners=alice.aor,
                kind="pre-defined",
            )
            self.assertEqual((await refused(bob.join(ROOM))).status, 403)
            await alice.join(ROOM)
            await net.sleep(2.0)
            alice.tell("all here?")
            await net.sleep(1.0)
            self.assertEqual((bob.heard, xenia.heard), (["all here?"], ["all here?"]))
            await bob.leave()
            await bob.join(ROOM)
            await net.sleep(1.0)
            self.assertEqual(net.entities["im-north"].focus.conferences[ROOM].room.count, 3)

        self.play(script)


class StrangerTests(SynchronousTestCase):
    def test_two_without_identity(self) -> None:
        """Two whom nobody vouches for are two, and neither can be the other (RFC 7701 §5.2)."""
        hall = Hall(Rules(notices=False))
        hosts = [HallGuest(hall, number) for number in (1, 2)]
        for one in hosts:
            one.come(Leg(LIST, hall.conference.uri, ANONYMOUS, True, True, ()))
        hall.clock.advance(1.0)
        shown = [one.person.shown for one in hall.conference.room.members]
        self.assertEqual(hall.conference.room.count, 2)
        self.assertEqual(len(set(shown)), 2)
        statuses: list[int] = []
        body = cpim(shown[1], ROOM_OF_HALL, "as the other")
        hosts[0].session.send(Outgoing("message/cpim", body, on_end=statuses.append))
        hall.clock.advance(1.0)
        self.assertEqual(statuses, [403])


class AddressTests(SessionCase):
    def test_any_address(self) -> None:
        """A group may have any address that leads to the server (3GPP TS 23.228 §5.4.12)."""

        async def script(net: ScenarioNetwork) -> None:
            team = "sip:chat-team@north.example"
            await define(net, team, everybody="yes")
            alice, xenia = await attendees(net, "alice", "xenia")
            for one in (alice, xenia):
                await one.join(team)
            await net.sleep(1.0)
            xenia.tell("hello")
            await net.sleep(1.0)
            self.assertEqual(alice.heard, ["hello"])
            unknown = await refused(alice.join("sip:chat-none@north.example"))
            self.assertEqual(unknown.status, 404)

        psis = ("sip:chat-!.*!@north.example=sip:{base}.1.2:{port};lr",)
        self.play(script, core={"psis": psis})


class LongMessages(SessionCase):
    def test_pass_while_they_come(self) -> None:
        """The first chunk of a large message leaves before the last has come (RFC 7701 §6.1)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, bob = await attendees(net, "alice", "bob")
            await alice.join(ROOM)
            bob.user.mode = "stream"
            await bob.join(ROOM)
            await net.sleep(1.0)
            head = (
                f"From: <{alice.aor}>\r\nTo: <{ROOM}>\r\nDateTime: 2026-01-01T00:00:00Z\r\n\r\n"
                "Content-Type: application/octet-stream\r\n\r\n"
            ).encode()
            long = bytes(range(256)) * 4096
            out = Outgoing("message/cpim", size=len(head) + len(long))
            alice.session().send(out)
            out.write(head + long[:300000])
            await net.sleep(2.0)
            (got,) = bob.user.streams.values()
            self.assertGreater(len(got), 200000)
            out.write(long[300000:])
            out.finish()
            await net.sleep(5.0)
            self.assertEqual(bytes(got), head + long)
            self.assertEqual(list(bob.user.ends.values()), [True])

        self.play(script)
