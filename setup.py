"""Build omaim: pure Python, or with its hot modules compiled when OMAIM_COMPILE=1."""

import configparser
import os
import sys

from setuptools import setup

# A call from one compiled function to another, or to the interpreter, is one jump, not two.
CALLS = ["-fvisibility=hidden", "-fno-semantic-interposition", "-fno-plt"]
COMPILE = os.environ.get("OMAIM_COMPILE") == "1"
# The commands that only ask what the project is and what its build needs.
QUESTIONS = {"egg_info", "dist_info", "--name", "--version"}


def compiled() -> list:
    """Return the extension modules that setup.cfg lists, or none."""
    if not COMPILE or QUESTIONS & set(sys.argv):
        return []
    from mypyc.build import mypycify

    settings = configparser.ConfigParser()
    settings.read("setup.cfg")
    modules = settings["omaim:compiled"]["modules"].split()
    options = ["--strict", "--ignore-missing-imports", "--config-file="]
    extensions = mypycify([*options, *modules], opt_level="3")
    for extension in extensions:
        if os.name == "posix":  # the extensions share one list
            extension.extra_compile_args = [*extension.extra_compile_args, *CALLS]
    return extensions


setup(
    ext_modules=compiled(),
    # A build front end reads this and installs it for the time of the build.
    setup_requires=["mypy[mypyc]>=2.4"] if COMPILE else [],
)
