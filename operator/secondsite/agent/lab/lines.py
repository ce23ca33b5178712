"""How a lab site dials others: one bandwidth for all that it sends, and connections that are kept between cycles."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable

from secondsite.agent.driver import DataTLS
from secondsite.agent.lab.engine import Link, PeerClient, TokenBucket
from secondsite.agent.lab.fault_bucket import StallingBucket
from secondsite.agent.lab.faults import Fault, Faults
from secondsite.agent.lab.machinery import Machinery
from secondsite.agent.lab.state import Association, Documents, Half

# To each peer, between two cycles.
_KEPT_CONNECTIONS = 8


class Lines:
    """The ways from a site to its peers. `size` says how many bytes the disks of a VM have, 0 where it is not here."""

    def __init__(
        self, machinery: Machinery, tls: DataTLS, documents: Documents, faults: Faults, size: Callable[[str], int]
    ) -> None:
        self._machinery = machinery
        self._tls = tls
        self._documents = documents
        self._faults = faults
        self._size = size
        self.bucket = TokenBucket()
        self._links: defaultdict[str, Link] = defaultdict(lambda: Link(_KEPT_CONNECTIONS))

    def limit(self, bandwidth: int | None) -> None:
        """What this site may send from now on, in bytes per second; None: no limit. A fault may allow less."""
        self.bucket.rate = self._faults.slowed(bandwidth)

    def client(self, half: Half) -> PeerClient:
        """Dials the peer of a half; new connections show the newest certificate."""
        found = self._documents.get(Association, half.association)
        bucket = None if half.initial_done else self._stalling(half)
        if found and found.data_port:
            return self.dial(half.peer_site, found.data_address, found.data_port, bucket)
        return self.dial(half.peer_site, half.peer_address, half.peer_port, bucket)

    def dial(self, site: str, address: str, port: int, bucket: TokenBucket | None = None) -> PeerClient:
        """Dials the data port of a site; without `bucket` with the bandwidth of all that this site sends."""
        tls = self._tls.dialler(site)
        return self._machinery.client(address, port, tls, bucket or self.bucket, self._links[site])

    def close(self) -> None:
        """End the connections that are kept."""
        for link in self._links.values():
            link.idle.close()

    def _stalling(self, half: Half) -> TokenBucket:
        stalled = functools.partial(self._faults.on, Fault.INITIAL_REPLICATION_STUCK, half.vm_id)
        return StallingBucket(self.bucket, stalled, self._size(half.vm_id) // 100)
