"""How Sphinx builds these pages; the API reference beside them is pydoctor's (see tox.ini)."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import omaim  # noqa: E402

project = "omaim"
author = "the omaim authors"
release = version = omaim.__version__
extensions = ["myst_parser", "generated"]
exclude_patterns = ["_build", "changes"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True
html_theme = "furo"
html_title = f"omaim {release}"
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
