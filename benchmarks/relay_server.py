"""The MSRP relay that is measured, in a process of its own.

Run as a script, so that it is the installed omaim and not the one beside it. It takes a port,
and prints the form of its hot modules when it is about to serve.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import Deferred  # noqa: E402

import omaim.msrp.relaying  # noqa: E402
from omaim.node.config import NodeConfig  # noqa: E402
from omaim.node.node import open_node  # noqa: E402
from omaim.node.people import make_user  # noqa: E402
from omaim.relay.entity import Config, build  # noqa: E402

DOMAIN = "north.example"


async def begin(port: int) -> None:
    """Serve two users."""
    node = await open_node(NodeConfig(state="memory:"), reactor)
    for name in ("near", "far"):
        await node.stores.users.put(make_user(name, DOMAIN, name, (f"sip:{name}@{DOMAIN}",)))
    form = "interpreted" if str(omaim.msrp.relaying.__file__).endswith(".py") else "compiled"
    print(json.dumps(form), flush=True)
    listen = (f"tcp:127.0.0.1:{port}",)
    config = Config(domain=DOMAIN, host="127.0.0.1", listen=listen, plain=True)
    build(node, config).setServiceParent(node)
    node.startService()


def failed(failure: Any) -> None:
    """Say what went wrong, and end."""
    failure.printTraceback()
    os._exit(1)


def main() -> None:
    """Serve until killed."""
    loop: Any = reactor
    port = int(sys.argv[1])
    loop.callWhenRunning(lambda: Deferred.fromCoroutine(begin(port)).addErrback(failed))
    loop.run()


if __name__ == "__main__":
    main()
