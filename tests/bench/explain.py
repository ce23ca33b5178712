"""What stands between a row and its goal, from profiles of the stages; shown for the rows that miss theirs."""

from bench import results

PROFILED = "Profiles on two cores of an AMD EPYC, in a virtual machine whose host takes unused memory back."

LIMITS: dict[str, str] = {
    results.COPY: """\
  Both cores are busy. Per copy the sender takes about 0.65 s of processor time (sending 0.25, hashing 0.2, reading
  0.1, looking for zeros 0.05), the receiver 0.7 s (receiving 0.2, writing into the page cache 0.2, BLAKE3 0.25,
  XXH3 0.04), and the disk needs 0.6 s to take 1 GiB, beside them; the best run took 0.78 s. Whatever else runs on
  the machine takes from the engine first, for it has no core to spare; cp uses but one. cp and nbdcopy hash
  nothing, and cp moves each byte twice where a network copy moves it four times. Gained: syncing beside the
  receiving (1.48 s to 0.95 s), slices of 1 MiB where there is no limit (a tenth of the sender's time). Tried and
  not kept: a further thread of the receiver for writing (0.78 s became 1.06 s: the blocks leave the cache of the
  core that hashed them); preallocating the layer (0.80 s became 0.73 s at best, nothing for a delta; a part would
  end in zeros until it is sealed).""",
    results.DELTA: """\
  Of about 57 ms, 28 are the first touch of page cache for the new layer, 13 the sync of 20 MiB, 7 receiving, 5
  hashing, 3 all other syncs. QEMU overwrites the copy in place, in memory that it has, and leaves no recovery
  point. Gained: syncing from the first 8 MiB on (98 ms to 73 ms, medians on a loaded machine).""",
    results.SCAN: """\
  Reading and hashing 1 GiB takes 0.1 s of processor time, on two threads: the bandwidth of memory. The rest is the
  tracked delta.""",
    results.TWO_SIDED: """\
  Both sides read 1 GiB: 0.1 s of processor time at the source, 0.16 s at the replica, which looks each block up in
  its layers. The rest is the tracked delta.""",
    f"{results.QUIET}: memory": """\
  Of about 35 kB that Python holds for a VM, both sites together, 6 were serialised facts (half of them superseded, and
  dropped since), 3 what threads wait on, 2.4 the entry of the data-centre file, 2 facts, 1.5 halves; the rest is
  spread. The primaries' site has guests and disks besides, and misses; the replicas' site took 210 MB. Gained: maps,
  disks and stores are let go of between cycles (six descriptors and three mappings per disk became one descriptor),
  two heaps instead of one for each thread.""",
    f"{results.QUIET}: processor time, 300 s interval": """\
  A cycle takes 2.3 ms at the primaries' site and 2.7 ms at the replicas', right after a start, when each relation
  is read from the disk for its first cycle; at 29 cycles per second among 1,000 relations that go on, it took 1.4 ms
  and 1.3 ms, which would be 4.6 %. What the difference is made of was not profiled. Gained: no handshake, no freeze
  and no files for a cycle without blocks, one sync for all halves noted at a time, no look each second at relations
  without news. Once an hour each VM has a full cycle, for its kept point.""",
    results.GUEST_WRITE: """\
  A write of 4 KiB into memory takes 6.3 us, marking it 1 us. Gained: marking in the mapped bytes themselves; by way
  of numpy it took 6 us.""",
}
