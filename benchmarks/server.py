"""The omaim that is measured: a core, with an IM Server or without, in a process of its own.

Run as a script, so that it is the installed omaim and not the one beside it. It takes one JSON
object as its argument, see :class:`Wanted`, and prints another when it serves.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TypedDict

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import Deferred  # noqa: E402

import omaim.sip.message  # noqa: E402
from omaim.core.entity import Config, build  # noqa: E402
from omaim.node.config import NodeConfig  # noqa: E402
from omaim.node.node import open_node  # noqa: E402
from omaim.node.people import make_user  # noqa: E402

DOMAIN = "north.example"
SLICE = 5000


class Wanted(TypedDict):
    """What to run."""

    port: int  # of the core on core_host, UDP and TCP; 0: only fill the stores and end
    state: str  # URL of the stores, or memory:
    users: int  # to make before; 0: they are there
    authenticate: str  # digest credentials: always or never
    profile: str  # ims or sip
    im: bool  # with an IM Server
    core_host: str
    im_host: str


async def serve(wanted: Wanted) -> None:
    """Start what is wanted and say so."""
    node = await open_node(NodeConfig(state=wanted["state"]), reactor)
    for first in range(0, wanted["users"], SLICE):
        numbers = range(first, min(first + SLICE, wanted["users"]))
        names = [f"u{number}" for number in numbers]
        await node.stores.users.put_many(
            [make_user(name, DOMAIN, name, (f"sip:{name}@{DOMAIN}",)) for name in names]
        )
    if not wanted["port"]:
        await node.stores.close()
        stop()
        return
    entities: list[Any] = []
    port, host, im_host = wanted["port"], wanted["core_host"], wanted["im_host"]
    core = Config(
        domain=DOMAIN,
        listen=(f"udp:{host}:{port}", f"tcp:{host}:{port}"),
        authenticate=wanted["authenticate"],
        algorithms=("MD5",),
        profile=wanted["profile"],
        nonce_lifetime=3600.0,
        services=(im_host,) if wanted["im"] else (),
        im_server=f"sip:{im_host}:{port};lr" if wanted["im"] else "",
    )
    if wanted["im"]:
        from omaim.im import entity as im

        config = im.Config(
            domain=DOMAIN,
            listen=(f"udp:{im_host}:{port}",),
            core=f"sip:{host}:{port}",
            trusted=(host,),
        )
        entities.append(im.build(node, config, "im"))
    entities.append(build(node, core, "core"))
    for entity in entities:
        entity.setServiceParent(node)
    node.startService()
    for entity in entities:
        await entity.ready()
    form = "interpreted" if str(omaim.sip.message.__file__).endswith(".py") else "compiled"
    print(json.dumps({"pid": os.getpid(), "form": form, "version": omaim.__version__}), flush=True)


def stop() -> None:
    """End the process."""
    reactor.callLater(0, reactor.stop)


def failed(failure: Any) -> None:
    """Say what went wrong, and end."""
    print(json.dumps({"error": failure.getTraceback()}), flush=True)
    stop()


def main() -> None:
    """Serve until killed."""
    wanted: Wanted = json.loads(sys.argv[1])
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(serve(wanted)).addErrback(failed))
    reactor.run()


if __name__ == "__main__":
    main()
