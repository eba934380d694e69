"""Running programs to their end, and finding and ending what they leave behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.modes import Mode, command

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended: its return code (negative: the signal) and what it wrote."""

    status: int
    out: bytes
    err: bytes

    def __str__(self) -> str:
        err = self.err[-8000:].decode(errors="replace")
        return f"status {self.status}\nstdout: {self.out[-4000:]!r}\nstderr:\n{err}"


def run(
    mode: Mode,
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    options: Sequence[str] = (),
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    timeout: float = 60,
) -> Outcome:
    """Runs a program to its end in a session of its own; after `timeout` seconds its session is killed."""
    process = subprocess.Popen(
        command(mode, argv, *options),
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        user=user,
        group=group_of(user),
        extra_groups=None if user is None else [],
    )
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired as late:
        state = describe(descendants(process.pid) | {process.pid})
        end_session(process.pid)
        out, err = process.communicate()
        story = f"{argv} ({mode.value}) runs after {timeout} s: {state}\n{Outcome(-99, out, err)}"
        raise AssertionError(story) from late
    return Outcome(process.returncode, out, err)


def group_of(user: str | None) -> str | None:
    """The group that a program started as `user` gets; it has no other."""
    return "nogroup" if user == "nobody" else user


def become_subreaper() -> None:
    """Makes orphans of started programs children of this process, so that none is overlooked."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _stat_fields(pid: int) -> list[str] | None:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None


def all_processes() -> dict[int, tuple[str, int, int]]:
    """pid -> (state, parent, session) of every process."""
    found: dict[int, tuple[str, int, int]] = {}
    for entry in Path("/proc").iterdir():
        fields = _stat_fields(int(entry.name)) if entry.name.isdigit() else None
        if fields is not None:
            found[int(entry.name)] = (fields[0], int(fields[1]), int(fields[3]))
    return found


def descendants(root: int) -> set[int]:
    """The living processes below `root`; zombies don't count."""
    table = all_processes()
    below: set[int] = set()
    level = {root}
    while level:
        level = {pid for pid, (_, parent, _) in table.items() if parent in level} - below
        below |= level
    return {pid for pid in below if table[pid][0] != "Z"}


def describe(pids: set[int]) -> str:
    """One line a process: pid, state, command line."""
    lines = []
    for pid in sorted(pids):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = Path(f"/proc/{pid}/wchan").read_text()
            fields = _stat_fields(pid)
            lines.append(f"{pid} {fields[0] if fields else '?'} {where} {words[:200]}")
    return "\n".join(lines)


def end_session(session: int) -> None:
    """Kills every process of one session and what descends from its leader."""
    doomed = {pid for pid, (_, _, sid) in all_processes().items() if sid == session} | descendants(session) | {session}
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def reap_orphans() -> None:
    """Collects the zombies among this process's children; call it only when no Popen is waited for any more."""
    own = os.getpid()
    for pid, (state, parent, _) in all_processes().items():
        if parent == own and state == "Z":
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


@contextlib.contextmanager
def nothing_left_behind(patience: float = 3.0) -> Iterator[None]:
    """Around a test: fails it, and kills them, if processes that it started live on `patience` seconds after it."""
    become_subreaper()
    before = descendants(os.getpid())
    yield
    left = await_end(lambda: descendants(os.getpid()) - before, patience)
    reap_orphans()
    if left:
        story = describe(left)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await_end(lambda: descendants(os.getpid()) - before, 3.0)
        reap_orphans()
        raise AssertionError(f"processes were left behind:\n{story}")


def await_end(living: Callable[[], set[int]], patience: float) -> set[int]:
    """Waits until `living()` is empty; gives what still lives after `patience` seconds."""
    end = time.monotonic() + patience
    while (left := living()) and time.monotonic() < end:
        time.sleep(0.02)
    return left
