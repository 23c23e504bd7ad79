"""What the interpreter is told once per process, so that it suits a server.

Python's defaults suit programs that keep little. Here a transaction lives for half a minute and
users live for good: with the defaults every third microsecond would go into looking for
garbage among them.
"""

from __future__ import annotations

import gc
import sys
from typing import Final

YOUNG: Final = 50_000  # new objects until the next look at them; Python's own is 700
# Such looks until the next one at what they left. Most of that are transactions, which are gone
# by themselves before, so that they are looked at once only; Python's own is 10.
LOOKS: Final = 50
SWITCH: Final = 0.001  # seconds a thread that writes to the database may have to wait


def settle() -> None:
    """Tune this process to a server's life; to be called when what stays has been loaded.

    Nothing depends on it but speed.
    """
    gc.collect()
    gc.freeze()  # what was loaded stays: never to be looked at again
    gc.set_threshold(YOUNG, LOOKS, 10)
    sys.setswitchinterval(SWITCH)
