"""What every command asks that acts for a user: identity, password, where the server is."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypedDict

import click
from twisted.logger import globalLogBeginner, textFileLogObserver

from omaim.errors import UsageError
from omaim.node.config import parse_place


class Account(TypedDict):
    """Arguments of a :class:`omaim.client.Client`."""

    server: str
    transport: str
    username: str
    display: str
    ca: str
    listen: str
    relay: str
    dns: tuple[tuple[str, int], ...]


def account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that make up an ``account``."""

    @click.option("--server", "-s", default="", help="HOST, HOST:PORT or SIP URI; else DNS.")
    @click.option(
        "--transport", "-t", type=click.Choice(["udp", "tcp", "tls"]), help="Else as DNS says."
    )
    @click.option("--username", "-u", default="", help="Of the account, if not USER@DOMAIN.")
    @click.option("--display", "-d", default="", help="Your name as others see it.")
    @click.option("--ca", default="", help="PEM file with the authorities that TLS trusts.")
    @click.option("--listen", default="", help="Own ADDRESS or ADDRESS:PORT; found out if empty.")
    @click.option(
        "--relay", default="", metavar="URI", help="Your MSRP relay, as msrps://HOST;tcp."
    )
    @click.option("--dns", multiple=True, metavar="HOST:PORT", help="DNS server to ask.")
    @functools.wraps(command)
    def with_account(
        server: str,
        transport: str | None,
        username: str,
        display: str,
        ca: str,
        listen: str,
        relay: str,
        dns: tuple[str, ...],
        **others: Any,
    ) -> Any:
        account = Account(
            server=server,
            transport=transport or "",
            username=username,
            display=display,
            ca=ca,
            listen=listen,
            relay=relay,
            dns=tuple(parse_place(one, 53) for one in dns),
        )
        return command(account=account, **others)

    return with_account


def ask_password(identity: str) -> str:
    """Return the password, from OMAIM_PASSWORD or typed.

    It is never an option: other users of the machine can read command lines.
    """
    given = os.environ.get("OMAIM_PASSWORD")
    if given is not None:
        return given
    password: str = click.prompt(f"Password of {identity}", hide_input=True, err=True)
    return password


def log_to(path: str) -> None:
    """Write Twisted's log to a file; nowhere if ``path`` is empty, the terminal is in use.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        stream = open(path or os.devnull, "a", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    globalLogBeginner.beginLoggingTo([textFileLogObserver(stream)], redirectStandardIO=False)
