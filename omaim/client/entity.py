"""A bot as an entity: ``twistd omaim-client``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from omaim.client.bot import Answer, Bot, Script, echo, sink
from omaim.client.client import Client
from omaim.client.failures import Busy, NoAnswer
from omaim.client.messages import Message
from omaim.errors import Unavailable, UsageError
from omaim.node.config import setting
from omaim.node.entity import IEntity
from omaim.node.node import Node

FIRST_PAUSE: Final = 1.0  # seconds before the second try to register; doubled after each
LONGEST_PAUSE: Final = 60.0
MODES: Final = ("echo", "sink", "script")

_log = Logger()


@attrs.frozen
class Config:
    """Settings of a bot."""

    identity: str = setting("sip:bob@north.example", "whose bot it is, a SIP address")
    password: str = setting("", "of the account; password_file is safer", secret=True)
    password_file: str = setting("", "file with the password of the account in its first line")
    username: str = setting("", "of the account, if it is not USER@DOMAIN")
    server: str = setting("", "HOST, HOST:PORT or SIP URI of the core; empty: as DNS says")
    transport: str = setting(
        "",
        "udp, tcp or tls; empty: as the server's URI or DNS says",
        check=lambda value: "" if value in ("", "udp", "tcp", "tls") else "must be udp, tcp or tls",
    )
    listen: str = setting("", "own ADDRESS or ADDRESS:PORT; empty: found out")
    ca: str = setting("", "PEM file with the authorities that TLS trusts; empty: the system's")
    relay: str = setting("", "MSRP URI of our relay, as msrps://HOST;tcp; empty: none")
    msrp_networks: tuple[str, ...] = setting(
        (),
        "networks in which peers may have us connect to them, as 10.0.0.0/8; empty: all with "
        "addresses that a host can have, but loopback ones only where we are at one",
    )
    msrp_lowest_port: int = setting(1024, "the lowest port that they may have us connect to")
    display: str = setting("", "name that others see")
    mode: str = setting(
        "echo",
        "what it answers: echo says it back, sink says nothing, script follows a file",
        check=lambda value: "" if value in MODES else "must be echo, sink or script",
    )
    accept: str = setting(
        "all",
        "which invitations it accepts: all, or those that its server says may be answered "
        "automatically, and rooms: allowed",
        check=lambda value: "" if value in ("all", "allowed") else "must be all or allowed",
    )
    script: str = setting("", "the script file, TOML with [[rule]] match and answer")


@implementer(IEntity)
class BotEntity(Service):
    """A bot that runs with its node."""

    def __init__(self, node: Node, config: Config, name: str) -> None:
        self.setName(name)
        self._clock = node.clock
        self._ready: Deferred[None] = Deferred()
        self._starting: Deferred[None] | None = None
        client = Client(
            config.identity,
            _password(config),
            config.server,
            transport=config.transport,
            username=config.username,
            display=config.display,
            listen=config.listen,
            relay=config.relay,
            msrp_networks=config.msrp_networks,
            msrp_lowest_port=config.msrp_lowest_port,
            ca=config.ca,
            node=node,
            name=name,
        )
        self.bot = Bot(client, _answer(config), accepts=config.accept == "all")

    def ready(self) -> Deferred[None]:
        """Return a Deferred that fires when it is registered, or fails when it is not wanted."""
        return self._ready

    def startService(self) -> None:
        """Register, however long that takes."""
        super().startService()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addCallbacks(self._ready.callback, self._not_started)

    async def _start(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self.bot.start()
                return
            except (Busy, NoAnswer, Unavailable) as error:
                _log.warn(
                    "{name}: {why}; next try in {pause} s",
                    name=self.name,
                    why=str(error),
                    pause=pause,
                )
            await deferLater(self._clock, pause)
            pause = min(LONGEST_PAUSE, 2.0 * pause)

    def _not_started(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._ready.errback(failure)

    def stopService(self) -> Deferred[Any]:
        """De-register and end."""
        super().stopService()
        if self._starting is not None:
            self._starting.cancel()
        return Deferred.fromCoroutine(self.bot.stop())


def _password(config: Config) -> str:
    if not config.password_file:
        return config.password
    try:
        lines = Path(config.password_file).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {config.password_file}: {error.strerror}") from None
    return lines[0] if lines else ""


def _answer(config: Config) -> Callable[[Message], Answer]:
    if config.mode == "script":
        if not config.script:
            raise UsageError("mode script needs a script file")
        return Script.load(config.script)
    return echo if config.mode == "echo" else sink


def build(node: Node, config: Config, name: str = "client") -> BotEntity:
    """Return the bot, not yet started, as part of ``node``."""
    return BotEntity(node, config, name)
