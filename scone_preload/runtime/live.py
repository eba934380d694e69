"""Reads what wrapped processes count while they run: each hands over a memory file and counts in it (wire/live.h).

Files are read, not mapped: a process that cuts its file short does no harm then, and what was never written takes no
memory. What a process counted stays in the sums when it ends or executes another program.
"""

import contextlib
import fcntl
import os
import resource
import selectors
import struct
from collections.abc import Callable

from scone_preload.runtime import wire
from scone_preload.runtime.exposition import BUCKET_COUNT, Counts, Latency

MAGIC = 0x4556494C
SLOT_COUNT, LANE_COUNT = 1024, 256
LANES_AT, SLOTS_AT = 0x1000, 0x5000
STATS_AT, STATS_SIZE, SLOT_SIZE = 0x800, 0x2000, 0x1B000
FILE_SIZE = SLOTS_AT + SLOT_COUNT * SLOT_SIZE
# As in wire.py: name -> fields with their struct codes.
LAYOUTS: dict[str, tuple[tuple[str, str], ...]] = {
    "wire_live": (("magic", "I"), ("pid", "i"), ("slots_used", "I"), ("has_latency", "I")),
    "wire_live_lane": (
        *(("crossings", "Q"), ("spun", "Q"), ("slept", "Q"), ("by_uring", "Q"), ("in_use", "I"), ("queued", "I")),
        ("padding", "3Q"),
    ),
    "wire_latency": (("ns_sum", "Q"), ("buckets", f"{BUCKET_COUNT}Q")),
}
F_GET_SEALS = 1034


def _layout(name: str) -> struct.Struct:
    return struct.Struct("<" + "".join(code for _, code in LAYOUTS[name]))


_HEAD, _LANE, _LATENCY = (_layout(name) for name in LAYOUTS)
_STATS = wire.layout("wire_stats")


class LiveCounts:
    """The memory files of the processes that run, by pid, and the sums of those that have ended."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._ended = Counts()
        self._files: dict[int, tuple[int, int]] = {}  # pid -> memory file, pidfd
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two for each process

    def take(self, pid: int, fd: int) -> None:
        """Process `pid` counts in `fd` from now on; what it counted before is kept. `fd` stays the caller's."""
        self._end(pid)
        if not is_memory_file(fd):
            return
        own = os.dup(fd)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # gone already
            self._keep(own)
            return
        self._files[pid] = (own, pidfd)
        self._selector.register(pidfd, selectors.EVENT_READ, self._ender(pid))

    def sum(self) -> Counts:
        """Return the counts of all processes, ended ones included."""
        total = Counts(processes=len(self._files))
        _merge(total, self._ended)
        for fd, _ in self._files.values():
            add_file(total, fd, running=True)
        return total

    def _ender(self, pid: int) -> Callable[[], None]:
        return lambda: self._end(pid)

    def _end(self, pid: int) -> None:
        file = self._files.pop(pid, None)
        if file is not None:
            self._selector.unregister(file[1])
            os.close(file[1])
            self._keep(file[0])

    def _keep(self, fd: int) -> None:
        add_file(self._ended, fd, running=False)
        os.close(fd)


def is_memory_file(fd: int) -> bool:
    """Is it a memfd of the right size? Anything else might make the reader wait."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, F_GET_SEALS)
        return os.fstat(fd).st_size == FILE_SIZE
    return False


def add_file(counts: Counts, fd: int, *, running: bool) -> None:
    """Add what one process counted; of one that has ended, what is so just now doesn't count."""
    head = os.pread(fd, _HEAD.size, 0)
    if len(head) < _HEAD.size:
        return
    magic, _, used, has_latency = _HEAD.unpack(head)
    if magic != MAGIC:
        return
    for *sums, in_use, queued in _lanes(fd):
        for name, value in zip(("crossings", "ring_spun", "ring_slept", "ring_by_uring"), sums, strict=True):
            counts.counters[name][0] += value
        counts.lanes += running and bool(in_use)
        counts.queued += queued if running and queued < 1 << 31 else 0
    for index in range(min(used, SLOT_COUNT)):
        _add_slot(counts, fd, SLOTS_AT + index * SLOT_SIZE, has_latency=bool(has_latency))


def _lanes(fd: int) -> list[tuple[int, ...]]:
    raw = os.pread(fd, LANE_COUNT * _LANE.size, LANES_AT)
    return [values[:6] for values in _LANE.iter_unpack(raw[: len(raw) // _LANE.size * _LANE.size]) if any(values)]


def _add_slot(counts: Counts, fd: int, at: int, *, has_latency: bool) -> None:
    raw = os.pread(fd, _STATS.size, at + STATS_AT)
    if len(raw) < _STATS.size:
        return
    values = _STATS.unpack(raw)
    start = 0
    for name, mine in counts.counters.items():
        part = values[start : start + len(mine)]
        start += len(mine)
        counts.counters[name] = [a + b for a, b in zip(mine, part, strict=True)]
    calls = values[start - wire.CALL_COUNT : start] if has_latency else ()
    for nr, count in enumerate(calls):
        row = os.pread(fd, _LATENCY.size, at + STATS_SIZE + nr * _LATENCY.size) if count else b""
        if len(row) == _LATENCY.size:
            counts.latency.setdefault(nr, Latency()).add(_LATENCY.unpack(row))


def _merge(counts: Counts, more: Counts) -> None:
    for name, values in more.counters.items():
        counts.counters[name] = [a + b for a, b in zip(counts.counters[name], values, strict=True)]
    for nr, latency in more.latency.items():
        counts.latency.setdefault(nr, Latency()).add((latency.ns_sum, *latency.buckets))
