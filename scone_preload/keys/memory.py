"""Where plain keys live: locked pages that no core dump, swap or child gets, zeroed when they are done with.

Guaranteed of a `SecretBuffer`: its pages are never swapped out (MAP_LOCKED), not in core dumps (MADV_DONTDUMP), zero
in a child after fork (MADV_WIPEONFORK: open the keystore in the process that uses it, after its last fork), and zero
after `close`. Not guaranteed: what Python and libraries copy. `reveal()` makes `bytes` that live until the allocator
reuses their memory; a passphrase, a key file's and a variable's text are such `bytes` too; OpenSSL holds expanded keys
while a cipher object lives, and clears them with it. So a process that opens a keystore also calls `forbid_dumps`,
which covers all of its memory against dumps and against other processes of the same user; only root is left.
"""

import ctypes
import mmap
import os
import resource
from collections.abc import Mapping, MutableMapping, Set
from types import TracebackType

from scone_preload.errors import KeystoreError, MachineLacks

_PR_SET_DUMPABLE = 4
_MAP_LOCKED, _MADV_WIPEONFORK = 0x2000, 18  # not in Python's mmap
_STAT_ENVIRONMENT = (50, 51)  # fields of /proc/self/stat, from 1: env_start, env_end


class SecretBuffer:
    """A fixed number of secret bytes; wiped by `close`, by `with`, and when it is collected."""

    __slots__ = ("_map", "size")

    def __init__(self, size: int) -> None:
        """Make one of zeros; raise MachineLacks where memory can't be locked."""
        self.size = size
        try:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_LOCKED
            self._map = mmap.mmap(-1, max(size, 1), flags=flags)
            self._map.madvise(mmap.MADV_DONTDUMP)
            self._map.madvise(_MADV_WIPEONFORK)
        except OSError as error:
            limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] >> 10
            rule = f"memory for keys can't be locked ({error.strerror})"
            raise MachineLacks(
                rule, f"limit {limit} KiB", "raise it: ulimit -l 8192, or LimitMEMLOCK= of systemd"
            ) from None

    @classmethod
    def of(cls, value: bytes | bytearray | memoryview) -> "SecretBuffer":
        """A buffer with a copy of `value`."""
        buffer = cls(len(value))
        buffer.view()[:] = value
        return buffer

    def view(self) -> memoryview:
        """The bytes themselves, for who can use a buffer in place; ValueError once closed."""
        return memoryview(self._map)[: self.size]

    def reveal(self) -> bytes:
        """A copy that nothing wipes: only for who can't take `view()`."""
        return self._map[: self.size]

    def close(self) -> None:
        """Zero and unmap. Views still around keep the (zeroed) mapping alive."""
        if self._map.closed:
            return
        self._map[:] = bytes(len(self._map))
        try:
            self._map.close()
        except BufferError:  # a view is still held
            return

    def __enter__(self) -> "SecretBuffer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_map"):
            self.close()

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"<SecretBuffer of {self.size} bytes>"

    def __reduce__(self) -> str:
        raise TypeError("a SecretBuffer is not for copying or pickling")


def forbid_dumps() -> None:
    """No core dumps, and no ptrace or /proc/PID/mem by others of the same user, until the next exec.

    Afterwards an ordinary user's own /proc/self files belong to root. Raises MachineLacks.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise MachineLacks("core dumps can't be forbidden", os.strerror(ctypes.get_errno()), "allow prctl")


def take_variable(environment: MutableMapping[bytes, bytes], name: str) -> bytes | None:
    """Take a variable out of os.environb (or a copy of it) and zero it where /proc/self/environ shows it.

    None if it isn't set. The returned bytes and what Python had copied stay in memory until it is reused.
    """
    value = environment.pop(os.fsencode(name), None)
    if value is not None:
        wipe_initial_environment({os.fsencode(name): value})
    return value


def wipe_initial_environment(variables: Mapping[bytes, bytes]) -> int:
    """Zero these variables' values in the block that the kernel made at exec; return how many were there."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b") ")[2].split()
    start, end = (int(fields[number - 3]) for number in _STAT_ENVIRONMENT)  # what stands behind (comm) is field 3 on
    block, at, wiped = ctypes.string_at(start, end - start), 0, 0
    for one in block.split(b"\0"):
        name, equals, value = one.partition(b"=")
        if equals and variables.get(name) == value:
            ctypes.memset(start + at + len(name) + 1, 0, len(value))
            wiped += 1
        at += len(one) + 1
    return wiped


def forget_variables(environment: Mapping[bytes, bytes], names: Set[bytes]) -> None:
    """Take these variables out of os.environb, and zero them where /proc/self/environ shows them; `environment` has
    their values. A child of this process doesn't show them either."""
    wipe_initial_environment({name: environment[name] for name in names & environment.keys()})
    for name in names:
        os.environb.pop(name, None)


def key_of_hex(text: bytes, what: str) -> SecretBuffer:
    """The 32 bytes that 64 hexadecimal digits say; raise KeystoreError."""
    try:
        raw = bytearray.fromhex(text.strip().decode("ascii"))
    except ValueError:
        raw = bytearray()
    if len(raw) != 32:
        raise KeystoreError("not a key of 64 hexadecimal digits", what, "make one: openssl rand -hex 32")
    key = SecretBuffer.of(raw)
    raw[:] = bytes(len(raw))
    return key
