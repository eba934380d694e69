"""The directory that a volume is kept in: its container, the lock on that, and whatever else lies there.

A container is made under another name, and takes its own when it is whole. Who has it open holds `flock` on it, which
goes by forks to the runtime host and ends with the last descriptor; so that a second one can be told who that is, the
holder also has a record lock, of which the kernel tells the owner's pid: on byte 0, on byte 1 while it closes the
volume, and on byte 2 while it is not yet ready to be joined, which are worth waiting for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack

from scone_preload.errors import NotAVolume, VolumeBusy, VolumeError, VolumeMissing

CONTAINER = "volume.scone"
NEW = CONTAINER + ".new"  # one that is being made, or was when its maker was killed
NO_DATA = frozenset({CONTAINER, NEW, "lost+found"})  # the last is a file system's own
RUNNING, CLOSING, STARTING = 0, 1, 2  # bytes of the record lock
BUSY_WAIT_S, CLOSING_WAIT_S, POLL_S = 1.0, 120.0, 0.01  # the second also for one that is starting
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of x86-64
_READONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Container:
    """A container, open and locked; `path` is for messages, `directory` where it is, links resolved."""

    def __init__(self, directory: str, name: str, fd: int, *, is_readonly: bool) -> None:
        self.directory = directory
        self.name = name
        self.fd = fd
        self.is_readonly = is_readonly

    @property
    def path(self) -> str:
        return f"{self.directory}/{self.name}"

    def mark(self) -> None:
        """Let others see that it is this process that holds it."""
        self._mark(RUNNING)

    def mark_starting(self) -> None:
        """Let others see that it can soon be joined."""
        self._mark(STARTING)

    def mark_started(self) -> None:
        """It can be joined, or never will be."""
        self._mark(STARTING, fcntl.F_UNLCK)

    def mark_closing(self) -> None:
        """Let others see that it is worth waiting for."""
        self._mark(CLOSING)

    def _mark(self, byte: int, kind: int = fcntl.F_RDLCK) -> None:
        fcntl.fcntl(self.fd, fcntl.F_SETLK, _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0))

    def close(self) -> None:
        """Close it; the lock ends with the last descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def settle(self) -> None:
        """It is whole: give it its own name, durably; raise VolumeError."""
        try:
            os.rename(self.path, f"{self.directory}/{CONTAINER}")
            _sync(self.directory)
        except OSError as error:
            raise cannot("made", self.path, error) from None
        self.name = CONTAINER


def real_directory(path: str) -> str:
    """The directory's own path, links resolved, also where it isn't there yet."""
    return os.path.realpath(path)


def containers_in(directory: str) -> frozenset[str]:
    """Which of the two names are there; raise NotAVolume where anything else is, VolumeError. Empty: none, or no such
    directory."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return frozenset()
    except NotADirectoryError:
        raise NotAVolume("not a directory", directory, "a volume is kept in a directory of its own: name one") from None
    except OSError as error:
        raise cannot("looked at", directory, error) from None
    found = frozenset(names) & {CONTAINER, NEW}
    strange = [name for name in names if name not in NO_DATA]
    if strange:
        _refuse(directory, strange, has_volume=CONTAINER in found)
    return found


def open_container(
    directory: str, name: str = CONTAINER, *, readonly: bool = False, is_locked: bool = True
) -> Container:
    """Open and lock a container; raise VolumeMissing, VolumeBusy, VolumeError. It is read-only where asked, or where
    neither the disk nor its permissions let this user write."""
    path = f"{directory}/{name}"
    fd, readonly = _open(path, readonly=readonly)
    container = Container(directory, name, fd, is_readonly=readonly)
    with ExitStack() as undo:
        undo.callback(container.close)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise NotAVolume("not a volume: it is no regular file", path, "name the directory of a volume")
        if is_locked:
            lock(container)
        undo.pop_all()
    return container


def make_container(directory: str) -> Container | None:
    """Make an empty one, locked, under its temporary name, and the directory if need be; None where somebody else is at
    it. Raises VolumeError."""
    try:
        if not os.path.isdir(directory):
            os.mkdir(directory)
            _sync(os.path.dirname(directory))
        fd = os.open(f"{directory}/{NEW}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return None
    except OSError as error:
        raise cannot("made", f"{directory}/{CONTAINER}", error) from None
    container = Container(directory, NEW, fd, is_readonly=False)
    with ExitStack() as undo:
        undo.callback(container.close)
        lock(container)
        if not is_current(container):  # somebody took it for what a killed maker left
            return None
        undo.pop_all()
    return container


def make_nameless(directory: str) -> Container:
    """One for an ephemeral volume: it never has a name that lasts. Raises VolumeError."""
    try:
        fd = _nameless(directory)
    except FileNotFoundError:
        remedy = 'make it, or name another by host_path, such as "/var/tmp"'
        raise VolumeError("no such directory for an ephemeral volume", directory, remedy) from None
    except OSError as error:
        raise cannot("made", directory, error) from None
    return Container(directory, "(ephemeral)", fd, is_readonly=False)


def is_current(container: Container) -> bool:
    """Is its name still its own? Others may have renamed or replaced it."""
    try:
        info = os.stat(container.path, follow_symlinks=False)
    except OSError:
        return False
    mine = os.fstat(container.fd)
    return (info.st_dev, info.st_ino) == (mine.st_dev, mine.st_ino)


def discard(directory: str, name: str) -> None:
    """Remove what a killed maker left; raise VolumeError."""
    try:
        os.unlink(f"{directory}/{name}")
    except OSError as error:
        raise cannot("removed", f"{directory}/{name}", error) from None


def cannot(done: str, path: str, error: OSError) -> VolumeError:
    """The error for what the system refused."""
    remedies = {errno.ENOSPC: "make room on the disk", errno.EDQUOT: "make room within the quota",
                errno.EROFS: "make the file system writable", errno.ENOENT: "make its parent directory first",
                errno.EACCES: "check the permissions of its directory"}  # fmt: skip
    remedy = remedies.get(error.errno or 0, "see whether the disk is failing")
    return VolumeError(f"volume can't be {done} ({error.strerror})", path, remedy)


def _refuse(directory: str, strange: list[str], *, has_volume: bool) -> None:
    first = f"{directory}/{strange[0]}"
    if has_volume:
        rule = "a file lies beside the volume, in the clear, where the program would not see it"
        raise NotAVolume(rule, first, "move it away; to have it in the volume, run a program on it: scone-wrap --data")
    others = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
    remedy = f"import it into a new volume: scone-volume import {directory} NEW-DIR"
    raise NotAVolume("not a volume: the directory holds plain files", first + others, remedy)


def _open(path: str, *, readonly: bool) -> tuple[int, bool]:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        if not readonly:
            try:
                return os.open(path, os.O_RDWR | flags), False
            except OSError as error:
                if error.errno not in _READONLY:
                    raise
        return os.open(path, os.O_RDONLY | flags), True
    except FileNotFoundError:
        raise VolumeMissing("no volume", path, "make one: scone-volume create DIR") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR):
            raise NotAVolume("not a volume: it is no regular file", path, "put the container itself there") from None
        raise cannot("opened", path, error) from None


def _nameless(directory: str) -> int:
    try:
        return os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    name = f"{directory}/.scone-{os.urandom(8).hex()}"  # this file system has no files without a name
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.unlink(name)
    return fd


def lock(container: Container, meanwhile: Callable[[Container], bool] | None = None) -> bool:
    """Lock it and mark it as ours; raise VolumeBusy where another process keeps it.

    While one does, `meanwhile` is asked again and again: if it says True there is nothing to wait for, and this returns
    False.
    """
    kind = fcntl.LOCK_SH if container.is_readonly else fcntl.LOCK_EX
    start = since = time.monotonic()
    while not _locked(container, kind):
        if meanwhile is not None and meanwhile(container):
            return False
        now = time.monotonic()
        if _holder(container.fd, CLOSING) or (meanwhile is not None and _holder(container.fd, STARTING)):
            since = now
        if now - since > BUSY_WAIT_S or now - start > CLOSING_WAIT_S:
            raise _busy(container)
        time.sleep(POLL_S)
    container.mark()
    return True


def _locked(container: Container, kind: int) -> bool:
    try:
        fcntl.flock(container.fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        rule = f"volume can't be locked ({error.strerror})"
        raise VolumeError(rule, container.path, "put it on a file system with flock") from None
    return True


def _holder(fd: int, state: int) -> int:
    """The pid of who holds this byte; 0: nobody."""
    raw = fcntl.fcntl(fd, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, state, 1, 0))
    kind, _, _, _, pid = _FLOCK.unpack(raw)
    return 0 if kind == fcntl.F_UNLCK else pid


def _busy(container: Container) -> VolumeBusy:
    pid = _holder(container.fd, RUNNING) or _holder(container.fd, CLOSING)
    who = f"process {pid}{_name_of(pid)}" if pid else "another process"
    remedy = "wait until its programs have ended, or end them; only scone-wrap of the same user can join it"
    return VolumeBusy(f"volume is in use by {who}", container.path, remedy)


def _name_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return f" ({file.read().strip()})"
    except OSError:
        return ""


def _sync(directory: str) -> None:
    fd = os.open(directory or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
