"""The keystore's directory: opened only if nobody else can reach it, locked, and changed so that a kill harms nothing.

Every file is reached through the directory's descriptor, never through a link. A change writes a new file, syncs it,
renames it over the old one, and syncs the directory: after a kill or a power cut at any point the old or the new
content is there, whole. What a killed change left behind is overwritten by the next.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping

from scone_preload.errors import KeystoreDamaged, KeystoreError, KeystorePermissions
from scone_preload.keys.format import FILE_MAX

VARIABLE = "SCONE_KEYSTORE"
STORE, LOCK, ANCHORS_PREFIX = "keystore", "lock", "anchors-"
_NEW_SUFFIX = ".new"
LOCK_WAIT_S, LOCK_POLL_S = 30.0, 0.01
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC
_REFUSED_LINK = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)


def keystore_directory(environment: Mapping[bytes, bytes], named: str = "") -> str:
    """Where the keystore is: as named, else $SCONE_KEYSTORE, else in the user's data directory; raise KeystoreError."""
    asked = named or os.fsdecode(environment.get(VARIABLE.encode(), b""))
    if asked:
        return os.path.abspath(asked)
    data = os.fsdecode(environment.get(b"XDG_DATA_HOME", b""))
    home = os.fsdecode(environment.get(b"HOME", b""))
    if not data.startswith("/"):
        data = home + "/.local/share" if home.startswith("/") else ""
    if not data:
        remedy = f"set HOME, or name a directory by {VARIABLE} or --keystore"
        raise KeystoreError("no place for a keystore", "neither XDG_DATA_HOME nor HOME is set", remedy)
    return f"{data}/scone-preload/keystore"


class Directory:
    """A directory that only this user can reach, open."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd

    @classmethod
    def open(cls, path: str, *, create: bool = False) -> "Directory | None":
        """Open it, making it if asked to; None if it isn't there. Raises KeystorePermissions and KeystoreError."""
        try:
            if create:
                _make(path)
            fd = os.open(path, _OPEN | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refused(error, path, "directory") from None
        return cls(path, _checked(fd, path, is_directory=True))

    def subdirectory(self, name: str, *, create: bool = False) -> "Directory | None":
        """The same, for a directory within."""
        try:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=self.fd)
                    os.fsync(self.fd)
            fd = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refused(error, f"{self.path}/{name}", "directory") from None
        return Directory(f"{self.path}/{name}", _checked(fd, f"{self.path}/{name}", is_directory=True))

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> "Directory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def where(self, name: str) -> str:
        """The path of a file, for messages."""
        return f"{self.path}/{name}"

    def open_file(self, name: str, flags: int = os.O_RDONLY) -> int | None:
        """A descriptor of a file that only this user can reach; None if it isn't there."""
        try:
            fd = os.open(name, flags | _OPEN | os.O_NONBLOCK, 0o600, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refused(error, self.where(name), "file") from None
        return _checked(fd, self.where(name), is_directory=False)

    def read(self, name: str) -> bytes | None:
        """All of a file; None if it isn't there."""
        fd = self.open_file(name)
        if fd is None:
            return None
        with os.fdopen(fd, "rb") as file:
            raw = file.read(FILE_MAX + 1)
        if len(raw) > FILE_MAX:
            raise KeystoreDamaged("keystore is damaged: file too large", self.where(name), "restore a backup")
        return raw

    def replace(self, name: str, raw: bytes) -> None:
        """Put a file in the place of the old one, atomically and durably; raise KeystoreError."""
        new = name + _NEW_SUFFIX
        try:
            self._write_new(new, raw)
            os.rename(new, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=self.fd)
            rule = f"keystore can't be written ({error.strerror})"
            raise KeystoreError(rule, self.where(name), "nothing was changed; make room, then try again") from None
        try:
            os.fsync(self.fd)
        except OSError as error:
            rule = f"keystore was changed, but a power cut may undo it ({error.strerror})"
            raise KeystoreError(rule, self.where(name), "see whether the disk is failing") from None

    def _write_new(self, new: str, raw: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=self.fd)  # of a change that was killed
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600, dir_fd=self.fd)
        try:
            write_all(fd, raw)
            os.fchmod(fd, 0o600)
            os.fsync(fd)
        finally:
            os.close(fd)

    def names(self) -> list[str]:
        """What is in it, sorted."""
        return sorted(os.listdir(self.fd))

    @contextlib.contextmanager
    def lock(self, *, shared: bool = False) -> Iterator[None]:
        """Hold the keystore's lock; raise KeystoreError if another holds it for half a minute."""
        fd = self.open_file(LOCK, os.O_RDWR | os.O_CREAT)
        assert fd is not None  # O_CREAT
        try:
            take_lock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, self.where(LOCK))
            yield
        finally:
            os.close(fd)


def take_lock(fd: int, kind: int, where: str) -> None:
    """flock, with a bound; raise KeystoreError."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                rule = f"keystore is in use: another process holds its lock for {LOCK_WAIT_S:.0f} s"
                raise KeystoreError(rule, where, "see who: fuser " + where) from None
        except OSError as error:
            rule = f"keystore can't be locked ({error.strerror})"
            raise KeystoreError(rule, where, "put it on a local file system") from None
        time.sleep(LOCK_POLL_S)


def write_all(fd: int, raw: bytes) -> None:
    """Write everything; raise OSError."""
    left = memoryview(raw)
    while left:
        left = left[os.write(fd, left) :]


def write_private_file(path: str, raw: bytes) -> None:
    """Make a new file of mode 0600, durably; raise KeystoreError, also where there is one already."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
    except FileExistsError:
        raise KeystoreError("file is already there", path, "give another name") from None
    except OSError as error:
        raise KeystoreError(f"file can't be made ({error.strerror})", path, "give another name") from None
    try:
        write_all(fd, raw)
        os.fsync(fd)
        _sync_parent(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise KeystoreError(f"file can't be written ({error.strerror})", path, "make room, then try again") from None
    finally:
        os.close(fd)


def read_private_file(path: str, what: str, size_max: int, *, private: bool = True) -> bytes:
    """A file's bytes; raise KeystoreError, and KeystorePermissions if others can read what should be private."""
    try:
        with open(path, "rb") as file:
            info = os.fstat(file.fileno())
            raw = file.read(size_max + 1)
    except OSError as error:
        raise KeystoreError(f"{what} can't be read ({error.strerror})", path, "name a file that you can read") from None
    if private and stat.S_ISREG(info.st_mode) and info.st_mode & 0o077:
        raise KeystorePermissions(f"{what} can be read by others", path, f"run: chmod 600 {path}")
    if len(raw) > size_max:
        raise KeystoreError(f"{what} is larger than {size_max} bytes", path, "name a smaller file")
    return raw


def _make(path: str) -> None:
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        os.makedirs(parent, 0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)  # whatever the umask
        _sync_parent(path)


def _sync_parent(path: str) -> None:
    fd = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _checked(fd: int, path: str, *, is_directory: bool) -> int:
    info = os.fstat(fd)
    try:
        _check(info, path, is_directory)
    except KeystorePermissions:
        os.close(fd)
        raise
    return fd


def _check(info: os.stat_result, path: str, is_directory: bool) -> None:
    what = "keystore directory" if is_directory else "keystore file"
    if not is_directory and not stat.S_ISREG(info.st_mode):
        raise KeystorePermissions(f"{what} is no regular file", path, "move it away")
    if info.st_uid != os.geteuid():
        remedy = f"run as user {info.st_uid}, or name another directory by {VARIABLE} or --keystore"
        raise KeystorePermissions(f"{what} belongs to user {info.st_uid}", path, remedy)
    if info.st_mode & 0o077:
        mode = 700 if is_directory else 600
        rule = f"{what} has mode {stat.S_IMODE(info.st_mode):04o}: others could reach it"
        raise KeystorePermissions(rule, path, f"run: chmod {mode} {path}")


def _refused(error: OSError, path: str, what: str) -> KeystoreError:
    if error.errno in _REFUSED_LINK:
        rule = f"keystore {what} is a symbolic link, or no {what}"
        return KeystorePermissions(rule, path, f"name the real directory by {VARIABLE} or --keystore")
    if isinstance(error, PermissionError):
        rule = f"keystore {what} can't be opened ({error.strerror})"
        return KeystorePermissions(rule, path, f"run: chmod u+rwX {path}, or see whose it is: ls -ld {path}")
    return KeystoreError(f"keystore {what} can't be opened ({error.strerror})", path, "see what is wrong with it")
