"""The core of volumes: against a model, through crashes, kills, errors of the host, and tampering (core_*.c)."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAMES = ("core_oracle", "core_crash", "core_fail", "core_tamper", "core_kill")
EIO, ENOSPC, FULL = 5, 28, 0


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All of them, plain; NAME-checked is built with the sanitizers."""
    folder = tmp_path_factory.mktemp("core")
    checked = folder / "checked"
    checked.mkdir()
    build = str(HERE / "core_build.sh")
    jobs = ((folder, "plain", *NAMES), (checked, "sanitize", "core_oracle", "core_tamper", "core_fail"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: subprocess.run([build, *map(str, job)], check=True), jobs))
    return {**{name: folder / name for name in NAMES}, **{f"{name}-checked": checked / name for name in jobs[1][2:]}}


def run(program: Path, *arguments: object) -> str:
    """What it says; a failed one's last words are shown."""
    done = subprocess.run(
        [str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("mode", [(), ("plain",)], ids=["encrypt", "authenticate"])
@pytest.mark.parametrize("seed", [11, 12])
def test_random_changes_give_what_a_model_gives(programs: dict[str, Path], seed: int, mode: tuple[str, ...]) -> None:
    run(programs["core_oracle"], seed, 1500, *mode)
    run(programs["core_oracle-checked"], seed + 100, 150, *mode)


@pytest.mark.parametrize("seed", [21, 22])
def test_p4_what_a_crash_leaves_is_the_state_of_a_commit(programs: dict[str, Path], seed: int) -> None:
    assert "states" in run(programs["core_crash"], seed, 120, 4)


@pytest.mark.parametrize("arguments", [(EIO, "once"), (EIO,), (ENOSPC, "once"), (FULL,)], ids=str)
def test_an_error_of_the_host_loses_nothing_it_is_not_told_for(
    programs: dict[str, Path], arguments: tuple[object, ...]
) -> None:
    run(programs["core_fail"], 31, 90 if arguments[0] == FULL else 12, *arguments)
    run(programs["core_fail-checked"], 32, 400 if arguments[0] == FULL else 90, *arguments)


@pytest.mark.parametrize("mode", [(), ("plain",)], ids=["encrypt", "authenticate"])
def test_p5_what_a_host_changes_is_an_error_and_never_wrong_data(
    programs: dict[str, Path], mode: tuple[str, ...]
) -> None:
    run(programs["core_tamper"], 41, 90, *mode)
    run(programs["core_tamper-checked"], 42, 15, *mode)


def test_processes_that_are_killed_at_random_leave_all_that_was_written(programs: dict[str, Path]) -> None:
    run(programs["core_kill"], 51, 2, 100)
