"""P6, P1: each case of each C program gives the same natively and wrapped by both exits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.modes import MODES, REPOSITORY, Mode, warm
from tests.helpers.processes import Outcome, run
from tests.helpers.server import ORDINARY_USER, environment_of, place_of

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


# What the limits and rights of an ordinary user, and of the helper, could change.
OF_ANYBODY = [
    ("stream_order", "a_full_connection_is_shut_down_at_once_and_loses_nothing"),
    ("stream_order", "many_slow_readers_do_not_hold_up_a_quick_one"),
    ("stream_order", "a_signal_is_handled_while_a_full_peer_holds_up_a_limit"),
    ("read_ahead", "reading_keeps_the_order"),
    ("read_ahead", "a_process_that_is_given_a_connection_finds_all_that_nobody_read"),
]


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
    judge(run(mode, [built[program], case], cwd=tmp_path, timeout=40), case)


def judge(outcome: Outcome, case: str) -> None:
    """Fails the test, or skips it, as the case says."""
    if outcome.status == SKIPPED:
        pytest.skip(outcome.out.decode().strip().removeprefix("skip: "))
    assert outcome.status == 0, str(outcome)
    assert outcome.out.endswith(f"ok {case}\n".encode()), str(outcome)


@pytest.mark.parametrize(
    "mode", [mode for mode in MODES if mode in (Mode.ASYNC, Mode.RING)], ids=lambda mode: mode.value
)
@pytest.mark.parametrize(("program", "case"), OF_ANYBODY, ids=lambda name: name.replace("_", " "))
def test_a_case_of_streams_holds_for_an_ordinary_user(
    program: str, case: str, mode: Mode, built: dict[str, Path]
) -> None:
    if ORDINARY_USER is None:
        pytest.skip("all tests run as an ordinary user here")
    reach = run(Mode.NATIVE, ["/usr/bin/test", "-r", REPOSITORY / "README.md"], cwd=Path("/"), user=ORDINARY_USER)
    if reach.status != 0:
        pytest.skip(f"{ORDINARY_USER} can't reach this checkout: tools/test works on a copy")
    with place_of(ORDINARY_USER) as place:
        binary = Path(shutil.copy(built[program], place))
        judge(
            run(
                mode,
                [binary, case],
                cwd=place,
                environment=environment_of(place, ORDINARY_USER),
                user=ORDINARY_USER,
                timeout=40,
            ),
            case,
        )
