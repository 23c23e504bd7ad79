"""REFER and SUBSCRIBE to conferences: call people, put people out, see who is there."""

from __future__ import annotations

from typing import Any

from omaim.bodies.conference_info import parse_conference
from omaim.bodies.conference_state import APPLIED, ENDED
from omaim.bodies.resource_lists import Entry
from omaim.im.policy import Settings
from omaim.roles.referrer import refer_uri
from omaim.sip.headers import DialogRef
from omaim.testing.scenario import ScenarioNetwork
from tests.im.attendees import LIST, Attendee, list_of
from tests.im.parties import SessionCase, refused
from tests.im.test_conferences import ROOM, attendees, define


class ReferTests(SessionCase):
    def test_call_somebody(self) -> None:
        """REFER in the call adds somebody; reports tell what came of it (RFC 4579 §5.5)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, carol, xenia = await attendees(net, "alice", "bob", "carol", "xenia")
            call = await alice.create(bob.aor)
            await net.sleep(1.0)
            refer = alice.inviter.referrer.refer
            good = await refer("", xenia.aor, call=call)
            self.assertEqual(await good.done(), 200)
            self.assertEqual(good.reports[0], "SIP/2.0 100 Trying")
            self.assertIn(alice.aor, xenia.invitations[0].request.first("Referred-By") or "")
            carol.answers = 603
            bad = await refer("", carol.aor, call=call)
            self.assertEqual(await bad.done(), 603)
            here = await refer("", bob.aor, call=call)
            self.assertEqual(await here.done(), 200)
            self.assertEqual(len(bob.invitations), 1)
            quiet = await refer("", "sip:dora@south.example", call=call, reports=False)
            self.assertTrue(quiet.over)
            self.assertFalse(quiet.subscribed)
            alice.tell("hello")
            await net.sleep(1.0)
            self.assertEqual(xenia.heard, ["hello"])

        self.play(script)

    def test_outside_the_call(self) -> None:
        """REFER to the conference URI, and by Target-Dialog to a dialog of it (RFC 4538)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia, yusuf = await attendees(net, "alice", "bob", "xenia", "yusuf")
            call = await alice.create(bob.aor)
            await net.sleep(1.0)
            refer = alice.inviter.referrer.refer
            reference = await refer(alice.room, xenia.aor)
            self.assertEqual(await reference.done(), 200)
            dialog = call.dialog
            ref = DialogRef(dialog.call_id, dialog.remote_tag, dialog.local_tag)
            target = [("Target-Dialog", ref.target_dialog), ("Require", "tdialog")]
            other = "sip:room.anything@north.example"
            reference = await refer(other, yusuf.aor, headers=target)
            self.assertEqual(await reference.done(), 200)
            failed = await refused(refer("sip:conf.none@north.example", yusuf.aor))
            self.assertEqual(failed.status, 404)
            conference = net.entities["im-north"].focus.conferences[alice.room]
            self.assertEqual(conference.room.count, 4)

        self.play(script)

    def test_several(self) -> None:
        """One REFER with a list adds many, or puts many out (RFC 5368 §7, §8)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, carol, xenia = await attendees(net, "alice", "bob", "carol", "xenia")
            call = await alice.create(bob.aor)
            await net.sleep(1.0)
            room = net.entities["im-north"].focus.conferences[alice.room].room
            refer = alice.inviter.referrer.refer
            fields = [("Content-Type", LIST), ("Content-ID", "<people@here>")]
            people = list_of(carol.aor, Entry(xenia.aor, copy="to"), carol.aor)
            reference = await refer("", "cid:people@here", call=call, headers=fields, body=people)
            self.assertTrue(reference.over)
            await net.sleep(2.0)
            self.assertEqual(room.count, 4)
            self.assertEqual(len(carol.invitations), 1)
            out = list_of(*(f"{one.aor};method=BYE" for one in (carol, xenia)))
            await refer(alice.room, "cid:people@here", headers=fields, body=out)
            await net.sleep(2.0)
            self.assertEqual(room.count, 2)
            self.assertEqual((len(carol.ended), len(xenia.ended)), (1, 1))
            self.assertIn("removed", carol.ended[0])
            broken = refer("", "cid:other@here", call=call, headers=fields, body=people)
            self.assertEqual((await refused(broken)).status, 400)
            message = list_of(f"{carol.aor};method=MESSAGE")
            odd = refer("", "cid:people@here", call=call, headers=fields, body=message)
            self.assertEqual((await refused(odd)).status, 403)

        self.play(script)

    def test_put_out(self) -> None:
        """REFER with method=BYE expels, who may not come back by itself (RFC 4579 §5.11)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            call = await alice.create(bob.aor, xenia.aor)
            await net.sleep(1.0)
            refer = alice.inviter.referrer.refer
            bye = refer_uri(bob.aor, "BYE")
            not_bob = await refused(bob.inviter.referrer.refer(alice.room, bye))
            self.assertEqual(not_bob.status, 403)
            reference = await refer("", bye, call=call)
            self.assertEqual(await reference.done(), 200)
            await net.sleep(1.0)
            self.assertEqual(len(bob.ended), 1)
            self.assertEqual((await refused(bob.join(alice.room))).status, 403)
            self.assertEqual((await refused(refer("", bye, call=call))).status, 404)
            await (await refer("", bob.aor, call=call)).done()
            self.assertEqual(len(bob.invitations), 2)
            await bob.leave()
            await bob.join(alice.room)  # was asked again: may come back

        self.play(script)

    def test_call_off(self) -> None:
        """Who is expelled while it rings is not called any longer."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            cancelled: list[Any] = []
            rings: list[Any] = []

            def ring(invitation: Any) -> None:
                rings.append(invitation)
                invitation.ring()
                invitation.on_cancel = cancelled.append

            xenia.inviter.on_invite = ring
            call = await alice.create(bob.aor, xenia.aor)
            await net.sleep(1.0)
            self.assertEqual(len(rings), 1)
            await alice.inviter.referrer.refer("", refer_uri(xenia.aor, "BYE"), call=call)
            await net.sleep(1.0)
            self.assertEqual(len(cancelled), 1)
            room = net.entities["im-north"].focus.conferences[alice.room].room
            self.assertEqual((room.count, room.pending), (2, ()))

        self.play(script)

    def test_not_wanted(self) -> None:
        """Who has blocked the asker is not called (spec 10 §7)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, carol = await attendees(net, "alice", "bob", "carol")
            blocks = Settings(rejects=frozenset({alice.aor}))
            net.entities["im-north"].settings.put(bob.aor, blocks)
            call = await alice.create(carol.aor)
            reference = await alice.inviter.referrer.refer("", bob.aor, call=call)
            self.assertEqual(await reference.done(), 403)
            self.assertEqual(bob.invitations, [])

        self.play(script)

    def test_rights(self) -> None:
        """Who may not invite is refused; others, and odd methods, too (spec 10 §6)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            call = await alice.join(ROOM)
            refer = alice.inviter.referrer.refer
            self.assertEqual((await refused(refer("", bob.aor, call=call))).status, 403)
            self.assertEqual(
                (await refused(xenia.inviter.referrer.refer(ROOM, bob.aor))).status, 403
            )
            odd = refer("", refer_uri(bob.aor, "SUBSCRIBE"), call=call)
            self.assertEqual((await refused(odd)).status, 403)
            talk = await alice.invite(bob.aor)
            self.assertEqual((await refused(refer("", xenia.aor, call=talk))).status, 603)

        self.play(script)


class EventTests(SessionCase):
    def test_full_then_partial(self) -> None:
        """The whole at first, then what changes; versions have no gaps (RFC 4575 §3.9, §4.4)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            await alice.join(ROOM)
            await net.sleep(1.0)
            watch = alice.watch()
            await net.sleep(1.0)
            self.assertEqual(watch.people, {alice.aor: "connected"})
            await bob.join(ROOM)
            await xenia.join(ROOM)
            await net.sleep(3.0)
            self.assertEqual(
                watch.people,
                {alice.aor: "connected", bob.aor: "connected", xenia.aor: "connected"},
            )
            xenia.session().nickname("Xe", lambda status: None)
            await net.sleep(2.0)
            self.assertEqual(watch.table.users[xenia.aor].nickname, "Xe")
            await bob.leave()
            await net.sleep(2.0)
            self.assertEqual(watch.people[bob.aor], "disconnected")
            await net.sleep(40.0)
            self.assertNotIn(bob.aor, watch.people)
            states = [parse_conference(one).state for one in watch.documents]
            self.assertEqual(states[0], "full")
            self.assertEqual(set(states[1:]), {"partial"})
            versions = [parse_conference(one).version for one in watch.documents]
            self.assertEqual(versions, list(range(1, len(versions) + 1)))
            self.assertEqual(set(watch.outcomes), {APPLIED})
            activity = watch.table.info and watch.table.info.activity
            assert activity is not None
            self.assertEqual(activity.user_count, 2)

        self.play(script)

    def test_ends_with_the_conference(self) -> None:
        """When it is over, watchers are told and the subscription ends (RFC 4575 §4.6)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await attendees(net, "alice", "bob")
            await alice.create(bob.aor)
            await net.sleep(1.0)
            watch = bob.watch(alice.room)
            await net.sleep(1.0)
            self.assertEqual(len(watch.people), 2)
            await alice.leave()
            await net.sleep(2.0)
            self.assertEqual(watch.outcomes[-1], ENDED)
            self.assertIn("reason=noresource", watch.over)
            self.assertEqual(
                len(net.entities["im-north"].notifier.watchers("conference", alice.room)), 0
            )
            gone = bob.watch(alice.room)
            await net.sleep(1.0)
            self.assertEqual(gone.status, 410)

        self.play(script)

    def test_dialing_out(self) -> None:
        """Those on a list whom all may see are shown as being called; others are not."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, carol, xenia = await attendees(net, "alice", "bob", "carol", "xenia")
            for one in (carol, xenia):
                one.inviter.on_invite = lambda invitation: invitation.ring()
            await alice.create(bob.aor, Entry(carol.aor, copy="to"), Entry(xenia.aor, copy="bcc"))
            watch = alice.watch()
            await net.sleep(2.0)
            self.assertEqual(watch.people.get(carol.aor), "dialing-out")
            self.assertNotIn(xenia.aor, watch.people)

        self.play(script)

    def test_who_may(self) -> None:
        """403 for who may not, 404 for nothing, 480 for a room nobody is in (spec 10 §6)."""

        async def script(net: ScenarioNetwork) -> None:
            members = "sip:alice@north.example"
            await define(net, members=members)
            alice, xenia = await attendees(net, "alice", "xenia")

            async def status(one: Attendee, room: str) -> int:
                watch = one.watch(room)
                await net.sleep(2.0)
                return watch.status

            self.assertEqual(await status(alice, ROOM), 480)
            self.assertEqual(await status(alice, "sip:conf.x@north.example"), 404)
            await alice.join(ROOM)
            self.assertEqual(await status(xenia, ROOM), 403)
            self.assertEqual(await status(alice, ROOM), 0)

        self.play(script)

    def test_throttled(self) -> None:
        """Many changes in a short time are told together (RFC 4575 §3.10)."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, everybody="yes")
            alice, bob, xenia = await attendees(net, "alice", "bob", "xenia")
            await alice.join(ROOM)
            await net.sleep(1.0)
            watch = alice.watch()
            await net.sleep(1.0)
            for _ in range(4):
                for one in (bob, xenia):
                    await one.join(ROOM)
                    await one.leave()
            await net.sleep(6.0)
            self.assertEqual(len(watch.people), 3)
            self.assertLess(len(watch.documents), 5)
            self.assertEqual(set(watch.outcomes), {APPLIED})

        self.play(script, conference_interval=5.0)
