"""The tests mirror the package: tests/sip/test_parser.py is about omaim/sip/parser.py."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "run",
    database=None,
    deadline=None,
    max_examples=int(os.environ.get("OMAIM_EXAMPLES", "60")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("run")
