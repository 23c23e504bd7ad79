"""Users hear of their deferred messages, fetch them and delete them."""

from __future__ import annotations

from omaim.bodies.deferred_list import MEDIA_TYPE, Waiting, parse_deferred_list, write_deferred_list
from omaim.node.events import MessageDeleted
from omaim.sip.message import Request
from tests.im.support import ALICE, BOB, CAROL, IM, XENIA, ImTestCase, cpim

FETCH = "sip:deferred@north.example"
DELETE = "sip:deferred-delete@north.example"


class NotifyTestCase(ImTestCase):
    settings = {"delivery": "notify"}

    def setUp(self) -> None:
        super().setUp()
        for text in (b"one", b"two", b"three"):
            headers = (("Subject", text.decode()),)
            self.send("term", XENIA, BOB, text, state="unreg", headers=headers)

    def listed(self) -> tuple[Waiting, ...]:
        """Return the list that Bob's device was told last."""
        told = [
            request.body
            for request in self.core.seen + self.core.others
            if request.first("Content-Type") == MEDIA_TYPE
        ]
        return parse_deferred_list(told[-1])

    def wish(self, address: str, *references: str, sender: str = BOB, case: str = "orig") -> int:
        """Have Bob ask for something; return the status."""
        body = write_deferred_list([Waiting(one) for one in references]) if references else b""
        response = self.send(case, sender, address, body, MEDIA_TYPE if references else "")
        self.clock.advance(1)
        return response.status


class NoticeTests(NotifyTestCase):
    def test_told(self) -> None:
        """At registration the user gets the list, once, and not the messages."""
        self.register(BOB)
        (seen,) = self.core.seen
        self.assertEqual((seen.uri, seen.first("Content-Type")), (BOB, MEDIA_TYPE))
        self.assertEqual(seen.first("P-Asserted-Identity"), f"<{FETCH}>")
        self.assertEqual([one.subject for one in self.listed()], ["one", "two", "three"])
        first = self.listed()[0]
        self.assertEqual((first.sender, first.recipient, first.size), (XENIA, BOB, 3))
        self.register(BOB)
        self.assertEqual(len(self.core.seen), 1)

    def test_told_again(self) -> None:
        """A further message, or a new registration, is a reason to tell again."""
        self.register(BOB)
        self.send("term", XENIA, BOB, b"four", state="unreg")
        self.register(BOB)
        self.assertEqual(len(self.listed()), 4)
        self.register(BOB, 0)
        self.register(BOB)
        self.assertEqual(len(self.core.seen), 3)

    def test_nothing(self) -> None:
        """Who has nothing is told nothing."""
        self.register(CAROL)
        self.assertEqual(self.core.seen, [])

    def test_not_behind(self) -> None:
        """New messages are delivered although others wait to be fetched."""
        self.assertEqual(self.send("term", XENIA, BOB, b"four").status, 200)

    def test_hidden(self) -> None:
        """The list does not tell who wanted to stay unknown."""
        headers = (("Privacy", "id"),)
        self.send("term", XENIA, CAROL, state="unreg", headers=headers)
        self.register(CAROL)
        (one,) = self.listed()
        self.assertEqual(one.sender, "sip:anonymous@anonymous.invalid")

    def test_reports(self) -> None:
        """Reports come by themselves, and are in no list."""
        report = cpim(wanted="").replace(b"text/plain", b"message/imdn+xml")
        self.send("term", XENIA, CAROL, report, "message/cpim", state="unreg")
        self.register(CAROL)
        self.assertEqual(self.bodies(), [report])


class WishTests(NotifyTestCase):
    def test_fetch_all(self) -> None:
        """Without a list everything is meant, oldest first."""
        self.assertEqual(self.wish(FETCH), 202)
        self.assertEqual(self.bodies(), [b"one", b"two", b"three"])
        self.assertEqual(self.waiting(BOB), [])

    def test_fetch_some(self) -> None:
        """With a list only these are delivered."""
        self.register(BOB)
        references = {one.subject: one.reference for one in self.listed()}
        self.core.seen.clear()
        for case in ("orig", ""):
            wanted = references["three" if case else "one"]
            self.assertEqual(self.wish(FETCH, wanted, "unknown", case=case), 202)
        self.assertEqual(self.bodies(), [b"three", b"one"])
        self.assertEqual(self.waiting(BOB), [b"two"])

    def test_delete(self) -> None:
        """Deleted messages are gone, unread."""
        self.register(BOB)
        second = self.listed()[1].reference
        self.assertEqual(self.wish(DELETE, second), 200)
        self.assertEqual(self.waiting(BOB), [b"one", b"three"])
        (event,) = self.of(MessageDeleted)
        self.assertEqual(event.recipient, BOB)
        self.assertEqual(self.wish(DELETE), 200)
        self.assertEqual(self.waiting(BOB), [])

    def test_others(self) -> None:
        """Nobody touches what is another's: references of others are unknown ones."""
        self.register(BOB)
        reference = self.listed()[0].reference
        self.core.seen.clear()
        for address in (FETCH, DELETE):
            self.assertEqual(self.wish(address, reference, sender=CAROL), 404)
            self.assertEqual(self.wish(address, reference, sender=XENIA, case=""), 403)
        self.assertEqual(self.core.seen, [])
        self.assertEqual(len(self.waiting(BOB)), 3)

    def test_bad(self) -> None:
        """Another body is 415 with what is understood; a broken list is 400."""
        response = self.send("orig", BOB, FETCH, b"all, please")
        self.assertEqual((response.status, response.first("Accept")), (415, MEDIA_TYPE))
        self.assertEqual(self.send("orig", BOB, FETCH, b"<x", MEDIA_TYPE).status, 400)


class SubscribeTests(NotifyTestCase):
    def subscribe(self, package: str, sender: str = BOB, target: str = FETCH) -> int:
        """Subscribe; return the status."""
        request: Request = self.core.ua.make(
            "SUBSCRIBE",
            target,
            [
                ("Route", f"<sip:{IM};lr>"),
                ("P-Asserted-Identity", f"<{sender}>"),
                ("Event", package),
                ("Accept", MEDIA_TYPE),
                ("Expires", "600"),
            ],
        )
        status = self.ask(request).status
        self.clock.advance(1)
        return status

    def test_packages(self) -> None:
        """Clients differ in the event package; all show the list (RFC 6665 §4.2)."""
        for number, package in enumerate(("xcap-diff", "sip-profile", "ua-profile"), 1):
            self.assertEqual(self.subscribe(package), 200)
            self.assertEqual(len(self.core.others), number)
            self.assertEqual(len(self.listed()), 3)
        self.assertEqual(self.subscribe("presence"), 489)

    def test_changes(self) -> None:
        """Each change is told; a registration then tells nothing more."""
        self.subscribe("xcap-diff", target=BOB)
        self.register(BOB)
        self.assertEqual(self.core.seen, [])
        self.send("term", XENIA, BOB, b"four", state="unreg")
        self.clock.advance(10)
        self.assertEqual(len(self.listed()), 4)
        self.wish(DELETE)
        self.clock.advance(10)
        self.assertEqual(self.listed(), ())

    def test_restart(self) -> None:
        """A restart of the server ends no subscription: the list is told, and each change."""
        self.subscribe("xcap-diff", target=BOB)
        self.stop()
        self.start(delivery="notify")
        self.clock.advance(10)
        self.assertEqual(len(self.core.others), 2)
        self.send("term", XENIA, BOB, b"four", state="unreg")
        self.clock.advance(10)
        self.assertEqual(len(self.listed()), 4)

    def test_others(self) -> None:
        """One's own list only."""
        self.assertEqual(self.subscribe("xcap-diff", CAROL, BOB), 403)
        self.assertEqual(self.subscribe("xcap-diff", XENIA), 403)

    def test_push(self) -> None:
        """A user may also fetch where messages are pushed."""
        self.stop()
        self.start(delivery="push")
        self.core.script = [480]
        self.clock.advance(5)
        self.assertEqual(self.wish(FETCH), 202)
        self.assertEqual(self.bodies()[1:], [b"one", b"two", b"three"])


class AliceTests(ImTestCase):
    def test_unknown_address(self) -> None:
        """A service of another domain is not ours."""
        self.assertEqual(self.send("", ALICE, "sip:deferred@south.example").status, 404)
