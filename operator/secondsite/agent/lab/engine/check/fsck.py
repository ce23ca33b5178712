"""An examination of a store from outside, while nobody has it open: what is in it, is it whole, what can be mended.

`check` changes nothing. `repair` mends what this store can mend by itself and destroys nothing: what it removes lies in
`lost+found` afterwards, and a catalogue that it changes is kept there as it was.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from secondsite.agent.lab.engine.check.findings import Finding, StoreReport
from secondsite.agent.lab.engine.check.fsck_files import examine_files
from secondsite.agent.lab.engine.check.log_repair import Around, BeyondRepair, Restored, encode, restore
from secondsite.agent.lab.engine.check.strays import LOST_AND_FOUND, keep_copy, put_aside, strays
from secondsite.agent.lab.engine.durable import replace_file
from secondsite.agent.lab.engine.errors import EngineError, StoreDamaged, StoreLocked
from secondsite.agent.lab.engine.media.adopt import expect_no_adoption
from secondsite.agent.lab.engine.port.bucket import TokenBucket
from secondsite.agent.lab.engine.replica.contents import Contents, fold
from secondsite.agent.lab.engine.replica.store import TargetStore
from secondsite.agent.lab.engine.roles.retired import expect_not_promoted


def find_stores(folder: Path) -> list[Path]:
    """`folder` itself if it is a store, else every store below it."""
    found = {path.parent for path in folder.rglob("catalog.log")}
    # One that has lost its catalogue still has its lock.
    found |= {path.parent for path in folder.rglob("lock") if (path.parent / "disks").is_dir()}
    return sorted(path for path in found if LOST_AND_FOUND not in path.parts)


def check(root: Path) -> StoreReport:
    """Examine a store and change nothing. StoreLocked while an agent has it open; OSError."""
    with _locked(root):
        restored, findings = _read_catalogue(root)
        if restored is None:
            return StoreReport(root, 0, 0, tuple(findings))
        contents = fold(restored.events)
        examined = examine_files(root, contents)
        findings += [*_nameless(root, contents), *_strays(root, contents), *examined.findings]
        return StoreReport(root, len(contents.points), examined.bytes, tuple(findings))


def repair(root: Path) -> StoreReport:
    """Mend what can be mended without the other side. The findings are those of before; `repaired` says which are gone.

    What is left is told as it is after the repair. StoreLocked, OSError.
    """
    before = check(root)
    if before.clean:
        return before
    with _locked(root):
        restored, _ = _read_catalogue(root)
        if restored is None:
            return before
        if restored.torn_bytes or restored.explained:
            keep_copy(root, root / "catalog.log")
            replace_file(root / "catalog.log", encode(restored.events))
        contents = fold(restored.events)
        for path in list(strays(root, contents)):
            put_aside(root, path)
    if contents.founded is not None:
        _mend_blocks(root, contents.founded.vm)
    after = check(root)
    left = {(finding.where, finding.what) for finding in after.findings}
    repaired = [finding.done() for finding in before.findings if (finding.where, finding.what) not in left]
    return StoreReport(root, after.points, after.bytes, (*repaired, *after.findings))


def _mend_blocks(root: Path, vm_id: str) -> None:
    """Open the store, which puts right what a kill leaves, and scrub it, which mends blocks and heads."""
    with contextlib.suppress(EngineError), contextlib.closing(TargetStore(root, vm_id, reserve=0)) as store:
        store.scrub_files(threading.Event(), TokenBucket())


def _read_catalogue(root: Path) -> tuple[Restored | None, list[Finding]]:
    path = root / "catalog.log"
    try:
        expect_no_adoption(root)
        expect_not_promoted(root)
        restored = restore(path.read_bytes(), _around(root))
    except (BeyondRepair, FileNotFoundError) as error:
        finding = Finding(
            path,
            f"the catalogue cannot be read: {error}",
            "the store does not open, and none of its recovery points can be used",
            "restore the file from a copy, or remove the store and replicate the VM anew",
        )
        return None, [finding]
    except StoreDamaged as error:
        return None, [Finding(path, str(error), "the store does not open", "update this program, and check again")]
    except EngineError as error:
        return None, [Finding(root, str(error), "the store does not open", "start the agent: it finishes that itself")]
    return restored, list(_log_findings(path, restored))


def _log_findings(path: Path, restored: Restored) -> Iterator[Finding]:
    if restored.torn_bytes:
        yield Finding(
            path,
            f"its last {restored.torn_bytes} bytes are an unfinished line",
            "none: what stood there was never promised to anybody",
            "repair, or the next start of the agent, cuts it",
        )
    for text in restored.explained:
        yield Finding(
            path,
            f"{text[:1].upper()}{text[1:]}",
            "the store does not open until the line is put right",
            "repair writes the catalogue anew, and keeps the damaged one",
        )


def _nameless(root: Path, contents: Contents) -> Iterator[Finding]:
    if contents.founded is None and (contents.points or contents.open is not None):
        yield Finding(
            root / "catalog.log",
            "it does not say whose replica this is",
            "repair leaves the blocks alone, and the store would open for any VM",
            "see that the folder is where it belongs, and start the agent: it writes the VM's name; then check again",
        )


def _strays(root: Path, contents: Contents) -> Iterator[Finding]:
    for path in strays(root, contents):
        yield Finding(
            path,
            "the catalogue does not name it",
            "it only takes space, or is left from work that was interrupted",
            "repair moves it to lost+found",
        )


def _around(root: Path) -> Around:
    return Around(
        has_layers=lambda point: any(root.glob(f"disks/*/layers/{point}.lay")),
        has_clone=lambda clone: (root / "clones" / clone).is_dir(),
    )


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Take the store as an agent would, but make nothing."""
    try:
        fd = os.open(root / "lock", os.O_RDWR)
    except FileNotFoundError:
        # Nobody has ever had it open.
        yield
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreLocked(f"{root} is open in a running agent; stop that first") from error
        yield
    finally:
        os.close(fd)
