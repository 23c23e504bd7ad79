"""An IM Server in a process of its own, killed and started again by a test."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.network import ReactorNetwork
from tests.im.support import Core


class LivesTestCase(TestCase):
    """A test with a core in this process, and lives of a server with SQLite.

    Attributes:
        state: the file.
        address: SIP URI of the present life; ``served_at`` is its port.
        delivery, replay: of the server's settings.
    """

    timeout = 100
    delivery = "push"
    replay = 0

    async def listen(self) -> None:
        """Begin to be the core."""
        endpoint = Endpoint(ReactorNetwork(reactor), reactor, name="core", ids=Ids(7))
        listener = await endpoint.listen("UDP", "127.0.0.1", 0)
        self.addCleanup(endpoint.stop)
        self.port = listener.port
        self.core = Core(endpoint)
        self.core.ua.contact = f"<sip:127.0.0.1:{self.port}>"
        self.state = os.path.abspath(self.mktemp())

    async def life(self, port: int = 0) -> subprocess.Popen[bytes]:
        """Start a server; return it when it serves.

        Args:
            port: where; any free one for 0.
        """
        settings = [str(self.port), str(port), self.delivery]
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.im.server", self.state, *settings, str(self.replay)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        assert server.stdout is not None
        self.served_at = int(server.stdout.readline())
        self.address = f"sip:127.0.0.1:{self.served_at}"
        server.stdout.close()
        return server
