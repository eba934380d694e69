"""Searching what a process has in its memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

HELPER = "scone-helper"
PIECE = 1 << 24
PAGE = 4096
PRESENT = b"\x3f"  # a greater last byte of a pagemap entry: in memory, or swapped


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def areas(pid: int) -> list[tuple[int, int, str, str]]:
    """Start, end, permissions and name of each mapping."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = re.fullmatch(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)", line)
        assert fields is not None
        found.append((int(fields[1], 16), int(fields[2], 16), fields[3], fields[4]))
    return found


def holds(pid: int, needles: Sequence[bytes]) -> bool:
    """Whether one of these is anywhere in the process's memory."""
    readable = [area for area in areas(pid) if "r" in area[2] and not area[3].startswith("[v")]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end, _, _ in readable:
            for at in range(start, end, PIECE):
                for first, size in held_pages(pid, at, min(end, at + PIECE)):
                    memory.seek(first)
                    found = memory.read(size)
                    assert len(found) == size
                    if any(needle in found for needle in needles):
                        return True
    return False


def held_pages(pid: int, start: int, end: int) -> list[tuple[int, int]]:
    """The runs of pages that are there at all: the ring is a gigabyte of addresses, mostly without memory. Those that
    only its parent has touched count, too: a helper shares the ring with it."""
    mine, parents = (entries_of(one, start, end) for one in (pid, parent_of(pid)))
    runs: list[tuple[int, int]] = []
    for index in range((end - start) // PAGE):
        if not any(entries[index * 8 + 7 : index * 8 + 8] > PRESENT for entries in (mine, parents)):
            continue
        at = start + index * PAGE
        if runs and sum(runs[-1]) == at:
            runs[-1] = (runs[-1][0], runs[-1][1] + PAGE)
        else:
            runs.append((at, PAGE))
    return runs


def entries_of(pid: int, start: int, end: int) -> bytes:
    """Eight bytes a page: /proc/PID/pagemap."""
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
        pagemap.seek(start // PAGE * 8)
        return pagemap.read((end - start) // PAGE * 8)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
