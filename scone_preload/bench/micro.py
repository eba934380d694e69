"""The rows of single calls: what a call costs by each door and exit, with an idle and with a busy machine."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scone_preload.bench.model import Mode, Opener, Probe, Sample, Setting
from scone_preload.bench.native import compiled
from scone_preload.bench.processes import output_of
from scone_preload.bench.tally import read_stats

CALLS, CALLS_QUICK, CALLS_COUNTED = 500_000, 20_000, 20_000
PATIENCE_S = 60.0
DEAR_EXIT = "4000"  # cycles: every call that can leaves by the ring


@dataclass(frozen=True, slots=True)
class Micro:
    """A probe: one kind of call of micro.c, in a process of its own each time."""

    setting: Setting
    program: Path
    kind: str
    share: float
    name: str
    by_ring: bool

    def measure(self, modes: Sequence[Mode]) -> Mapping[Mode, Sample]:
        """Nanoseconds a call, of the median batch of calls."""
        calls = int((CALLS_QUICK if self.setting.quick else CALLS) * self.share)
        place = self.setting.place
        return {mode: {"ns": float(output_of(self._command(mode, calls), PATIENCE_S, place))} for mode in modes}

    def facts(self, mode: Mode) -> Sample:
        """What a counted short run says, a call: the process's own start is in it."""
        path = self.setting.place / f"micro-{self.name}-{mode.value}.json"
        output_of(self._command(mode, CALLS_COUNTED, f"--stats={path}"), PATIENCE_S, self.setting.place)
        return {name: value / CALLS_COUNTED for name, value in read_stats(path).items()}

    def _command(self, mode: Mode, calls: int, *options: str) -> list[str]:
        words = [str(self.program), self.kind, str(calls), str(self.setting.place / "micro.data")]
        if self.by_ring:
            options = (*options, "--exit-cost", DEAR_EXIT)
        return self.setting.command(mode, words, *options)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that want a core each."""
    loops = [subprocess.Popen([sys.executable, "-ISc", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def open_micro(kind: str, *, share: float = 1.0, busy_cores: bool = False, by_ring: bool = False) -> Opener:
    """An opener for one kind of call; `share` of the usual count, for slow kinds."""

    @contextmanager
    def opener(setting: Setting) -> Iterator[Probe]:
        with ExitStack() as stack:
            probe = Micro(setting, compiled(setting, "micro"), kind, share, f"{kind}-{int(busy_cores)}", by_ring)
            warm(setting, [str(probe.program)])
            if busy_cores:
                stack.enter_context(busy(os.cpu_count() or 1))
            yield probe

    return opener


def warm(setting: Setting, words: Sequence[str]) -> None:
    """Have the program's shim built, so that no measured start does it."""
    subprocess.run([setting.wrap, "--show-shim", words[0]], stdout=subprocess.DEVNULL, check=True, timeout=PATIENCE_S)
