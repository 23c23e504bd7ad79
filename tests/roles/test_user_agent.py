"""Sending and answering over the simulated network, and once over loopback."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from omaim.errors import PeerError, Unavailable
from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.network import ReactorNetwork
from omaim.roles.incoming import Incoming
from omaim.roles.user_agent import UserAgent, alternatives
from omaim.sip.dialog import as_uas
from omaim.sip.message import Response
from omaim.sip.pacing import retry_after
from tests.roles.support import PASSWORD, Roles, Server

TEXT = ("Content-Type", "text/plain")


class RequestTests(Roles):
    def setUp(self) -> None:
        super().setUp()
        self.server = Server(self.agent("10.0.0.1"))
        self.alice = self.agent("10.0.0.2", "alice")

    def message(self, ua: UserAgent, to: str = "sip:bob@10.0.0.1", **named: Any) -> Response:
        request = ua.make("MESSAGE", to, [TEXT], b"hi")
        return self.wait(ua.request(request, **named))

    def test_answer(self) -> None:
        """The final answer comes back; the request is complete (RFC 3261 §8.1.1)."""
        self.assertEqual(self.message(self.alice).status, 200)
        (seen,) = self.server.seen
        self.assertEqual(seen.body, b"hi")
        self.assertEqual(seen.from_.uri_text, "sip:alice@example.com")
        self.assertEqual(seen.to.tag, "")
        self.assertFalse(seen.has("Contact"))
        for name in ("Via", "Max-Forwards", "Call-ID", "CSeq"):
            self.assertTrue(seen.has(name), name)
        self.assertTrue(seen.from_.tag)

    def test_provisional(self) -> None:
        """1xx go to the callback, the final response to the caller (RFC 4320 §4.1)."""

        def slowly(incoming: Incoming) -> None:
            self.clock.callLater(10.0, incoming.reply, 202)

        self.server.script = [slowly]
        heard: list[Response] = []
        response = self.message(self.alice, provisional=heard.append)
        self.assertEqual((response.status, {one.status for one in heard}), (202, {100}))

    def test_silence(self) -> None:
        """No answer at all is a local 408 after 64*T1 (RFC 3261 §12.2.1.2)."""
        start = self.clock.seconds()
        response = self.message(self.alice, "sip:nobody@10.0.0.77")
        self.assertEqual((response.status, response.local), (408, True))
        self.assertAlmostEqual(self.clock.seconds() - start, 32.0, delta=0.5)

    def test_retry_after(self) -> None:
        """How long a server wants to be left alone is told (RFC 3261 §20.33)."""
        self.server.script = [lambda got: got.response(480, [("Retry-After", "18 (busy)")])]
        self.assertEqual(retry_after(self.message(self.alice)), 18)

    def test_credentials(self) -> None:
        """A challenge is answered once, with the next CSeq (RFC 3261 §22.2)."""
        bob = self.agent("10.0.0.3", "bob", PASSWORD)
        self.server.script = [self.server.guarded, lambda got: self.passed(got)]
        self.assertEqual(self.message(bob).status, 200)
        first, second = self.server.seen
        self.assertEqual(second.call_id, first.call_id)
        self.assertEqual(second.from_.tag, first.from_.tag)
        self.assertEqual(second.cseq.number, first.cseq.number + 1)
        self.assertNotEqual(second.via.branch, first.via.branch)
        self.assertEqual(len(second.vias), 1)

    def passed(self, incoming: Incoming) -> Response:
        return self.server.guarded(incoming) or incoming.response(200)

    def test_credentials_kept(self) -> None:
        """The nonce is used again without being asked (RFC 3261 §22.1, RFC 7616 §3.6)."""
        bob = self.agent("10.0.0.3", "bob", PASSWORD)
        self.server.script = [self.passed] * 4
        for _ in range(3):
            self.assertEqual(self.message(bob).status, 200)
        self.assertEqual(len(self.server.seen), 4)

    def test_stale(self) -> None:
        """A stale nonce costs one more round (RFC 7616 §3.3)."""
        bob = self.agent("10.0.0.3", "bob", PASSWORD)
        self.server.stale_once = True
        self.server.script = [self.passed] * 3
        self.assertEqual(self.message(bob).status, 200)
        self.assertEqual(len(self.server.seen), 3)

    def test_wrong_password(self) -> None:
        """A refused password is not tried again (RFC 3261 §22.2)."""
        bob = self.agent("10.0.0.3", "bob", "wrong")
        self.server.script = [self.passed] * 9
        self.assertEqual(self.message(bob).status, 401)
        self.assertEqual(len(self.server.seen), 2)

    def test_no_credentials(self) -> None:
        """Without credentials the challenge goes to the caller."""
        self.server.script = [self.passed]
        self.assertEqual(self.message(self.alice).status, 401)

    def moved(self, *contacts: str, status: int = 302) -> Any:
        return lambda got: got.response(status, [("Contact", one) for one in contacts])

    def test_redirected(self) -> None:
        """A 3xx is followed, best address first; To stays (RFC 3261 §8.1.3.4)."""
        others = [Server(self.agent(f"10.0.0.{number}")) for number in (11, 12)]
        self.server.script = [
            self.moved(
                "<sip:bob@10.0.0.11;method=INVITE?Subject=x>;q=0.2", "<sip:bob@10.0.0.12>;q=0.7"
            )
        ]
        others[1].script = [404]
        self.assertEqual(self.message(self.alice).status, 200)
        self.assertEqual([len(other.seen) for other in others], [1, 1])
        (seen,) = others[0].seen
        self.assertEqual(seen.uri, "sip:bob@10.0.0.11")
        self.assertEqual(seen.to.uri_text, "sip:bob@10.0.0.1")
        self.assertEqual(seen.cseq.number, 3)

    def test_redirected_for_ever(self) -> None:
        """Redirections are bounded, and no address is tried twice (RFC 3261 §8.1.3.4)."""
        self.server.script = [
            self.moved(f"<sip:{number}@10.0.0.1>", "<sip:bob@10.0.0.1>") for number in range(50)
        ]
        self.assertEqual(self.message(self.alice).status, 302)
        self.assertEqual(len(self.server.seen), 6)
        self.server.seen.clear()
        self.assertEqual(self.message(self.alice, redirections=0).status, 302)
        self.assertEqual(len(self.server.seen), 1)

    def test_redirected_nowhere(self) -> None:
        """A 3xx without a usable address is the answer; sips is never left (§8.1.3.4)."""
        for contact in ("<mailto:bob@example.com>", "<sip:bob@10.0.0.1>", "*", "<sip:"):
            self.server.script = [self.moved(contact)]
            self.assertEqual(self.message(self.alice).status, 302, contact)
        request = self.alice.make("MESSAGE", "sips:bob@10.0.0.1", [TEXT], b"hi")
        answer = request.response(302, to_tag="x")
        answer.add("Contact", "<sip:bob@10.0.0.11>")
        self.assertEqual(alternatives(answer, request), [])

    def test_global_failure(self) -> None:
        """A 6xx ends the search (RFC 3261 §21.6)."""
        other = Server(self.agent("10.0.0.11"))
        other.script = [603]
        last = Server(self.agent("10.0.0.12"))
        self.server.script = [self.moved("<sip:b@10.0.0.11>;q=0.9", "<sip:b@10.0.0.12>;q=0.1")]
        self.assertEqual(self.message(self.alice).status, 603)
        self.assertEqual(last.seen, [])

    def test_routes(self) -> None:
        """The route set leads every request (RFC 3261 §8.1.1.1, RFC 3608)."""
        self.alice.routes = ("<sip:10.0.0.1;lr>",)
        self.assertEqual(self.message(self.alice, "sip:bob@elsewhere.invalid").status, 200)
        self.assertEqual(self.server.seen[0].uri, "sip:bob@elsewhere.invalid")

    def test_given_up(self) -> None:
        """Cancelling the Deferred gives up; what comes later is nobody's."""
        self.server.script = [None]
        request = self.alice.make("MESSAGE", "sip:bob@10.0.0.1", [TEXT], b"hi")
        result = Deferred.fromCoroutine(self.alice.request(request))
        self.clock.advance(1.0)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.clock.advance(60.0)


class AnswerTests(Roles):
    def setUp(self) -> None:
        super().setUp()
        self.bob = self.agent("10.0.0.1", "bob", accept=["text/plain"], supported=["path"])
        self.alice = self.agent("10.0.0.2", "alice")

    def ask(self, method: str, *headers: tuple[str, str], uri: str = "", to: str = "") -> Response:
        request = self.alice.make(method, uri or "sip:bob@10.0.0.1", headers, to=to)
        if uri and not uri.startswith("sip"):
            request.prepend("Route", "<sip:10.0.0.1;lr>")
        return self.wait(self.alice.request(request))

    def test_options(self) -> None:
        """OPTIONS tells what we can (RFC 3261 §11.2)."""
        self.bob.on("MESSAGE", lambda got: got.response(200))
        self.bob.allow_events.add("presence")
        response = self.ask("OPTIONS")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.values("Allow"), ["OPTIONS", "MESSAGE"])
        self.assertEqual(response.values("Accept"), ["text/plain"])
        self.assertEqual(response.values("Supported"), ["path"])
        self.assertEqual(response.values("Allow-Events"), ["presence"])
        self.assertTrue(response.to.tag)

    def test_refusals(self) -> None:
        """What cannot be served gets the status it deserves (RFC 3261 §8.2.1 to §8.2.3)."""
        self.bob.on("MESSAGE", lambda got: got.response(200))
        for method, headers, status, name, value in (
            ("INFO", [], 405, "Allow", "OPTIONS"),
            ("FROB", [], 501, "Allow", "OPTIONS"),
            ("MESSAGE", [("Require", "path, foo, bar")], 420, "Unsupported", "bar"),
            ("MESSAGE", [("Content-Encoding", "gzip")], 415, "Accept-Encoding", "identity"),
        ):
            response = self.ask(method, *headers)
            self.assertEqual(response.status, status)
            self.assertEqual(response.values(name)[0], value)
        self.assertEqual(self.ask("MESSAGE", ("Require", "path")).status, 200)
        self.assertEqual(self.ask("MESSAGE", uri="mailto:bob@example.com").status, 416)

    def test_no_dialog(self) -> None:
        """A To tag of no dialog is answered 481 (RFC 3261 §12.2.2)."""
        self.bob.on("MESSAGE", lambda got: got.response(200))
        self.assertEqual(self.ask("MESSAGE", to="<sip:bob@10.0.0.1>;tag=z").status, 481)

    def test_dialog(self) -> None:
        """The requests of a dialog go to its owner, whatever the method."""
        request = self.alice.make("INVITE", "sip:bob@10.0.0.1")
        dialog = as_uas(request, "b1", "<sip:bob@10.0.0.1>")
        self.bob.on_dialog(dialog.id, lambda got: got.response(299))
        peers = ("INFO", "<sip:bob@10.0.0.1>;tag=b1")
        inside = self.alice.make(peers[0], "sip:bob@10.0.0.1", to=peers[1])
        inside.set("Call-ID", request.call_id)
        inside.set("From", str(request.from_))
        self.assertEqual(self.wait(self.alice.request(inside)).status, 299)
        self.bob.off_dialog(dialog.id)
        inside.set("CSeq", "2 INFO")
        self.assertEqual(self.wait(self.alice.request(inside)).status, 405)

    def test_repeated_2xx(self) -> None:
        """Each 2xx of an INVITE after the first is told of, for its ACK (RFC 3261 §13.2.2.4)."""
        taken: list[Incoming] = []

        def answer(incoming: Incoming) -> Response:
            taken.append(incoming)
            return incoming.response(200, [("Contact", "<sip:bob@10.0.0.1>")])

        self.bob.on("INVITE", answer)
        repeats: list[Response] = []
        request = self.alice.make("INVITE", "sip:bob@10.0.0.1")
        first = self.wait(self.alice.request(request, again=repeats.append))
        (incoming,) = taken
        for _ in range(2):
            self.bob.endpoint.respond(incoming.transaction, incoming.response(200))
            self.clock.advance(0.5)
        self.assertEqual((first.status, [one.status for one in repeats]), (200, [200, 200]))

    def test_answers(self) -> None:
        """An answer may be a value, a coroutine, an error or its own affair."""

        async def later(incoming: Incoming) -> Response:
            waiting: Deferred[None] = Deferred()
            self.clock.callLater(1.0, waiting.callback, None)
            await waiting
            return incoming.response(202)

        def erring(incoming: Incoming) -> Response:
            raise PeerError("not today", 486)

        async def closed(incoming: Incoming) -> Response:
            raise Unavailable("the store is away")

        def broken(incoming: Incoming) -> Response:
            raise ZeroDivisionError("a defect")

        def own(incoming: Incoming) -> None:
            incoming.reply(603)
            incoming.reply(200)

        for answer, status in (
            (later, 202),
            (erring, 486),
            (closed, 503),
            (broken, 500),
            (own, 603),
        ):
            self.bob.on("MESSAGE", answer)
            self.assertEqual(self.ask("MESSAGE").status, status)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_merged(self) -> None:
        """A request that comes twice by different ways is served once (RFC 3261 §8.2.2.2)."""
        served: list[Incoming] = []

        def serve(got: Incoming) -> Response:
            served.append(got)
            return got.response(202)

        for method, statuses in (("INFO", [202, 482]), ("MESSAGE", [202, 202])):
            served.clear()
            self.bob.on(method, serve)
            request = self.alice.make(method, "sip:bob@10.0.0.1")
            results = [Deferred.fromCoroutine(self.alice.request(request)) for _ in range(2)]
            self.assertEqual(sorted(self.wait(result).status for result in results), statuses)
            self.assertEqual(len(served), 1)


class LoopbackTests(TestCase):
    async def test_message(self) -> Any:
        """The same over real sockets."""
        agents = []
        for name in ("alice", "bob"):
            endpoint = Endpoint(ReactorNetwork(reactor), reactor, name=name, ids=Ids())
            await endpoint.listen("UDP", "127.0.0.1", 0)
            self.addCleanup(endpoint.stop)
            ua = UserAgent(endpoint, f"sip:{name}@example.com")
            ua.attach()
            agents.append(ua)
        alice, bob = agents
        bob.on("MESSAGE", lambda got: got.response(202))
        target = bob.endpoint.uri("UDP", "bob")
        response = await alice.request(alice.make("MESSAGE", target, [TEXT], b"hi"))
        self.assertEqual(response.status, 202)
