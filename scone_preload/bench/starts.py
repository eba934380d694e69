"""The rows of starting: a program, a child's exec, and what a server costs that has nothing to do."""

import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from scone_preload.bench.micro import warm
from scone_preload.bench.model import BASE, Mode, Opener, Probe, Sample, Setting
from scone_preload.bench.processes import cpu_exact_s
from scone_preload.bench.servers import redis, start
from scone_preload.errors import UserError

PATIENCE_S = 60.0
IDLE_S, IDLE_QUICK_S = 10.0, 1.0


def timed_ms(setting: Setting, argv: list[str]) -> float:
    """Milliseconds from starting a program to its end."""
    begin = time.perf_counter()
    done = subprocess.run(argv, cwd=setting.place, stdin=subprocess.DEVNULL, check=False, timeout=PATIENCE_S)
    took = time.perf_counter() - begin
    if done.returncode != 0:
        raise UserError("a program failed", f"{shlex.join(argv)} ({done.returncode})", "run it by hand")
    return took * 1e3


@dataclass(frozen=True, slots=True)
class Start:
    """A probe: a program from start to end, a few times a round, the median counts."""

    setting: Setting
    argv: list[str]
    times: int = 7

    def measure(self, modes: Sequence[Mode]) -> Mapping[Mode, Sample]:
        """Milliseconds from start to end."""
        return {mode: {"ms": self._median_ms(mode)} for mode in modes}

    def _median_ms(self, mode: Mode) -> float:
        argv = self.setting.command(mode, self.argv)
        return sorted(timed_ms(self.setting, argv) for _ in range(self.times))[self.times // 2]

    def facts(self, mode: Mode) -> Sample:
        """Nothing is counted."""
        return {}


@dataclass(frozen=True, slots=True)
class Exec:
    """A probe: a shell that runs a program many times; the shell's own start is taken off."""

    setting: Setting
    child: str
    times: int

    def measure(self, modes: Sequence[Mode]) -> Mapping[Mode, Sample]:
        """Milliseconds for each fork, exec and wait."""
        return {mode: {"ms": self._each_ms(mode)} for mode in modes}

    def _each_ms(self, mode: Mode) -> float:
        script = "i=0; while [ $i -lt $1 ]; do {child}; i=$((i+1)); done".replace("{child}", self.child)
        base, full = (
            timed_ms(self.setting, self.setting.command(mode, ["/bin/sh", "-c", script, "sh", str(count)]))
            for count in (1, 1 + self.times)
        )
        return (full - base) / self.times

    def facts(self, mode: Mode) -> Sample:
        """Nothing is counted."""
        return {}


def open_start(argv: list[str]) -> Opener:
    """An opener for a program's start."""

    @contextmanager
    def opener(setting: Setting) -> Iterator[Probe]:
        warm(setting, argv)
        yield Start(setting, argv, 2 if setting.quick else 7)

    return opener


def open_exec(child: str) -> Opener:
    """An opener for a child's exec."""

    @contextmanager
    def opener(setting: Setting) -> Iterator[Probe]:
        for program in ("/bin/sh", child):
            warm(setting, [program])
        yield Exec(setting, child, 5 if setting.quick else 50)

    return opener


@dataclass(slots=True)
class Idle:
    """A probe: redis without a client; the modes' servers idle at the same time."""

    seconds: float
    pids: dict[Mode, int] = field(default_factory=dict)

    def measure(self, modes: Sequence[Mode]) -> Mapping[Mode, Sample]:
        """Percent of a core; one wait serves all modes."""
        before = {mode: cpu_exact_s(self.pids[mode]) for mode in modes}
        time.sleep(self.seconds)
        after = {mode: cpu_exact_s(self.pids[mode]) for mode in modes}
        return {mode: {"percent": (after[mode] - before[mode]) / self.seconds * 100} for mode in modes}

    def facts(self, mode: Mode) -> Sample:
        """Nothing is counted."""
        return {}


@contextmanager
def open_idle(setting: Setting) -> Iterator[Probe]:
    """Opens the row of the idle server, two seconds after its start."""
    with TemporaryDirectory(dir=setting.place, prefix="row-") as name, ExitStack() as stack:
        place = Path(name)
        place.chmod(0o755)
        probe = Idle(IDLE_QUICK_S if setting.quick else IDLE_S)
        for mode in BASE:
            _, probe.pids[mode] = start(stack, setting, redis, mode, place / f"{mode.value}.json")
        time.sleep(0.2 if setting.quick else 2)
        os.sync()
        yield probe
