"""``omaim client``: chat from a terminal."""

from __future__ import annotations

import sys

import click

from omaim.cli.account import Account, account_options, ask_password, log_to
from omaim.client import Client, run

FOLDER = "downloads"


@click.command("client")
@click.argument("identity")
@account_options
@click.option(
    "--folder",
    default=FOLDER,
    show_default=True,
    metavar="FOLDER",
    help="Where files go that others send and you accept.",
)
@click.option(
    "--auto-answer", is_flag=True, help="Answer by itself what your server says may be answered so."
)
@click.option("--auto-join", is_flag=True, help="Go into each room you are invited to.")
@click.option("--log", default="", metavar="FILE", help="Write what happens inside to a file.")
def command(
    identity: str, account: Account, folder: str, auto_answer: bool, auto_join: bool, log: str
) -> None:
    """Chat as IDENTITY, which looks like alice@north.example.

    \b
    omaim client alice@north.example --server 127.0.1.1

    The password is asked for, or taken from OMAIM_PASSWORD. Then type /help. Lines can also
    come from a file or another program, one command or message each.
    """
    from twisted.internet import reactor

    from omaim.client.prompt import Prompt
    from omaim.client.terminal import screen_for

    password = ask_password(identity)
    log_to(log)
    client = Client(identity, password, **account)
    client.auto_answer, client.auto_join = auto_answer, auto_join
    prompt = Prompt(client, screen_for(reactor), reactor, folder)
    try:
        sys.exit(run(prompt.run))
    except KeyboardInterrupt:
        sys.exit(130)
