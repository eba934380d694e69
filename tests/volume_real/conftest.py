"""Real programs on encrypted volumes, by both exits; `LONG` (SCONE_VOLUME_LONG=N) makes every loop N times as long."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.modes import REPOSITORY, WRAPPED, Mode
from tests.helpers.processes import Outcome, nothing_left_behind, run
from tests.helpers.server import Server, environment_of, place_of

LONG = int(os.environ.get("SCONE_VOLUME_LONG", "1"))
BOTH_EXITS = [mode for mode in WRAPPED if mode is not Mode.RING or LONG > 1]
SCONE_VOLUME = REPOSITORY / ".venv" / "bin" / "scone-volume"
PROGRAMS = Path(__file__).parent / "programs"


@dataclass(slots=True)
class Home:
    """A test's directory on the disk, and in it `data`: a volume, or natively a plain directory."""

    mode: Mode
    place: Path
    started: list[Server] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the tests' own; keys are below `place`. What is temporary goes into the volume."""
        return {**environment_of(self.place, None), "TMPDIR": str(self.data), "SQLITE_TMPDIR": str(self.data)}

    @property
    def options(self) -> tuple[str, ...]:
        return ("--data", str(self.data))

    def run(
        self, *argv: str | Path, stdin: bytes = b"", timeout: float = 120, more: Mapping[str, str] | None = None
    ) -> Outcome:
        """Runs a program to its end, with `more` in its environment."""
        return run(
            self.mode,
            argv,
            cwd=self.place,
            options=self.options,
            stdin=stdin,
            environment={**self.environment, **(more or {})},
            timeout=timeout,
        )

    def done(self, *argv: str | Path, timeout: float = 120, more: Mapping[str, str] | None = None) -> bytes:
        """What a program that must succeed writes."""
        outcome = self.run(*argv, timeout=timeout, more=more)
        assert outcome.status == 0, f"{argv}: {outcome}"
        return outcome.out

    def start(self, argv: Sequence[str | Path], name: str) -> Server:
        """Starts a server; the test's end ends it."""
        server = Server(self.mode, argv, place=self.place, user=None, name=name, options=self.options)
        self.started.append(server)
        return server

    def owner(self, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
        """What the owner of the volume sees with scone-volume, while no program runs."""
        return subprocess.run(
            [SCONE_VOLUME, *words], env=self.environment, cwd=self.place, capture_output=True, check=False, timeout=120
        )

    def verified(self) -> None:
        """Asserts that nothing of the volume is damaged."""
        done = self.owner("verify", self.data)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()

    def cat(self, path: str) -> bytes:
        """A file of the volume, or natively of the directory."""
        if not self.mode.wrapped:
            return (self.data / path).read_bytes()
        done = self.owner("cat", self.data / path)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


def new_home(mode: Mode, place: Path) -> Home:
    """An empty one."""
    home = Home(mode, place)
    home.data.mkdir()
    return home


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    with nothing_left_behind(15):
        yield


@pytest.fixture
def home_of() -> Iterator[Callable[[Mode], Home]]:
    """Makes homes, each in a place of its own; with the test they end."""
    with ExitStack() as stack:

        def make(mode: Mode) -> Home:
            one = new_home(mode, stack.enter_context(place_of(None)))
            stack.callback(lambda: [server.end() for server in one.started])
            return one

        yield make


@pytest.fixture(params=BOTH_EXITS, ids=lambda mode: str(mode.value))
def home(request: pytest.FixtureRequest, home_of: Callable[[Mode], Home]) -> Home:
    """One with a volume."""
    return home_of(request.param)


@pytest.fixture
def plain(home_of: Callable[[Mode], Home]) -> Home:
    """One without: the same, natively."""
    return home_of(Mode.NATIVE)
