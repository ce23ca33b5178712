"""The agent as a process of its own, with the driver that needs no hypervisor. Arguments: data folder, [bundle]."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from secondsite import logs
from secondsite.agent.main import Options, run
from secondsite.errors import SecondsiteError
from support.memory_driver import MemoryDriver


def main() -> None:
    data, listen, *bundle = sys.argv[1:]
    logs.configure()
    try:
        run(
            Options(Path(data), Path(bundle[0]) if bundle else None, listen),
            MemoryDriver(),
            functools.partial(print, flush=True),
        )
    except SecondsiteError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
