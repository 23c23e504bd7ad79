"""Publications: the compositor's side, the publisher's side, and both together."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import booleans, floats, integers, lists, sampled_from, tuples
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.message import Request, Response
from omaim.sip.pacing import IntervalTooBrief
from omaim.sip.publication import Publications, Published
from omaim.sip.publishing import FAILED, IDLE, PUBLISHED, PUBLISHING, Publishing
from omaim.sip.subscription import Terms
from omaim.timers import NEVER

BOB = "sip:bob@example.com"
PIDF = "application/pidf+xml"


def request(
    etag: str = "",
    body: bytes = b"",
    expires: int | None = 600,
    event: str = "presence",
    extra: tuple[tuple[str, str], ...] = (),
) -> Request:
    headers = [("Event", event)] if event else []
    if expires is not None:
        headers.append(("Expires", str(expires)))
    if etag:
        headers.append(("SIP-If-Match", etag))
    if body:
        headers.append(("Content-Type", PIDF))
    return Request.make("PUBLISH", BOB, [*headers, *extra], body)


def publications(seed: int = 1, most: int = 32, terms: Terms | None = None) -> Publications:
    return Publications(Ids(seed), ["presence"], terms or Terms(600, 60, 3600), most)


class CompositorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.esc = publications()

    def publish(self, now: float = 0.0, **named: object) -> Published:
        return self.esc.publish(BOB, request(**named), now)  # type: ignore[arg-type]

    def refuse(self, status: int, message: Request, now: float = 0.0) -> PeerError:
        before = self.esc.current(BOB, "presence")
        error = self.assertRaises(PeerError, self.esc.publish, BOB, message, now)
        self.assertEqual(error.status, status)
        self.assertEqual(self.esc.current(BOB, "presence"), before)
        return error

    def bodies(self) -> list[bytes]:
        return [publication.body for publication in self.esc.current(BOB, "presence")]

    def test_operations(self) -> None:
        """Initial, refresh, modify, remove (RFC 3903 §4.1 table 1)."""
        first = self.publish(body=b"<1/>")
        self.assertEqual((first.operation, first.expires, first.changed), ("initial", 600, True))
        second = self.publish(10.0, etag=first.etag)
        self.assertEqual((second.operation, second.changed), ("refresh", False))
        self.assertEqual(self.bodies(), [b"<1/>"])
        assert second.publication is not None
        self.assertEqual(second.publication.expires_at, 610.0)
        third = self.publish(20.0, etag=second.etag, body=b"<2/>")
        self.assertEqual((third.operation, third.changed), ("modify", True))
        self.assertEqual(self.bodies(), [b"<2/>"])
        fourth = self.publish(30.0, etag=third.etag, expires=0)
        self.assertEqual((fourth.operation, fourth.expires), ("remove", 0))
        self.assertEqual((self.bodies(), len(self.esc)), ([], 0))
        self.assertEqual(len({one.etag for one in (first, second, third, fourth)}), 4)

    def test_several(self) -> None:
        """Publications of one resource do not touch one another (RFC 3903 §4.1)."""
        one = self.publish(body=b"<1/>")
        self.publish(body=b"<2/>")
        self.publish(etag=one.etag, expires=0)
        self.assertEqual(self.bodies(), [b"<2/>"])

    def test_unknown_tag(self) -> None:
        """An entity-tag that does not stand is 412 (RFC 3903 §6 step 3)."""
        first = self.publish(body=b"<1/>")
        second = self.publish(etag=first.etag)
        self.refuse(412, request(first.etag))
        self.refuse(412, request("nonsense"))
        self.esc.wake(600.0)
        self.refuse(412, request(second.etag), now=600.0)
        other = self.esc.publish("sip:eve@example.com", request(body=b"<x/>"), 0.0)
        self.refuse(412, request(other.etag))

    def test_bad_condition(self) -> None:
        """SIP-If-Match has exactly one entity-tag (RFC 3903 §6 step 3, §12)."""
        for value in ("a, b", '"a"', "a b", "<a>", "x" * 500):
            self.refuse(400, request(value))
        self.refuse(400, request("a", extra=(("SIP-If-Match", "b"),)))

    def test_event(self) -> None:
        """No Event, or one not published here, is 489 (RFC 3903 §6 step 2)."""
        self.refuse(489, request(body=b"<1/>", event=""))
        self.refuse(489, request(body=b"<1/>", event="dialog"))

    def test_durations(self) -> None:
        """Shorter is allowed, longer not, too short refused (RFC 3903 §6 step 4)."""
        error = self.refuse(423, request(body=b"<1/>", expires=59))
        assert isinstance(error, IntervalTooBrief)
        self.assertEqual(error.min_expires, 60)
        self.assertEqual(self.publish(body=b"<1/>", expires=99999).expires, 3600)
        self.assertEqual(self.publish(body=b"<1/>", expires=None).expires, 600)

    def test_bodies(self) -> None:
        """An initial publication has a body, and a body has a type (RFC 3903 §6 step 5)."""
        self.refuse(400, request())
        self.refuse(400, Request.make("PUBLISH", BOB, [("Event", "presence")], b"<1/>"))

    def test_initial_without_duration(self) -> None:
        """Expires 0 stores nothing (RFC 3903 §6 step 5)."""
        self.assertEqual(self.publish(body=b"<1/>", expires=0).expires, 0)
        self.assertEqual(self.bodies(), [])

    def test_expiry(self) -> None:
        """What is not refreshed is gone at its moment, not before (RFC 3903 §3)."""
        first = self.publish(body=b"<1/>", expires=100)
        self.publish(50.0, body=b"<2/>", expires=100)
        self.assertEqual(self.esc.deadline, 100.0)
        self.esc.wake(99.9)
        self.assertEqual(self.esc.take(), [])
        self.esc.wake(100.0)
        (gone,) = self.esc.take()
        self.assertEqual(gone.etag, first.etag)
        self.assertEqual((self.esc.deadline, len(self.esc)), (150.0, 1))
        self.esc.wake(150.0)
        self.assertEqual((self.esc.deadline, len(self.esc)), (NEVER, 0))

    def test_refreshed_in_time(self) -> None:
        """A refresh leaves nothing behind that could expire."""
        etag = self.publish(body=b"<1/>", expires=100).etag
        for now in range(0, 2000, 10):
            etag = self.publish(float(now), etag=etag, expires=100).etag
        self.esc.wake(2000.0)
        self.assertEqual((self.esc.take(), len(self.esc)), ([], 1))
        self.assertLess(len(self.esc._heap), 100)

    def test_limit(self) -> None:
        """One resource takes only so many publications (RFC 3903 §14.2)."""
        self.esc = publications(most=2)
        first = self.publish(body=b"<1/>")
        self.publish(body=b"<2/>")
        self.refuse(403, request(body=b"<3/>"))
        self.publish(etag=first.etag, body=b"<4/>")

    @given(
        lists(
            tuples(
                sampled_from(["initial", "refresh", "modify", "remove", "stale"]),
                integers(0, 5),
                floats(0, 300),
            ),
            max_size=40,
        )
    )
    def test_tags_never_repeat(self, steps: list[tuple[str, int, float]]) -> None:
        """No entity-tag comes twice, and only the last one of each works (RFC 3903 §6)."""
        esc, now = publications(), 0.0
        given_: list[str] = []
        standing: dict[str, tuple[bytes, float]] = {}
        for step, which, gap in steps:
            now += gap
            standing = {tag: entry for tag, entry in standing.items() if entry[1] > now}
            tags = list(standing) if step != "stale" else [t for t in given_ if t not in standing]
            tag = tags[which % len(tags)] if tags and step != "initial" else ""
            body = b"%d" % len(given_) if step in ("initial", "modify") or not tag else b""
            expires = 0 if step == "remove" else 200
            message = request(tag, body, expires)
            if step == "stale" and tag:
                self.assertEqual(
                    self.assertRaises(PeerError, esc.publish, BOB, message, now).status, 412
                )
                continue
            outcome = esc.publish(BOB, message, now)
            given_.append(outcome.etag)
            old = standing.pop(tag, (b"", 0.0))
            if expires:
                standing[outcome.etag] = (body or old[0], now + 200)
            found = {item.etag: item.body for item in esc.current(BOB, "presence")}
            self.assertEqual(found, {key: value[0] for key, value in standing.items()})
        self.assertEqual(len(given_), len(set(given_)))


def machine(expires: int = 600) -> Publishing:
    return Publishing(BOB, "presence", "<sip:bob@example.com>", Ids(3), expires=expires)


def sent(publishing: Publishing) -> Request:
    message = publishing.take()
    assert message is not None, "there is no PUBLISH to send"
    return message


def ok(message: Request, etag: str, expires: int = 600) -> Response:
    response = message.response(200, to_tag="e")
    response.set("SIP-ETag", etag)
    response.set("Expires", str(expires))
    return response


def no(message: Request, status: int, *headers: tuple[str, str]) -> Response:
    response = message.response(status, to_tag="e")
    for name, value in headers:
        response.set(name, value)
    return response


class PublisherTests(SynchronousTestCase):
    def published(self) -> Publishing:
        publishing = machine()
        publishing.publish(b"<1/>", PIDF, 0.0)
        publishing.answered(ok(sent(publishing), "e1"), 0.0)
        self.assertEqual(publishing.state, PUBLISHED)
        return publishing

    def test_initial(self) -> None:
        """The initial PUBLISH has body and no condition (RFC 3903 §4.2)."""
        publishing = machine()
        publishing.publish(b"<1/>", PIDF, 0.0)
        message = sent(publishing)
        self.assertEqual((message.uri, message.body), (BOB, b"<1/>"))
        self.assertEqual(message.first("Event"), "presence")
        self.assertEqual(message.expires, 600)
        self.assertFalse(message.has("SIP-If-Match"))
        self.assertFalse(message.has("Contact"))
        self.assertEqual([moved.state for moved in publishing.moves()], [PUBLISHING])

    def test_refresh(self) -> None:
        """A refresh names the entity-tag and has no body (RFC 3903 §4.3)."""
        publishing = self.published()
        self.assertEqual(publishing.deadline, 300.0)
        publishing.wake(299.9)
        self.assertIsNone(publishing.take())
        publishing.wake(300.0)
        message = sent(publishing)
        self.assertEqual((message.first("SIP-If-Match"), message.body), ("e1", b""))
        self.assertFalse(message.has("Content-Type"))
        publishing.answered(ok(message, "e2"), 301.0)
        self.assertEqual((publishing.etag, publishing.deadline), ("e2", 601.0))

    def test_modify(self) -> None:
        """A change names the entity-tag and has the body (RFC 3903 §4.4)."""
        publishing = self.published()
        publishing.publish(b"<2/>", PIDF, 10.0)
        message = sent(publishing)
        self.assertEqual((message.first("SIP-If-Match"), message.body), ("e1", b"<2/>"))

    def test_one_at_a_time(self) -> None:
        """A new PUBLISH waits for the answer to the one before (RFC 3903 §4)."""
        publishing = machine()
        publishing.publish(b"<1/>", PIDF, 0.0)
        first = sent(publishing)
        publishing.publish(b"<2/>", PIDF, 0.1)
        publishing.publish(b"<3/>", PIDF, 0.2)
        self.assertIsNone(publishing.take())
        publishing.answered(ok(first, "e1"), 0.5)
        second = sent(publishing)
        self.assertEqual((second.body, second.first("SIP-If-Match")), (b"<3/>", "e1"))
        publishing.answered(ok(second, "e2"), 0.6)
        self.assertIsNone(publishing.take())

    def test_remove(self) -> None:
        """Removal is Expires 0 without body (RFC 3903 §4.5)."""
        publishing = self.published()
        publishing.remove(5.0)
        message = sent(publishing)
        self.assertEqual((message.expires, message.body), (0, b""))
        self.assertEqual(message.first("SIP-If-Match"), "e1")
        publishing.answered(ok(message, "e2", 0), 5.1)
        self.assertEqual((publishing.state, publishing.etag), (IDLE, ""))
        self.assertEqual(publishing.deadline, NEVER)

    def test_remove_while_initial(self) -> None:
        """What is withdrawn before it is acknowledged is withdrawn afterwards."""
        publishing = machine()
        publishing.publish(b"<1/>", PIDF, 0.0)
        first = sent(publishing)
        publishing.remove(0.1)
        self.assertIsNone(publishing.take())
        publishing.answered(ok(first, "e1"), 0.2)
        self.assertEqual(sent(publishing).expires, 0)

    def test_wanted_again(self) -> None:
        """What is published again while it is being removed stands in the end."""
        publishing = self.published()
        publishing.remove(1.0)
        removal = sent(publishing)
        publishing.publish(b"<1/>", PIDF, 1.1)
        publishing.answered(ok(removal, "e2", 0), 1.2)
        again = sent(publishing)
        self.assertEqual((again.body, again.has("SIP-If-Match")), (b"<1/>", False))

    def test_condition_failed(self) -> None:
        """412: forget the tag and publish the whole state anew (RFC 3903 §5)."""
        publishing = self.published()
        publishing.wake(300.0)
        publishing.answered(no(sent(publishing), 412), 300.1)
        again = sent(publishing)
        self.assertFalse(again.has("SIP-If-Match"))
        self.assertEqual(again.body, b"<1/>")
        self.assertEqual(publishing.state, PUBLISHING)
        publishing.answered(ok(again, "e9"), 300.2)
        self.assertEqual((publishing.state, publishing.etag), (PUBLISHED, "e9"))

    def test_too_brief(self) -> None:
        """423: ask for Min-Expires (RFC 3903 §5), but not for ever."""
        publishing = machine(30)
        publishing.publish(b"<1/>", PIDF, 0.0)
        publishing.answered(no(sent(publishing), 423, ("Min-Expires", "90")), 0.1)
        again = sent(publishing)
        self.assertEqual((again.expires, again.body), (90, b"<1/>"))
        for least in (100, 200, 300, 400, 500):
            publishing.answered(no(again, 423, ("Min-Expires", str(least))), 0.1)
            if publishing.state == FAILED:
                break
            again = sent(publishing)
        self.assertEqual(publishing.state, FAILED)

    @given(sampled_from([400, 403, 404, 405, 415, 489, 501, 604]))
    def test_refused(self, status: int) -> None:
        """A refusal is final, until something new is published."""
        publishing = machine()
        publishing.publish(b"<1/>", PIDF, 0.0)
        publishing.answered(no(sent(publishing), status), 0.1)
        self.assertEqual((publishing.state, publishing.status), (FAILED, status))
        self.assertEqual(publishing.deadline, NEVER)
        publishing.publish(b"<1/>", PIDF, 100.0)
        self.assertEqual(sent(publishing).body, b"<1/>")

    def test_later(self) -> None:
        """Trouble is waited out, as long as Retry-After says (RFC 3903 §9)."""
        publishing = machine()
        publishing.publish(b"<1/>", PIDF, 0.0)
        publishing.answered(no(sent(publishing), 503, ("Retry-After", "500")), 0.0)
        self.assertEqual((publishing.state, publishing.deadline), (PUBLISHING, 500.0))
        publishing.wake(500.0)
        publishing.answered(no(sent(publishing), 408), 532.0)
        self.assertGreater(publishing.deadline, 532.0 + 59.0)

    def test_no_storm(self) -> None:
        """412 to an initial PUBLISH is a refusal; 0 seconds are asked again later."""
        publishing = machine()
        publishing.publish(b"<1/>", PIDF, 0.0)
        publishing.answered(no(sent(publishing), 412), 0.0)
        self.assertEqual(publishing.state, FAILED)
        publishing.publish(b"<1/>", PIDF, 0.0)
        publishing.answered(ok(sent(publishing), "e1", 0), 0.0)
        self.assertIsNone(publishing.take())
        self.assertEqual(publishing.state, PUBLISHING)
        self.assertGreaterEqual(publishing.deadline, 30.0)

    def test_refresh_later(self) -> None:
        """What still stands is refreshed, not published anew, after some trouble."""
        publishing = self.published()
        publishing.wake(300.0)
        publishing.answered(no(sent(publishing), 503, ("Retry-After", "100")), 300.0)
        self.assertEqual(publishing.state, PUBLISHED)
        publishing.wake(publishing.deadline)
        self.assertEqual(sent(publishing).first("SIP-If-Match"), "e1")

    def test_forget_refusal(self) -> None:
        """Withdrawing what was refused leaves nothing to do."""
        publishing = machine()
        publishing.publish(b"<1/>", PIDF, 0.0)
        publishing.answered(no(sent(publishing), 403), 0.1)
        publishing.remove(1.0)
        self.assertEqual((publishing.state, publishing.deadline), (IDLE, NEVER))
        self.assertIsNone(publishing.take())

    def test_lapsed(self) -> None:
        """After its expiry the next PUBLISH is an initial one (RFC 3903 §4.2)."""
        publishing = self.published()
        publishing.wake(300.0)
        publishing.answered(no(sent(publishing), 503, ("Retry-After", "1000")), 300.0)
        self.assertEqual(publishing.state, PUBLISHING)
        publishing.wake(1300.0)
        message = sent(publishing)
        self.assertEqual((message.body, message.has("SIP-If-Match")), (b"<1/>", False))

    @given(
        integers(0, 10**6),
        lists(
            tuples(
                sampled_from(["publish", "remove", "answer", "lose", "wait"]),
                integers(0, 3),
                floats(0, 400),
            ),
            max_size=40,
        ),
        booleans(),
    )
    def test_agree_finally(
        self, seed: int, steps: list[tuple[str, int, float]], wanted: bool
    ) -> None:
        """Whatever was lost, in the end exactly what is wanted stands."""
        publishing, esc, now = machine(), publications(seed), 0.0
        under_way: list[Request] = []

        def serve(message: Request) -> Response:
            try:
                outcome = esc.publish(BOB, message, now)
            except PeerError as error:
                return no(message, error.status)
            return ok(message, outcome.etag, outcome.expires)

        def collect() -> None:
            message = publishing.take()
            if message is not None:
                self.assertEqual(under_way, [], "two at a time (RFC 3903 §4)")
                under_way.append(message)

        for step, number, gap in steps:
            if step == "publish":
                publishing.publish(b"<%d/>" % number, PIDF, now)
            elif step == "remove":
                publishing.remove(now)
            elif step == "wait":
                now += gap
                if publishing.deadline <= now:
                    publishing.wake(now)
            elif under_way:
                message = under_way.pop()
                response = serve(message)
                if step == "lose":
                    now += 32.0
                    response = no(message, 408)
                publishing.answered(response, now)
            collect()
        if wanted:
            publishing.publish(b"<last/>", PIDF, now)
        else:
            publishing.remove(now)
        collect()
        end = now + 9000.0  # the longest pause, and the expiry of what nobody knows any more
        for _ in range(200):
            if under_way:
                publishing.answered(serve(under_way.pop()), now)
            elif publishing.deadline <= end:
                now = max(now, publishing.deadline)
                publishing.wake(now)
            else:
                break
            collect()
        esc.wake(now)
        bodies = [item.body for item in esc.current(BOB, "presence")]
        if wanted:
            self.assertEqual(publishing.state, PUBLISHED)
            self.assertEqual(bodies, [b"<last/>"])
        else:
            esc.wake(end)
            self.assertEqual(esc.current(BOB, "presence"), [])
            self.assertEqual(publishing.deadline, NEVER)
