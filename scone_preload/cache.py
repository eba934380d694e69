"""The user's cache: files under their own content hash or a key, complete or absent, never trusted unchecked.

<cache>/sites/<identity>-<version>      analyses (elf/sitefile.py)
<cache>/shims/<hash>.so                 shims; <hash>.so.sha256 holds their digest
<cache>/index/<path>                    see build/warm.py
<cache>/locks/<hash>                    flock while one process builds
<cache>/plans/<number>                  policies, ready to start with (runtime/policies.py)
"""

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from scone_preload.paths import cache_directories, is_trusted

LOCK_WAIT_S = 60.0
LOCK_POLL_S = 0.02
SUBDIRECTORIES = ("sites", "shims", "index", "locks", "plans")


class Cache:
    """One trusted cache directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, kind: str, name: str) -> Path:
        return self.directory / kind / name

    def read(self, kind: str, name: str) -> bytes:
        """A file whose digest is right; b"" if it is absent or damaged."""
        path = self.path(kind, name)
        try:
            raw, digest = path.read_bytes(), _digest_file(path).read_text()
        except (OSError, ValueError):
            return b""
        return raw if hashlib.sha256(raw).hexdigest() == digest else b""

    def write(self, kind: str, name: str, raw: bytes) -> Path:
        """Store a file and its digest, each atomically; raises OSError."""
        path = self.path(kind, name)
        write_atomically(path, raw)
        write_atomically(_digest_file(path), hashlib.sha256(raw).hexdigest().encode())
        return path

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of that name, or go on without it after a minute: it only saves double work."""
        with self.path("locks", name).open("wb") as file:
            deadline = time.monotonic() + LOCK_WAIT_S
            while not _try_lock(file.fileno()) and time.monotonic() < deadline:
                time.sleep(LOCK_POLL_S)
            yield


def open_cache(environment: Mapping[bytes, bytes]) -> tuple[Cache | None, str]:
    """The first usable cache directory, made if need be, and what to tell the user about it ("" if nothing)."""
    wanted = cache_directories(environment)
    for index, name in enumerate(wanted):
        fresh = not os.access(name, os.F_OK)
        if not _prepare(Path(name)):
            continue
        told = (
            f"cache {wanted[0]} can't be used, so {name} is; make it writable for you alone" if index and fresh else ""
        )
        return Cache(Path(name)), told
    return None, f"no usable cache directory ({', '.join(wanted)}); make one writable for you alone"


def write_atomically(path: Path, raw: bytes) -> None:
    """Replace `path` by a file with these bytes, readable by all, that is never seen half written; raises OSError."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(raw)
            os.fchmod(file.fileno(), 0o644)
        Path(temporary).replace(path)
    except OSError:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def _digest_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _prepare(directory: Path) -> bool:
    """Make the directory and what it holds; False if it can't be made, written or trusted."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError):
            directory.mkdir(mode=0o755)
        if not is_trusted(str(directory)) or not os.access(directory, os.W_OK | os.X_OK):
            return False
        for name in SUBDIRECTORIES:
            (directory / name).mkdir(exist_ok=True, mode=0o755)
    except OSError:
        return False
    return True


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
