"""tools/bench runs, measures all three modes, tells failures, and leaves no process; times are never asserted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scone_preload.bench.processes import cpu_between, cpu_exact_s, read_stat, tree
from tests.helpers.modes import REPOSITORY
from tests.helpers.processes import nothing_left_behind

BENCH = REPOSITORY / "tools" / "bench"
MODES = {"native", "sync", "async"}
PEERS = {"native", "gocryptfs", "sqlcipher", "cipher"}


def bench(*words: str | Path, timeout: float = 200) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BENCH, *words], capture_output=True, text=True, check=False, timeout=timeout)


@pytest.mark.parametrize(
    ("row", "figures"),
    [
        ("syscall-site", {"ns"}),
        ("ring-lseek", {"ns"}),
        ("redis-get-p1", {"rate", "cpu"}),
        ("nginx-1k-w2", {"rate", "cpu"}),
        ("memcached", {"rate", "cpu"}),
        ("apache-1k", {"rate", "cpu"}),
        ("start-true", {"ms"}),
        ("exec", {"ms"}),
        ("idle", {"percent"}),
    ],
)
def test_p8_a_quick_run_measures_each_mode(tmp_path: Path, row: str, figures: set[str]) -> None:
    with nothing_left_behind():
        done = bench("--quick", "--json", tmp_path / "all.json", row)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "all.json").read_text())[row]
    assert set(report["figures"]) == figures
    for figure in report["figures"].values():
        assert {mode for mode in figure if mode in MODES and figure[mode]["samples"]} == MODES
    assert len(done.stdout.splitlines()) == 2 + 2 * len(figures)


@pytest.mark.parametrize(
    ("row", "figures", "peers"),
    [
        ("file-read-hot", {"rate"}, {"gocryptfs"}),
        ("file-read-cold", {"rate"}, {"gocryptfs"}),
        ("file-write-cold", {"rate"}, {"gocryptfs"}),
        ("file-seq-read", {"rate"}, {"gocryptfs", "cipher"}),
        ("file-seq-write", {"rate"}, {"gocryptfs", "cipher"}),
        ("file-append", {"rate"}, {"gocryptfs"}),
        ("sqlite-commit-delete", {"rate"}, {"gocryptfs", "sqlcipher"}),
        ("sqlite-mix-wal", {"rate"}, {"gocryptfs", "sqlcipher"}),
        ("redis-aof-always-p1", {"rate", "cpu"}, {"gocryptfs"}),
        ("nginx-volume-1k", {"rate", "cpu"}, {"gocryptfs"}),
    ],
)
def test_p8_a_quick_run_of_files_measures_native_and_its_peers(
    tmp_path: Path, row: str, figures: set[str], peers: set[str]
) -> None:
    place = ("--place", tmp_path)  # its own: other runs may have something mounted in theirs
    with nothing_left_behind():
        done = bench("--quick", "--modes", ",".join(PEERS), *place, "--json", tmp_path / "all.json", row)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "all.json").read_text())[row]
    assert set(report["figures"]) == figures
    for figure in report["figures"].values():
        assert {mode for mode in figure if mode in PEERS and figure[mode]["samples"]} == {"native", *peers}
    assert len(done.stdout.splitlines()) == 2 + len(figures) * len(peers)
    assert not mounts(tmp_path)


@pytest.mark.parametrize("row", ["file-append", "sqlite-commit-wal"])
def test_p8_a_quick_run_of_files_measures_volumes(tmp_path: Path, row: str) -> None:
    with nothing_left_behind(10):
        done = bench("--quick", "--rounds", "1", "--modes", ",".join(MODES), "--json", tmp_path / "all.json", row)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "all.json").read_text())[row]
    for figure in report["figures"].values():
        assert {mode for mode in figure if mode in MODES and figure[mode]["samples"]} == MODES
    assert report["facts"]["sync"]["calls"] > 1


def mounts(place: Path) -> list[str]:
    """What gocryptfs has mounted for a benchmark in that place."""
    lines = Path("/proc/mounts").read_text().splitlines()
    return [line for line in lines if "gocryptfs" in line and f"{place}/scone-bench-" in line]


def test_p8_a_ring_row_is_judged_only_if_its_calls_crossed_by_the_ring(tmp_path: Path) -> None:
    done = bench("--quick", "--rounds", "1", "--json", tmp_path / "all.json", "ring-lseek", "syscall-trap")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "all.json").read_text())
    judged = report["ring-lseek"]["figures"]["ns"]["async"]["must_reached"]
    assert (judged is None) == (report["ring-lseek"]["facts"]["async"].get("crossings", 0) < 0.5)
    assert report["ring-lseek"]["facts"]["sync"]["ring"] == 0
    assert report["syscall-trap"]["facts"]["sync"]["traps"] >= 0.99


def test_an_unknown_row_is_named() -> None:
    done = bench("idel")
    assert done.returncode == 125
    assert "no such row: idel" in done.stderr


def test_an_interrupt_ends_every_process() -> None:
    with nothing_left_behind():
        process = subprocess.Popen([BENCH, "redis-get-p1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not any(stat.name.startswith("redis-bench") for stat in tree(process.pid).values()):
            assert time.monotonic() < end, "no load was started"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


@pytest.mark.parametrize("end_by", [signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_nothing_stays_mounted(tmp_path: Path, end_by: signal.Signals) -> None:
    with nothing_left_behind(10):
        words = [BENCH, "file-create", "--modes", "native,gocryptfs", "--place", tmp_path]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await_mounts(tmp_path, wanted=True)
        process.send_signal(end_by)
        process.wait(60)
    await_mounts(tmp_path, wanted=False)


def await_mounts(place: Path, *, wanted: bool) -> None:
    """Waits until something is mounted, or nothing is."""
    end = time.monotonic() + 60
    while bool(mounts(place)) != wanted:
        assert time.monotonic() < end, mounts(place)
        time.sleep(0.05)


def test_the_cpu_time_of_a_tree_includes_children() -> None:
    script = "import os, time\nos.fork()\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    process = subprocess.Popen(["/usr/bin/python3", "-c", script + "time.sleep(60)"])
    try:
        end = time.monotonic() + 30
        while cpu_between({}, tree(process.pid)) < 0.55:
            assert time.monotonic() < end, tree(process.pid)
            time.sleep(0.05)
        members = tree(process.pid)
        assert len(members) == 2
        assert cpu_exact_s(process.pid) >= 0.55
        assert cpu_between(members, members) == 0
    finally:
        for pid in tree(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()
    assert read_stat(process.pid) is None
