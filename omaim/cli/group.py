"""``omaim group``: the groups and chat rooms of a running IM Server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from omaim.cli.user import sockets, tell
from omaim.net.local import ask


@click.group("group")
@click.option("--control", metavar="PATH", help="Socket of the process.  [default: the lab's]")
@click.option("--config", metavar="FILE", help="Topology file; its IM Servers are asked.")
@click.pass_context
def command(context: click.Context, control: str | None, config: str | None) -> None:
    """See and change the groups of a running lab or IM Server.

    \b
    omaim group add tea@north.example --member alice@north.example --member bob@north.example
    omaim group add lobby@north.example --everybody --most 50
    omaim group list
    omaim group show tea@north.example
    omaim group remove tea@north.example

    Commands go to the lab of this machine, or to what --control, --config or OMAIM_CONTROL
    name; a process takes them when its configuration says control = "PATH".
    """
    context.obj = sockets(control, config, "im")


@command.command()
@click.argument("address")
@click.option("--member", "members", multiple=True, metavar="AOR", help="May come in; repeat it.")
@click.option("--owner", "owners", multiple=True, metavar="AOR", help="May also put others out.")
@click.option("--everybody", is_flag=True, help="Others may come in, too.")
@click.option("--invite", is_flag=True, help="Who starts it has all members invited.")
@click.option("--name", default="", help="For people.")
@click.option("--subject", default="", help="What it is about.")
@click.option("--most", default=0, help="Participants at a time.  [default: as the server says]")
@click.pass_obj
def add(
    known: dict[str, str],
    address: str,
    members: tuple[str, ...],
    owners: tuple[str, ...],
    everybody: bool,
    invite: bool,
    name: str,
    subject: str,
    most: int,
) -> None:
    """Define a group: a chat room, or with --invite one whose members are called."""
    found = tell(
        known,
        "add-group",
        address,
        members=" ".join(members),
        owners=" ".join(owners),
        everybody="yes" if everybody else "",
        kind="pre-defined" if invite else "chat",
        name=name,
        subject=subject,
        most=most,
    )
    click.echo(f"{found['aor']} was added")


@command.command("list")
@click.pass_obj
def list_groups(known: dict[str, str]) -> None:
    """List all groups."""
    for path in dict.fromkeys(known.values()):
        for entity in [one["entity"] for one in ask(path, "help") if one["command"] == "groups"]:
            after = ""
            while True:
                page = ask(path, "groups", entity=entity, after=after)
                for group in page["groups"]:
                    click.echo(_line(group))
                    after = group["aor"]
                if not page["more"]:
                    break


def _line(group: Mapping[str, Any]) -> str:
    most = f", {group['most']} at a time" if group["most"] else ""
    name = f"  {group['name']}" if group["name"] else ""
    return f"{group['aor']:<36}{group['kind']}, {group['count']} members{most}{name}"


@command.command()
@click.argument("address")
@click.pass_obj
def show(known: dict[str, str], address: str) -> None:
    """Show one group: what it is, and who is in it."""
    found = tell(known, "group", address)
    click.echo(_line(found))
    if found["subject"]:
        click.echo(f"  about      {found['subject']}")
    click.echo(f"  open to    {'everybody' if found['everybody'] else 'members'}")
    for one in found["members"]:
        click.echo(f"  member     {one}")


@command.command()
@click.argument("address")
@click.pass_obj
def remove(known: dict[str, str], address: str) -> None:
    """Remove a group."""
    found = tell(known, "remove-group", address)
    click.echo(f"{found['aor']} was removed")
