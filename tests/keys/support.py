"""What the tests of the keystore share: cheap passphrases, fixed randomness, and processes that are killed."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from scone_preload.keys.format import Cost, Kdf
from scone_preload.keys.seal import digest
from scone_preload.keys.store import Keystore, open_keystore
from scone_preload.keys.unlock import Unlock

GOLDEN = Path(__file__).resolve().parent / "golden"
CHEAP = Cost(Kdf.ARGON2ID, 64, 1, 1)
PASSPHRASE = b"correct horse battery staple"
VOLUME = bytes.fromhex("0a" * 16)
TIME = 1_700_000_000


def opened(path: Path, unlock: Unlock | None = None) -> Keystore:
    """The keystore in `path`, made if it isn't there."""
    return open_keystore(str(path), unlock or Unlock())


def by_passphrase(passphrase: bytes = PASSPHRASE) -> Unlock:
    return Unlock(passphrase=lambda: passphrase)


def root(number: int) -> bytes:
    return bytes([number & 255]) * 32


def with_checksum(raw: bytes) -> bytes:
    """The file with a checksum that is right again: what an attacker would write."""
    return raw[:-32] + digest(raw[:-32])


def fix_randomness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the n-th random string of bytes n, and the time stand still: for files that docs and goldens show."""
    count = iter(range(1, 256))
    monkeypatch.setattr(os, "urandom", lambda size: bytes([next(count)]) * size)
    monkeypatch.setattr("time.time", lambda: TIME)


def in_child(act: Callable[[], object]) -> int:
    """Run `act` in a forked child and return its pid; the child ends with 0, or 1 if it raises."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    return pid


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@dataclass
class Killer:
    """Lets a number of steps that change the disk happen, and none after them."""

    left: int
    steps: int = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("write", "rename", "fsync", "fdatasync", "unlink", "mkdir", "rmdir", "fchmod"):
            monkeypatch.setattr(os, name, self._step(getattr(os, name), lambda *a, **k: True))
        monkeypatch.setattr(os, "open", self._step(os.open, lambda path, flags, *a, **k: bool(flags & os.O_CREAT)))

    def _step(self, real: Callable[..., object], counts: Callable[..., bool]) -> Callable[..., object]:
        def step(*arguments: object, **named: object) -> object:
            if counts(*arguments, **named):
                if self.steps >= self.left:
                    raise Killed
                self.steps += 1
            return real(*arguments, **named)

        return step
