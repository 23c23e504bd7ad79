"""``omaim say``: send one message, wait for its delivery report, tell what became of it."""

from __future__ import annotations

import sys

import click

from omaim.cli.account import Account, account_options, ask_password
from omaim.client import Client, run
from omaim.client.failures import NoReport
from omaim.client.messages import PENDING


@click.command("say")
@click.argument("sender", metavar="FROM")
@click.argument("recipient", metavar="TO")
@click.argument("text", nargs=-1, required=True)
@account_options
@click.option("--wait", default=10.0, show_default=True, help="Seconds to wait for the report.")
@click.option("--plain", is_flag=True, help="Plain text without envelope, thus without report.")
def command(
    sender: str, recipient: str, text: tuple[str, ...], account: Account, wait: float, plain: bool
) -> None:
    """Send TEXT from FROM to TO and wait for the delivery report.

    \b
    OMAIM_PASSWORD=alice-secret omaim say alice@north.example bob@north.example hello \\
        --server 127.0.1.1

    The password is asked for, or taken from OMAIM_PASSWORD. The exit status is 0 when the
    message was delivered or will be, 1 when it was not.
    """
    password = ask_password(sender)

    async def main() -> str:
        client = Client(sender, password, **account)
        try:
            await client.register()
            sent = await client.send(recipient, " ".join(text), plain=plain)
            if plain:
                return sent.status
            try:
                await sent.delivered(wait)
            except NoReport:
                if sent.status == PENDING:
                    return "pending: the server keeps it until the recipient is there"
                return f"{sent.status}, but no report came within {wait:g} s"
            return "delivered"
        finally:
            await client.close()

    try:
        click.echo(run(main))
    except KeyboardInterrupt:
        sys.exit(130)
