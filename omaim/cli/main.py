"""The command ``omaim``: its subcommands are loaded when they are asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

import click

from omaim import __version__
from omaim.errors import OmaimError

# Each is the module of that name here, which has a ``command``; and what it does.
COMMANDS: Final = {
    "client": "Chat from this terminal.",
    "conformance": "Play every scenario and write down what that shows.",
    "group": "Look after the groups of a running IM Server.",
    "lab": "Run a whole network of two domains, to play with.",
    "ladder": "Show a recorded trace as a ladder.",
    "say": "Send one message and wait for its delivery report.",
    "user": "Look after the people of a running core.",
}


class Lazy(click.Group):
    """A group of commands that are imported when they are used."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the subcommand, ``None`` if there is none."""
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"omaim.cli.{name}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, context: click.Context) -> object:
        """Run the subcommand; what goes wrong on purpose is one line, not a traceback."""
        try:
            return super().invoke(context)
        except OmaimError as error:
            click.echo(f"omaim: {error}", err=True)
            sys.exit(1)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="omaim")
def main() -> None:
    """Instant messaging after OMA SIP/SIMPLE.

    Start with "omaim lab" in one terminal; it tells what to type in another.
    Servers run as twistd plugins: "twistd --help" lists omaim-core, omaim-im and others.
    """


if __name__ == "__main__":
    main()
