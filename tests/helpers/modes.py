"""The ways in which a test runs a program: natively, and wrapped by each exit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SCONE_WRAP = REPOSITORY / ".venv" / "bin" / "scone-wrap"


OPTIONS = {
    "sync": ("--syscalls", "sync"),
    "async": ("--syscalls", "async"),
    "ring": ("--syscalls", "async", "--exit-cost", "4000"),
}


class Mode(Enum):
    """How a program is run; the value is the test id."""

    NATIVE = "native"
    SYNC = "sync"
    ASYNC = "async"
    RING = "ring"  # async with an exit so dear that every call that can leaves by the ring

    @property
    def wrapped(self) -> bool:
        """Whether scone-wrap is between."""
        return self is not Mode.NATIVE


def _chosen() -> tuple[Mode, ...]:
    """All modes, or those that SCONE_TEST_MODES names (comma separated): for working on one of them."""
    names = os.environ.get("SCONE_TEST_MODES")
    return tuple(Mode) if names is None else tuple(Mode(name) for name in names.split(","))


MODES = _chosen()
WRAPPED = tuple(mode for mode in MODES if mode.wrapped)


def command(mode: Mode, argv: Sequence[str | Path], *options: str) -> list[str]:
    """The command line that runs `argv` in that mode; `options` go to scone-wrap."""
    words = [str(word) for word in argv]
    return [str(SCONE_WRAP), *OPTIONS[mode.value], *options, *words] if mode.wrapped else words


def warm(*binaries: str | Path) -> None:
    """Builds the shims of these programs, so that no test's time limit pays for it."""
    for binary in binaries:
        subprocess.run([SCONE_WRAP, "--show-shim", binary], stdout=subprocess.DEVNULL, check=True, timeout=300)
