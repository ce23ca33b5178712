"""One run of a cycle over the link: open, stream each disk, learn what is durable, commit."""

import threading
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from datetime import datetime

from secondsite.agent.lab.engine.blocks import Blocks, root_of
from secondsite.agent.lab.engine.errors import FramesMissing, HeadConflict, LinkError, Stopped
from secondsite.agent.lab.engine.port.client import PeerClient, PeerSession
from secondsite.agent.lab.engine.port.frames import build_frame, cycle_digest
from secondsite.agent.lab.engine.port.meter import Meter
from secondsite.agent.lab.engine.primary.state import OpenState
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.agent.lab.engine.types import CycleResult, Progress
from secondsite.wire.peer import BLOCK_BYTES, FRAME_BLOCKS, CycleCommit, CycleOpen, DiskCommit, DiskPlan

# More streams only fight for the cores.
_STREAMS = 2
_POLL_SECONDS = 0.1


class CycleRun:
    """Drives the open cycle to its commit, or as far as link and caller let it come."""

    def __init__(
        self,
        client: PeerClient,
        vm_id: str,
        cycle: OpenState,
        generation: int,
        trackers: Mapping[str, DiskTracker],
        stop: threading.Event,
    ) -> None:
        self.cycle = cycle
        self._client = client
        self._vm_id = vm_id
        self._generation = generation
        self._trackers = trackers
        self._stop = stop
        # Set when the caller stops us or a stream fails: all streams end.
        self._halt = threading.Event()
        self._plans: dict[str, Blocks] = {name: tracker.plan() for name, tracker in trackers.items()}
        self._have = dict.fromkeys(trackers, 0)
        self._sent = dict.fromkeys(trackers, 0)
        self._meter = Meter()
        self._codecs: tuple[str, ...] = ()
        self._committed = False
        self._start_bytes = 0

    @property
    def blocks(self) -> int:
        return sum(len(plan) for plan in self._plans.values())

    def begin(self) -> bool:
        """Open the cycle at the replica, or find it open, or committed. False: it can never be finished."""
        disks = {
            name: DiskPlan(size=self._trackers[name].disk.size, blocks=len(plan)) for name, plan in self._plans.items()
        }
        message = CycleOpen(
            cycle=self.cycle.cycle,
            parent=self.cycle.parent,
            generation=self._generation,
            freeze_time=self.cycle.freeze_time,
            kind=self.cycle.kind,
            consistency=self.cycle.consistency,
            disks=disks,
            changes_disks=self.cycle.changes_disks,
        )
        try:
            with self._client.link.turn(self._stop), self._client.session() as peer:
                opened = peer.open_cycle(self._vm_id, message)
        except HeadConflict as conflict:
            # We died between its commit and our knowing of it.
            self._committed = conflict.head == self.cycle.cycle
            if not self._committed:
                raise
            return True
        self._codecs = opened.codecs
        return self._take_up(opened.have)

    def _take_up(self, have: Mapping[str, int]) -> bool:
        for name, plan in self._plans.items():
            if min(have.get(name, 0) * FRAME_BLOCKS, len(plan)) < self._trackers[name].held(plan):
                return False
        # What an earlier run sent is not known here; the commit finds out whether it is true.
        self._sent.update(have)
        self._acknowledge(have)
        if any(tracker.image_lost() for tracker in self._trackers.values()):
            return False
        self._start_bytes = self._acknowledged_bytes()
        return True

    def finish(self) -> datetime:
        """Stream what is missing and commit: when the point became durable."""
        with self._client.link.turn(self._stop), self._client.session() as peer:
            try:
                if not self._committed:
                    self._stream(peer)
                return peer.commit(self._vm_id, self.cycle.cycle, self._commit_message()).durable_time
            except FramesMissing as missing:
                # The next run hears what it really has.
                raise LinkError(
                    f"VM {self._vm_id}: the replica lacks frames that it acknowledged: {missing}"
                ) from missing

    def _commit_message(self) -> CycleCommit:
        disks = {
            name: DiskCommit(count=len(plan), root=root_of(self._trackers[name].digests(plan)))
            for name, plan in self._plans.items()
        }
        return CycleCommit(disks=disks)

    def _stream(self, peer: PeerSession) -> None:
        missing = [name for name, plan in self._plans.items() if self._have[name] * FRAME_BLOCKS < len(plan)]
        sessions: dict[str, PeerSession] = {}
        with ThreadPoolExecutor(_STREAMS, thread_name_prefix=f"stream-{self._vm_id}") as pool:
            futures = [pool.submit(self._send_disk, name, sessions) for name in missing]
            try:
                self._watch(peer, futures)
            finally:
                self._halt.set()
                if not all(future.done() for future in futures):
                    for session in list(sessions.values()):
                        session.abort()
        _raise_first(futures)

    def _watch(self, peer: PeerSession, futures: list[Future[None]]) -> None:
        """Until all streams ended or one failed: note what the replica holds durably."""
        while True:
            done, running = wait(futures, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
            if self._stop.is_set():
                raise Stopped(f"VM {self._vm_id}: the cycle was stopped; the next run goes on with it")
            if not running or any(future.exception() for future in done):
                return
            status = peer.status(self._vm_id)
            if status.open is not None and status.open.cycle == self.cycle.cycle:
                self._acknowledge(status.open.have)

    def _send_disk(self, name: str, sessions: dict[str, PeerSession]) -> None:
        with self._client.session() as peer:
            sessions[name] = peer
            plan, tracker = self._plans[name], self._trackers[name]
            first = self._have[name]
            stream = peer.put_frames(self._vm_id, self.cycle.cycle, name, first)
            buffer = memoryview(bytearray(FRAME_BLOCKS * BLOCK_BYTES))
            digest = cycle_digest(self.cycle.cycle)
            for sequence in range(first, -(-len(plan) // FRAME_BLOCKS)):
                if self._halt.is_set():
                    raise Stopped("another stream of this cycle ended")
                blocks = plan[sequence * FRAME_BLOCKS : (sequence + 1) * FRAME_BLOCKS]
                content = buffer[: len(blocks) * BLOCK_BYTES]
                tracker.read_frozen(blocks, content)
                frame = build_frame(
                    blocks,
                    content,
                    sequence=sequence,
                    generation=self._generation,
                    cycle=digest,
                    level=self._client.level(self._codecs),
                )
                tracker.remember(blocks, frame.digests)
                # From here on it may be acknowledged: it was read.
                self._sent[name] = sequence + 1
                stream.send(frame, self._client.bucket, self._halt, self._meter.add)
                # Zero blocks, which went without payload.
                self._meter.add(len(content) - frame.raw_bytes, 0)
            self._acknowledge({name: stream.finish()})

    def _acknowledge(self, have: Mapping[str, int]) -> None:
        for name, frames in have.items():
            if frames > self._sent.get(name, frames):
                # To believe it would let the guest write over blocks that are still to be read.
                raise LinkError(f"disk {name}: the other side holds {frames} frames, {self._sent[name]} were sent")
            if name in self._plans and frames > self._have[name]:
                self._trackers[name].acknowledge(self._plans[name], frames)
                self._have[name] = frames

    def _acknowledged_bytes(self) -> int:
        return sum(min(self._have[name] * FRAME_BLOCKS, len(plan)) * BLOCK_BYTES for name, plan in self._plans.items())

    def progress(self, pending_bytes: int) -> Progress:
        total, held = self.blocks * BLOCK_BYTES, self._acknowledged_bytes()
        return Progress(
            cycle=self.cycle.cycle,
            kind=self.cycle.kind,
            freeze_time=self.cycle.freeze_time,
            blocks_total=self.blocks,
            bytes_total=total,
            bytes_sent=min(total, max(held, self._start_bytes + self._meter.sent)),
            bytes_acknowledged=held,
            rate=self._meter.rate,
            pending_bytes=pending_bytes,
        )

    def result(self, durable_time: datetime, *, seconds: float, resumed: bool) -> CycleResult:
        return CycleResult(
            cycle=self.cycle.cycle,
            kind=self.cycle.kind,
            freeze_time=self.cycle.freeze_time,
            durable_time=durable_time,
            blocks=self.blocks,
            bytes=self.blocks * BLOCK_BYTES,
            wire_bytes=self._meter.wire,
            seconds=seconds,
            resumed=resumed,
            consistency=self.cycle.consistency,
            quiesce_error=self.cycle.quiesce_error,
        )


def _raise_first(futures: list[Future[None]]) -> None:
    """The error that mattered: a stream that only followed another one's end says Stopped."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    errors.sort(key=lambda error: isinstance(error, Stopped))
    if errors:
        raise errors[0]
