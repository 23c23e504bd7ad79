"""Users fetch what is kept for them in a session, and it ends when they have it."""

from __future__ import annotations

from typing import Any

from omaim.bodies.cpim import Cpim
from omaim.bodies.deferred_list import MEDIA_TYPE as DEFERRED
from omaim.bodies.deferred_list import Waiting, write_deferred_list
from omaim.bodies.history_list import MEDIA_TYPE as HISTORY
from omaim.bodies.history_list import Recorded, write_history_list
from omaim.bodies.mime import Part
from omaim.bodies.moments import write_moment
from omaim.bodies.multipart import Multipart
from omaim.bodies.sdp import INACTIVE, MEDIA_TYPE, RECVONLY, SENDONLY
from omaim.client import Client
from omaim.errors import Unavailable
from omaim.im.policy import Settings
from omaim.msrp import Outgoing
from omaim.node.events import HistoryRetrieved, MessageDelivered
from omaim.roles.call import Call
from omaim.roles.description import CallFailed
from omaim.roles.negotiation import Negotiation, Wish
from omaim.testing.scenario import ScenarioNetwork
from tests.im.parties import Party, SessionCase, refused
from tests.im.test_large import PICTURE, send
from tests.msrp.support import User

NOTIFY = {"delivery": "notify"}


async def fetch(
    party: Party, to: str, kind: str = "", wanted: bytes = b"", wish: Wish | None = None
) -> Call:
    """Invite a function as a client does that wants something."""
    negotiation = Negotiation(party.msrp)
    offer = negotiation.offer([wish or party.wished(direction=RECVONLY)])
    body, content_type = offer.body, offer.content_type
    if kind:
        parts = [
            Part([("Content-Type", MEDIA_TYPE)], body),
            Part([("Content-Type", kind)], wanted),
        ]
        content_type, body = Multipart("mixed", parts).write()
    try:
        call = await party.inviter.invite(to, body, content_type)
    except BaseException:
        negotiation.close()
        raise
    party._up(call, negotiation)
    await negotiation.read_answer(call.remote)
    return call


def deferred(*references: str) -> tuple[str, bytes]:
    return DEFERRED, write_deferred_list([Waiting(one) for one in references])


def recorded(*references: str) -> tuple[str, bytes]:
    return HISTORY, write_history_list([Recorded(one) for one in references])


def texts(user: User) -> list[str]:
    """Return what came, as it was wrapped."""
    return [Cpim.parse(body).part.content.decode() for body in user.bodies]


async def sent(net: ScenarioNetwork, to: str, *texts: str) -> Client:
    """Let Alice send messages to somebody who is away."""
    alice = await net.online("alice")
    for text in texts:
        await alice.send(to, text, reports=())
    return alice


class DeferredCase(SessionCase):
    async def waiting(self, net: ScenarioNetwork, user: str) -> list[str]:
        found = await net.nodes["im-south"].stores.deferred.waiting(user, net.now())
        return [Cpim.parse(one.body).part.content.decode() for one in found]


class DeferredTests(DeferredCase):
    def test_all(self) -> None:
        """Without a list everything comes, oldest first, as CPIM with its time; then the server
        hangs up (spec 10 §11)."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one", "two", "three")
            before = net.now()
            await net.sleep(100.0)
            heard: list[MessageDelivered] = []
            net.nodes["im-south"].taps.add(MessageDelivered, heard.append)
            party = await Party.come(net, "zoe")
            call = await fetch(party, party.client.address("deferred"))
            await net.until(lambda: party.ended, "the server hangs up")
            self.assertEqual(texts(party.user), ["one", "two", "three"])
            self.assertTrue(call.over)
            self.assertEqual(party.ended, ["SIP;cause=200"])
            for body in party.user.bodies:
                message = Cpim.parse(body)
                self.assertLessEqual(message.date_time, write_moment(before))
                self.assertTrue(message.message_id)
            self.assertEqual([one.deferred for one in heard], [True] * 3)
            self.assertEqual(await self.waiting(net, zoe), [])
            names = [dict(one.headers)["Content-ID"] for one in party.user.seen]
            self.assertTrue(all(one.endswith("@south.example>") for one in names), names)
            entity = net.entities["im-south"]
            self.assertEqual((entity.msrp.sessions, len(entity.downloads)), ([], 0))
            await fetch(party, party.client.address("deferred"))
            await net.until(lambda: len(party.ended) == 2, "nothing is left")
            self.assertEqual(len(party.user.bodies), 3)

        self.play(script, **NOTIFY)

    def test_named(self) -> None:
        """Only what is named comes; what is unknown or another's is not there (404)."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one", "two")
            store = net.nodes["im-south"].stores.deferred
            second = (await store.waiting(zoe, net.now()))[1].reference
            party, xenia = await Party.come(net, "zoe"), await Party.come(net, "xenia")
            function = party.client.address("deferred")
            calling = fetch(xenia, function, *deferred(second))
            self.assertEqual((await refused(calling)).status, 404)
            calling = fetch(party, function, *deferred("unknown"))
            self.assertEqual((await refused(calling)).status, 404)
            await fetch(party, function, *deferred("unknown", second))
            await net.until(lambda: party.ended, "the server hangs up")
            self.assertEqual(texts(party.user), ["two"])
            self.assertEqual(await self.waiting(net, zoe), ["one"])

        self.play(script, **NOTIFY)

    def test_strangers(self) -> None:
        """Nothing is kept for users of other domains, nor shown to the anonymous (403)."""

        async def script(net: ScenarioNetwork) -> None:
            xenia = await Party.come(net, "xenia")
            function = xenia.client.address("deferred").replace("south", "north")
            self.assertEqual((await refused(fetch(xenia, function))).status, 403)

        self.play(script, **NOTIFY)

    def test_what_cannot_be_read(self) -> None:
        """Another list is refused with 415 and what would be read; a broken one with 400."""

        async def script(net: ScenarioNetwork) -> None:
            party = await Party.come(net, "zoe")
            function = party.client.address("deferred")
            failed = await refused(fetch(party, function, *recorded("a")))
            self.assertEqual(failed.status, 415)
            self.assertIn(DEFERRED, failed.response.first("Accept") or "")
            failed = await refused(fetch(party, function, DEFERRED, b"<x"))
            self.assertEqual(failed.status, 400)

        self.play(script, **NOTIFY)

    def test_no_medium(self) -> None:
        """Who offers no way to send him CPIM is refused (488), and no session is left."""

        async def script(net: ScenarioNetwork) -> None:
            party = await Party.come(net, "zoe")
            function = party.client.address("deferred")
            for wish in (
                party.wished(direction=SENDONLY),
                party.wished(direction=INACTIVE),
                party.wished(accept_types=("text/plain",)),
            ):
                failed = await refused(fetch(party, function, wish=wish))
                self.assertEqual(failed.status, 488)
            self.assertEqual(net.entities["im-south"].msrp.sessions, [])

        self.play(script, **NOTIFY)

    def test_without_offer(self) -> None:
        """An INVITE without an offer gets one in the 200, and answers in its ACK (RFC 3261
        §13.2.1)."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one", "two")
            party = await Party.come(net, "zoe")
            negotiation = Negotiation(party.msrp)
            call = await party.inviter.invite(
                party.client.address("deferred"),
                on_offer=lambda offer: negotiation.answer(offer, [party.wished()]),
            )
            party._up(call, negotiation)
            await net.until(lambda: party.ended, "the server hangs up")
            self.assertEqual(texts(party.user), ["one", "two"])
            self.assertEqual(await self.waiting(net, zoe), [])

        self.play(script, **NOTIFY)

    def test_hung_up_early(self) -> None:
        """What the client has not taken when it hangs up waits again (spec 10 §11)."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            everything = [f"{number}" for number in range(30)]
            await sent(net, zoe, *everything)
            party = await Party.come(net, "zoe")
            party.user.on_whole = lambda incoming: (
                incoming.hold() if len(party.user.bodies) > 3 else None
            )
            await fetch(party, party.client.address("deferred"))
            await net.until(lambda: len(party.user.bodies) > 3, "some have come")
            await party.leave()
            await net.sleep(5.0)
            self.assertEqual(await self.waiting(net, zoe), everything[3:])
            self.assertEqual(len(net.entities["im-south"].downloads), 0)
            party.user.bodies.clear()
            party.user.on_whole = None
            await fetch(party, party.client.address("deferred"))
            await net.until(lambda: party.ended, "the server hangs up")
            self.assertEqual(texts(party.user), everything[3:])
            self.assertEqual(await self.waiting(net, zoe), [])

        self.play(script, **NOTIFY)

    def test_nothing_taken(self) -> None:
        """A client that takes nothing is waited for, but not for ever; nothing is lost."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one", "two")
            party = await Party.come(net, "zoe")
            party.user.on_whole = lambda incoming: incoming.hold()
            await fetch(party, party.client.address("deferred"))
            await net.until(lambda: party.ended, "the server gives up", 100.0)
            await net.sleep(1.0)
            self.assertEqual(await self.waiting(net, zoe), ["one", "two"])
            self.assertEqual(net.entities["im-south"].msrp.sessions, [])

        self.play(script, **NOTIFY)

    def test_never_connected(self) -> None:
        """A client that never connects does not keep its messages from itself for long."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one")
            party = await Party.come(net, "zoe")
            await party.msrp.stop()
            sdp = (
                "v=0\r\no=- 1 1 IN IP4 127.0.1.10\r\ns=-\r\nc=IN IP4 127.0.1.10\r\nt=0 0\r\n"
                "m=message 9 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=setup:active\r\n"
                "a=path:msrp://127.0.1.10:9/xyz;tcp\r\n"
            )
            call = await party.inviter.invite(party.client.address("deferred"), sdp.encode())
            call.on_bye = party.ended.append
            await net.until(lambda: party.ended, "the server gives up", 100.0)
            self.assertEqual(await self.waiting(net, zoe), ["one"])

        self.play(script, **NOTIFY)

    def test_connection_lost(self) -> None:
        """When the connection is lost, the call ends, and what was not confirmed waits."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one", "two")
            party = await Party.come(net, "zoe")
            party.user.on_whole = lambda incoming: incoming.hold()
            await fetch(party, party.client.address("deferred"))
            await net.until(lambda: party.user.bodies, "the first comes")
            await party.msrp.stop()
            await net.until(lambda: party.ended, "the call ends")
            await net.sleep(1.0)
            self.assertEqual(await self.waiting(net, zoe), ["one", "two"])

        self.play(script, **NOTIFY)

    def test_refused_one(self) -> None:
        """What the client refuses, or has said not to take, waits on; the rest comes."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            zoe = net.person("zoe").aor
            self.assertEqual(await send(alice, zoe, b"<p>hm</p>", "text/html"), [200])
            for text in ("one", "two"):
                await alice.client.send(zoe, text, reports=())
            party = await Party.come(net, "zoe")
            party.user.on_whole = lambda incoming: (
                incoming.refuse(413) if texts(party.user)[-1] == "one" else None
            )
            wish = party.wished(
                accept_types=("message/cpim",), accept_wrapped_types=("text/plain",)
            )
            await fetch(party, party.client.address("deferred"), wish=wish)
            await net.until(lambda: party.ended, "the server hangs up")
            self.assertEqual(texts(party.user), ["one", "two"])
            store = net.nodes["im-south"].stores.deferred
            found = await store.waiting(zoe, net.now())
            self.assertEqual([one.content_type[:9] for one in found], ["text/html", "message/c"])

        self.play(script, **NOTIFY)

    def test_large(self) -> None:
        """Large messages come in the same session, in their place."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            zoe = net.person("zoe").aor
            await alice.client.send(zoe, "one", reports=())
            self.assertEqual(await send(alice, zoe), [200])
            await alice.client.send(zoe, "two", reports=())
            party = await Party.come(net, "zoe")
            wish = party.wished(accept_types=("*",))
            await fetch(party, party.client.address("deferred"), wish=wish)
            await net.until(lambda: party.ended, "the server hangs up")
            contents = [Cpim.parse(one).part for one in party.user.bodies]
            self.assertEqual([one.content for one in contents], [b"one", PICTURE, b"two"])
            self.assertEqual(contents[1].media_type, "image/png")

        self.play(script, **NOTIFY)

    def test_by_relay(self) -> None:
        """Where a relay may stand between, only the success report counts (RFC 4975 §7.1.2)."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one", "two")
            party = await Party.come(net, "zoe")

            def whole(incoming: Any) -> None:
                if len(party.user.bodies) == 2:
                    incoming.report_later()

            party.user.on_whole = whole
            await fetch(party, party.client.address("deferred"))
            (session,) = net.entities["im-south"].msrp.sessions
            session.remote_path = (*session.remote_path, *session.remote_path)
            await net.until(lambda: party.ended, "the server gives up waiting", 100.0)
            self.assertEqual(await self.waiting(net, zoe), ["two"])

        self.play(script, **NOTIFY)

    def test_on_hold(self) -> None:
        """A client may hold the session for a while; meanwhile nothing is sent."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            everything = [f"{number}" for number in range(20)]
            await sent(net, zoe, *everything)
            party = await Party.come(net, "zoe")
            held: list[Any] = []
            resumed: list[bool] = []

            def whole(incoming: Any) -> None:
                if not resumed and len(party.user.bodies) > 2:
                    incoming.hold()
                    held.append(incoming)

            party.user.on_whole = whole
            wish = party.wished(direction=RECVONLY)
            call = await fetch(party, party.client.address("deferred"), wish=wish)
            await net.until(lambda: held, "the third has come")
            negotiation = party.negotiations[call]
            medium = negotiation.media[0]
            assert medium is not None
            answer = await call.reinvite(
                negotiation.again().body.replace(b"a=recvonly", b"a=inactive")
            )
            self.assertIn(b"a=inactive", answer.body)
            resumed.append(True)
            for incoming in held:
                incoming.release()
            await net.sleep(20.0)
            so_far = len(party.user.bodies)
            self.assertLess(so_far, 20)
            await call.reinvite(negotiation.again().body)
            await net.until(lambda: party.ended, "the server hangs up")
            self.assertEqual(texts(party.user), everything)

        self.play(script, **NOTIFY)

    def test_two_devices(self) -> None:
        """Two sessions of one user share what waits: nothing comes twice; too many are refused."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            everything = [f"{number}" for number in range(20)]
            await sent(net, zoe, *everything)
            one = await Party.come(net, "zoe", device="one")
            two = await Party.come(net, "zoe", device="two")
            function = one.client.address("deferred")
            one.user.on_whole = lambda incoming: incoming.hold()
            for _ in range(4):
                await fetch(one, function)
            await net.until(lambda: one.user.bodies, "something has come")
            self.assertEqual((await refused(fetch(two, function))).status, 486)
            for call in list(one.calls):
                await call.bye()
            await net.sleep(5.0)
            one.user.bodies.clear()
            one.user.on_whole = None
            await fetch(one, function)
            await fetch(two, function)
            await net.until(lambda: two.ended and one.ended, "the server hangs up")
            await net.sleep(1.0)
            self.assertEqual(sorted(texts(one.user) + texts(two.user), key=int), everything)
            self.assertEqual(await self.waiting(net, zoe), [])

        self.play(script, **NOTIFY)

    def test_pushed_when_left(self) -> None:
        """Where messages are pushed, what a session has left over is pushed behind it."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one")
            net.entities["im-south"].settings.put(zoe, Settings(willing=False))
            party = await Party.come(net, "zoe")
            await net.sleep(1.0)
            self.assertEqual(await self.waiting(net, zoe), ["one"])
            party.user.on_whole = lambda incoming: incoming.hold()
            await fetch(party, party.client.address("deferred"))
            await net.until(lambda: party.user.bodies, "it comes")
            net.entities["im-south"].settings.put(zoe, Settings())
            await net.nothing(party.client)
            await party.leave()
            self.assertEqual((await net.message(party.client)).text, "one")

        self.play(script)

    def test_not_confirmed_durably(self) -> None:
        """What cannot be ended in the store waits again."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one")
            party = await Party.come(net, "zoe")
            delivery = net.entities["im-south"].delivery
            ending = delivery.handed_over

            async def broken(message: Any) -> None:
                raise Unavailable("the disk is full")

            delivery.handed_over = broken
            await fetch(party, party.client.address("deferred"))
            await net.until(lambda: party.ended, "the server hangs up")
            await net.sleep(1.0)
            delivery.handed_over = ending
            await fetch(party, party.client.address("deferred"))
            await net.until(lambda: len(party.ended) == 2, "the server hangs up")
            self.assertEqual(texts(party.user), ["one", "one"])
            first, second = (Cpim.parse(one).message_id for one in party.user.bodies)
            self.assertEqual(first, second, "by which the client tells")

        self.play(script, **NOTIFY)

    def test_store_fails(self) -> None:
        """A store that cannot be read refuses the session, or ends it."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one")
            party = await Party.come(net, "zoe")
            function = party.client.address("deferred")
            deferring = net.entities["im-south"].deferring
            everything = deferring.everything

            async def broken(*args: Any) -> Any:
                raise Unavailable("the disk is gone")

            deferring.everything = broken
            failed = await refused(fetch(party, function))
            self.assertEqual(failed.status, 500, "what a core makes of 503")
            deferring.everything = everything
            net.entities["im-south"].delivery.reclaim = broken
            await fetch(party, function)
            await net.until(lambda: party.ended, "the server hangs up")
            self.assertIn("503", party.ended[0])

        self.play(script, **NOTIFY)

    def test_server_stops(self) -> None:
        """A server that stops hangs up; what was not taken waits for its next life."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one", "two")
            party = await Party.come(net, "zoe")
            party.user.on_whole = lambda incoming: incoming.hold()
            function = party.client.address("deferred")
            await fetch(party, function)
            await net.until(lambda: party.user.bodies, "the first comes")
            await net.stop("im-south")
            self.assertEqual(len(party.ended), 1)
            await net.start("im-south")
            await net.sleep(0.1)  # what goes by the old connection meanwhile is lost with it
            party.user.bodies.clear()
            party.user.on_whole = None
            await fetch(party, function)
            await net.until(lambda: len(party.ended) == 2, "the server hangs up")
            self.assertEqual(texts(party.user), ["one", "two"])

        self.play(script, **NOTIFY)

    def test_nothing_is_said_to_it(self) -> None:
        """The function takes no messages (403), and other requests in the dialog are refused."""

        async def script(net: ScenarioNetwork) -> None:
            zoe = net.person("zoe").aor
            await sent(net, zoe, "one")
            party = await Party.come(net, "zoe")
            party.user.on_whole = lambda incoming: incoming.hold()
            wish = party.wished()
            call = await fetch(party, party.client.address("deferred"), wish=wish)
            await net.until(lambda: party.user.bodies, "it comes")
            ends: list[int] = []
            party.session().send(Outgoing("message/cpim", b"hm", on_end=ends.append))
            await net.until(lambda: ends, "it is answered")
            self.assertEqual(ends, [403])
            self.assertEqual((await call.request_in("INFO")).status, 405)
            try:
                await call.refer("sip:alice@north.example")
            except CallFailed as failed:
                self.assertEqual(failed.status, 603)
            else:
                self.fail("a REFER was accepted")

        self.play(script, **NOTIFY)


class HistoryTests(SessionCase):
    def test_session(self) -> None:
        """What was said in a session is fetched in one: in order, with its times; more than one
        page of it (spec 10 §11)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            wants = Settings(history_session=True)
            net.entities["im-north"].settings.put(alice.aor, wants)
            await alice.invite(xenia.aor, headers=(("Subject", "tea"),))
            said = [f"{number}" for number in range(70)]
            for text in said:
                alice.say(text)
            await net.sleep(2.0)
            await alice.leave()
            await net.sleep(1.0)
            heard: list[HistoryRetrieved] = []
            net.nodes["im-north"].taps.add(HistoryRetrieved, heard.append)
            (one,) = (await alice.client.history.search()).entries
            function = alice.client.address("history")
            await fetch(alice, function, *recorded("unknown", one.reference))
            await net.until(lambda: alice.ended, "the server hangs up")
            self.assertEqual(texts(alice.user), said)
            message = Cpim.parse(alice.user.bodies[0])
            self.assertEqual(message.from_ and message.from_.uri, alice.aor)
            self.assertEqual(message.subject(), "tea")
            names = [dict(seen.headers)["Content-ID"] for seen in alice.user.seen]
            self.assertTrue(all(name[1:].startswith(one.reference) for name in names))
            self.assertEqual(sum(event.entries for event in heard), 70)
            alice.user.bodies.clear()
            await fetch(alice, function, *recorded(one.reference))
            await net.until(lambda: len(alice.ended) == 2, "the server hangs up")
            self.assertEqual(texts(alice.user), said, "it is kept all the same")

        self.play(script)

    def test_refusals(self) -> None:
        """It has to be named (400), be there (404), and be one's own (404, 403)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), await Party.come(net, "bob")
            net.entities["im-north"].settings.put(alice.aor, Settings(history_pager=True))
            await alice.client.send(bob.aor, "between us", reports=())
            (one,) = (await alice.client.history.search()).entries
            function = alice.client.address("history")
            self.assertEqual((await refused(fetch(alice, function))).status, 400)
            wish = recorded(one.reference)
            self.assertEqual((await refused(fetch(bob, function, *wish))).status, 404)
            xenia = await Party.come(net, "xenia")
            self.assertEqual((await refused(fetch(xenia, function, *wish))).status, 403)
            wish = deferred(one.reference)
            self.assertEqual((await refused(fetch(alice, function, *wish))).status, 415)

        self.play(script)
