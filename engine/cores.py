"""How many threads are worth starting."""

from __future__ import annotations

import os
import sys


def available_cores() -> int:
    """Cores this process may run on."""
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
