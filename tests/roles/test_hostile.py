"""What roles do with requests and responses that make no sense."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis.strategies import lists, sampled_from, tuples

from omaim.roles.incoming import Incoming
from omaim.roles.notifier import Notifier
from omaim.roles.packages import EventPackage
from omaim.roles.publisher import Publisher
from omaim.roles.registrant import Registrant
from omaim.roles.watcher import Watcher
from omaim.sip.message import Response
from omaim.sip.publication import Publications
from omaim.sip.subscription import Terms
from tests.roles.support import PASSWORD, Roles, Server

NASTY = [
    "",
    ",",
    ";",
    "*",
    "<",
    "<sip:",
    "<sip:a@b>;tag",
    "sip:a@b;x=y?z=1",
    "99999999999999999999",
    "-1",
    "0",
    "1e9",
    '"',
    "presence",
    "presence;id=",
    'presence;max-rate="',
    "presence;max-rate=99;min-rate=99",
    "terminated;reason=;retry-after=zz",
    "active;expires=-5",
    "active;expires=99999999999999999999",
    "a/b;q=7",
    "*/*;q=0",
    "text/",
    "Digest realm=,nonce=",
    'Digest realm="x", nonce="y", qop="auth"',
    'Digest realm="x", nonce="y", algorithm=SHA-999',
    "\u00fc\u4e2d",
    "x" * 3000,
]
ASKED = [
    "Event", "Expires", "Contact", "Accept", "Require", "Subscription-State", "Record-Route",
    "SIP-If-Match", "Content-Type", "Content-Encoding", "P-Asserted-Identity", "Supported",
]  # fmt: skip
SAID = [
    "Expires", "Contact", "Min-Expires", "Retry-After", "SIP-ETag", "WWW-Authenticate",
    "Proxy-Authenticate", "Authentication-Info", "Service-Route", "P-Associated-URI", "Require",
    "Flow-Timer", "Record-Route",
]  # fmt: skip


class HostileTests(Roles):
    @given(
        sampled_from(["SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "OPTIONS", "FROB"]),
        lists(tuples(sampled_from(ASKED), sampled_from(NASTY)), max_size=4),
        sampled_from(["", "<sip:bob@10.0.0.1>;tag=t"]),
        sampled_from(["sip:bob@10.0.0.1", "tel:+1", "im:a@b", "http://x"]),
    )
    def test_requests(self, method: str, headers: list[tuple[str, str]], to: str, uri: str) -> None:
        """No request brings a server to 500 or 5xx of any kind (RFC 3261 §8.2)."""
        self.setUp()
        bob, alice = self.agent("10.0.0.1", "bob"), self.agent("10.0.0.2", "alice")
        Notifier(bob).serve(EventPackage("presence", ("text/plain",), Terms(least=0)))
        Watcher(bob)
        esc = Publications(bob.ids, ["presence"], Terms())

        def publish(incoming: Incoming) -> Response:
            esc.publish("x", incoming.request, 0.0)
            return incoming.response(200)

        bob.on("PUBLISH", publish)
        bob.on("MESSAGE", lambda incoming: incoming.response(200))
        request = alice.make(method, uri, headers, b"hi", to=to)
        request.prepend("Route", "<sip:10.0.0.1;lr>")
        if method == "SUBSCRIBE" and not any(name == "Event" for name, _ in headers):
            request.add("Event", "presence")
        response = self.wait(alice.request(request))
        self.assertFalse(response.local, (response, method, headers, to, uri))
        allowed = response.status < 500 or response.status in (501, 505)
        self.assertTrue(allowed, response.status)
        self.clock.advance(2.0)
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(max_examples=settings().max_examples // 2)
    @given(
        lists(
            tuples(
                sampled_from([200, 204, 302, 401, 407, 404, 408, 412, 423, 439, 481, 503, 603]),
                lists(tuples(sampled_from(SAID), sampled_from(NASTY)), max_size=3),
            ),
            max_size=6,
        )
    )
    def test_responses(self, script: list[tuple[int, list[tuple[str, str]]]]) -> None:
        """No response brings a client down, nor into asking again and again."""
        self.setUp()
        server = Server(self.agent("10.0.0.1"))
        alice = self.agent("10.0.0.2", "alice", PASSWORD, routes=["<sip:10.0.0.1;lr>"])

        def answer(incoming: Incoming) -> Response:
            status, headers = script[len(server.seen) % len(script)] if script else (200, [])
            return incoming.response(status, [pair for pair in headers if pair[1]])

        server.script = [answer] * 500
        Watcher(alice).watch("sip:bob@10.0.0.1", "presence", lambda notify: None)
        Publisher(alice).publish("presence", b"x", "text/plain")
        failed = Registrant(alice, "sip:10.0.0.1").start()
        failed.addErrback(lambda _: None)
        self.clock.advance(70.0)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertLess(len(server.seen), 300)
