"""``omaim user``: who the users of a running core are, and where."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click

from omaim.cli.account import ask_password
from omaim.errors import UsageError
from omaim.lab.starting import control_path
from omaim.net.local import ask
from omaim.node.config import read_file


@click.group("user")
@click.option("--control", metavar="PATH", help="Socket of the process.  [default: the lab's]")
@click.option("--config", metavar="FILE", help="Topology file; its cores are asked.")
@click.pass_context
def command(context: click.Context, control: str | None, config: str | None) -> None:
    """See and change the users of a running lab or core.

    \b
    omaim user list
    omaim user show alice@north.example
    omaim user deregister alice@north.example
    omaim user --config network/network.toml list

    Commands go to the lab of this machine, or to what --control, --config or OMAIM_CONTROL
    name; a process takes them when its configuration says control = "PATH".
    """
    context.obj = sockets(control, config)


def sockets(control: str | None, config: str | None, kind: str = "core") -> dict[str, str]:
    """Return the sockets to ask, by the domain that is behind each; "" is for any.

    Args:
        kind: of the entities that are to be told.

    Raises:
        UsageError: the topology file names none.
    """
    if control:
        return {"": control}
    if config:
        found = _sockets_in(read_file(config), kind)
        if not found:
            raise UsageError(f'{config} gives no {kind} a control socket: add control = "PATH"')
        return found
    return {"": os.environ.get("OMAIM_CONTROL") or control_path()}


def _sockets_in(contents: Mapping[str, Any], kind: str) -> dict[str, str]:
    shared = contents.get("node", {}).get("control", "")
    return {
        entity.get("domain", ""): entity.get("node", {}).get("control", shared)
        for entity in contents.get("entities", {}).values()
        if entity.get("kind") == kind and entity.get("node", {}).get("control", shared)
    }


def tell(known: dict[str, str], name: str, aor: str, /, **values: Any) -> Any:
    """Put a command about one user or group to the process that is responsible."""
    domain = aor.rpartition("@")[2].lower()
    path = known.get(domain) or known.get("")
    if path is None:
        raise UsageError(f"nothing of {domain} is known; there are: {', '.join(known)}")
    return ask(path, name, aor=aor if ":" in aor else f"sip:{aor}", **values)


@command.command("list")
@click.option("--here", is_flag=True, help="Only those who are registered.")
@click.pass_obj
def list_users(known: dict[str, str], here: bool) -> None:
    """List all users, and where they are registered."""
    for path in dict.fromkeys(known.values()):
        after = ""
        while True:
            page = ask(path, "users", after=after)
            for user in page["users"]:
                if user["contacts"] or not here:
                    click.echo(_line(user))
                after = user["private"]
            if not page["more"]:
                break


def _line(user: Mapping[str, Any]) -> str:
    there = ", ".join(user["contacts"]) or click.style("away", dim=True)
    service = "" if user["im"] else "  (no IM service)"
    return f"{user['identities'][0] if user['identities'] else user['private']:<32}{there}{service}"


@command.command()
@click.argument("aor")
@click.pass_obj
def show(known: dict[str, str], aor: str) -> None:
    """Show one user: identities, registrations, messages that wait."""
    found = tell(known, "user", aor)
    click.echo(f"{found['aor']}  (name for authentication: {found['private'] or 'unknown here'})")
    for identity in found["identities"]:
        barred = "  barred" if identity["barred"] else ""
        click.echo(f"  identity   {identity['uri']}{barred}")
    for binding in found["bindings"]:
        click.echo(f"  at         {binding['contact']} for {binding['seconds']} s more")
        for hop in binding["path"]:
            click.echo(f"    through  {hop}")
    if not found["bindings"]:
        click.echo("  not registered")
    waiting = found["waiting"]
    if waiting["messages"]:
        click.echo(f"  waiting    {waiting['messages']} messages, {waiting['octets']} octets")


@command.command()
@click.argument("aor")
@click.option(
    "--event",
    type=click.Choice(["deactivated", "probation", "rejected"]),
    default="deactivated",
    show_default=True,
    help="What the user's phone is told: register anew, register later, or stay away.",
)
@click.option("--retry-after", default=0, help="Seconds, with probation.")
@click.option("--contact", default="", help="End only this one.")
@click.pass_obj
def deregister(known: dict[str, str], aor: str, event: str, retry_after: int, contact: str) -> None:
    """End the registrations of a user by order of the network (RFC 3680)."""
    found = tell(known, "deregister", aor, event=event, retry_after=retry_after, contact=contact)
    click.echo(f"{found['aor']}: {_registrations(found['ended'])} ended")


@command.command()
@click.argument("aor")
@click.option("--private", default="", help="Name for authentication.  [default: USER@DOMAIN]")
@click.pass_obj
def add(known: dict[str, str], aor: str, private: str) -> None:
    """Add a user; the password is asked for, or taken from OMAIM_PASSWORD."""
    found = tell(known, "add-user", aor, password=ask_password(aor), private=private)
    click.echo(f"{found['aor']} was added; name for authentication: {found['private']}")


@command.command()
@click.argument("aor")
@click.pass_obj
def remove(known: dict[str, str], aor: str) -> None:
    """Remove a user and end the registrations."""
    found = tell(known, "remove-user", aor)
    click.echo(f"{found['aor']} was removed; {_registrations(found['ended'])} ended")


def _registrations(count: int) -> str:
    return "1 registration" if count == 1 else f"{count} registrations"
