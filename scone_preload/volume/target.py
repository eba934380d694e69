"""Files written into a directory of the host, as a volume has them: contents with holes, modes, owners, times, links.

Every path is walked by descriptors without following links, since a volume that was tampered with may have names that
salvage can't vouch for. A file has its name only once it is whole: what a killed run left is seen as such by the next.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable

from scone_preload.errors import UserError
from scone_preload.volume.layout import Record

PART = b".scone-part"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class Target:
    """A directory that is filled. `resume`: it may hold what an earlier run wrote; whole files are left alone."""

    def __init__(self, path: str, *, resume: bool) -> None:
        self.path = path
        self._is_root = os.geteuid() == 0
        try:
            os.makedirs(path, 0o700, exist_ok=True)
            if not resume and os.listdir(path):
                raise UserError("target is not empty", path, "name a new directory, or continue with --resume")
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self.error(b"", error) from None
        self._parent_path = b""
        self._parent = os.dup(self._root)
        self._directories: list[tuple[bytes, Record]] = []

    def close(self) -> None:
        os.close(self._parent)
        os.close(self._root)

    def error(self, path: bytes, error: OSError) -> UserError:
        """The error for what the host's file system refused."""
        where = self.path + os.fsdecode(path)
        remedy = "make room, then continue with --resume" if error.errno == errno.ENOSPC else "see what is wrong there"
        return UserError(f"can't be written ({error.strerror})", where, remedy)

    def directory(self, path: bytes, record: Record) -> None:
        """Make a directory; what it is like is set at the end, as it may forbid writing."""
        if path:
            parent, name = self._place(path)
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
        self._directories.append((path, record))

    def has(self, path: bytes, record: Record) -> bool:
        """Whether an earlier run has written this file: its size and time of change are the volume's."""
        parent, name = self._place(path)
        try:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        same = (stat.S_IFMT(record.mode), record.size, record.modified.total)
        return (stat.S_IFMT(there.st_mode), there.st_size, there.st_mtime_ns) == same

    def file(self, path: bytes, record: Record, data: Iterable[tuple[int, bytes]]) -> None:
        """Write a regular file, holes where `data` has nothing; an error of `data` leaves no file."""
        parent, name = self._place(path)
        part = name[: 255 - len(PART)] + PART
        fd = os.open(part, _NEW, 0o600, dir_fd=parent)
        is_whole = False
        try:
            for at, raw in data:
                _write(fd, raw, at)
            os.ftruncate(fd, record.size)
            self._dress(fd, record)
            os.rename(part, name, src_dir_fd=parent, dst_dir_fd=parent)
            is_whole = True
        finally:
            os.close(fd)
            if not is_whole:
                with contextlib.suppress(OSError):
                    os.unlink(part, dir_fd=parent)

    def link(self, path: bytes, first: bytes) -> None:
        """Another name of a file that was written before."""
        source, old = self._place(first)
        source = os.dup(source)
        try:
            parent, name = self._place(path)
            self._clear(parent, name)
            os.link(old, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)

    def symlink(self, path: bytes, record: Record, target: bytes) -> None:
        parent, name = self._place(path)
        self._clear(parent, name)
        os.symlink(target, name, dir_fd=parent)
        if self._is_root:
            os.chown(name, record.uid, record.gid, dir_fd=parent, follow_symlinks=False)
        times = (record.accessed.total, record.modified.total)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def special(self, path: bytes, record: Record) -> None:
        """A pipe, a socket, a device; OSError where only root may make it."""
        parent, name = self._place(path)
        self._clear(parent, name)
        os.mknod(name, record.mode, record.device, dir_fd=parent)
        if self._is_root:
            os.chown(name, record.uid, record.gid, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, stat.S_IMODE(record.mode), dir_fd=parent)  # it was just made here: no link
        times = (record.accessed.total, record.modified.total)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def finish(self) -> None:
        """Give all directories their modes, owners and times, those below first."""
        for path, record in reversed(self._directories):
            fd = self._open(path)
            try:
                self._dress(fd, record)
            finally:
                os.close(fd)

    def _dress(self, fd: int, record: Record) -> None:
        if self._is_root:
            os.fchown(fd, record.uid, record.gid)
        os.fchmod(fd, stat.S_IMODE(record.mode))  # behind fchown, which takes setuid bits away
        os.utime(fd, ns=(record.accessed.total, record.modified.total))

    def _place(self, path: bytes) -> tuple[int, bytes]:
        """(descriptor of its directory, its name); the descriptor is good until the next call."""
        parent, _, name = path.rpartition(b"/")
        if parent != self._parent_path:
            fd = self._open(parent)
            os.close(self._parent)
            self._parent, self._parent_path = fd, parent
        return self._parent, name

    def _open(self, path: bytes) -> int:
        fd = os.dup(self._root)
        for name in path.split(b"/"):
            if not name:
                continue
            try:
                below = os.open(name, _DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def _clear(self, parent: int, name: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)


def _write(fd: int, raw: bytes, at: int) -> None:
    view = memoryview(raw)
    while view:
        done = os.pwrite(fd, view, at)
        view, at = view[done:], at + done
