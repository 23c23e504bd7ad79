"""omaim/msrp/relaying.py and what belongs to it: by the RFC's examples, and section by section."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from omaim.msrp import Limits
from omaim.msrp.admitting import Terms, Verdict
from omaim.msrp.frame import write_response
from tests.msrp.relays import HOST, Frame, World, frames

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "msrp"
FAR = "msrps://far.example.com:7000/x;tcp"


def vector(name: str) -> bytes:
    """Return one example of RFC 4976."""
    (path,) = VECTORS.glob(f"rfc4976-{name}.msrp")
    return path.read_bytes()


class VectorTests(SynchronousTestCase):
    """RFC 4976 §3 and §5.1: what goes in, and what comes out on the other side."""

    def alike(self, frame: Frame, name: str) -> None:
        """A frame is the example but for its transaction identifier."""
        (wanted,) = frames(vector(name))
        self.assertEqual(frame.head.fields, wanted.head.fields)
        self.assertEqual(
            (frame.what, frame.body, frame.flag), (wanted.what, wanted.body, wanted.flag)
        )

    def test_send(self) -> None:
        """A SEND passes the relays a and b (§3)."""
        for first, second, third, host, uri in (
            ("01-SEND-6aef", "02-200-6aef", "03-SEND-juh76", "a.example.org", "kjfjan"),
            ("03-SEND-juh76", "04-200-juh76", "05-SEND-xght6", "b.example.net", "aeiug"),
        ):
            world = World(owns=lambda name, port, host=host: name == host)
            source, sink = world.peer("source"), world.peer("sink")
            owner = source if host == "a.example.org" else sink
            world.give(f"msrps://{host}:9000/{uri};tcp", owner)
            source.say(vector(f"s3-{first}"))
            far = sink if owner is sink else world.hops["b.example.net"]
            (frame,) = far.take()
            self.alike(frame, f"s3-{third}")
            (answer,) = source.take()
            (wanted,) = frames(vector(f"s3-{second}"))
            self.assertEqual(answer.head.transaction, wanted.head.transaction)
            self.assertEqual(answer.head.to_path, wanted.head.to_path)
            self.assertEqual(answer.head.from_path, wanted.head.from_path)

    def test_report(self) -> None:
        """A REPORT goes back through b and a, answered by nobody (§3)."""
        for first, second, host, uri in (
            ("07-REPORT-yh67", "08-REPORT-yh67", "b.example.net", "aeiug"),
            ("08-REPORT-yh67", "09-REPORT-yh67", "a.example.org", "kjfjan"),
        ):
            world = World(owns=lambda name, port, host=host: name == host)
            source, sink = world.peer("source"), world.peer("sink")
            owner = source if host == "b.example.net" else sink
            world.give(f"msrps://{host}:9000/{uri};tcp", owner)
            source.say(vector(f"s3-{first}"))
            far = sink if owner is sink else world.hops["a.example.org"]
            (frame,) = far.take()
            self.alike(frame, f"s3-{second}")
            self.assertEqual(source.take(), [])
            self.assertNotEqual(frame.head.transaction, b"yh67")

    def test_auth_through(self) -> None:
        """AUTH to a second relay, and its answers (§5.1)."""
        world = World(owns=lambda name, port: name == "intra.example.com")
        alice = world.peer("alice")
        world.give("msrps://intra.example.com:9000/jui787s2f;tcp", alice)
        for request, passed, answer, came in (
            ("05-AUTH-mnbvw", "06-AUTH-m2nbvw", "07-401-m2nbvw", "08-401-mnbvw"),
            ("09-AUTH-m3nbvx", "10-AUTH-m4nbvx", "11-200-m4nbvx", "12-200-m3nbvx"),
        ):
            alice.say(
                vector(f"s5.1-{request}").replace(b"extra.example.com;", b"extra.example.com:9000;")
            )
            extra = world.hops["extra.example.com"]
            (frame,) = extra.take()
            (wanted,) = frames(vector(f"s5.1-{passed}"))
            self.assertEqual(frame.head.from_path, wanted.head.from_path)
            self.assertEqual(frame.head.get(b"Authorization"), wanted.head.get(b"Authorization"))
            extra.say(
                vector(f"s5.1-{answer}").replace(wanted.head.transaction, frame.head.transaction)
            )
            (back,) = alice.take()
            (wanted,) = frames(vector(f"s5.1-{came}"))
            self.assertEqual(back.head.transaction, wanted.head.transaction)
            fields, right = dict(back.head.fields), dict(wanted.head.fields)
            # The RFC's last example names the second relay twice.
            self.assertEqual(
                fields.pop(b"Use-Path", b""),
                right.pop(b"Use-Path", b"").replace(
                    b"msrps://extra.example.com:9000/mywdEe1233;tcp ",
                    b"msrps://intra.example.com:9000/jui787s2f;tcp ",
                ),
            )
            self.assertEqual(fields, right)


class ForwardingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.alice, self.bob = self.world.client("alice"), self.world.client("bob")
        self.to_bob = f"{self.alice.use_path} {self.bob.use_path} {self.bob.uri}"

    def test_both_ours(self) -> None:
        """Both URIs of ours move at once, and the last of them comes first (§6.4)."""
        self.alice.send(self.to_bob, b"hi")
        (frame,) = self.bob.take()
        self.assertEqual(frame.head.to_path.decode(), self.bob.uri)
        self.assertEqual(
            frame.head.from_path.decode(),
            f"{self.bob.use_path} {self.alice.use_path} {self.alice.uri}",
        )

    def test_transaction(self) -> None:
        """Each frame has a new, long transaction identifier (§6.4; RFC 4975 §7.1)."""
        first = self.alice.send(self.to_bob)
        self.alice.send(self.to_bob)
        ids = [frame.head.transaction for frame in self.bob.take()]
        self.assertNotIn(first.encode(), ids)
        self.assertEqual(len(set(ids)), 2)
        self.assertTrue(all(len(one) >= 16 for one in ids))

    def test_failure_report(self) -> None:
        """200 at once for "yes" or nothing; silence for "partial" and "no" (§6.4.1)."""
        for value, whats in (("yes", ["200"]), ("partial", []), ("no", [])):
            self.alice.send(self.to_bob, Failure_Report=value)
            self.assertEqual((self.bob.whats(), self.alice.whats()), (["SEND"], whats))

    def test_timeout(self) -> None:
        """Without an answer of the next hop for 30 s, the originator gets a REPORT 408, if
        Failure-Report is "yes" (§6.4.1)."""
        self.bob.answers = False
        for value, whats in (("yes", ["REPORT"]), ("partial", []), ("no", [])):
            self.alice.send(self.to_bob, b"12345", Byte_Range="11-15/20", Failure_Report=value)
            self.alice.take()
            self.world.pass_time(29.9)
            self.assertEqual(self.alice.take(), [])
            self.world.pass_time(0.2)
            reports = self.alice.take()
            self.assertEqual([frame.what for frame in reports], whats)
            if reports:
                (report,) = reports
                self.assertEqual(report.field("Status"), "000 408 Timeout")
                self.assertEqual(report.field("Byte-Range"), "11-15/20")
                self.assertEqual(report.head.to_path.decode(), self.alice.uri)
                self.assertEqual(report.head.from_path.decode(), self.alice.use_path)

    def test_refused(self) -> None:
        """An error of the next hop becomes a REPORT with its code, unless Failure-Report is "no";
        no other one after it (§6.4.3)."""
        self.bob.answers = False
        for value, whats in (("yes", ["REPORT"]), ("partial", ["REPORT"]), ("no", [])):
            self.alice.send(self.to_bob, b"12345", Failure_Report=value)
            self.alice.take()
            (frame,) = self.bob.take()
            self.bob.respond(frame, 413)
            reports = self.alice.take()
            self.assertEqual([report.what for report in reports], whats)
            if reports:
                self.assertEqual(reports[0].field("Status"), "000 413 Stop Sending")
                self.assertEqual(reports[0].field("Byte-Range"), "1-5/*")
            self.world.pass_time(40)
            self.assertEqual(self.alice.take(), [])

    def test_answered(self) -> None:
        """A 200 ends the matter."""
        self.alice.send(self.to_bob)
        self.world.settle()
        self.alice.take()
        self.world.pass_time(40)
        self.assertEqual(self.alice.take(), [])

    def test_responses_of_others(self) -> None:
        """A response to nothing is dropped, and one with no good head (§6.4.3)."""
        self.alice.send(self.to_bob)
        (frame,) = self.bob.take()
        wrong = write_response(b"nosuchone", 200, "", b"msrps://x:1/y;tcp", b"msrps://x:1/z;tcp")
        self.bob.say(wrong)
        self.assertEqual(self.world.counters["late_responses"], 1)
        # Somebody else cannot answer for Bob.
        self.alice.say(wrong.replace(b"nosuchone", frame.head.transaction))
        self.assertEqual(self.world.counters["late_responses"], 2)

    def test_other_requests(self) -> None:
        """NICKNAME and methods nobody knows go from end to end, and so do their answers; REPORT
        has none (§6.4.2)."""
        for method in ("NICKNAME", "BREW"):
            asked = self.alice.request(method, self.to_bob, Use_Nickname='"A"')
            (frame,) = self.bob.take()
            self.assertEqual((frame.what, frame.field("Use-Nickname")), (method, '"A"'))
            self.assertEqual(self.alice.take(), [])
            own, back = frame.head.to_path, frame.head.from_path
            self.bob.say(
                write_response(frame.head.transaction, 425, "Taken", back, own, b"X-A: b\r\n")
            )
            (answer,) = self.alice.take()
            self.assertEqual((answer.what, answer.head.comment), ("425", b"Taken"))
            self.assertEqual(answer.head.transaction.decode(), asked)
            self.assertEqual(answer.field("X-A"), "b")
            self.assertEqual(answer.head.to_path.decode(), self.alice.uri)
            self.assertEqual(
                answer.head.from_path.decode(),
                f"{self.alice.use_path} {self.bob.use_path} {self.bob.uri}",
            )

    def test_unknown_blocked(self) -> None:
        """Methods that nobody knows can be blocked: 501 (§6.4.2)."""
        world = World(unknown=False)
        alice, bob = world.client("alice"), world.client("bob")
        to = f"{alice.use_path} {bob.use_path} {bob.uri}"
        alice.request("BREW", to)
        alice.request("NICKNAME", to)
        self.assertEqual((alice.whats(), bob.whats()), (["501"], ["NICKNAME"]))

    def test_body_of_other(self) -> None:
        """The body of a request that is no SEND passes whole; above 10240 octets it is refused
        (RFC 4975 §7.1)."""
        for size, whats in ((9000, ["BREW"]), (10_241, [])):
            data = (
                f"MSRP brew{size} BREW\r\nTo-Path: {self.to_bob}\r\nFrom-Path: {self.alice.uri}\r\n"
                f"Content-Type: text/plain\r\n\r\n{'x' * size}\r\n-------brew{size}$\r\n"
            ).encode()
            self.alice.say(data, [1000])
            self.assertEqual(self.bob.whats(), whats)
        self.assertEqual(self.alice.whats(), ["400"])

    def test_unordered_head(self) -> None:
        """Fields spelt otherwise are understood."""
        data = (
            f"MSRP abcd SEND\r\nto-path: {self.to_bob}\r\nFROM-PATH: {self.alice.uri}\r\n"
            "message-id: 12345\r\nbyte-range: 1-2/2\r\ncontent-type: text/plain\r\n\r\nhi\r\n"
            "-------abcd$\r\n"
        )
        self.alice.say(data.encode())
        (frame,) = self.bob.take()
        self.assertEqual((frame.body, frame.field("Message-ID")), (b"hi", "12345"))
        self.bob.respond(frame, 415)
        self.assertEqual(self.alice.take()[-1].field("Byte-Range"), "1-2/2")


class RightsTests(SynchronousTestCase):
    """RFC 4976 §6.2 to §6.4, §9.4: to or from the client that has the URI, and not otherwise."""

    def setUp(self) -> None:
        self.world = World(Limits(idle=1e6))
        self.alice = self.world.client("alice")
        self.stranger = self.world.peer("stranger")

    def test_not_ours(self) -> None:
        """A request for somebody else: the connection is dropped (§6.2)."""
        self.alice.send("msrps://other.example.com:9000/x;tcp")
        self.assertTrue(self.alice.gone)
        self.assertEqual(self.alice.take(), [])

    def test_never_handed_out(self) -> None:
        """A URI with our host and port that nobody has got: 481, and nothing goes on (§6.4)."""
        for to in (
            f"msrps://{HOST}:9000/guessed;tcp {FAR}",
            f"msrps://{HOST};tcp {FAR}",
            self.alice.use_path.replace("msrps", "msrp") + " " + FAR,
        ):
            self.alice.send(to)
            self.assertEqual(self.alice.whats(), ["481"])
        self.assertEqual(self.world.hops, {})

    def test_no_next_hop(self) -> None:
        """A URI of ours with nothing behind it leads nowhere."""
        self.alice.send(self.alice.use_path)
        self.assertEqual(self.alice.whats(), ["481"])

    def test_no_open_relay(self) -> None:
        """Who knows a URI can send to its client, and nowhere else."""
        self.stranger.send(f"{self.alice.use_path} {self.alice.uri}")
        self.assertEqual((self.stranger.whats(), self.alice.whats()), (["200"], ["SEND"]))
        self.stranger.send(f"{self.alice.use_path} {FAR}")
        self.assertEqual(self.world.hops, {})
        self.assertEqual(self.alice.whats(), ["SEND"])  # to its client, whatever stands there

    def test_third_party(self) -> None:
        """Between two URIs of others, a stranger gets nothing through."""
        bob = self.world.client("bob")
        carol = self.world.client("carol")
        self.stranger.send(f"{bob.use_path} {carol.use_path} {carol.uri}")
        self.assertEqual((self.stranger.whats(), carol.whats()), (["481"], []))

    def test_answers_by_the_same_connection(self) -> None:
        """What the client says to a peer that has come by itself goes by that connection."""
        self.stranger.send(f"{self.alice.use_path} {self.alice.uri}")
        self.alice.take()
        self.alice.send(f"{self.alice.use_path} {self.stranger.uri}")
        self.assertEqual(self.stranger.whats(), ["200", "SEND"])
        self.assertEqual(self.world.hops, {})

    def test_expired(self) -> None:
        """After its time a URI is none, prepared way or not (§6.3)."""
        to = f"{self.alice.use_path} {FAR}"
        self.alice.send(to)
        self.world.settle()
        self.world.pass_time(3601)
        self.alice.send(to)
        self.assertEqual(self.alice.whats(), ["200", "481"])
        self.assertEqual((len(self.world.grants), self.world.counters["uris_expired"]), (0, 1))

    def test_reopened(self) -> None:
        """A client's URI ends with its connection (§6.3)."""
        bob = self.world.client("bob")
        to = f"{bob.use_path} {self.alice.use_path} {self.alice.uri}"
        self.alice.fail()
        bob.send(to)
        self.assertEqual(bob.whats(), ["481"])

    def test_other_connection(self) -> None:
        """A client's URI is of no use on another connection, even of the same client."""
        again = self.world.peer("alice")
        again.send(f"{self.alice.use_path} {FAR}")
        self.assertEqual(self.world.hops, {})

    def test_silence(self) -> None:
        """No answer, not even an error, for Failure-Report "no"; none to a REPORT."""
        to = f"msrps://{HOST}:9000/guessed;tcp {FAR}"
        self.alice.send(to, Failure_Report="no")
        self.alice.request("REPORT", to, Message_ID="1234", Status="000 200 OK")
        self.assertEqual(self.alice.take(), [])

    def test_bad_heads(self) -> None:
        """What cannot be understood is answered 400."""
        to, own = f"{self.alice.use_path} {FAR}", self.alice.uri
        for lines in (
            f"To-Path: {to}\r\nFrom-Path: {own}\r\nnonsense",
            f"To-Path: {to}\r\nFrom-Path: {own}\r\nX-A: b\r\nX-A: b",
            f"To-Path: {to} not-a-uri\r\nFrom-Path: {own}",
            f"To-Path: {to}\r\nFrom-Path: http://example.com",
            f"From-Path: {own}\r\nTo-Path: {to}",
            f"To-Path: {to}{' ' + FAR * 1}" + f" {FAR}" * 20 + f"\r\nFrom-Path: {own}",
        ):
            self.alice.say(f"MSRP abcd SEND\r\n{lines}\r\n-------abcd$\r\n".encode())
            self.assertEqual(self.alice.whats(), ["400"], lines)
        self.assertFalse(self.alice.gone)


class AuthTests(SynchronousTestCase):
    def test_granted(self) -> None:
        """Use-Path names us by host and port, with much that nobody can guess (§4.2, §6.3)."""
        world = World()
        alice = world.peer("alice")
        alice.request("AUTH", f"msrps://alice@{HOST};tcp", Authorization="good", Expires="900")
        (answer,) = alice.take()
        self.assertEqual(answer.what, "200")
        self.assertRegex(answer.field("Use-Path"), rf"^msrps://{HOST}:9000/[0-9a-f]{{32}};tcp$")
        self.assertEqual(answer.field("Expires"), "900")
        self.assertEqual(answer.field("Authentication-Info"), "ok")
        self.assertEqual(answer.head.to_path.decode(), alice.uri)
        self.assertEqual(answer.head.from_path.decode(), f"msrps://alice@{HOST};tcp")
        self.assertEqual(world.uris, [f"msrps://alice@{HOST};tcp"])

    def test_each_another(self) -> None:
        """Each AUTH brings another URI: one for each session (§5.1)."""
        world = World()
        alice = world.peer("alice")
        self.assertNotEqual(alice.authorize(), alice.authorize())

    def test_challenge(self) -> None:
        """Without credentials: 401, however often (§5.1)."""
        world = World()
        alice = world.peer("alice")
        for _ in range(10):
            alice.request("AUTH", f"msrps://{HOST};tcp")
        self.assertEqual(alice.whats(), ["401"] * 10)
        self.assertFalse(alice.gone)

    def test_bounds(self) -> None:
        """423 with the bound that was crossed (§6.3)."""
        world = World(terms=Terms(100, 200, 150))
        alice = world.peer("alice")
        for wish, what, field, value in (
            ("99", "423", "Min-Expires", "100"),
            ("201", "423", "Max-Expires", "200"),
            ("0", "423", "Min-Expires", "100"),
            ("99999999999", "400", "Expires", ""),
            ("soon", "400", "Expires", ""),
            ("100", "200", "Expires", "100"),
        ):
            alice.request("AUTH", f"msrps://{HOST};tcp", Authorization="good", Expires=wish)
            (answer,) = alice.take()
            self.assertEqual((answer.what, answer.field(field)), (what, value))

    def test_wrong(self) -> None:
        """After several wrong credentials in a row the connection is ended (§6.3)."""
        world = World(terms=Terms(failures=3))
        alice = world.peer("alice")
        for _ in range(2):
            for _ in range(2):
                alice.request("AUTH", f"msrps://{HOST};tcp", Authorization="bad")
            alice.authorize()
        for _ in range(3):
            self.assertFalse(alice.gone)
            alice.request("AUTH", f"msrps://{HOST};tcp", Authorization="bad")
        self.assertTrue(alice.gone)
        self.assertEqual(alice.take()[-1].what, "401")

    def test_wrong_elsewhere(self) -> None:
        """The same for credentials that a relay behind us refuses, but not as stale (§6.3)."""
        world = World(terms=Terms(failures=2))
        alice = world.client("alice")
        for field, stays in ((", stale=true", True), ("", True), ("", False)):
            alice.request("AUTH", f"{alice.use_path} {FAR}", Authorization="whatever")
            far = world.hops["far.example.com"]
            (frame,) = far.take()
            to, own = frame.head.from_path, frame.head.to_path
            more = f'WWW-Authenticate: Digest realm="x"{field}\r\n'.encode()
            far.say(write_response(frame.head.transaction, 401, "", to, own, more))
            self.assertEqual((alice.take()[-1].what, not alice.gone), ("401", stays))
        self.assertFalse(far.gone)

    def test_plain(self) -> None:
        """AUTH wants TLS: 403 (§9.2)."""
        world = World()
        alice = world.peer("alice", secure=False)
        alice.request("AUTH", f"msrps://{HOST};tcp", Authorization="good")
        self.assertEqual(alice.whats(), ["403"])
        world = World(terms=Terms(plain=True))
        world.peer("alice", secure=False).authorize()

    def test_too_many(self) -> None:
        """One client has no more URIs than allowed: 403."""
        world = World(most_each=2)
        alice = world.client("alice")
        alice.authorize()
        alice.request("AUTH", f"msrps://{HOST};tcp", Authorization="good")
        self.assertEqual(alice.whats(), ["403"])
        world.client("bob")

    def test_locked_out(self) -> None:
        """What judges credentials may say 403."""
        world = World()
        world.verdict = Verdict(403, failed=True)
        alice = world.peer("alice")
        alice.request("AUTH", f"msrps://{HOST};tcp", Authorization="good")
        self.assertEqual(alice.whats(), ["403"])

    def test_behind_relay(self) -> None:
        """For a client behind a relay that has proved itself, Use-Path has both, and the URI is
        valid to and from that relay on any connection (§5.1, §6.3)."""
        world = World()
        inner = world.peer("inner", names=("inner.example.com",))
        way = "msrps://inner.example.com:9000/abc;tcp"
        alice = "msrps://alice.example.com:7000/a;tcp"
        inner.request("AUTH", f"msrps://{HOST};tcp", f"{way} {alice}", Authorization="good")
        (answer,) = inner.take()
        use_path = answer.field("Use-Path").split(" ")
        self.assertEqual(use_path[0], way)
        stranger = world.peer("stranger")
        stranger.send(f"{use_path[1]} {way} {alice}")
        self.assertEqual(inner.take()[0].head.to_path.decode(), f"{way} {alice}")
        stranger.send(f"{use_path[1]} msrps://elsewhere.example.com:9000/abc;tcp")
        self.assertEqual(stranger.whats(), ["200", "481"])
        other = world.peer("inner", names=("inner.example.com",))
        other.send(f"{use_path[1]} {FAR}", origin=f"{way} {alice}")
        self.assertEqual(len(world.hops["far.example.com"].take()), 1)
        impostor = world.peer("inner")
        impostor.send(f"{use_path[1]} {FAR}", origin=f"{way} {alice}")
        self.assertEqual(world.hops["far.example.com"].take(), [])
        inner.fail()
        other.fail()
        stranger.send(f"{use_path[1]} {way} {alice}")
        self.assertEqual(world.hops["inner.example.com"].whats(), ["SEND"])

    def test_wrong_behind_relay(self) -> None:
        """A relay's connection is not ended for its clients' wrong credentials (§6.3)."""
        world = World(terms=Terms(failures=2))
        inner = world.peer("inner", names=("inner.example.com",))
        way = "msrps://inner.example.com:9000/abc;tcp msrps://alice.example.com:7000/a;tcp"
        for _ in range(5):
            inner.request("AUTH", f"msrps://{HOST};tcp", way, Authorization="bad")
        self.assertFalse(inner.gone)
