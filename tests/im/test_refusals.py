"""Every refusal of spec 10 §12, over loopback sockets: its status, its Warning and what goes along.

The code of a Warning is always 399; where OMA has a number of its own, the text begins with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import TestCase

from omaim.bodies.sdp import SENDONLY
from omaim.client.failures import Refused
from omaim.im.policy import Settings
from omaim.net.wire import OUT
from omaim.roles.description import CallFailed
from omaim.sip.message import Request, Response
from omaim.testing.peers import Phone, core, person, phone
from omaim.testing.scenario import Layout, Scenario, ScenarioNetwork
from omaim.testing.stages import Loopback
from tests.im.attendees import Attendee, list_of
from tests.im.parties import TAG, Party, laid_out
from tests.im.test_conferences import define

NORTH = "north.example"
NOBODY = f"sip:nobody@{NORTH}"
ROOM = f"sip:room.tea@{NORTH}"
BLOCKED = "119 Function not allowed due to the policy of the recipient"
RTP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 9 RTP/AVP 0\r\n"
)

Script = Callable[[ScenarioNetwork], Coroutine[Any, Any, None]]


async def answer(doing: Awaitable[Any]) -> Response:
    """Return the final response of an invitation that is refused, or of a MESSAGE."""
    try:
        found = await doing
    except CallFailed as failed:
        return failed.response
    if isinstance(found, Response):
        return found
    raise AssertionError("it was accepted")


class RefusalCase(TestCase):
    timeout = 60

    def play(self, script: Script, core: Any = None, **settings: Any) -> Deferred[None]:
        """Play a script on a network whose IM Servers, and northern core, have these settings."""
        return self.perform(script, laid_out(core, settings))

    def perform(self, script: Script, layout: Layout) -> Deferred[None]:
        stage = Loopback(reactor)
        self.addCleanup(stage.close)

        def judged(outcome: Any) -> None:
            if not outcome.passed:
                self.fail(outcome.why)

        one = Scenario(self.id(), (), self.id(), script, layout=layout)
        return stage.play(one).addCallback(judged)

    async def refused(
        self, doing: Awaitable[Any], status: int, text: str = "", **headers: str
    ) -> None:
        """Something has to be refused with a status, this text in its Warning, and headers."""
        response = await answer(doing)
        self.assertEqual(response.status, status)
        warning = response.first("Warning") or ""
        if text:
            self.assertRegex(warning, f'^399 [^ ]+ "{text}')
        elif warning:
            self.assertEqual(warning[:4], "399 ")
        for name, value in headers.items():
            self.assertEqual(response.first(name.replace("_", "-")), value)


async def messenger(net: ScenarioNetwork, name: str = "alice", **more: Any) -> Phone:
    """Return a phone that has registered, for MESSAGEs."""
    one = await phone(net, name, **more)
    await one.register()
    return one


class PermissionTests(RefusalCase):
    def test_not_subscribed(self) -> Deferred[None]:
        """Who has not subscribed to the service: 403 with 127, for a message and a session."""

        async def script(net: ScenarioNetwork) -> None:
            await net.enrol("north", person(f"sip:dave@{NORTH}", im_service=False))
            dave = await Party.come(net, "dave", domain=NORTH)
            bob = net.person("bob").aor
            request = dave.agent.make("MESSAGE", bob, [("Content-Type", "text/plain")], b"x")
            await self.refused(dave.agent.request(request), 403, "127 Service not authorised")
            await self.refused(dave.invite(bob), 403, "127 Service not authorised")

        return self.play(script)

    def test_blocked_message(self) -> Deferred[None]:
        """A message to who has blocked its sender: 403 with 119."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await messenger(net), await messenger(net, "xenia")
            settings = Settings(rejects=frozenset([alice.identity]))
            net.entities["im-south"].settings.put(xenia.identity, settings)
            await self.refused(alice.say(xenia.identity, "hello"), 403, BLOCKED)
            self.assertEqual(xenia.received(), [])

        return self.play(script)

    def test_blocked_session(self) -> Deferred[None]:
        """An invitation of who is blocked, across domains: 403 with 119."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            settings = Settings(rejects=frozenset([alice.aor]))
            net.entities["im-south"].settings.put(xenia.aor, settings)
            await self.refused(alice.invite(xenia.aor), 403, BLOCKED)
            self.assertEqual(xenia.invitations, [])

        return self.play(script)

    def test_not_a_member(self) -> Deferred[None]:
        """Who is not on the list of a restricted group: 403 with 119."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, ROOM, members=f"sip:alice@{NORTH}")
            bob = await Attendee.come(net, "bob")
            text = "119 Function not allowed due to the policy of the group"
            await self.refused(bob.join(ROOM), 403, text)

        return self.play(script)

    def test_automatic_answer(self) -> Deferred[None]:
        """Who insists on an automatic answer and may not: 403 with 119 (RFC 5373)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            text = "119 Function not allowed: automatic answer forbidden"
            headers = (("Answer-Mode", "Auto;require"),)
            await self.refused(alice.invite(xenia.aor, headers=headers), 403, text)

        return self.play(script)

    def test_no_identity(self) -> Deferred[None]:
        """Who is vouched for by nobody: 403, for a message and for a session (RFC 3325 §5)."""

        async def script(net: ScenarioNetwork) -> None:
            door = await core(net, "north")
            for method in ("MESSAGE", "INVITE"):
                request = served(net, door, method)
                request.remove("P-Asserted-Identity")
                await self.refused(door.send(request), 403, "nobody vouches for the sender")

        return self.perform(script, Layout(without=("core-north",)))

    def test_consent(self) -> Deferred[None]:
        """A list message to who has not agreed: 470, and who that is (RFC 5360 §5.9.3)."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await messenger(net)
            bob = net.person("bob").aor
            doing = post_list(alice, bob)
            text = "recipients did not consent"
            await self.refused(doing, 470, text, Permission_Missing=f"<{bob}>")

        return self.play(script, consent="demand")


def served(net: ScenarioNetwork, door: Any, method: str, branch: str = "") -> Request:
    """Return a request as the core shows it to the IM Server of alice."""
    alice, bob = net.person("alice").aor, net.person("bob").aor
    ids = door.endpoint.ids
    place = net.home("north")
    return Request.make(
        method,
        bob,
        [
            ("Route", f"<sip:{place.im}:{net.plan.port};lr>"),
            ("Route", f"<{door.uri};lr;odi={ids.token()}>"),
            ("Max-Forwards", "68"),
            ("From", f"<{alice}>;tag=1"),
            ("To", f"<{bob}>"),
            ("Call-ID", branch or ids.call_id()),
            ("CSeq", f"1 {method}"),
            ("Contact", f"<{door.uri}>"),
            ("P-Asserted-Identity", f"<{alice}>"),
            ("P-Served-User", f"<{alice}>;sescase=orig;regstate=reg"),
            ("Content-Type", "text/plain" if method == "MESSAGE" else "application/sdp"),
        ],
        b"hello" if method == "MESSAGE" else RTP,
    )


def post_list(alice: Phone, *people: str, option: bool = True) -> Awaitable[Response]:
    """Send a message to a list of people."""
    body = (
        b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\n"
        b"Content-Type: application/resource-lists+xml\r\n"
        b"Content-Disposition: recipient-list\r\n\r\n" + list_of(*people) + b"\r\n--b--\r\n"
    )
    fields = [("Content-Type", "multipart/mixed;boundary=b")]
    if option:
        fields.append(("Require", "recipient-list-message"))
    request = alice.agent.make("MESSAGE", f"sip:exploder@{NORTH}", fields, body)
    return alice.agent.request(request)


class SizeTests(RefusalCase):
    def test_file(self) -> Deferred[None]:
        """A file over the limit: 403 with 133, before anything of it is sent."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await net.online("alice"), await net.online("xenia")
            offers: list[Any] = []
            xenia.on_file(offers.append)
            path = self.mktemp()
            with open(path, "wb") as file:
                file.write(bytes(1001))
            try:
                await alice.send_file(xenia.identity, path)
            except Refused as failure:
                self.assertIn("403 133 Size exceeded", str(failure))
            else:
                self.fail("it was accepted")
            self.assertEqual(offers, [])

        return self.play(script, file_maximum=1000)

    def test_file_in_a_session(self) -> Deferred[None]:
        """Likewise for a file that is offered in a session, which goes on."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await net.online("alice"), await net.online("xenia")
            xenia.auto_accept = True
            path = self.mktemp()
            with open(path, "wb") as file:
                file.write(bytes(1001))
            talk = await alice.invite(xenia.identity)
            try:
                await talk.send_file(path)
            except Refused as failure:
                self.assertIn("403 133 Size exceeded", str(failure))
            else:
                self.fail("it was accepted")
            await talk.send("but words are")
            self.assertFalse(talk.ended)

        return self.play(script, file_maximum=1000)

    def test_message(self) -> Deferred[None]:
        """A MESSAGE with too large a body: 413 with 133."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await messenger(net), await messenger(net, "xenia")
            await self.refused(alice.say(xenia.identity, "x" * 501), 413, "133 Size exceeded")
            self.assertEqual((await alice.say(xenia.identity, "x" * 500)).status, 200)

        return self.play(script, max_size=500)

    def test_large_message(self) -> Deferred[None]:
        """A large message that is kept for later, over the limit: 413 in MSRP while it comes."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            wish = alice.wished(accept_types=("*",), direction=SENDONLY)
            large = (("Accept-Contact", "*;+g.oma.sip-im.large-message"),)
            await alice.invite(net.person("yusuf").aor, wish, headers=large)
            ends: list[int] = []
            alice.say(bytes(100_000), on_end=ends.append)
            await net.until(lambda: ends, "it is refused")
            self.assertEqual(ends, [413])

        return self.play(script, large_maximum=50_000)


class TooManyTests(RefusalCase):
    def test_full_room(self) -> Deferred[None]:
        """One too many in a room: 486 with 102; those in it notice nothing."""

        async def script(net: ScenarioNetwork) -> None:
            await define(net, ROOM, everybody="yes", most="1")
            alice, bob = await Attendee.come(net, "alice"), await Attendee.come(net, "bob")
            await alice.join(ROOM)
            await self.refused(bob.join(ROOM), 486, "102 Too many participants")
            self.assertEqual(alice.ended, [])

        return self.play(script)

    def test_long_list(self) -> Deferred[None]:
        """Too many on the list of a conference that is to be made: 486 with 102."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Attendee.come(net, "alice")
            people = [net.person(name).aor for name in ("bob", "carol", "xenia")]
            await self.refused(alice.create(*people), 486, "102 Too many participants")

        return self.play(script, conference_people=2)

    def test_overload(self) -> Deferred[None]:
        """A server with all its sessions in use: 503 with Retry-After (RFC 3261 §21.5.4); what the
        core does then its service profiles say."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            xenia.inviter.on_invite = lambda one: one.ring()
            calling = [Deferred.fromCoroutine(alice.invite(xenia.aor)) for _ in range(2)]
            await net.until(lambda: self.busy(net), "one is refused")
            self.assertEqual(self.busy(net)[0].first("Retry-After"), "5")
            for one in calling:
                one.cancel()
                await answer(one)

        return self.play(script, session_maximum=1)

    def busy(self, net: ScenarioNetwork) -> list[Response]:
        """Return the 503s that the northern IM Server has given."""
        said = [one.message for one in net.sightings("im-north", OUT)]
        return [one for one in said if isinstance(one, Response) and one.status == 503]

    def test_no_more_conferences(self) -> Deferred[None]:
        """A server with no room for another conference: 503 with Retry-After."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Attendee.come(net, "alice")
            response = await answer(alice.create(net.person("bob").aor))
            self.assertIn(response.status, (500, 503))
            self.assertEqual(self.busy(net)[0].first("Retry-After"), "5")

        return self.play(script, conferences=0)


class NobodyTests(RefusalCase):
    def test_unknown_user(self) -> Deferred[None]:
        """Nobody of that address: 404, for a message and a session."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await messenger(net)
            await self.refused(alice.say(NOBODY, "hello"), 404, "nobody has this address here")
            bob = await Party.come(net, "bob")
            await self.refused(bob.invite(NOBODY), 404, "nobody has this address here")

        return self.play(script)

    def test_unknown_room(self) -> Deferred[None]:
        """No group or conference of that address: 404."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Attendee.come(net, "alice")
            for uri in (ROOM, f"sip:conf.1@{NORTH}"):
                await self.refused(alice.join(uri), 404, "there is no such conference or group")

        return self.play(script)

    def test_ended(self) -> Deferred[None]:
        """A conference that has ended, and is known to: 410."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Attendee.come(net, "alice"), await Attendee.come(net, "bob")
            await alice.create(bob.aor)
            room = alice.room
            await net.until(lambda: bob.calls, "bob is there")
            await bob.leave()
            await net.until(lambda: alice.ended, "it is over")
            await self.refused(alice.join(room), 410, "the conference has ended")

        return self.play(script)

    def test_away(self) -> Deferred[None]:
        """An invitation to who has no device: 480."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf").aor
            await self.refused(alice.invite(yusuf), 480, "the recipient is not available")

        return self.play(script)

    def test_away_and_nothing_kept(self) -> Deferred[None]:
        """A message to who has no device and wants nothing kept: 480."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await messenger(net)
            yusuf = net.person("yusuf").aor
            net.entities["im-south"].settings.put(yusuf, Settings(defers=False))
            await self.refused(alice.say(yusuf, "hello"), 480, "the recipient is not available")

        return self.play(script)

    def test_declined(self) -> Deferred[None]:
        """Who declines, or is busy, says so to the caller in its own words: 603, 486."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            for status in (603, 486):
                text = f"not for {status}"
                said = [("Warning", f'399 xenia "{text}"')]
                xenia.inviter.on_invite = lambda one, said=said, status=status: one.reject(
                    status, said
                )
                await self.refused(alice.invite(xenia.aor), status, text)

        return self.play(script)


class FormTests(RefusalCase):
    def test_no_msrp(self) -> Deferred[None]:
        """A session without MSRP that can be used: 488."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            doing = alice.inviter.invite(xenia.aor, RTP, headers=(TAG,))
            text = "nothing is offered that the IM Server can pass on"
            await self.refused(doing, 488, text)
            self.assertEqual(xenia.invitations, [])

        return self.play(script)

    def test_no_session(self) -> Deferred[None]:
        """An INVITE whose body is no session description: 415 with Accept."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            bob = net.person("bob").aor
            doing = alice.inviter.invite(
                bob, b"hello", "text/plain", headers=(TAG,), on_offer=lambda _: b""
            )
            accept = "application/sdp, multipart/mixed"
            await self.refused(doing, 415, "the body describes no session", Accept=accept)

        return self.play(script)

    def test_kind_of_message(self) -> Deferred[None]:
        """A message of a kind that its recipient does not take: 415 with what it takes."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await messenger(net), await net.online("xenia")
            doing = alice.say(xenia.identity, "x", content_type="image/png")
            response = await answer(doing)
            self.assertEqual(response.status, 415)
            self.assertIn("text/plain", response.values("Accept"))

        return self.play(script)

    def test_extension_required(self) -> Deferred[None]:
        """A message for a list without the option that says so: 421 with Require."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await messenger(net)
            doing = post_list(alice, net.person("bob").aor, option=False)
            option = "recipient-list-message"
            await self.refused(doing, 421, f"support for {option} is required", Require=option)

        return self.play(script)

    def test_extension_unknown(self) -> Deferred[None]:
        """An extension that nobody knows, required in an INVITE and in a message: 420 with it."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            headers = (("Require", "teleport"),)
            doing = alice.invite(xenia.aor, headers=headers)
            text = "this extension is not known here: teleport"
            await self.refused(doing, 420, text, Unsupported="teleport")
            yusuf = await net.online("yusuf")
            fields = [*headers, ("Content-Type", "text/plain")]
            request = alice.agent.make("MESSAGE", yusuf.identity, fields, b"x")
            await self.refused(alice.agent.request(request), 420, text, Unsupported="teleport")
            self.assertEqual(xenia.invitations, [])

        return self.play(script)

    def test_list_for_one(self) -> Deferred[None]:
        """A recipient list for anything but a conference factory: 420 (RFC 5366 §5.1)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            option = "recipient-list-invite"
            doing = alice.invite(xenia.aor, headers=(("Require", option),))
            text = "a recipient list is for a conference factory only"
            await self.refused(doing, 420, text, Unsupported=option)

        return self.play(script)

    def test_short_interval(self) -> Deferred[None]:
        """A session timer that is too short: 422 with Min-SE (RFC 4028 §9)."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await messenger(net)
            headers = (TAG, ("Session-Expires", "89"), ("Supported", "timer"))
            call = await alice.call(net.person("bob").aor, headers, RTP)
            await self.refused(succeed(call.response), 422, ".", Min_SE="90")

        return self.play(script)


class WayTests(RefusalCase):
    def test_hops(self) -> Deferred[None]:
        """No hop is left at the core, or at the IM Server behind it: 483."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await messenger(net), await messenger(net, "xenia")
            for hops in ("0", "1", "3"):
                request = alice.agent.make(
                    "MESSAGE", xenia.identity, [("Content-Type", "text/plain")], b"x"
                )
                request.set("Max-Forwards", hops)
                text = "the request took too many hops"
                await self.refused(alice.agent.request(request), 483, text)
            self.assertEqual(xenia.received(), [])

        return self.play(script)

    def test_loop(self) -> Deferred[None]:
        """An INVITE that arrives by two ways: 482 for the second (RFC 3261 §8.2.2.2)."""

        async def script(net: ScenarioNetwork) -> None:
            door = await core(net, "north")
            await net.entities["im-north"].ready()
            first = door.send(served(net, door, "INVITE", "one-call"))
            second = door.send(served(net, door, "INVITE", "one-call"))
            statuses = sorted([(await answer(first)).status, (await answer(second)).status])
            self.assertEqual(statuses, [482, 488])

        return self.perform(script, Layout(without=("core-north",)))

    def test_breadth(self) -> Deferred[None]:
        """No branch is left for the devices of the callee: 440 (RFC 5393 §5.3.3)."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await messenger(net)
            devices = [await messenger(net, "xenia", device=name) for name in ("one", "two")]
            doing = alice.say(devices[0].identity, "hello", [("Max-Breadth", "1")])
            await self.refused(doing, 440, "Max-Breadth does not allow for all targets")

        return self.play(script)
