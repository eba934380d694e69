"""Where each mode keeps its files: a plain directory, a volume, or a mounted gocryptfs, all on the run's own disk."""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scone_preload.bench.model import Mode, Setting
from scone_preload.bench.processes import STOP_S, output_of, tool
from scone_preload.errors import UserError
from scone_preload.volume.place import CONTAINER

PATIENCE_S = 120.0
PASSPHRASE = "measured only"


@dataclass(frozen=True, slots=True)
class Home:
    """One mode's directory: `folder` as the program sees it, `held` as the host's disk holds it."""

    setting: Setting
    mode: Mode
    folder: Path
    held: Path

    def command(self, words: list[str], *options: str) -> list[str]:
        """The command line that runs `words` in the home's mode, with its volume."""
        data = ("--data", str(self.folder)) if self.mode.wrapped else ()
        return self.setting.command(self.mode, words, *data, *options)

    def run(self, words: list[str]) -> None:
        """Run a program that fills the home."""
        output_of(self.command(words), PATIENCE_S, self.held.parent)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While this lasts the directory can be used; a cache that it has of its own begins empty."""
        if self.mode is Mode.GOCRYPTFS:
            with mounted(self.held, self.folder):
                yield
            return
        try:
            yield
        finally:
            await_closed(self.held / CONTAINER)

    def forget(self) -> None:
        """Have the kernel drop what it caches of the home's files; while it isn't attached."""
        for path in self.held.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fdatasync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def await_closed(container: Path) -> None:
    """Wait until nobody has a volume open: its host closes it when the program has ended already."""
    end = time.monotonic() + PATIENCE_S
    while container.exists() and time.monotonic() < end:
        with container.open("rb") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        time.sleep(0.02)


def new_home(setting: Setting, mode: Mode, folder: Path) -> Home:
    """Make an empty home; a volume is made by its first program."""
    folder.mkdir()
    if mode is not Mode.GOCRYPTFS:
        return Home(setting, mode, folder, folder)
    held = folder.with_name(f"{folder.name}.held")
    held.mkdir()
    password_file(held).write_text(PASSPHRASE)
    words = ["-init", "-q", "-nosyslog", "-scryptn", "10", "-passfile", str(password_file(held)), str(held)]
    output_of([tool("gocryptfs"), *words], PATIENCE_S, held.parent)
    return Home(setting, mode, folder, held)


def password_file(held: Path) -> Path:
    """Beside the directory: what is in it is gocryptfs's."""
    return held.with_suffix(".password")


@contextmanager
def mounted(held: Path, folder: Path) -> Iterator[None]:
    """gocryptfs on `folder`; it ends with this process, too, whatever ends that."""
    words = ["-fg", "-q", "-nosyslog", "-passfile", str(password_file(held)), str(held), str(folder)]
    log = held.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [tool("setpriv"), "--pdeathsig", "TERM", tool("gocryptfs"), *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + PATIENCE_S
        while not folder.is_mount():
            if process.poll() is not None or time.monotonic() > end:
                raise UserError("gocryptfs does not start", log.read_text(errors="replace")[-2000:], "see it")
            time.sleep(0.02)
        yield
    finally:
        unmount(process, folder)


def unmount(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """End gocryptfs, which unmounts; what still uses the directory doesn't keep it mounted."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    if os.path.ismount(folder):
        subprocess.run([tool("fusermount3"), "-u", "-z", folder], check=False, timeout=STOP_S)
    process.kill()
    process.wait()
