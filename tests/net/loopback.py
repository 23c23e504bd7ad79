"""Endpoints on loopback sockets: certificates for them, and patience."""

from __future__ import annotations

import ipaddress
from typing import Any

from cryptography import x509
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from omaim.net.tls import TlsSettings
from tests.net.support import Authority

OURS = Authority()
STRANGERS = Authority()
LOCAL = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


def settings(
    *names: x509.GeneralName, authority: Authority = OURS, trust: Authority = OURS, **more: Any
) -> TlsSettings:
    """Return settings with a fresh certificate."""
    certificate, key = authority.issue(*names)
    return TlsSettings(certificate, key, trust.pem, **more)


class LoopbackCase(TestCase):
    """A test that waits for what happens on sockets."""

    async def until(self, done: Any, seconds: float = 10.0) -> None:
        """Wait until ``done()`` is true."""
        for _ in range(int(seconds / 0.005)):
            if done():
                return
            await self.pause(0.005)
        self.fail("it did not happen in time")

    def pause(self, seconds: float) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        reactor.callLater(seconds, waiting.callback, None)
        return waiting
