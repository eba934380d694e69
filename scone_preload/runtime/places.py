"""Finds the files that a wrapped process means: by its own root, mounts, working directory and descriptors."""

import os
import struct

from scone_preload.runtime import wire

AT_EMPTY_PATH = 0x1000
OWN = "/proc/self/"
_OPENAT2 = 437
_RESOLVE_IN_ROOT = 0x10


def shares_root(pid: int) -> bool:
    """Is the process's view of the file tree this process's own? Unreadable (not dumpable) counts as the same:
    leaving the common root takes privileges that would let the host look."""
    try:
        theirs = os.stat(f"/proc/{pid}/root/.")
        same_mounts = os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    except PermissionError:
        return True
    ours = os.stat("/")
    return same_mounts and (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def exec_path(message: wire.Exec, pid: int) -> str:
    """Return a path by which this process reaches the file that `message` wants to execute."""
    path = os.fsdecode(message.path)
    if path.startswith(OWN):
        return f"/proc/{pid}/{path.removeprefix(OWN)}"  # /proc/self is the asker's
    if path.startswith("/"):
        return _as_theirs(path, pid)
    if message.dirfd == wire.AT_FDCWD:
        base = f"/proc/{pid}/cwd"
        if not os.access(base, os.X_OK):
            base = os.fsdecode(message.cwd)
    else:
        base = f"/proc/{pid}/fd/{message.dirfd}"
    return f"{base}/{path}" if path else base


def _as_theirs(path: str, pid: int) -> str:
    """/proc/self and what leads there is another process's for us."""
    for name, real in (("/proc/self/", f"/proc/{pid}/"), ("/proc/thread-self/", f"/proc/{pid}/"),
                       ("/dev/fd/", f"/proc/{pid}/fd/")):  # fmt: skip
        if path.startswith(name):
            return real + path.removeprefix(name)
    return path


def open_in_root(pid: int, path: str) -> int:
    """Open (O_PATH) an absolute path as the process sees it, its symbolic links too; raise OSError."""
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
    try:
        how = struct.pack("<QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
        import ctypes  # lazy: few processes have a root of their own

        libc = ctypes.CDLL(None, use_errno=True)
        fd = int(libc.syscall(_OPENAT2, root, os.fsencode(path), how, len(how)))
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        return fd
    finally:
        os.close(root)
