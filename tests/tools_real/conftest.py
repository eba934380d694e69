"""Each tool test runs a command natively and wrapped, in fresh directories, and compares all that can be seen of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from tests.helpers.modes import WRAPPED, Mode
from tests.helpers.processes import nothing_left_behind, run
from tests.helpers.server import environment_of
from tests.helpers.trees import snapshot


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything a user sees of a finished command."""

    status: int
    out: bytes
    err: bytes
    files: dict[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Tool:
    """Runs commands in one mode in one directory."""

    mode: Mode
    place: Path

    def run(self, *argv: str, stdin: bytes = b"", timeout: float = 120) -> Seen:
        """Runs a command to its end in this directory."""
        environment = environment_of(self.place.parent, None)
        done = run(self.mode, argv, cwd=self.place, stdin=stdin, environment=environment, timeout=timeout)
        return Seen(done.status, done.out, done.err, snapshot(self.place))

    def shell(self, script: str, *, stdin: bytes = b"", timeout: float = 120) -> Seen:
        """Runs a bash script."""
        return self.run("bash", "-c", script, stdin=stdin, timeout=timeout)


class Same(Protocol):
    """Does a thing natively and wrapped, asserts that all that can be seen is the same, and gives it."""

    def __call__(self, thing: Callable[[Tool], Seen]) -> Seen: ...


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    with nothing_left_behind(10):
        yield


@pytest.fixture(params=WRAPPED, ids=lambda mode: str(mode.value))
def same(request: pytest.FixtureRequest, tmp_path: Path) -> Same:
    """Compares runs in two directories whose names are equally long."""
    mode = request.param
    assert isinstance(mode, Mode)

    def compare(thing: Callable[[Tool], Seen]) -> Seen:
        results = []
        for how, name in ((Mode.NATIVE, "a"), (mode, "b")):
            place = tmp_path / name / "work"
            place.mkdir(parents=True)
            results.append(thing(Tool(how, place)))
        native, wrapped = results
        assert (wrapped.status, wrapped.err) == (native.status, native.err)
        assert wrapped.out == native.out
        assert wrapped.files == native.files
        return native

    return compare
