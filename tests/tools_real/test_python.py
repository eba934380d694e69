"""P1, P6: python3 with threads, subprocess, multiprocessing, asyncio, ctypes: all as natively."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools_real.conftest import Same

SCRIPTS = sorted((Path(__file__).parent / "scripts" / "python").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem.replace("_", " "))
def test_p6_python_gives_the_same(script: Path, same: Same) -> None:
    seen = same(lambda tool: tool.run("/usr/bin/python3", "-B", str(script)))
    assert seen.status == 0, seen.err.decode()
