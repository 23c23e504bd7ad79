"""``omaim say``: send one message, wait for its delivery report, tell what became of it."""

from __future__ import annotations

import sys

import click

from omaim.cli.account import Account, account_options, ask_password
from omaim.client import Client, run
from omaim.client.failures import NoReport
from omaim.client.messages import PENDING
from omaim.client.transfer import Transfer
from omaim.errors import UsageError


@click.command("say")
@click.argument("sender", metavar="FROM")
@click.argument("recipient", metavar="TO")
@click.argument("text", nargs=-1)
@account_options
@click.option("--wait", default=10.0, show_default=True, help="Seconds to wait for the report.")
@click.option(
    "--file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Send this file instead of a text.",
)
@click.option("--plain", is_flag=True, help="Plain text without envelope, thus without report.")
def command(
    sender: str,
    recipient: str,
    text: tuple[str, ...],
    account: Account,
    wait: float,
    file: str | None,
    plain: bool,
) -> None:
    """Send TEXT, or a file, from FROM to TO and wait until it is there.

    \b
    OMAIM_PASSWORD=alice-secret omaim say alice@north.example bob@north.example hello \\
        --server 127.0.1.1

    The password is asked for, or taken from OMAIM_PASSWORD. The exit status is 0 when the
    message was delivered or will be, 1 when it was not. A file waits until TO takes it; its
    progress is shown on a terminal.
    """
    if bool(text) == bool(file):
        raise UsageError("say a text, or --file FILE")
    password = ask_password(sender)

    async def main() -> str:
        client = Client(sender, password, **account)
        try:
            await client.register()
            if file:
                await _send(client, recipient, file)
                return "delivered"
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


async def _send(client: Client, recipient: str, file: str) -> None:
    """Send a file; show how far it is, where somebody looks."""
    shown = sys.stderr.isatty()

    def progress(upload: Transfer[int]) -> None:
        if shown:
            percent = 100 * upload.octets // (upload.size or 1)
            end = "\n" if upload.over else ""
            click.echo(f"\r{upload.name} {percent}%", nl=False, err=True)
            click.echo(end, nl=False, err=True)

    upload = await client.send_file(recipient, file, progress=progress)
    await upload.done()
