"""omaim/bodies/imdn.py: RFC 5438."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import IMDN, Address, Cpim
from omaim.bodies.imdn import (
    DELIVERY,
    DISPLAY,
    MEDIA_TYPE,
    PROCESSING,
    STATUSES,
    Imdn,
    aggregate,
    destination,
    is_report,
    parse_imdn,
    read_reports,
    record_route,
    report,
    take_route,
    undisclosed,
    wants,
    write_imdn,
)
from omaim.bodies.mime import Part
from omaim.errors import PeerError, UsageError

ALICE = Address("Alice", "im:alice@example.com")
BOB = Address("Bob", "im:bob@example.com")
WHEN = "2006-04-04T12:16:49-05:00"
ALL = "positive-delivery, negative-delivery, processing, display"

texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=10)
kinds = st.sampled_from([(kind, status) for kind in STATUSES for status in STATUSES[kind]])
imdns = st.builds(
    lambda kind, message_id, *rest: Imdn(message_id, WHEN, *kind, *rest),
    kinds,
    texts.filter(bool),
    texts,
    texts,
    texts,
)


def message(wanted: str = ALL, *more: tuple[str, str]) -> Cpim:
    made = Cpim.make(ALICE, [BOB], WHEN, Part([("Content-Type", "text/plain")], b"Hello World"))
    made.add("Message-ID", "34jk324j", IMDN)
    made.add("Disposition-Notification", wanted, IMDN)
    for name, value in more:
        made.add(name, value, IMDN)
    return made


class DocumentTests(SynchronousTestCase):
    @given(one=imdns)
    def test_write_then_parse(self, one: Imdn) -> None:
        self.assertEqual(parse_imdn(write_imdn(one)), one)

    @given(data=st.binary(max_size=60))
    def test_junk(self, data: bytes) -> None:
        try:
            parse_imdn(data)
        except PeerError:
            pass

    def test_rfc_example(self) -> None:
        """The example of RFC 5438 §7.2.1.1, line breaks inside tags included."""
        found = parse_imdn(
            b"""<?xml version="1.0" encoding="UTF-8"?>
            <imdn xmlns="urn:ietf:params:xml:ns:imdn">
              <message-id>34jk324j</message-id>
              <datetime>2008-04-04T12:16:49-05:00</datetime>
              <recipient-uri>im:bob@example.com</recipient-uri>
              <original-recipient-uri
                >im:bob@example.com</original-recipient-uri>
              <delivery-notification>
                <status>
                  <delivered/>
                </status>
              </delivery-notification>
            </imdn>"""
        )
        self.assertEqual(
            found,
            Imdn(
                "34jk324j",
                "2008-04-04T12:16:49-05:00",
                DELIVERY,
                "delivered",
                "im:bob@example.com",
                "im:bob@example.com",
            ),
        )

    def test_extensions(self) -> None:
        """Elements of other namespaces are overlooked; a status of one is told as it is."""
        found = parse_imdn(
            b'<imdn xmlns="urn:ietf:params:xml:ns:imdn" xmlns:x="urn:x"><message-id>1</message-id>'
            b"<datetime/><display-notification><status><x:seen/></status></display-notification>"
            b"<x:more/></imdn>"
        )
        self.assertEqual((found.kind, found.status), (DISPLAY, "seen"))

    def test_refused(self) -> None:
        """No message-id, two notifications or no status are refused (RFC 5438 §11.1)."""
        for inner in (
            b"",
            b"<message-id>1</message-id><display-notification/>",
            b"<message-id>1</message-id><display-notification><status/></display-notification>",
            b"<message-id>1</message-id>"
            b"<display-notification><status><displayed/></status></display-notification>"
            b"<delivery-notification><status><delivered/></status></delivery-notification>",
        ):
            data = b'<imdn xmlns="urn:ietf:params:xml:ns:imdn">' + inner + b"</imdn>"
            self.assertRaises(PeerError, parse_imdn, data)

    def test_our_own_defects(self) -> None:
        self.assertRaises(UsageError, write_imdn, Imdn("1", WHEN, DISPLAY, "delivered"))


class ReportTests(SynchronousTestCase):
    def test_example(self) -> None:
        """A report says whose, about what and to whom (RFC 5438 §7.2.1, §11.1)."""
        answer = report(message(), DELIVERY, "delivered", "d834jied93rf", date_time="now")
        assert answer is not None
        again = Cpim.parse(answer.to_bytes())
        self.assertEqual((again.from_, again.to), (BOB, [ALICE]))
        self.assertEqual(again.message_id, "d834jied93rf")
        self.assertEqual(again.part.disposition, "notification")
        self.assertEqual(again.part.media_type, MEDIA_TYPE)
        self.assertEqual(again.wanted, [])
        self.assertEqual(
            read_reports(again),
            [Imdn("34jk324j", WHEN, DELIVERY, "delivered", "im:bob@example.com")],
        )
        self.assertEqual(destination(again), "im:alice@example.com")

    @given(
        wanted=st.sets(
            st.sampled_from(["positive-delivery", "negative-delivery", "processing", "display"])
        ),
        kind=kinds,
    )
    def test_only_what_is_wanted(self, wanted: set[str], kind: tuple[str, str]) -> None:
        """Nobody gets a report that was not asked for (RFC 5438 §7.2.1)."""
        needed = {
            (DELIVERY, "delivered"): {"positive-delivery"},
            (DELIVERY, "failed"): {"negative-delivery"},
        }.get(
            kind, {"positive-delivery", "negative-delivery"} if kind[0] == DELIVERY else {kind[0]}
        )
        answer = report(message(",".join(sorted(wanted))), *kind, "1")
        self.assertEqual(answer is not None, bool(wanted & needed))

    @given(kind=kinds, again=kinds)
    def test_never_about_a_report(self, kind: tuple[str, str], again: tuple[str, str]) -> None:
        """No report is made about a report, even if it asks for one (RFC 5438 §7.2.1)."""
        answer = report(message(), *kind, "1")
        assert answer is not None
        answer.add("Disposition-Notification", ALL, IMDN)
        self.assertIsNone(report(answer, *again, "2"))
        answer.part.remove("Content-Disposition")
        self.assertIsNone(report(answer, *again, "2"))
        several = aggregate(read_reports(answer) * 2, BOB, ALICE, "3")
        several.add("Disposition-Notification", ALL, IMDN)
        several.part.remove("Content-Disposition")
        self.assertIsNone(report(several, *again, "4"))

    def test_unanswerable(self) -> None:
        """Without Message-ID or From there is nothing to report, or nobody to tell."""
        for name, space in (("Message-ID", IMDN), ("From", "urn:ietf:params:cpim-headers:")):
            asked = message()
            asked.drop(name, space)
            self.assertFalse(wants(asked, DISPLAY, "displayed"))

    def test_subject(self) -> None:
        """The subject comes back with its language (RFC 5438 §11.1.5)."""
        asked = message()
        asked.add("Subject", "Objet", lang="fr")
        answer = report(asked, DISPLAY, "displayed", "1")
        assert answer is not None
        found = read_reports(answer)[0]
        self.assertEqual((found.subject, found.subject_lang), ("Objet", "fr"))

    def test_original_to(self) -> None:
        """Original-To comes back, unless the list is undisclosed (RFC 5438 §6.4, §8)."""
        asked = message(ALL, ("Original-To", "<im:list@example.com>"))
        answer = report(asked, DELIVERY, "delivered", "1")
        assert answer is not None
        self.assertEqual(read_reports(answer)[0].original_recipient_uri, "im:list@example.com")
        hidden = report(
            asked, DELIVERY, "delivered", "1", recipient=Address("", "im:list@x"), disclosed=False
        )
        assert hidden is not None
        self.assertNotIn(b"bob", hidden.to_bytes())
        self.assertEqual(
            undisclosed(read_reports(answer)[0]), Imdn("34jk324j", WHEN, DELIVERY, "delivered")
        )

    def test_routes(self) -> None:
        """Who recorded a route sees the report, the last one first (RFC 5438 §6.5, §8)."""
        asked = message()
        record_route(asked, "sip:one.example.com")
        record_route(asked, "sip:two.example.com")
        answer = report(asked, DELIVERY, "delivered", "1")
        assert answer is not None
        self.assertEqual(answer.all("IMDN-Record-Route", IMDN), [])
        self.assertEqual(destination(answer), "sip:two.example.com")
        self.assertFalse(take_route(answer, "sip:one.example.com".__eq__))
        self.assertTrue(take_route(answer, "sip:two.example.com".__eq__))
        self.assertEqual(destination(answer), "sip:one.example.com")
        self.assertTrue(take_route(answer, "sip:one.example.com".__eq__))
        self.assertEqual(destination(answer), "im:alice@example.com")
        self.assertFalse(take_route(answer, "sip:one.example.com".__eq__))

    def test_aggregated(self) -> None:
        """Several reports travel in one multipart (RFC 5438 §8.3)."""
        both = [Imdn("1", WHEN, DELIVERY, "delivered", "im:a@b"), Imdn("1", WHEN, DISPLAY, "error")]
        answer = Cpim.parse(aggregate(both, BOB, ALICE, "9").to_bytes())
        self.assertTrue(is_report(answer))
        self.assertEqual(read_reports(answer), both)

    def test_ordinary(self) -> None:
        self.assertFalse(is_report(message()))
        self.assertEqual(read_reports(message()), [])

    def test_our_own_defects(self) -> None:
        self.assertRaises(UsageError, report, message(), PROCESSING, "delivered", "1")
        nobody = message()
        nobody.drop("To")
        self.assertRaises(UsageError, report, nobody, DELIVERY, "delivered", "1")
        self.assertRaises(PeerError, destination, nobody)
