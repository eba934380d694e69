"""P2, P3: the helper's memory holds nothing of the enclave's, and nothing but the ring, its code and its stacks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.modes import Mode, command, warm
from tests.helpers.processes import descendants

HALF = b"what nobody else may ever see!!\0"
SECRET = bytes(byte ^ (0x5A + index & 0xFF) for index, byte in enumerate(HALF))
HELPER = "scone-helper"
PIECE = 1 << 24
PAGE = 4096
PRESENT = b"\x3f"  # a greater last byte of a pagemap entry: in memory, or swapped


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[set[int]]:
    """The wrapped program, its child, and the helpers of both, while they wait."""
    binary = tmp_path / "canary"
    source = Path(__file__).parent / "canary.c"
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Wno-unused-result", source, "-o", binary], check=True)
    assert SECRET not in binary.read_bytes()
    assert SECRET[:16] not in binary.read_bytes()
    warm(binary)
    process = subprocess.Popen(command(Mode.RING, [binary]), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert {process.stdout.read(1), process.stdout.read(1)} == {b"p", b"c"}
    below = descendants(process.pid) | {process.pid}
    yield below
    for pid in below - {process.pid}:
        if name_of(pid) != HELPER:
            os.kill(pid, signal.SIGKILL)
    process.communicate(b"x", 10)


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


def has_secret(pid: int) -> bool:
    """Whether a half of the secret (a vector register's worth) is anywhere in the process's memory."""
    parts = (SECRET[:16], SECRET[16:])
    readable = [area for area in areas(pid) if "r" in area[2] and not area[3].startswith("[v")]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end, _, _ in readable:
            for at in range(start, end, PIECE):
                for first, size in held_pages(pid, at, min(end, at + PIECE)):
                    memory.seek(first)
                    found = memory.read(size)
                    assert len(found) == size
                    if any(part in found for part in parts):
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


def test_p2_the_helpers_hold_no_secret_of_programs_full_of_it(processes: set[int]) -> None:
    helpers = {pid for pid in processes if name_of(pid) == HELPER}
    programs = {pid for pid in processes if name_of(pid) == "canary"}
    assert len(helpers) == 2
    assert len(programs) == 2
    assert all(has_secret(pid) for pid in programs), "the search finds what is there"
    assert not any(has_secret(pid) for pid in helpers)


def test_p3_a_helper_has_mapped_the_ring_and_its_code_and_nothing_else(processes: set[int]) -> None:
    for helper in (pid for pid in processes if name_of(pid) == HELPER):
        kinds = sorted((permissions, Path(name).name) for _, _, permissions, name in areas(helper))
        rings = [kind for kind in kinds if kind[0] == "rw-s"]
        code = [kind for kind in kinds if kind[0] == "r-xp" and kind[1].endswith(".so")]
        assert rings
        assert len(code) == 1
        assert not [kind for kind in kinds if kind not in rings + code and not kind[1].startswith("[v")], kinds
