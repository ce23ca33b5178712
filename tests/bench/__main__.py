"""`python -m bench`: measure the replication engine and its peers; see `--help`."""

import argparse
import tempfile
from pathlib import Path

from bench import peers, report
from bench.machine import Quiet, describe
from bench.program import Program
from bench.quiet import RELATIONS
from bench.results import conclude, rows
from bench.world import MEBIBYTE, World

_SIZE = 2048 * MEBIBYTE
_DATA = 1056 * MEBIBYTE
_PARTS = ("copies", "deltas", "guest", "limits", "quiet_relations")
# How long to wait, over all runs, for a machine with nothing else to do.
_PATIENCE_SECONDS = 60.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", default=_PARTS, metavar="PART", help=f"of {', '.join(_PARTS)}; default: all"
    )
    parser.add_argument("--runs", type=int, default=6, help="of each contest (default: 6)")
    parser.add_argument("--relations", type=int, default=RELATIONS, help=f"that are quiet (default: {RELATIONS})")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where 6 GB are free, on a real disk")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the report there, as Markdown")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    if packages := peers.missing(tuple(peers.PACKAGES)):
        print(f"Rows are left out for want of programs. On Debian: apt-get install {' '.join(packages)}\n")
    with tempfile.TemporaryDirectory(prefix="secondsite-bench-", dir=arguments.folder) as folder:
        print(f"{'making the disk':46}    best   median    worst", flush=True)
        world = World(Path(folder), _SIZE, _DATA)
        program = Program(
            world, arguments.runs, Quiet(_PATIENCE_SECONDS), lambda line: print(line, flush=True), arguments.relations
        )
        for part in arguments.parts:
            print(part, flush=True)
            getattr(program, part)()
        facts = describe(Path(folder)) | peers.versions()
    conclude(program.results)
    found = rows(program.results)
    print(f"\n{report.text(found)}")
    if arguments.write:
        report.write(arguments.write, found, program.results, facts, program.quiet, arguments.runs)


if __name__ == "__main__":
    main()
