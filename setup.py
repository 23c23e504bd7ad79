"""Build omaim: pure Python, or with its hot modules compiled when OMAIM_COMPILE=1."""

import configparser
import os

from setuptools import setup


def compiled() -> list:
    """Return the extension modules that setup.cfg lists, or none."""
    if os.environ.get("OMAIM_COMPILE") != "1":
        return []
    from mypyc.build import mypycify

    settings = configparser.ConfigParser()
    settings.read("setup.cfg")
    modules = settings["omaim:compiled"]["modules"].split()
    return mypycify(["--strict", "--config-file=", *modules], opt_level="3")


setup(ext_modules=compiled())
