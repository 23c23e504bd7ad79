"""What is secret stays out of logs, answers, events and texts of objects."""

from __future__ import annotations

import contextlib
import io
from typing import Any, Final

from twisted.logger import ILogObserver, LogEvent, formatEventAsClassicLogText, globalLogPublisher
from zope.interface import implementer

from omaim.node.people import make_user
from omaim.sip.digest import find_credentials, hash_a1
from tests.security.support import AttackCase, Attacker, Insider, ScenarioNetwork, text_of

ALICE: Final = "sip:alice@north.example"
BOB: Final = "sip:bob@north.example"
XENIA: Final = "sip:xenia@south.example"
NAMES: Final = ("alice", "bob", "xenia")
TEXT: Final = "a private thing to say"


@implementer(ILogObserver)
class _Everything:
    """Keeps all that is logged, as text and as values."""

    def __init__(self) -> None:
        self.text = io.StringIO()

    def __call__(self, event: LogEvent) -> None:
        self.text.write(formatEventAsClassicLogText(event) or "")
        for key, value in event.items():
            self.text.write(f"{key}={value!r}\n")


def secrets() -> list[str]:
    """Return everything that must not be seen, of the people of these tests."""
    found = []
    for name in NAMES:
        domain = "south.example" if name == "xenia" else "north.example"
        password = f"{name}-secret"
        found.append(password)
        for algorithm in ("MD5", "SHA-256", "SHA-512-256"):
            user = f"{name}@{domain}"
            found.append(hash_a1(algorithm, user, domain, password.encode()))
    return found


class SecretsTests(AttackCase):
    def test_logs(self) -> None:
        """A run with all sorts of failures logs no password, no HA1 and no message text."""
        everything = _Everything()

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice, bob = Insider(attacker), Insider(attacker, "bob")
            await alice.register()
            await bob.register()
            await alice.say(BOB, TEXT.encode())
            await alice.say(XENIA, TEXT.encode())
            wrong = Insider(attacker)
            wrong.answerer._password = b"bob-secret"
            await wrong.register()
            source = attacker.source()
            for number, junk in enumerate(
                (b"\x00", b"Via", b"CSeq: x", b"Authorization: Digest x")
            ):
                data = text_of(
                    "MESSAGE",
                    BOB,
                    source,
                    sender=ALICE,
                    number=number + 1,
                    headers=("Authorization: Digest username=alice,response=alice-secret",),
                    body=TEXT.encode(),
                )
                attacker.forge(source, data.replace(b"CSeq:", junk, 1))
            client = await net.online("xenia")
            await net.message(client)
            await net.stop("im-south")
            with contextlib.suppress(AssertionError):  # nobody answers soon
                await alice.say(XENIA, TEXT.encode())
            await net.sleep(60)

        globalLogPublisher.addObserver(everything)
        try:
            self.play(script)
        finally:
            globalLogPublisher.removeObserver(everything)
        text = everything.text.getvalue()
        self.assertGreater(len(text), 0)
        for secret in [*secrets(), TEXT]:
            self.assertNotIn(secret, text)

    def test_answers(self) -> None:
        """No answer to anybody carries a HA1 or a password."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice = Insider(attacker)
            await alice.register()
            await alice.say(BOB, b"x")
            for record in net.records:
                for secret in secrets():
                    self.assertNotIn(secret.encode(), record.data)
            for sighting in net.sightings("core-south", "in"):
                self.assertNotIn(b"Authorization", sighting.record.data)

        self.play(script)

    def test_texts(self) -> None:
        """The texts of the values that hold secrets do not show them."""
        user = make_user("alice@north.example", "north.example", "alice-secret", (ALICE,))
        shown = [repr(user), str(user), repr(user.credentials)]
        proof = (
            'Digest username="alice", realm="north.example", nonce="n", uri="sip:x", '
            'response="0123456789abcdef0123456789abcdef"'
        )
        shown.append(repr(find_credentials([proof], "north.example")))

        async def script(net: ScenarioNetwork) -> None:
            alice = Insider(Attacker(net))
            client: Any = net.client("bob")
            shown.extend((repr(alice.answerer), repr(client), str(client)))
            for node in net.nodes.values():
                shown.extend((repr(node), repr(node.config), repr(node.stores)))
            for entity in net.entities.values():
                shown.extend((repr(entity), repr(entity.config)))

        self.play(script)
        for secret in [*secrets(), "0123456789abcdef"]:
            for text in shown:
                self.assertNotIn(secret, text)
