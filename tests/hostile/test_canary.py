"""P2, P3: the helper's memory holds nothing of the enclave's, and nothing but the ring, its code and its stacks."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.memory import HELPER, areas, holds, name_of
from tests.helpers.modes import Mode, command, warm
from tests.helpers.processes import descendants

HALF = b"what nobody else may ever see!!\0"
SECRET = bytes(byte ^ (0x5A + index & 0xFF) for index, byte in enumerate(HALF))
PARTS = (SECRET[:16], SECRET[16:])  # a vector register's worth


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


def test_p2_the_helpers_hold_no_secret_of_programs_full_of_it(processes: set[int]) -> None:
    helpers = {pid for pid in processes if name_of(pid) == HELPER}
    programs = {pid for pid in processes if name_of(pid) == "canary"}
    assert len(helpers) == 2
    assert len(programs) == 2
    assert all(holds(pid, PARTS) for pid in programs), "the search finds what is there"
    assert not any(holds(pid, PARTS) for pid in helpers)


def test_p3_a_helper_has_mapped_the_ring_and_its_code_and_nothing_else(processes: set[int]) -> None:
    for helper in (pid for pid in processes if name_of(pid) == HELPER):
        kinds = sorted((permissions, Path(name).name) for _, _, permissions, name in areas(helper))
        rings = [kind for kind in kinds if kind[0] == "rw-s"]
        code = [kind for kind in kinds if kind[0] == "r-xp" and kind[1].endswith(".so")]
        assert rings
        assert len(code) == 1
        assert not [kind for kind in kinds if kind not in rings + code and not kind[1].startswith("[v")], kinds
