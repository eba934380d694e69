"""Load programs that live through several slices of time (slices.h): started, asked for slices in turn, ended."""

import select
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scone_preload.bench.loads import Done
from scone_preload.bench.model import Mode
from scone_preload.bench.processes import STOP_S
from scone_preload.errors import UserError

PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A load program that is ready."""

    argv: list[str]
    process: "subprocess.Popen[str]"
    log: Path

    def slice(self, seconds: float) -> Done:
        """Have it work for about so many seconds."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{seconds}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.fail()
        operations, took = self.line().split()
        return Done(int(operations), float(took))

    def line(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        text = self.process.stdout.readline() if ready else ""
        if not text:
            self.fail()
        return text

    def fail(self) -> None:
        """Tell how it ended, or that it doesn't answer."""
        status = self.process.poll()
        words = self.log.read_text(errors="replace")[-2000:]
        raise UserError("a load failed", f"{' '.join(self.argv)} ({status})\n{words}", "see it")


@contextmanager
def worker(argv: list[str], log: Path) -> Iterator[Worker]:
    """Start a load program; it ends by itself once its standard input does."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            argv, cwd=log.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        one = Worker(argv, process, log)
        one.line()
        yield one
        assert process.stdin is not None
        process.stdin.close()
        if process.wait(PATIENCE_S) != 0:
            one.fail()
    finally:
        end(process)


def end(process: "subprocess.Popen[str]") -> None:
    """End it by force unless it has ended, and close its pipes."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def in_turn(workers: Mapping[Mode, Worker], seconds: float, slice_s: float) -> dict[Mode, Done]:
    """The sums of all slices: each worker gets one after the other, until each had so many seconds."""
    slices = max(1, round(seconds / slice_s))
    done = {mode: Done(0, 0.0) for mode in workers}
    for _ in range(slices):
        for mode, one in workers.items():
            more = one.slice(seconds / slices)
            done[mode] = Done(done[mode].requests + more.requests, done[mode].seconds + more.seconds)
    return done
