"""P6: what the runtime serves as a file is a file to an unmodified program: the same cases natively and wrapped."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers.modes import WRAPPED, Mode, warm
from tests.helpers.processes import run

SOURCE = Path(__file__).parent / "programs" / "memory.c"
CASES = re.findall(r"^CASE\((\w+)\)", SOURCE.read_text(), re.MULTILINE)
HANDLERS = """
from scone_preload.handlers import Call, Result, deny, file, handles
from scone_preload.runtime.decode import pack_struct

CONTENT = bytes((i * 7 + i // 256) % 256 for i in range(10000))
NUMBER = 7

@handles("open", "openat", "openat2")
def serve(call: Call):
    if call.path == "/run/scone-test/file":
        return file(CONTENT, mode=0o440)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("memory") / "memory"
    include = f"-I{Path(__file__).resolve().parents[1] / 'programs'}"
    subprocess.run(
        ["gcc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-stringop-overread", include, SOURCE, "-o", binary],
        check=True,
    )
    warm(binary)
    return binary


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
@pytest.mark.parametrize("case", CASES)
def test_p6_a_served_file_is_as_a_native_one(case: str, mode: Mode, program: Path, tmp_path: Path) -> None:
    handlers = tmp_path / "handlers.py"
    handlers.write_text(HANDLERS)
    policy = tmp_path / "scone.toml"
    policy.write_text(
        f'version = 1\n[calls.route]\nopen = "runtime"\nopenat = "runtime"\nopenat2 = "runtime"\n'
        f'[exec]\nprograms = ["{program}"]\n'
    )
    options = ["--policy", str(policy), "--handlers", str(handlers)]
    place = tmp_path / "run"
    place.mkdir()
    outcome = run(mode, [program, case], cwd=place, options=options)
    assert outcome.status == 0, str(outcome)
    assert outcome.out.endswith(f"ok {case}\n".encode()), str(outcome)
