"""P6, P1: each case of each C program gives the same natively and wrapped by both exits."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers.modes import MODES, Mode, warm
from tests.helpers.processes import run

HERE = Path(__file__).parent
SKIPPED = 77
FLAGS = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
# The programs do on purpose what these warn of.
FLAGS += ["-Wno-stringop-overflow", "-Wno-stringop-overread", "-Wno-nonnull"]

# What differs from native, told in the README: strict, so that a cure is noticed.
KNOWN = {
    ("processes", "no_stranger_is_in_the_list_of_children", Mode.RING): "the helper is a child of its program, and "
    "/proc/PID/task/TID/children lists it (every wait hides it)",
}


def _cases() -> list[object]:
    found = []
    for source in sorted(HERE.glob("*.c")):
        for kind, name in re.findall(r"^(CASE|CASE_ROOT)\((\w+)\)", source.read_text(), re.MULTILINE):
            marks = [pytest.mark.needs_root] if kind == "CASE_ROOT" else []
            found.append(pytest.param(source.stem, name, marks=marks, id=f"{source.stem}: {name.replace('_', ' ')}"))
    return found


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """name -> executable, compiled when first asked for."""
    return _Programs(tmp_path_factory.mktemp("programs"))


class _Programs(dict[str, Path]):
    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def __missing__(self, name: str) -> Path:
        binary = self.directory / name
        subprocess.run(["gcc", *FLAGS, HERE / f"{name}.c", "-o", binary], check=True)
        if any(mode.wrapped for mode in MODES):
            warm(binary)
        self[name] = binary
        return binary


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize(("program", "case"), _cases())
def test_a_case_holds_natively_and_wrapped(
    program: str, case: str, mode: Mode, built: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if request.node.get_closest_marker("needs_root") and os.geteuid() != 0:
        pytest.skip("only root can change its identity")
    if (program, case, mode) in KNOWN:
        request.applymarker(pytest.mark.xfail(strict=True, reason=KNOWN[program, case, mode]))
    outcome = run(mode, [built[program], case], cwd=tmp_path, timeout=40)
    if outcome.status == SKIPPED:
        pytest.skip(outcome.out.decode().strip().removeprefix("skip: "))
    assert outcome.status == 0, str(outcome)
    assert outcome.out.endswith(f"ok {case}\n".encode()), str(outcome)
