"""Two people in a session, and servers between that have to keep nothing of it."""

from __future__ import annotations

from typing import Any

from omaim.testing.scenario import ScenarioNetwork
from tests.im.parties import Party, SessionCase, refused

SERVERS = ("im-north", "im-south")


async def pair(net: ScenarioNetwork, *names: str) -> tuple[Party, Party]:
    one, two = names or ("alice", "xenia")
    return await Party.come(net, one), await Party.come(net, two)


class FaultCase(SessionCase):
    def nothing_left(self, net: ScenarioNetwork, but: int = 0) -> None:
        """No server keeps anything of a session, but for so many that go on."""
        for name in SERVERS:
            entity = net.entities[name]
            self.assertEqual(len(entity.msrp.sessions), 2 * but, name)
            self.assertEqual(len(entity.sessions.conversations), but, name)
            self.assertEqual(len(entity.sessions._inviter), 2 * but, name)
            self.assertEqual(entity.sessions._ringing, {}, name)

    async def status(self, doing: Any) -> int:
        return (await refused(doing)).status
