"""What a step frees is there for the next one. By default glibc may give it back to the system, and then every step has
its pages made anew: a fifth of the time of a small net, or nothing, as the heap happens to lie.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # the names of `mallopt`
LARGEST = 32 << 20  # bytes: what is larger is always the system's


@cache
def keep_freed_memory() -> bool:
    """Keep memory that was freed in this process; whether that can be said here. Once is for all times."""
    if not sys.platform.startswith("linux"):
        return False
    say = getattr(ctypes.CDLL(None), "mallopt", None)
    return say is not None and bool(say(MMAP_THRESHOLD, LARGEST)) and bool(say(TRIM_THRESHOLD, 1 << 30))
