"""An IM Server in a process of its own, until somebody kills it.

Run by lives.py: ``python -m tests.im.server STATE CORE-PORT PORT DELIVERY REPLAY``, where port 0
takes any; it says its own.
"""

from __future__ import annotations

import os
import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from omaim.im.config import Config
from omaim.im.entity import build
from omaim.node.config import NodeConfig
from omaim.node.node import open_node


async def main(state: str, core: str, port: str, delivery: str, replay: str) -> None:
    """Serve until killed."""
    node = await open_node(NodeConfig(state=f"sqlite:///{state}"), reactor)
    config = Config(
        listen=(f"udp:127.0.0.1:{port}",),
        msrp=("tcp:127.0.0.1:0",),
        core=f"sip:127.0.0.1:{core}",
        delivery=delivery,
        room_replay=int(replay),
    )
    server = build(node, config, "im-north")
    server.setServiceParent(node)
    node.startService()
    await server.ready()
    os.write(1, f"{server.endpoint.listeners[0].port}\n".encode())


if __name__ == "__main__":
    Deferred.fromCoroutine(main(*sys.argv[1:6])).addErrback(
        lambda failure: os._exit(1) if failure.printTraceback(sys.stderr) is None else None
    )
    reactor.run()
