"""P6: each case of the C programs about files gives in a volume what it gives natively, by both exits.

A case runs in a new volume that is its current directory from the start; all cases of a program share the volume's key
store. What can't be the same stands in KNOWN, strictly.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers.modes import WRAPPED, Mode, warm
from tests.volume.inside import environment_of, run_in_volume

HERE = Path(__file__).parent
PROGRAMS = HERE.parent / "programs"
ABOUT_FILES = ("shared_files", "files", "descriptors", "edges", "execs", "memory", "errnos", "tables")
FLAGS = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
FLAGS += ["-Wno-stringop-overflow", "-Wno-stringop-overread", "-Wno-nonnull"]
SKIPPED = 77

KNOWN = {
    ("execs", "bad_script_lines_fail_with_the_kernels_errors"): "a script's interpreter must lie outside",
    ("memory", "allocations_beyond_the_limit_fail_with_enomem"): "the arena counts for RLIMIT_AS",
}

# By chance, also outside of volumes under a policy: what the helper has under way ends when another thread executes.
BY_CHANCE = {
    ("tables", "a_thread_apart_may_exec", Mode.RING),
    ("tables", "a_thread_apart_makes_children_and_ends_the_process", Mode.RING),
}


def _cases() -> list[tuple[str, str]]:
    found = []
    for name in ABOUT_FILES:
        source = (PROGRAMS / f"{name}.c").read_text()
        found += [(name, case) for case in re.findall(r"^CASE\((\w+)\)", source, re.MULTILINE)]
    return found


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """name -> executable, outside of any volume."""
    return _Programs(tmp_path_factory.mktemp("programs"))


class _Programs(dict[str, Path]):
    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def __missing__(self, name: str) -> Path:
        binary = self.directory / name
        subprocess.run(["gcc", *FLAGS, PROGRAMS / f"{name}.c", "-o", binary], check=True)
        warm(binary)
        self[name] = binary
        return binary


@pytest.fixture(scope="session")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An environment with a keystore of its own."""
    return environment_of(tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
@pytest.mark.parametrize(("program", "case"), _cases(), ids=lambda name: name.replace("_", " "))
def test_a_case_holds_in_a_volume(
    program: str,
    case: str,
    mode: Mode,
    built: dict[str, Path],
    keystore: Mapping[str, str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if (program, case) in KNOWN:
        request.applymarker(pytest.mark.xfail(strict=True, reason=KNOWN[program, case]))
    if (program, case, mode) in BY_CHANCE:
        request.applymarker(pytest.mark.xfail(strict=False, reason="a read ends with EINTR at an exec"))
    outcome = run_in_volume(mode, [built[program], case], tmp_path, keystore)
    if outcome.status == SKIPPED:
        pytest.skip(outcome.out.decode().strip().removeprefix("skip: "))
    assert outcome.status == 0, str(outcome)
    assert outcome.out.endswith(f"ok {case}\n".encode()), str(outcome)
    assert os.listdir(tmp_path / "volume") == ["volume.scone"], "all that the case made is in the container"
