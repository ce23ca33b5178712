"""The sending half: disks, the map of what changed, cycles, comparisons."""
