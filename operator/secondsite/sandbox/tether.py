"""Runs a command that the kernel ends when its parent dies: `python tether.py PARENT-PID COMMAND…`. Linux only.

Run as a file with `-I -S`, so that it costs milliseconds: it imports nothing of ours and replaces itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    # SIGKILL is safe for all that we run, and the only one that is certain.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)  # it died before we were tied to it
    os.execvp(command[0], command)  # noqa: S606 - the whole point: no shell, no child of ours


if __name__ == "__main__":
    main()
