"""Counts of running processes: the same layout as C's, summed over processes, and no file of a process does harm."""

import os
import selectors
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scone_preload.runtime import live, wire
from scone_preload.runtime.exposition import BUCKET_COUNT, BUCKET_LOW, Counts, Latency, exposition
from tests.runtime.test_wire import SIZES

ROOT = Path(__file__).resolve().parents[2]
NR_READ, NR_WRITE = 0, 1
CONSTANTS = {
    "LIVE_MAGIC": live.MAGIC, "LIVE_SLOT_COUNT": live.SLOT_COUNT, "LIVE_LANE_COUNT": live.LANE_COUNT,
    "LIVE_LANES_AT": live.LANES_AT, "LIVE_SLOTS_AT": live.SLOTS_AT, "LIVE_STATS_AT": live.STATS_AT,
    "LIVE_STATS_SIZE": live.STATS_SIZE, "LIVE_SLOT_SIZE": live.SLOT_SIZE, "LIVE_BUCKET_COUNT": BUCKET_COUNT,
    "LIVE_BUCKET_LOW": BUCKET_LOW,
}  # fmt: skip


def test_the_layouts_are_those_of_live_h(tmp_path: Path) -> None:
    prints, expected = [], []
    for name, fields in live.LAYOUTS.items():
        at = 0
        for field, code in fields:
            prints.append(f'printf("{name}.{field} %zu\\n", offsetof(struct {name}, {field}));')
            expected.append(f"{name}.{field} {at}")
            at += SIZES[code[-1]] * int(code[:-1] or 1)
        prints.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        expected.append(f"{name} {at}")
    prints += [f'printf("{name} %ld\\n", (long){name});' for name in CONSTANTS]
    expected += [f"{name} {value}" for name, value in CONSTANTS.items()]
    source = tmp_path / "layout.c"
    lines = ["#include <stddef.h>", "#include <stdio.h>", '#include "live.h"', "int main(void)", "{", *prints, "}"]
    source.write_text("\n".join(lines))
    subprocess.run(["gcc", "-I", ROOT / "libshim" / "wire", "-o", tmp_path / "layout", source], check=True)
    printed = subprocess.run([tmp_path / "layout"], check=True, capture_output=True, text=True).stdout
    assert printed.splitlines() == expected


def memory_file(*, reads: int = 0, times: tuple[int, ...] = (), slots: int = 1, queued: int = 0, magic: int = 0) -> int:
    """What a process hands over: `reads` counted in each slot, and these times of reads in the first."""
    fd = os.memfd_create("live")
    os.ftruncate(fd, live.FILE_SIZE)
    os.pwrite(fd, live._HEAD.pack(magic or live.MAGIC, 1, slots, int(bool(times))), 0)
    os.pwrite(fd, live._LANE.pack(5, 3, 2, 1, 1, queued, 0, 0, 0), live.LANES_AT)
    values: list[int] = []
    for name, code in wire.LAYOUTS["wire_stats"]:
        field = [0] * int(code[:-1] or 1)
        if name == "calls":
            field[NR_READ] = reads
        values += field
    for index in range(min(slots, live.SLOT_COUNT)):
        os.pwrite(fd, wire.layout("wire_stats").pack(*values), live.SLOTS_AT + index * live.SLOT_SIZE + live.STATS_AT)
    buckets = [0] * BUCKET_COUNT
    for time in times:
        buckets[min(max(time.bit_length() - BUCKET_LOW, 0), BUCKET_COUNT - 1)] += 1
    os.pwrite(fd, live._LATENCY.pack(sum(times), *buckets), live.SLOTS_AT + live.STATS_SIZE)
    return fd


class Processes:
    """Processes that hand over memory files, and what is summed of them."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.counts = live.LiveCounts(self.selector)
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, fd: int) -> int:
        self.running.append(subprocess.Popen(["sleep", "1000"]))
        self.hand_over(self.running[-1].pid, fd)
        return self.running[-1].pid

    def hand_over(self, pid: int, fd: int) -> None:
        self.counts.take(pid, fd)
        os.close(fd)

    def end(self, pid: int) -> None:
        process = next(process for process in self.running if process.pid == pid)
        process.kill()
        process.wait()
        for key, _ in self.selector.select(30):
            key.data()


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    for process in made.running:
        process.kill()
        process.wait()
    for key in tuple(made.selector.get_map().values()):
        os.close(int(key.fd))


def test_threads_and_processes_are_summed(processes: Processes) -> None:
    processes.start(memory_file(reads=3, slots=2))
    processes.start(memory_file(reads=10))
    total = processes.counts.sum()
    assert total.counters["calls"][NR_READ] == 16
    assert (total.one("crossings"), total.one("ring_spun"), total.one("ring_slept")) == (10, 6, 4)
    assert (total.processes, total.lanes) == (2, 2)


def test_what_ended_processes_counted_stays_and_what_was_so_just_then_goes(processes: Processes) -> None:
    pid = processes.start(memory_file(reads=3, queued=7))
    assert processes.counts.sum().queued == 7
    processes.end(pid)
    total = processes.counts.sum()
    assert total.counters["calls"][NR_READ] == 3
    assert (total.processes, total.lanes, total.queued) == (0, 0, 0)


def test_an_exec_keeps_what_was_counted_before_it(processes: Processes) -> None:
    pid = processes.start(memory_file(reads=3))
    processes.hand_over(pid, memory_file(reads=4))
    total = processes.counts.sum()
    assert (total.counters["calls"][NR_READ], total.processes) == (7, 1)


def test_a_process_that_is_gone_already_is_counted(processes: Processes) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    processes.hand_over(process.pid, memory_file(reads=3))
    total = processes.counts.sum()
    assert (total.counters["calls"][NR_READ], total.processes) == (3, 0)


def test_other_files_are_not_read(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    small = os.memfd_create("small")
    reader, writer = os.pipe()
    for fd in (os.open(tmp_path / "file", os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY), small, reader, writer):
        processes.hand_over(os.getpid(), fd)
    assert processes.counts.sum().processes == 0


def test_a_file_that_is_cut_or_holds_nonsense_counts_nothing(processes: Processes) -> None:
    cut = memory_file(reads=3)
    keep = os.dup(cut)
    processes.start(cut)
    processes.start(memory_file(reads=5, magic=1))
    processes.start(memory_file(reads=1, slots=1 << 31))
    os.ftruncate(keep, 10)
    os.close(keep)
    assert processes.counts.sum().counters["calls"][NR_READ] == live.SLOT_COUNT


def test_the_text_is_what_prometheus_reads(processes: Processes) -> None:
    times = (5, 255, 256, 1_000_000, 1 << 40)
    processes.start(memory_file(reads=5, times=times))
    text = exposition(processes.counts.sum(), {"denied": 2}, {NR_READ: "read"}, {"program": 'a "b"\\\n'})
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["scone_info", 'a "b"\\\n'] == 1
    assert samples["scone_calls_total", "read"] == 5
    assert samples["scone_crossings_total",] == 5
    assert samples["scone_events_total", "denied"] == 2
    assert samples["scone_call_duration_seconds_count", "read"] == 5
    assert samples["scone_call_duration_seconds_sum", "read"] == pytest.approx(sum(times) / 1e9)
    bounds = {key[2]: value for key, value in samples.items() if key[0] == "scone_call_duration_seconds_bucket"}
    assert (bounds["0.000000256"], bounds["0.000000512"], bounds["+Inf"]) == (2, 3, 5)
    assert len(bounds) == BUCKET_COUNT
    assert sorted(bounds.values()) == list(bounds.values())
    assert float(list(bounds)[-2]) == pytest.approx(2**30 / 1e9)


def test_every_metric_has_help_and_type_and_counters_end_in_total() -> None:
    text = exposition(Counts(latency={NR_WRITE: Latency()}), {}, {}, {})
    families = list(text_string_to_metric_families(text))
    assert len(families) == text.count("# TYPE") == text.count("# HELP")
    assert not [family.name for family in families if not family.documentation or family.type == "unknown"]
    counters = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE") and line.endswith("counter")]
    assert not [name for name in counters if not name.endswith("_total")]
