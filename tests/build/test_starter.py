"""The starter of rewritten programs: static, without relocations, and closed where something is missing."""

import os
import subprocess
from pathlib import Path

import lief
import pytest

from scone_preload.build.starter import build_starter
from scone_preload.build.toolchain import find_compiler
from scone_preload.paths import LIBSHIM, ROOT, STARTER


def test_it_needs_no_loader_and_no_relocation() -> None:
    starter = lief.ELF.parse(STARTER)
    assert starter is not None
    assert not starter.has_interpreter
    assert not list(starter.relocations)
    assert not list(starter.libraries)


def test_it_is_replaced_only_when_it_changes(tmp_path: Path) -> None:
    compiler, target = find_compiler(), tmp_path / "start"
    assert compiler is not None
    source = Path(LIBSHIM, "start", "start.c")
    assert [build_starter(compiler, source, target, Path(ROOT)) for _ in range(2)] == [True, False]
    assert os.access(target, os.X_OK)
    assert [path.name for path in tmp_path.iterdir()] == ["start"]


@pytest.mark.parametrize("environment", [{}, {"SCONE_SHIM": "3,77,0,1,0,16,5"}, {"SCONE_SHIM": "nonsense"}])
def test_alone_it_starts_nothing(environment: dict[str, str]) -> None:
    done = subprocess.run([STARTER, "x"], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 126
    assert done.stderr.startswith("scone-wrap: not a rewritten program: ")
