"""Bodies that blow up, from users with a right password: refused or passed on, never unfolded."""

from __future__ import annotations

import tracemalloc
from time import process_time
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omaim.sip.message import Response
from omaim.testing.strategies import mutated
from tests.security.support import AttackCase, Attacker, Insider, Layout, ScenarioNetwork

ALICE: Final = "sip:alice@north.example"
BOB: Final = "sip:bob@north.example"
XENIA: Final = "sip:xenia@south.example"
EXPLODER: Final = "sip:exploder@north.example"

LIST_HEADERS: Final = (
    "Require: recipient-list-message",
    'Content-Type: multipart/mixed;boundary="b"',
)
LISTS: Final = "application/resource-lists+xml"
NAMESPACE: Final = "urn:ietf:params:xml:ns:resource-lists"
LAUGHS: Final = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + f']><resource-lists xmlns="{NAMESPACE}"><list><entry uri="&j;"/></list></resource-lists>'
)
ROOMY: Final = Layout(settings={"im-north": {"max_size": 2_000_000}})


def listed(document: str, kind: str = LISTS) -> bytes:
    """Return the body of a list message."""
    return (
        "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
        f"--b\r\nContent-Type: {kind}\r\nContent-Disposition: recipient-list\r\n\r\n"
        f"{document}\r\n--b--\r\n"
    ).encode()


def people(count: int) -> str:
    """Return a recipient list."""
    entries = "".join(f'<entry uri="sip:p{n}@north.example"/>' for n in range(count))
    return f'<resource-lists xmlns="{NAMESPACE}"><list>{entries}</list></resource-lists>'


class Measured:
    """Fails when what is inside costs too much."""

    def __init__(self, case: AttackCase, seconds: float = 3.0, octets: int = 30_000_000) -> None:
        self._case, self._seconds, self._octets = case, seconds, octets

    def __enter__(self) -> None:
        tracemalloc.start()
        self._began = process_time()

    def __exit__(self, *raised: object) -> None:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if raised[0] is None:
            self._case.assertLess(process_time() - self._began, self._seconds)
            self._case.assertLess(peak, self._octets)


class BombTests(AttackCase):
    def explode(self, document: str, wanted: tuple[int, ...], kind: str = LISTS) -> None:
        """Send a list message whose list is a bomb; nobody gets anything."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice, bob = Insider(attacker), Insider(attacker, "bob")
            await bob.register()
            with Measured(self):
                response = await alice.say(EXPLODER, listed(document, kind), *LIST_HEADERS)
            self.assertIn(response.status, wanted)
            await net.sleep(40)
            self.assertEqual(attacker.requests(bob.source), [])
            alive = await alice.say(BOB, b"still there?")
            self.assertEqual(alive.status, 200)

        self.play(script, ROOMY)

    def test_billion_laughs(self) -> None:
        """Entities are not unfolded; a DOCTYPE is refused."""
        self.explode(LAUGHS, (400,))

    def test_external_entity(self) -> None:
        """No file is read and no network asked on behalf of a document."""
        self.explode(
            '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
            f'<resource-lists xmlns="{NAMESPACE}"><list><entry uri="sip:&f;@x"/></list>'
            "</resource-lists>",
            (400,),
        )

    def test_depth(self) -> None:
        """Ten thousand lists in lists are refused."""
        self.explode(
            f'<resource-lists xmlns="{NAMESPACE}">'
            + "<list>" * 10_000
            + f'<entry uri="{BOB}"/>'
            + "</list>" * 10_000
            + "</resource-lists>",
            (400, 413),
        )

    def test_attributes(self) -> None:
        """So are a hundred thousand attributes, or an attribute of a megabyte."""
        many = " ".join(f'a{n}="1"' for n in range(60_000))
        self.explode(
            f'<resource-lists xmlns="{NAMESPACE}"><list {many}/></resource-lists>', (400, 413)
        )
        self.explode(
            f'<resource-lists xmlns="{NAMESPACE}"><list name="{"n" * 900_000}"/></resource-lists>',
            (400, 413),
        )

    def test_list_bomb(self) -> None:
        """A list of ten thousand people is refused as a whole: nobody gets a copy."""

        async def script(net: ScenarioNetwork) -> None:
            alice = Insider(Attacker(net))
            with Measured(self, 5.0):
                response = await alice.say(EXPLODER, listed(people(10_000)), *LIST_HEADERS)
            self.assertEqual(response.status, 413)
            await net.sleep(40)
            copies = [
                one for one in net.sightings("im-north", "out") if b"hello" in one.record.data
            ]
            self.assertEqual(copies, [])

        self.play(script, ROOMY)

    def test_too_large(self) -> None:
        """As shipped, a body over the limit of the IM Server is 413 at once."""

        async def script(net: ScenarioNetwork) -> None:
            alice = Insider(Attacker(net))
            response = await alice.say(EXPLODER, listed(people(10_000)), *LIST_HEADERS)
            self.assertEqual(response.status, 413)
            self.assertEqual((await alice.say(BOB, b"x" * 30_000)).status, 413)

        self.play(script)

    def test_multipart_nesting(self) -> None:
        """Multipart in multipart, hundreds deep, is refused; so are parts without number."""
        inner = "Content-Type: text/plain\r\n\r\nx\r\n"
        for level in range(500):
            mark = f"n{level}"
            inner = (
                f'Content-Type: multipart/mixed;boundary="{mark}"\r\n\r\n'
                f"--{mark}\r\n{inner}\r\n--{mark}--\r\n"
            )
        nested = f"--b\r\n{inner}\r\n--b--\r\n".encode()
        parts = b"--b\r\n\r\nx\r\n" * 50_000 + b"--b--\r\n"

        async def script(net: ScenarioNetwork) -> None:
            alice = Insider(Attacker(net))
            for body in (nested, parts):
                with Measured(self):
                    response = await alice.say(EXPLODER, body, *LIST_HEADERS)
                self.assertIn(response.status, (400, 413))

        self.play(script, ROOMY)

    def test_deferred_lists(self) -> None:
        """The lists that deferred messaging and history take are no better a way in."""

        async def script(net: ScenarioNetwork) -> None:
            alice = Insider(Attacker(net))
            kinds = (
                "application/vnd.oma.im.deferred-list+xml",
                "application/vnd.oma.im.history-list+xml",
                "application/xml",
                LISTS,
            )
            addresses = ("deferred", "deferred-delete", "history", "history-delete")
            for uri in (f"sip:{name}@north.example" for name in addresses):
                for kind in kinds:
                    for document in (LAUGHS, "<a>" * 5000, "\0", ""):
                        with Measured(self):
                            response = await alice.say(
                                uri, document.encode(), f"Content-Type: {kind}"
                            )
                        self.assertIn(response.status, (200, 202, 400, 404, 413, 415), document[:9])

        self.play(script, ROOMY)


CPIM: Final = (
    b"From: <sip:alice@north.example>\r\nTo: <sip:bob@north.example>\r\n"
    b"DateTime: 2026-01-01T00:00:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n"
    b"imdn.Message-ID: 34jk324j\r\nimdn.Disposition-Notification: positive-delivery, display\r\n"
    b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n"
)
IMDN: Final = (
    b"From: <sip:alice@north.example>\r\nTo: <sip:bob@north.example>\r\n"
    b"NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: r1\r\n\r\n"
    b"Content-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\r\n"
    b'<?xml version="1.0"?><imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>34jk</message-id>'
    b"<datetime>2026-01-01T00:00:00Z</datetime><delivery-notification><status><delivered/></status>"
    b"</delivery-notification></imdn>"
)


class JunkTests(AttackCase):
    def test_cpim(self) -> None:
        """Mutated CPIM gets an answer from the vocabulary, whoever is online (RFC 3862)."""

        @settings(max_examples=8, suppress_health_check=list(HealthCheck))
        @given(st.lists(mutated([CPIM, IMDN]), min_size=15, max_size=15))
        def run(bodies: list[bytes]) -> None:
            async def script(net: ScenarioNetwork) -> None:
                attacker = Attacker(net)
                alice, bob = Insider(attacker), Insider(attacker, "bob")
                await bob.register()
                for number, body in enumerate(bodies):
                    response = await alice.say(
                        XENIA if number % 2 else BOB, body, "Content-Type: message/cpim"
                    )
                    self.assertIn(response.status, (200, 202, 400, 403, 413, 415, 480, 488))
                await net.sleep(40)

            self.play(script)

        run()

    def test_lists(self) -> None:
        """So does a mutated list message."""
        good = listed(people(3))

        @settings(max_examples=8, suppress_health_check=list(HealthCheck))
        @given(st.lists(mutated([good]), min_size=12, max_size=12))
        def run(bodies: list[bytes]) -> None:
            async def script(net: ScenarioNetwork) -> None:
                alice = Insider(Attacker(net))
                for body in bodies:
                    response = await alice.say(EXPLODER, body, *LIST_HEADERS)
                    self.assertIn(response.status, (200, 202, 400, 403, 404, 413, 415, 421, 470))
                await net.sleep(40)

            self.play(script)

        run()

    def test_headers_that_servers_read(self) -> None:
        """Absurd Expires, Date, types and preferences in good messages do no harm."""
        nasty = (
            "",
            "-1",
            "9" * 60,
            "x",
            '"',
            ";;;",
            "\u00e9",
            "*;q=9",
            "Mon, 99 Foo 2026 99:99:99 GMT",
        )
        names = (
            "Expires", "Date", "Content-Type", "Content-Encoding", "Content-Language", "Accept",
            "Accept-Contact", "Reject-Contact", "Request-Disposition", "Privacy", "Supported",
            "Require", "In-Reply-To", "Priority", "Event", "P-Preferred-Identity", "Max-Breadth",
            "Reason", "User-Agent", "P-Access-Network-Info", "Contribution-ID",
        )  # fmt: skip

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice, bob = Insider(attacker), Insider(attacker, "bob")
            await bob.register()
            seen: set[int] = set()
            for name in names:
                for value in nasty:
                    response: Response = await alice.say(BOB, b"x", f"{name}: {value}")
                    seen.add(response.status)
                    self.assertLess(response.status, 500, f"{name}: {value}")
            self.assertIn(200, seen)

        self.play(script)
