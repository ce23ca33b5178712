"""What glibc keeps of memory that was given back."""

from __future__ import annotations

import contextlib
import ctypes

# From malloc.h.
_M_ARENA_MAX = -8
# By default there are eight for each core, and each keeps what a burst of large frames left in it.
_ARENAS = 2


def bound_arenas() -> None:
    """Let the threads of this process share a few heaps. Nothing where the C library is another one."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def trim() -> None:
    """Give back to the system what is free. Nothing where the C library is another one."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
