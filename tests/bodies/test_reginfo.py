"""Registration information documents (RFC 3680 §5, RFC 5628)."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.reginfo import (
    ACTIVE,
    APPLIED,
    EVENTS,
    INIT,
    MISSED,
    OLD,
    TERMINATED,
    Contact,
    Reginfo,
    Registration,
    RegistrationTable,
    parse_reginfo,
    write_reginfo,
)
from omaim.errors import PeerError, UsageError

VECTORS = Path(__file__).parents[1] / "vectors" / "reginfo"

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), max_size=12)
SOME = WORDS.map(str.strip).filter(bool)
NUMBERS = st.none() | st.integers(0, 2**64 - 1)


@st.composite
def contacts(draw: st.DrawFn, id: str) -> Contact:
    event = draw(st.sampled_from(sorted(EVENTS)))
    return Contact(
        id=id,
        event=event,
        uri=draw(SOME),
        state=EVENTS[event],
        display=draw(WORDS).strip(),
        q=draw(st.sampled_from(["", "0.5", "1.0"])),
        duration=draw(NUMBERS),
        expires=draw(NUMBERS if event != "shortened" else st.integers(0, 9)),
        retry_after=draw(NUMBERS if event != "probation" else st.integers(0, 9)),
        call_id=draw(WORDS),
        cseq=draw(NUMBERS),
        params=tuple(draw(st.lists(st.tuples(SOME, WORDS.map(str.strip)), max_size=2))),
        pub_gruu=draw(WORDS).strip(),
        temp_gruu=draw(st.just("") | st.just("sip:t@h;gr")),
    )


@st.composite
def documents(draw: st.DrawFn) -> Reginfo:
    registrations = []
    for id in draw(st.lists(st.sampled_from("abc"), unique=True)):
        found = draw(st.lists(st.sampled_from("123"), unique=True))
        state = draw(st.sampled_from([INIT, ACTIVE, TERMINATED]))
        made = tuple(draw(contacts(id + number)) for number in found)
        registrations.append(Registration("sip:" + id, id, state, made))
    version = draw(st.integers(0, 2**32 - 1))
    return Reginfo(version, draw(st.booleans()), tuple(registrations))


def contact(id: str, event: str = "registered") -> Contact:
    return Contact(id, event, f"sip:{id}@h", EVENTS[event])


def document(version: int, full: bool, *contacts: Contact, state: str = ACTIVE) -> Reginfo:
    return Reginfo(version, full, (Registration("sip:a", "r", state, contacts),))


class DocumentTests(SynchronousTestCase):
    def test_rfc_examples(self) -> None:
        """The documents of both RFCs are read, and written back mean the same."""
        paths = sorted(VECTORS.glob("*.xml"))
        self.assertEqual(len(paths), 5)
        for path in paths:
            found = parse_reginfo(path.read_bytes())
            self.assertEqual(parse_reginfo(write_reginfo(found)), found)

    def test_contents(self) -> None:
        """All of RFC 3680 §5.3's example arrives."""
        found = parse_reginfo((VECTORS / "rfc3680-01-s5.3-reginfo.xml").read_bytes())
        self.assertEqual((found.version, found.full), (0, True))
        [registration] = found.registrations
        self.assertEqual((registration.aor, registration.id), ("sip:user@example.com", "as9"))
        first, second = registration.contacts
        self.assertEqual(
            (first.uri, first.q, first.duration), ("sip:user@pc887.example.com", "0.8", 7322)
        )
        self.assertEqual((second.event, second.state), ("expired", TERMINATED))

    def test_gruus(self) -> None:
        """GRUUs and unknown parameters of RFC 5628 §7's example arrive."""
        found = parse_reginfo((VECTORS / "rfc5628-01-s7-reginfo.xml").read_bytes())
        [one] = found.registrations[0].contacts
        self.assertEqual(one.pub_gruu, "sip:user@example.com;gr=hha9s8d-999a")
        self.assertEqual(one.first_cseq, 54301)
        self.assertEqual(one.params[0][0], "+sip.instance")
        self.assertEqual((one.cseq, one.expires), (54321, 3599))

    @given(documents())
    def test_round_trip(self, reginfo: Reginfo) -> None:
        """parse(write(x)) == x."""
        self.assertEqual(parse_reginfo(write_reginfo(reginfo)), reginfo)

    @given(st.binary(max_size=100))
    def test_junk(self, data: bytes) -> None:
        """Junk raises PeerError only."""
        inside = b'<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'
        for candidate in (data, inside + data + b"</reginfo>"):
            try:
                parse_reginfo(candidate)
            except PeerError:
                pass

    def test_refused(self) -> None:
        """Missing or impossible values and a DOCTYPE are refused (§5.1, §5.4)."""
        good = (VECTORS / "rfc3680-03-s6-reginfo.xml").read_text("utf-8")
        parse_reginfo(good.encode())
        for old, new in (
            ('version="1"', ""),
            ('version="1"', 'version="x"'),
            ('version="1"', 'version="4294967296"'),
            ("partial", "half"),
            ('state="active">\n    <contact', 'state="odd">\n    <contact'),
            ('aor="sip:joe@example.com"', ""),
            ('event="registered"', 'event="odd"'),
            ('id="76"', ""),
            ("<uri>sip:joe@pc34.example.com</uri>", ""),
            ('duration-registered="0"', 'duration-registered="-1"'),
            ("<reginfo", '<!DOCTYPE reginfo [<!ENTITY a "b">]><reginfo'),
        ):
            self.assertIn(old, good)
            self.assertRaises(PeerError, parse_reginfo, good.replace(old, new).encode())
        double = good.replace(
            "</reginfo>", '<registration aor="x" id="a7" state="init"/></reginfo>'
        )
        self.assertRaises(PeerError, parse_reginfo, double.encode())

    def test_unwritable(self) -> None:
        """What RFC 3680 demands of a document is seen to before it is written."""
        for bad in (
            contact("1", "registered"),
            contact("1", "shortened"),
            contact("1", "probation"),
        ):
            if bad.event == "registered":
                bad = Contact("1", "odd", "sip:x")
            self.assertRaises(UsageError, write_reginfo, document(0, True, bad))
        written = write_reginfo(document(0, True, Contact("1", "rejected", "sip:x")))
        self.assertEqual(parse_reginfo(written).registrations[0].contacts[0].state, TERMINATED)


class TableTests(SynchronousTestCase):
    def ids(self, table: RegistrationTable) -> list[str]:
        return [one.id for found in table.registrations.values() for one in found.contacts]

    def test_partial(self) -> None:
        """Partial documents add, replace and remove (§5.2)."""
        table = RegistrationTable()
        self.assertEqual(table.apply(document(3, True, contact("1"), contact("2"))), APPLIED)
        self.assertEqual(table.apply(document(4, False, contact("3"))), APPLIED)
        self.assertEqual(self.ids(table), ["1", "2", "3"])
        gone = document(5, False, contact("1", "expired"), contact("2", "refreshed"))
        self.assertEqual(table.apply(gone), APPLIED)
        self.assertEqual(self.ids(table), ["2", "3"])
        self.assertEqual(table.registrations["r"].contacts[0].event, "refreshed")
        self.assertEqual(table.apply(document(6, False, state=TERMINATED)), APPLIED)
        self.assertEqual(table.registrations, {})

    def test_order(self) -> None:
        """Old documents change nothing, a gap asks for a refresh, full state mends it (§5.2)."""
        table = RegistrationTable()
        self.assertEqual(table.apply(document(0, False, contact("1"))), MISSED)
        self.assertEqual(table.apply(document(0, False, contact("9"))), OLD)
        self.assertEqual(table.apply(document(2, False, contact("2"))), MISSED)
        self.assertEqual(self.ids(table), ["1", "2"])
        self.assertEqual(table.apply(document(9, True, contact("3"))), APPLIED)
        self.assertEqual(self.ids(table), ["3"])

    @given(st.lists(documents(), max_size=6))
    def test_full_is_all(self, found: list[Reginfo]) -> None:
        """After a full document only what it says is active is kept."""
        table = RegistrationTable()
        for number, reginfo in enumerate(found):
            table.apply(Reginfo(number, reginfo.full, reginfo.registrations))
            if reginfo.full:
                expected = [
                    one.id
                    for registration in reginfo.registrations
                    if registration.state != TERMINATED
                    for one in registration.contacts
                    if one.state == ACTIVE
                ]
                self.assertEqual(self.ids(table), expected)

    def test_bounded(self) -> None:
        """A notifier cannot fill our memory."""
        table = RegistrationTable()
        for number in range(3):
            made = tuple(
                Registration(f"sip:{n}", str(n), ACTIVE)
                for n in range(number * 600, number * 600 + 600)
            )
            table.apply(Reginfo(number, number == 0, made))
        self.assertEqual(len(table.registrations), 1000)
