"""The door of the IM Server: its settings, and whom a registration is about."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import binary, sampled_from
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart
from omaim.errors import UsageError
from omaim.im.config import Config
from omaim.im.registrations import registered_identities
from omaim.node.config import make_config
from omaim.sip.message import Request
from tests.im.support import BOB, ImTestCase

WORK = "sip:work@north.example"


class ConfigTests(SynchronousTestCase):
    def test_words(self) -> None:
        """A setting that takes one of a few words says which."""
        for name in ("delivery", "untagged", "consent"):
            error = self.assertRaises(UsageError, make_config, Config, {name: "maybe"}, "im")
            self.assertIn("must be one of", str(error))
        self.assertEqual(make_config(Config, {"delivery": "notify"}, "im").delivery, "notify")


class RegistrationTests(SynchronousTestCase):
    def register(self, body: bytes = b"", kind: str = "") -> Request:
        """Return a third-party REGISTER of Bob."""
        headers = [("To", f"<{BOB}>"), ("Content-Type", kind)]
        return Request.make("REGISTER", "sip:im", headers if kind else headers[:1], body)

    def answer(self, *uris: str) -> bytes:
        """Return what the user was answered."""
        response = self.register().response(200)
        for uri in uris:
            response.add("P-Associated-URI", f"<{uri}>")
        return response.to_bytes()

    def test_identities(self) -> None:
        """What was registered together is named in the response inside (TS 24.229 §5.4.1.7)."""
        self.assertEqual(registered_identities(self.register()), [BOB])
        one = self.register(self.answer(BOB, WORK), "message/sip")
        self.assertEqual(registered_identities(one), [BOB, WORK])
        parts = [
            Part([("Content-Type", "application/3gpp-ims+xml")], b"<ims-3gpp/>"),
            Part([("Content-Type", "message/sip")], self.register().to_bytes()),
            Part([("Content-Type", "message/sip")], self.answer(WORK)),
        ]
        kind, body = Multipart("mixed", parts).write()
        self.assertEqual(registered_identities(self.register(body, kind)), [BOB, WORK])

    def test_bounded(self) -> None:
        """However many there are, a few dozen count."""
        many = self.answer(*(f"sip:u{number}@north.example" for number in range(100)))
        found = registered_identities(self.register(many, "message/sip"))
        self.assertEqual(len(found), 32)

    @given(sampled_from(("message/sip", "multipart/mixed;boundary=b", "x")), binary(max_size=99))
    def test_junk(self, kind: str, body: bytes) -> None:
        """What is inside hurts nobody."""
        self.assertEqual(registered_identities(self.register(body, kind)), [BOB])


class StopTests(ImTestCase):
    def test_stop(self) -> None:
        """A server that is stopped leaves nothing running."""
        self.stop()
        self.core.ua.endpoint.stop()
        self.clock.advance(1000)
        self.assertEqual(self.clock.getDelayedCalls(), [])
