"""Application servers: who is asked, in which order, and what happens when one is dead."""

from __future__ import annotations

import gc
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from omaim.core.config import service_addresses, wildcards
from omaim.core.profile_xml import write_profile
from omaim.core.service_profile import (
    CONTINUE,
    ORIGINATING,
    ORIGINATING_DIVERTED,
    TERMINATE,
    TERMINATING,
    CaseIs,
    Criteria,
    Filters,
    MethodIs,
    Point,
    Profile,
    Trigger,
)
from omaim.core.service_profile import Server as At
from omaim.core.visits import Visit
from omaim.im.registrations import registered_contacts, registered_identities
from omaim.net.limits import StreamLimits
from omaim.sip.identity import served_user
from omaim.sip.message import Request
from omaim.sip.transaction import ServerTransaction
from tests.core.support import CORE, DOMAIN, IM, ROUTE, CoreCase, Server
from tests.core.test_delivery import DialogCase

BOB = f"sip:bob@{DOMAIN}"
OTHER = "10.0.0.3"
TAG = ("Accept-Contact", "*;+g.oma.sip-im")


def criteria(priority: int, host: str, case: int, handling: int = CONTINUE) -> Criteria:
    """Return a criterion that sends MESSAGE and INVITE in one session case to a server."""
    trigger = Trigger(
        True,
        (
            Point(MethodIs("MESSAGE"), False, (0,)),
            Point(MethodIs("INVITE"), False, (0,)),
            Point(CaseIs(case), False, (1,)),
        ),
    )
    return Criteria(priority, At(f"sip:{host}", handling), trigger)


class ServiceCase(CoreCase):
    settings = {"im_server": f"sip:{IM}", "services": (OTHER,), "ccf": ("ccf.north.example",)}

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.phone("alice", 1), self.phone("bob", 2)

    def tearDown(self) -> None:
        """Whatever happened, in the end nothing is waited for."""
        self.clock.advance(120.0)
        self.assertEqual(len(self.core.router._services._visits), 0)
        self.assertEqual(self.core.router._forwarder.upstream.pending, 0)

    def profile(self, name: str, *parts: Criteria) -> None:
        """Give a user a profile of its own."""
        document = write_profile(Profile(Filters(parts))).decode()
        self.put(attrs.evolve(self.person(name), profile=document))


class ChainTests(ServiceCase):
    def test_both_sides(self) -> None:
        """The IM Server sees a message for its sender and for its recipient (IMS-41)."""
        im = self.server()
        self.register(self.alice)
        self.register(self.bob)
        self.assertEqual(self.send(self.alice, BOB).status, 200)
        first, second = im.messages()
        served = [served_user(one) for one in (first, second)]
        self.assertEqual(
            [str(one) for one in served],
            [
                f"<sip:alice@{DOMAIN}>;sescase=orig;regstate=reg",
                f"<{BOB}>;sescase=term;regstate=reg",
            ],
        )
        self.assertEqual(first.first("P-Charging-Function-Addresses"), "ccf=ccf.north.example")
        icids = {(one.first("P-Charging-Vector") or "").partition(";")[0] for one in im.messages()}
        self.assertEqual(len(icids), 1)
        self.assertEqual(len(self.bob.got), 1)
        self.assertFalse(self.bob.got[0].has("P-Served-User"))

    def test_no_circles(self) -> None:
        """What a message leaves goes by itself, without a search for circles of references."""
        self.server()
        self.register(self.alice)
        self.register(self.bob)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.assertEqual(self.send(self.alice, BOB).status, 200)
        self.clock.advance(120.0)
        self.assertEqual([one for one in gc.get_objects() if isinstance(one, Visit)], [])

    def test_unregistered(self) -> None:
        """The IM Server sees messages of and for users who are not registered."""
        im = self.server()
        im.status = 202
        self.assertEqual(self.send(self.alice, BOB).status, 202)
        im.status = -1
        self.assertEqual(self.send(self.alice, BOB).status, 480)
        states = [(served_user(one) or served_user(im.got[0])) for one in im.messages()]
        self.assertEqual({one.registered for one in states if one is not None}, {"unreg"})

    def test_order(self) -> None:
        """Two servers see a request in the order of their priorities (IMS-65)."""
        one, two = self.server(IM), self.server(OTHER)
        self.profile("bob", criteria(5, OTHER, TERMINATING), criteria(1, IM, TERMINATING))
        self.profile("alice")
        self.register(self.bob)
        order: list[str] = []
        one.change = lambda copy: order.append("one")
        two.change = lambda copy: order.append("two")
        self.assertEqual(self.send(self.alice, BOB).status, 200)
        self.assertEqual(order, ["one", "two"])

    def test_retarget(self) -> None:
        """A server that picks another callee ends the services of the first."""
        one, two = self.server(IM), self.server(OTHER)
        carol = self.phone("carol", 3)
        self.profile(
            "bob",
            criteria(1, IM, TERMINATING),
            criteria(2, OTHER, TERMINATING),
            criteria(3, OTHER, ORIGINATING_DIVERTED),
        )
        self.profile("alice")
        self.profile("carol")
        self.register(self.bob)
        self.register(carol)

        def divert(copy: Request) -> None:
            copy.uri = f"sip:carol@{DOMAIN}"

        one.change = divert
        self.assertEqual(self.send(self.alice, BOB).status, 200)
        self.assertEqual((len(carol.got), len(self.bob.got)), (1, 0))
        (diverted,) = two.messages()
        served = served_user(diverted)
        assert served is not None
        self.assertEqual((served.uri, served.case), (BOB, "orig"))

    def test_restarted(self) -> None:
        """A message that a server passed on, died, got again and passed on again is answered as
        it was the first time, though the device calls it merged (RFC 3261 §8.2.2.2)."""
        dying = self.server()
        self.profile("alice")
        self.register(self.bob)

        def once(transaction: ServerTransaction) -> None:
            again = any(one.method == "MESSAGE" for one in self.bob.got[:-1])
            self.bob.respond(transaction, 482 if again else 202)
            if not again:
                dying.endpoint.stop()
                self.clock.callLater(0.1, self.server)

        self.bob.answer = once
        self.assertEqual(self.send(self.alice, BOB).status, 202)
        self.assertEqual(len(self.bob.got), 2)

    def test_loop_behind_a_service(self) -> None:
        """A 482 for what nobody has accepted goes back as it is."""
        self.server()
        self.register(self.alice)
        self.register(self.bob)
        self.bob.answer = 482
        self.assertEqual(self.send(self.alice, BOB).status, 482)

    def test_own_requests(self) -> None:
        """A server need not see what it made itself (IM-2)."""
        im = self.server()
        self.register(self.bob)
        self.send_as(im)
        self.assertEqual([one.method for one in im.got], ["REGISTER"])
        self.assertEqual(len(self.bob.got), 1)

    def test_own_requests_by_name(self) -> None:
        """… also when it is known by a name that has to be resolved first."""
        im = self.server()
        self.profile("bob", criteria(1, f"im.{DOMAIN}", TERMINATING))
        self.register(self.bob)
        self.send_as(im)
        self.assertEqual((im.messages(), len(self.bob.got)), ([], 1))

    def test_own_request_skips_along(self) -> None:
        """Other servers see it, and it stays known through them."""
        im, two = self.server(IM), self.server(OTHER)
        self.profile("bob", criteria(1, OTHER, TERMINATING), criteria(2, IM, TERMINATING))
        self.register(self.bob)
        self.send_as(im)
        self.assertEqual((im.messages(), len(two.messages()), len(self.bob.got)), ([], 1, 1))

    def test_asked_to_originate(self) -> None:
        """A server may ask for the services of the user it acts for (TS 24.229 §5.7.3)."""
        im, two = self.server(IM), self.server(OTHER)
        self.profile("alice", criteria(1, OTHER, ORIGINATING))
        self.register(self.alice)
        self.register(self.bob)
        self.send_as(im, f"<sip:{CORE};lr;orig>")
        self.assertEqual(len(two.messages()), 1)

    def send_as(self, server: Server, route: str = ROUTE) -> Any:
        """Let a server send bob a message on behalf of alice."""
        ids = server.endpoint.ids
        request = Request.make(
            "MESSAGE",
            BOB,
            [
                ("Route", route),
                ("Max-Forwards", "70"),
                ("From", f"<sip:alice@{DOMAIN}>;tag={ids.tag()}"),
                ("To", f"<{BOB}>"),
                ("Call-ID", ids.call_id()),
                ("CSeq", "1 MESSAGE"),
                ("P-Asserted-Identity", f"<sip:alice@{DOMAIN}>"),
            ],
        )
        answers: list[Any] = []
        server.endpoint.send(request, answers.append)
        self.clock.advance(5.0)
        self.assertEqual(answers[-1].status, 200)
        return answers[-1]

    def test_psi(self) -> None:
        """A public service identity leads to its server (TS 23.228 §5.4.12)."""
        self.core._psis[f"sip:list@{DOMAIN}"] = f"sip:{OTHER}"
        im, two = self.server(IM), self.server(OTHER)
        two.status = 200
        self.assertEqual(self.send(self.alice, f"sip:list@{DOMAIN}").status, 200)
        (seen,) = two.messages()
        self.assertEqual(seen.first("P-Asserted-Identity"), f"<sip:alice@{DOMAIN}>")
        self.assertFalse(seen.has("P-Served-User"))
        self.assertEqual(len(im.messages()), 1)

    def test_invite(self) -> None:
        """An INVITE passes the server, and CANCEL follows it."""
        self.server()
        self.profile("alice", criteria(1, IM, ORIGINATING))
        self.profile("bob")
        self.register(self.alice)
        self.register(self.bob)
        self.assertEqual(self.send(self.alice, BOB, "INVITE").status, 200)
        self.assertEqual(len(self.bob.got), 1)


class PsiTests(DialogCase):
    """Addresses that are a service's (TS 23.228 §5.4.12), many in one (TS 23.003 §13.5)."""

    settings = {
        "psis": (
            f"sip:room.*@{DOMAIN}=sip:10.0.1.7",
            f"sip:room.night.!.*!@{DOMAIN}=sip:10.0.1.8",
            f"sip:room.night.bar@{DOMAIN}=sip:10.0.1.9",
        )
    }

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.owner = self.phone("alice", 1), self.phone("room.owner", 2)
        self.put(self.person("room.owner"))
        self.servers = [self.phone("room", number) for number in (7, 8, 9)]

    def test_wildcard(self) -> None:
        """The exact address comes first, and who is a user; then the longest beginning."""
        self.register(self.owner)
        room, night, bar = self.servers
        for name, told in (
            ("room.garden", room),
            ("room.", room),
            ("room.night.1", night),
            ("room.night.bar", bar),
            ("room.night.bars", night),
            ("room.owner", self.owner),
        ):
            count = len(told.got)
            self.assertEqual(self.send(self.alice, f"sip:{name}@{DOMAIN}").status, 200, name)
            self.assertEqual(len(told.got), count + 1, name)
        for name in ("roo", "Room.garden", "rooms", "x.room.garden"):
            self.assertEqual(self.send(self.alice, f"sip:{name}@{DOMAIN}").status, 404, name)
        self.assertEqual(self.send(self.alice, "sip:room.x@10.0.0.77").status, 408)

    def test_dialog(self) -> None:
        """A conference whose Contact is its own URI gets ACK and BYE all the same (RFC 4579
        §5.4); a user's device keeps its own."""
        room = self.servers[0]
        room.contact = f"sip:room.garden@{DOMAIN}"
        dialog = self.call(self.alice, room.contact)
        self.assertEqual(len(room.acks), 1)
        self.assertEqual(self.bye(self.alice, dialog).status, 200)
        self.assertEqual([one.uri for one in room.got], [room.contact] * 2)
        room.contact = f"sip:nobody@{DOMAIN}"
        dialog = self.call(self.alice, f"sip:room.garden@{DOMAIN}")
        self.assertEqual(self.bye(self.alice, dialog).status, 404)

    @given(
        starts=st.lists(st.text("ab.", max_size=3), max_size=4),
        exact=st.lists(st.text("ab.", min_size=1, max_size=3), max_size=3),
    )
    def test_order(self, starts: list[str], exact: list[str]) -> None:
        """A closer beginning comes before a wider one; exact addresses are none of them."""
        texts = [f"sip:{start}*@{DOMAIN}=sip:{len(start)}.example" for start in starts]
        texts += [f"sip:{user}@{DOMAIN}=sip:x.example" for user in exact]
        found = wildcards(service_addresses(tuple(texts)))
        self.assertEqual({start for start, _, _ in found}, {f"sip:{start}" for start in starts})
        lengths = [len(start) for start, _, _ in found]
        self.assertEqual(lengths, sorted(lengths, reverse=True))
        self.assertEqual({end for _, end, _ in found}, {f"@{DOMAIN}"} if starts else set())


class FailureTests(ServiceCase):
    """Default handling (TS 29.228 Annex B.2.2; IMS-47)."""

    def setUp(self) -> None:
        super().setUp()
        self.im = self.server()
        self.profile("bob")
        self.register(self.bob)
        self.profile("alice", criteria(1, IM, ORIGINATING))
        self.register(self.alice)

    def test_continue(self) -> None:
        """A dead server is passed by, soon enough for the caller to have its answer."""
        self.network.cut(IM)
        before = self.clock.seconds()
        self.assertEqual(self.send(self.alice, BOB).status, 200)
        self.assertLess(self.clock.seconds() - before, 6.0)

    def test_late(self) -> None:
        """A server that comes back finds no message waiting that was decided without it."""
        for handling, status in ((CONTINUE, 200), (TERMINATE, 504)):
            self.profile("alice", criteria(1, IM, ORIGINATING, handling))
            self.network.cut(IM)
            self.assertEqual(self.send(self.alice, BOB).status, status)
            self.network.mend(IM)
            self.clock.advance(40.0)
            self.assertEqual(self.im.messages(), [])
        self.assertEqual(len(self.bob.got), 1)

    def test_passed_on_too_late(self) -> None:
        """A server that had the message all the time does not deliver it a second time, nor one
        that was refused."""
        for handling, status in ((CONTINUE, 200), (TERMINATE, 504)):
            self.profile("alice", criteria(1, IM, ORIGINATING, handling))
            self.im.status = 0
            self.assertEqual(self.send(self.alice, BOB).status, status)
            late = self.im.messages()[-1]
            late.remove_first("Route")
            answers: list[int] = []
            self.im.endpoint.send(late, lambda response: answers.append(response.status))  # noqa: B023
            self.clock.advance(1.0)
            self.assertEqual(answers, [487])
        self.assertEqual(len(self.bob.got), 1)

    def test_profile_of_everybody(self) -> None:
        """While the IM Server is dead a MESSAGE is refused, since it would overtake those that it
        keeps; registrations and sessions go on. Another setting lets it go to the device."""
        self.network.cut(IM)
        self.put(self.person("alice"), self.person("bob"))
        self.assertEqual(self.send(self.alice, BOB).status, 504)
        self.assertEqual(self.send(self.alice, BOB, "INVITE", [TAG]).status, 200)
        self.assertEqual(self.register(self.bob).status, 200)
        self.successResultOf(self.core.endpoint.stop())
        settings = {**self.settings, "im_down": "deliver"}
        self.node, self.core = self.make_core(CORE, self.stores, **settings)
        self.assertEqual(self.send(self.alice, BOB).status, 200)

    def test_broken(self) -> None:
        """A server error counts as dead; a refusal is the answer."""
        self.im.status = 500
        self.assertEqual(self.send(self.alice, BOB).status, 200)
        self.im.status = 403
        self.assertEqual(self.send(self.alice, BOB).status, 403)

    def test_terminate(self) -> None:
        """Where the criteria say so, the request ends instead."""
        self.profile("alice", criteria(1, IM, ORIGINATING, TERMINATE))
        self.im.status = 500
        self.assertEqual(self.send(self.alice, BOB).status, 500)
        self.network.cut(IM)
        response = self.send(self.alice, BOB)
        self.assertEqual((response.status, response.local), (504, False))
        self.assertEqual(self.bob.got, [])

    def test_slow(self) -> None:
        """A server that says 100 has more time, but not for ever (RFC 4320 §4.1)."""
        self.im.status = 0
        call = self.start(self.alice, BOB)
        self.clock.advance(19.0)
        self.assertEqual(self.bob.got, [])
        self.clock.advance(2.0)
        self.assertEqual(len(self.bob.got), 1)
        call.addErrback(lambda failure: None)
        call.cancel()

    def test_busy(self) -> None:
        """A server that answers others meanwhile is busy and not dead, but not for ever."""
        for again, status in ((True, 202), (False, 200)):
            self.im.status = 202
            self.network.cut(IM)
            call = self.start(self.alice, BOB)
            self.clock.advance(4.0)
            self.network.mend(IM)
            self.assertEqual(self.send(self.alice, BOB).status, 202)
            if not again:
                self.network.cut(IM)
            self.clock.advance(4.0)
            self.assertEqual((self.bob.got, call.called), ([], again))
            self.assertEqual(self.wait(call).status, status)
        self.assertEqual(len(self.bob.got), 1)

    def test_asked_once(self) -> None:
        """A server that was silent is not asked again for the callee: it may still find the
        request, and would take the other for a copy (RFC 3261 §8.2.2.2)."""
        for handling, status in ((CONTINUE, 200), (TERMINATE, 504)):
            self.profile("bob", criteria(1, IM, TERMINATING, handling))
            for method in ("MESSAGE", "INVITE"):
                self.im.status = 0
                self.network.cut(IM)
                before = self.clock.seconds()
                self.assertEqual(self.send(self.alice, BOB, method).status, status)
                self.assertLess(self.clock.seconds() - before, 6.0)
                self.network.mend(IM)
                self.clock.advance(40.0)
                branches = {one.via.branch for one in self.im.messages(method)}
                # An INVITE cannot be cancelled before there is a 100 (RFC 3261 §9.1).
                self.assertLessEqual(len(branches), method == "INVITE")
                self.im.got.clear()

    def test_no_room(self) -> None:
        """Where too much waits for a busy server, callers are told when to try again; nothing goes
        past it, and nothing to it twice (RFC 3261 §21.5.4)."""
        core = self.core.endpoint
        core.connections.limits = StreamLimits(unread=40_000, stalled=100.0)
        large = [("X-Large", "x" * 4_000)]
        self.im.status = 202
        self.assertEqual(self.send(self.alice, BOB, "MESSAGE", large).status, 202)
        for method in ("MESSAGE", "INVITE"):
            streams = [one._stream for one in self.im.endpoint.connections._streams]
            for stream in streams:
                stream.pause()
            seen = len(self.im.messages(method))
            calls = [self.start(self.alice, BOB, method, large) for _ in range(40)]
            self.clock.advance(2.0)
            refused: list[Any] = [call.result for call in calls if call.called]
            self.assertGreater(len(refused), 5)
            self.assertEqual({one.status for one in refused}, {503})
            self.assertEqual({one.first("Retry-After") for one in refused}, {"5"})
            for stream in streams:
                stream.resume()
            waiting = [call for call in calls if not call.called]
            rest = [self.wait(call).status for call in waiting]
            self.assertEqual(set(rest), {202})
            self.assertEqual(len(self.im.messages(method)) - seen, len(rest))
        self.assertEqual(self.bob.got, [])
        self.assertEqual(core.counters["stream_lost"] + core.counters["failover"], 0)

    def test_passed_on(self) -> None:
        """What a server has passed on and brings back as failed is not tried again."""
        self.bob.answer = 500
        self.assertEqual(self.send(self.alice, BOB).status, 500)
        self.bob.answer = 0
        response = self.send(self.alice, BOB)
        self.assertEqual((response.status, response.local), (408, True))
        self.clock.advance(60.0)
        self.assertEqual(len(self.bob.got), 2)

    def test_invite(self) -> None:
        """An INVITE goes past a dead server too."""
        self.network.cut(IM)
        self.assertEqual(self.send(self.alice, BOB, "INVITE").status, 200)

    def test_cancelled(self) -> None:
        """An INVITE that the caller gave up goes past nobody."""
        self.network.cut(IM)
        call = self.start(self.alice, BOB, "INVITE")
        self.clock.advance(1.0)
        call.addErrback(lambda failure: None)
        call.cancel()
        self.clock.advance(40.0)
        self.assertEqual(self.bob.got, [])


class ThirdPartyTests(ServiceCase):
    """Servers hear of registrations (TS 24.229 §5.4.1.7)."""

    def test_life(self) -> None:
        """First, again, and over: the server is told each time."""
        im = self.server()
        self.register(self.bob)
        self.register(self.bob)
        self.register(self.bob, ";expires=0")
        self.clock.advance(1.0)
        told = [(one.to.uri_text, (one.expires or 0) > 0) for one in im.messages("REGISTER")]
        self.assertEqual(told, [(BOB, True), (BOB, True), (BOB, False)])
        self.assertEqual(len({one.call_id for one in im.messages("REGISTER")}), 1)
        numbers = [one.cseq.number for one in im.messages("REGISTER")]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(im.got[0].from_.uri_text, f"sip:{CORE}:5060")

    def test_identities(self) -> None:
        """The profile of everybody shows the IM Server all identities that are registered
        together, and all devices, so that what waits for any of them is delivered."""
        work = f"sip:bob.work@{DOMAIN}"
        self.put(self.person("bob", public=(BOB, work)))
        im = self.server()
        self.register(self.bob)
        other = self.phone("bob", 4)
        self.register(other)
        self.clock.advance(1.0)
        told = im.messages("REGISTER")[-1]
        self.assertEqual(registered_identities(told), [BOB, work])
        self.assertEqual(registered_contacts(told), {self.bob.contact, other.contact})

    def test_expiry(self) -> None:
        """A binding that runs out is told as the end."""
        im = self.server()
        self.register(self.bob, ";expires=60")
        self.clock.advance(65.0)
        self.assertEqual([one.expires for one in im.messages("REGISTER")], [60, 0])
        self.assertEqual(self.stores.bindings.count(), 0)

    def test_deregistered(self) -> None:
        """So is an order of the network (IMS-25)."""
        im = self.server()
        self.register(self.bob)
        ended = self.wait(self.core.registrar.deregister(BOB, "rejected"))
        self.clock.advance(1.0)
        self.assertEqual((ended, im.messages("REGISTER")[-1].expires), (1, 0))

    def test_refused(self) -> None:
        """A server that must serve and refuses ends the registration."""
        im = self.server()
        im.status = 403
        whole = Criteria(
            1, At(f"sip:{IM}", TERMINATE), Trigger(True, (Point(MethodIs("REGISTER")),))
        )
        self.profile("bob", whole)
        self.register(self.bob)
        self.clock.advance(1.0)
        self.assertEqual(self.stores.bindings.count(), 0)
