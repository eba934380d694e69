"""Names of a volume: the same calls on the kernel's files give the same, and a kill leaves no half of a change."""

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NOT_POSSIBLE = 77


VARIANTS = [("standin", "plain"), ("standin", "sanitize"), ("real", "plain"), ("real", "sanitize")]


def build(folder: Path, below: str, how: str, *names: str) -> dict[str, Path]:
    """Build each tests/volume/<name>.c, on the stand-in or the real core `below`, plain or sanitized."""
    subprocess.run([str(HERE / "build.sh"), str(folder), how, below, *names], check=True)
    return {name: folder / name for name in names}


def run(program: Path, *arguments: object) -> str:
    """What it says; leaks can't be looked for where credentials change."""
    done = subprocess.run(
        [str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )
    if done.returncode == NOT_POSSIBLE:
        pytest.skip("chroot is not possible: neither root nor user namespaces")
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module", params=VARIANTS, ids="-".join)
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(tmp_path_factory.mktemp("names"), *request.param, "names_oracle", "names_cases")


def open_folder(path: Path) -> Path:
    """As another user's root directory, for those whom the program becomes."""
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("seed", range(4))
def test_random_calls_give_what_the_kernel_gives(programs: dict[str, Path], tmp_path: Path, seed: int) -> None:
    run(programs["names_oracle"], open_folder(tmp_path), seed, 2500)


def test_a_write_that_fails_leaves_no_half_of_a_change(tmp_path: Path) -> None:
    program = build(tmp_path, "standin", "plain", "names_oracle")["names_oracle"]
    run(program, open_folder(tmp_path), 1, 1000, "fail")


def test_each_case_of_the_table(programs: dict[str, Path]) -> None:
    assert "cases" in run(programs["names_cases"])


@pytest.mark.parametrize("below", ["standin", "real"])
def test_a_kill_at_any_instruction_leaves_all_of_a_change_or_nothing(tmp_path: Path, below: str) -> None:
    out = run(build(tmp_path, below, "plain", "names_kill")["names_kill"], 397, 5)
    kills, undone = (int(part.split()[0]) for part in out.split(", "))
    assert 0 < undone < kills
