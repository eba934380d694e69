"""Volumes: the container's superblock and keys, the core behind them, and the directory they are in (docs/volume.md).

format, slots            bytes <-> dataclasses; the ways to the volume key
superblock, place        the container on the disk: two copies, the lock, what else lies there
core                     build/libvolume.so: format, mount, commit, checkpoint
freshness, opening       a volume made or opened, checked against its anchor
meeting, joining, proof  one that another scone-wrap has: joined
memory                   how big the cache is where nobody says it
layout, container, tree  reading without the core: bytes <-> dataclasses; blocks, log; records, entries, contents
reading, inside          paths, and damage as errors; paths of the host that lead into a volume
verify, export, salvage  all of a volume: checked, written out, saved; target is where to

Nothing here is imported by a start without volumes: `cryptography` alone costs 20 ms.
"""
