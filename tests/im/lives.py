"""An IM Server in a process of its own, killed and started again by a test."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from omaim.bodies.im_settings import MEDIA_TYPE as SETTINGS
from omaim.bodies.im_settings import ServiceSettings, write_settings
from omaim.ids import Ids
from omaim.msrp import Outgoing, Session
from omaim.net.endpoint import Endpoint
from omaim.net.msrp import MsrpEndpoint
from omaim.net.network import ReactorNetwork
from omaim.roles.inviter import Inviter
from tests.im.support import Core

Speaker: TypeAlias = tuple[Session, str]  # and whose it is


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


class TalksTestCase(LivesTestCase):
    """Such a test with people who have sessions.

    Attributes:
        acknowledged: what speakers were told that it was taken.
        said: how much was said.
    """

    async def listen(self) -> None:
        """Begin to be the core, and its people."""
        await super().listen()
        self.msrp = MsrpEndpoint(ReactorNetwork(reactor), reactor, name="people", ids=Ids(8))
        self.addCleanup(self.msrp.stop)
        await self.msrp.listen("TCP", "127.0.0.1", 0)
        self.inviter = Inviter(self.core.ua)
        self.acknowledged: list[str] = []
        self.said = 0

    async def record(self, user: str) -> None:
        """Have the sessions of a user recorded."""
        request = self.core.ua.make(
            "PUBLISH",
            user,
            [
                ("Route", f"<{self.address};lr>"),
                ("P-Asserted-Identity", f"<{user}>"),
                ("P-Served-User", f"<{user}>;sescase=orig;regstate=reg"),
                ("Event", "im-settings"),
                ("Content-Type", SETTINGS),
            ],
            write_settings(ServiceSettings(history_session=True)),
        )
        self.assertEqual((await self.core.ua.request(request)).status, 200)

    def speak(self, session: Session, user: str) -> None:
        """Say one thing after another, until the connection is gone."""
        self.said += 1
        name = f"{user}-{self.said}"

        def ended(status: int) -> None:
            if status == 200:
                self.acknowledged.append(name)
                self.speak(session, user)

        kind, body = self.words(name, user)
        session.send(Outgoing(kind, body, on_end=ended))

    async def speak_in_lives(
        self,
        count: int,
        owner: str,
        chance: random.Random,
        meet: Callable[[], Awaitable[Sequence[Speaker]]],
    ) -> None:
        """Have people speak in so many lives of a server, and kill each in the middle of it.

        Args:
            owner: whose sessions are recorded.
            chance: how much is said in each.
            meet: brings the people together in a new life; each says three things at a time.
        """
        server = await self.life()
        await self.record(owner)
        for _ in range(count):
            speakers = await meet()
            wanted = len(self.acknowledged) + chance.randrange(20, 60)
            for session, user in speakers:
                for _ in range(3):
                    self.speak(session, user)
            while len(self.acknowledged) < wanted:
                await deferLater(reactor, 0.0)
            server.kill()
            server.wait()
            server = await self.life()
        server.kill()
        server.wait()

    def check_recorded(self, recorded: Counter[str]) -> None:
        """Make sure that much was acknowledged, and all of that is recorded, and all once."""
        self.assertGreater(len(self.acknowledged), 80)
        self.assertEqual([one for one in self.acknowledged if recorded[one] != 1], [])
        self.assertEqual([one for one, count in recorded.items() if count != 1], [])

    def words(self, name: str, user: str) -> tuple[str, bytes]:
        """Return the content of a message that is called so."""
        raise NotImplementedError
