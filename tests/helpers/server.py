"""A server under test: started in a mode as a user, watched, ended; its place on disk; its clients' answers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.modes import Mode, command
from tests.helpers.net import wait_for_port, wait_until
from tests.helpers.processes import descendants, describe, end_session, group_of

ORDINARY_USER = "nobody" if os.geteuid() == 0 else None


@contextmanager
def place_of(user: str | None) -> Iterator[Path]:
    """A directory that belongs to `user` and that any user can pass; removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="scone-test-"))
    directory.chmod(0o755)
    if user is not None:
        shutil.chown(directory, user, group_of(user))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def cache_of(user: str | None) -> Path:
    """A cache directory for shims that this user's tests share, so that each program's shim is built once."""
    directory = Path(tempfile.gettempdir()) / f"scone-test-cache-{os.geteuid() if user is None else user}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if user is not None:
        shutil.chown(directory, user, group_of(user))
    return directory


def environment_of(place: Path, user: str | None) -> dict[str, str]:
    """The environment a server starts with: nothing of the tests' own."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "HOME": str(place), "LANG": "C.UTF-8", "XDG_CACHE_HOME": str(cache_of(user))}


class Server:
    """A process that runs until told to end; its output goes to files in its place."""

    def __init__(
        self,
        mode: Mode,
        argv: Sequence[str | Path],
        *,
        place: Path,
        user: str | None,
        name: str = "server",
        options: Sequence[str] = (),
    ):
        self.mode, self.place, self.user, self.name = mode, place, user, name
        self.out, self.err = place / f"{name}.out", place / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command(mode, argv, *options),
                cwd=place,
                env=environment_of(place, user),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                user=user,
                group=group_of(user),
                extra_groups=None if user is None else [],
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def why_dead(self) -> str | None:
        """None while it runs; else how it ended and its last words."""
        status = self.process.poll()
        if status is None:
            return None
        return f"{self.name} ({self.mode.value}) ended with status {status}:\n{self.last_words()}"

    def last_words(self) -> str:
        """The ends of what it wrote."""
        parts = [f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}\n" for path in (self.out, self.err)]
        return "".join(parts)

    def wait_for_port(self, port: int) -> None:
        wait_for_port(port, self.why_dead)

    def wait(self, timeout: float = 20) -> int:
        """Waits until it has ended by itself; gives the return code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired as late:
            pids = descendants(self.pid) | {self.pid}
            raise AssertionError(f"{self.name} still runs:\n{describe(pids)}\n{self.last_words()}") from late

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 20) -> int:
        """Sends a signal and waits for the end; gives the return code."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def end(self) -> None:
        """Kills whatever is left of it; for teardown."""
        if self.process.poll() is None:
            end_session(self.pid)
            self.process.wait(10)


def run_to_end(
    mode: Mode, argv: Sequence[str | Path], *, place: Path, user: str | None, timeout: float = 60
) -> tuple[int, str]:
    """Runs a command of the server's kind (a daemon's starter, a client) as its user: status and all output."""
    done = subprocess.run(
        command(mode, argv),
        cwd=place,
        env=environment_of(place, user),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        check=False,
        timeout=timeout,
        user=user,
        group=group_of(user),
        extra_groups=None if user is None else [],
    )
    return done.returncode, done.stdout.decode(errors="replace")


def gone(pid: int) -> bool:
    """Whether no such process lives (a zombie doesn't)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_gone(pid: int, patience: float = 20) -> None:
    """Waits for the end of a process that isn't this one's child."""
    wait_until(lambda: gone(pid), f"process {pid} ended: {describe({pid})}", patience)
