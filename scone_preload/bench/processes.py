"""Processes of a benchmark: starting, CPU time of a whole tree, waiting for a port, ending all that was started."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scone_preload.errors import MachineLacks, UserError

_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")
START_S, STOP_S = 120.0, 10.0


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat tells: name, state, parent, CPU seconds of all its threads, dead ones too."""

    name: str
    state: str
    parent: int
    cpu_s: float


def read_stat(pid: int) -> Stat | None:
    """The process's state now; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    head, _, rest = text.rpartition(")")
    words = rest.split()
    ticks = int(words[11]) + int(words[12])
    return Stat(head.partition("(")[2], words[0], int(words[1]), ticks / _TICKS)


def table() -> dict[int, Stat]:
    """Every process."""
    found = ((int(name), read_stat(int(name))) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    return {pid: stat for pid, stat in found if stat is not None}


def tree(root: int) -> dict[int, Stat]:
    """A process and all that descend from it: a wrapped process's helper is its child."""
    everything = table()
    below = {root}
    level = {root}
    while level:
        level = {pid for pid, stat in everything.items() if stat.parent in level} - below
        below |= level
    return {pid: everything[pid] for pid in below if pid in everything}


def cpu_exact_s(root: int) -> float:
    """CPU seconds of a tree's living threads, to the nanosecond: threads that ended are not in it."""
    total = 0
    for pid in tree(root):
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with suppress(OSError):
                    total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def cpu_between(before: Mapping[int, Stat], after: Mapping[int, Stat]) -> float:
    """CPU seconds that a tree used between two looks, new processes included; to 10 ms a process."""
    return sum(stat.cpu_s - (before[pid].cpu_s if pid in before else 0.0) for pid, stat in after.items())


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something accepts connections on that port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def become_subreaper() -> None:
    """Make orphans of started programs children of this process, so that none is overlooked at the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def reap() -> None:
    """Collect orphans that ended: only when no Popen is waited for."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass


def end_all() -> None:
    """Kill all that descends from this process, and wait for it: nothing else runs below it."""
    end = time.monotonic() + STOP_S
    while time.monotonic() < end:
        reap()
        below = set(tree(os.getpid())) - {os.getpid()}
        if not below:
            return
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def tool(name: str) -> str:
    """The path of a program, also of one in sbin; MachineLacks if it is not installed."""
    for folder in (*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin"):
        if folder and os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise MachineLacks("a program is not installed", name, "run tools/setup")


@contextmanager
def running(argv: Sequence[str], place: Path, name: str, port: int) -> Iterator[int]:
    """A server in the foreground, in a session of its own, that listens on `port`; gives its pid, ends it after."""
    log = place / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, cwd=place, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        end = time.monotonic() + START_S
        while not listens(port):
            if process.poll() is not None or time.monotonic() > end:
                words = log.read_text(errors="replace")[-2000:]
                raise UserError(
                    "a server does not start", f"{' '.join(argv)} ({process.returncode})\n{words}", "see it"
                )
            time.sleep(0.03)
        yield process.pid
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server by SIGTERM, then by force with all its children."""
    members = set(tree(process.pid))
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    end = time.monotonic() + 2
    while (left := {pid for pid in members if (stat := read_stat(pid)) and stat.state != "Z"}) and (
        time.monotonic() < end
    ):
        time.sleep(0.02)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def output_of(argv: Sequence[str], timeout: float, place: Path) -> str:
    """What a program that must succeed writes to standard output."""
    done = subprocess.run(
        argv, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout
    )
    if done.returncode != 0:
        raise UserError("a program failed", f"{' '.join(argv)} ({done.returncode})\n{done.stderr[-2000:]}", "see it")
    return done.stdout
