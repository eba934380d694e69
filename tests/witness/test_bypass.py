"""P1: each way past a preload library is caught, seen by the program, by the statistics and by an outside witness."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers.modes import MODES, WRAPPED, Mode, command, warm
from tests.helpers.net import wait_until
from tests.helpers.processes import run
from tests.witness.witness import read, strace_command

HERE = Path(__file__).parent
CASES = re.findall(r"^CASE\((\w+)\)", (HERE / "bypass.c").read_text(), re.MULTILINE)
# These reach the shim by no site of a file that it knows, so each must trap.
TRAPPING = [case for case in CASES if "generated" in case or "by_hand" in case]
# What these write must cross the ring in async mode.
FORKLESS = ("a_raw_syscall_instruction", "generated_code", "a_library_loaded_later")
REFUSED = {"io_uring": "io_uring: refused refused"}
FLAGS = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-Wno-nonnull"]


@pytest.fixture(scope="session")
def bypass(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bypass")
    library = directory / "bypass_library.so"
    subprocess.run(["gcc", "-shared", "-fPIC", HERE / "bypass_library.c", "-o", library], check=True)
    subprocess.run(["gcc", *FLAGS, HERE / "bypass.c", "-o", directory / "bypass", "-ldl"], check=True)
    if WRAPPED:
        warm(directory / "bypass")
    return directory / "bypass"


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace("_", " "))
def test_p1_p6_the_way_around_gives_what_it_gives_natively(mode: Mode, case: str, bypass: Path, tmp_path: Path) -> None:
    outcome = run(mode, [bypass, case], cwd=tmp_path)
    assert outcome.status == 0, str(outcome)
    assert f"ok {case}".encode() in outcome.out, str(outcome)
    if mode.wrapped and case in REFUSED:
        assert REFUSED[case].encode() in outcome.out, str(outcome)


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
@pytest.mark.parametrize("case", TRAPPING, ids=lambda case: case.replace("_", " "))
def test_p1_the_statistics_count_the_trap(mode: Mode, case: str, bypass: Path, tmp_path: Path) -> None:
    report = tmp_path / "stats.json"
    outcome = run(mode, [bypass, case], cwd=tmp_path, options=[f"--stats={report}"])
    assert outcome.status == 0, str(outcome)
    wait_until(report.exists, "the statistics are written")
    assert json.loads(report.read_text())["calls_by_door"]["trap"] >= 2


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace("_", " "))
def test_p1_the_outside_witness_sees_only_gate_and_helper(mode: Mode, case: str, bypass: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    words = strace_command(trace, command(mode, [bypass, case]))
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False, timeout=120)
    testimony = read(trace)
    assert done.returncode == 0, f"{done.stdout!r}\n{done.stderr.decode()}\n{testimony}"
    assert not testimony.violations, str(testimony)
    assert testimony.wrapped_images, str(testimony)
    assert testimony.by_origin["gate"] > 0, str(testimony)
    if mode is Mode.RING and case in FORKLESS:
        assert testimony.by_origin["helper"] > 5, f"no helper worked: {testimony}"


def test_p1_the_witness_is_not_blind(bypass: Path, tmp_path: Path) -> None:
    """Run natively, the same program is never taken for wrapped."""
    trace = tmp_path / "trace"
    subprocess.run(strace_command(trace, [str(bypass), "a_vfork_child"]), cwd=tmp_path, check=True, timeout=60)
    testimony = read(trace)
    assert not testimony.wrapped_images
    assert testimony.by_origin["gate"] == 0
    assert testimony.by_origin["launcher"] > 20
