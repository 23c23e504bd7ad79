"""The command ``omaim``: its subcommands are loaded when they are asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

import click

from omaim import __version__
from omaim.errors import OmaimError

# Name of the subcommand, and the module under omaim.cli that has a ``command`` for it.
COMMANDS: Final = {
    "client": "client",
    "lab": "lab",
    "ladder": "ladder",
    "say": "say",
    "user": "user",
}


class Lazy(click.Group):
    """A group of commands that are imported when they are needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return sorted(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the subcommand, ``None`` if there is none."""
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"omaim.cli.{COMMANDS[name]}").command
        return command

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

    \b
    omaim lab                    a whole network of two domains, to play with
    omaim client IDENTITY        chat from this terminal
    omaim say FROM TO TEXT       send one message and wait for its report

    Servers run as twistd plugins: twistd --help lists omaim-core, omaim-im and others.
    """


if __name__ == "__main__":
    main()
