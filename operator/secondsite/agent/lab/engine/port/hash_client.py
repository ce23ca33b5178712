"""The replica's hashes of one disk, fetched in pages ahead of their use."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np

from secondsite.agent.lab.engine.blocks import DIGEST, Digests
from secondsite.agent.lab.engine.errors import LinkError
from secondsite.agent.lab.engine.port.client import PeerClient
from secondsite.wire.peer import DIGEST_BYTES, MAX_PAGE_BLOCKS, HashBasis

# A page whose blocks are read again, 256 MiB, must be answered before anybody's patience ends.
_PAGE_BLOCKS = {HashBasis.Stored: MAX_PAGE_BLOCKS, HashBasis.Read: 4096}
_AHEAD = 2


class HashPages:
    """Blocks `begin` to `total`, in order. Each page has a connection of its own: none idles while disks are read."""

    def __init__(self, client: PeerClient, vm_id: str, disk: str, basis: HashBasis, begin: int, total: int) -> None:
        self._client = client
        self._path = f"/v1/vms/{vm_id}/disks/{disk}/hashes"
        self._basis = basis
        self._position = begin
        step = _PAGE_BLOCKS[basis]
        self._wanted: Iterator[tuple[int, int]] = ((at, min(step, total - at)) for at in range(begin, total, step))
        self._pool = ThreadPoolExecutor(_AHEAD, thread_name_prefix=f"hashes-{vm_id}")
        self._coming: deque[Future[Digests]] = deque()
        self._page = np.zeros(0, dtype=DIGEST)
        for _ in range(_AHEAD):
            self._ask()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def take(self, first: int, count: int) -> Digests:
        """The next `count` hashes, which must not reach into a further page. LinkError, PeerRefused."""
        if not len(self._page):
            self._page = self._coming.popleft().result()
            self._ask()
        if first != self._position or count > len(self._page):
            raise ValueError(f"hashes of {count} blocks from {first}: those from {self._position} come next")
        self._position += count
        found, self._page = self._page[:count], self._page[count:]
        return found

    def _ask(self) -> None:
        wanted = next(self._wanted, None)
        if wanted is not None:
            self._coming.append(self._pool.submit(self._fetch, *wanted))

    def _fetch(self, first: int, count: int) -> Digests:
        with self._client.session() as peer:
            body = peer.get_bytes(f"{self._path}?from={first}&count={count}&basis={self._basis}")
        if len(body) != count * DIGEST_BYTES:
            raise LinkError(f"{self._path}: {len(body)} bytes came for the hashes of {count} blocks")
        return np.frombuffer(body, dtype=DIGEST)
