"""The core, build/libvolume.so, for Python: a container mounted into an arena, committed, and closed again.

ctypes lets go of the interpreter's lock in each call. What is mounted by a process goes on in its forked child, as the
arena is shared memory and nothing here belongs to one process: so the launcher mounts, and the runtime host maintains.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from ctypes import POINTER, Structure, c_bool, c_char_p, c_int, c_long, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p

from scone_preload.errors import MachineLacks, VolumeDamaged, VolumeError
from scone_preload.paths import OBJECTS_ID, VOLUME_LIBRARY, read_kept

KEY_SIZE, TAG_SIZE = 32, 16
_DAMAGED = (errno.EBADMSG, errno.EKEYREJECTED)
_REMEDIES = {
    errno.ENOSPC: "make room on the disk, then start again",
    errno.EDQUOT: "make room within the quota, then start again",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.ENOMEM: "make memory free, or raise the limit (ulimit -v)",
    errno.EROFS: "make the file system writable",
}
REMEDY_DAMAGED = "see what is left: scone-volume verify DIR; restore a copy from a backup"


class _Shape(Structure):
    _fields_ = [
        ("cache_size", c_uint64),
        ("log_blocks", c_uint32),
        ("is_readonly", c_uint32),
        ("is_plain", c_uint32),
        ("reserved", c_uint32),
        ("volume_id", c_uint8 * 16),
    ]


class _Found(Structure):
    _fields_ = [
        ("version", c_uint64),
        ("tag", c_uint8 * TAG_SIZE),
        ("batches", c_uint64),
        ("was_clean", c_uint32),
        ("reserved", c_uint32),
    ]


_USAGE = ("blocks", "blocks_used", "inodes_used", "cached", "dirty", "cache_size")


class _Usage(Structure):
    _fields_ = [(name, c_uint64) for name in _USAGE]


class Shape:
    """What a container is like, from its superblock; `cache_size` in bytes, 0: chosen."""

    __slots__ = ("cache_size", "is_plain", "is_readonly", "log_blocks", "volume_id")

    def __init__(
        self, volume_id: bytes, log_blocks: int, *, is_plain: bool, is_readonly: bool = False, cache_size: int = 0
    ) -> None:
        self.volume_id = volume_id
        self.log_blocks = log_blocks
        self.is_plain = is_plain
        self.is_readonly = is_readonly
        self.cache_size = cache_size

    def packed(self) -> _Shape:
        volume_id = (c_uint8 * 16).from_buffer_copy(self.volume_id)
        return _Shape(self.cache_size, self.log_blocks, self.is_readonly, self.is_plain, 0, volume_id)


class Durable:
    """What is on the disk for sure: a version, and the tag that stands for every byte of the volume."""

    __slots__ = ("tag", "version")

    def __init__(self, version: int, tag: bytes) -> None:
        self.version = version
        self.tag = tag

    @property
    def root(self) -> bytes:
        """As an anchor keeps it: 32 bytes."""
        return self.tag.ljust(32, b"\0")


class Core:
    """One container in one arena. `where` names the container in errors, which are VolumeError and its like."""

    def __init__(self, fd: int, where: str, shape: Shape, *, arena_fd: int = -1) -> None:
        """`arena_fd`: an arena in which another process has mounted it already, its own from here on."""
        self.where = where
        self.shape = shape
        self._library = _library()
        self.arena_size: int = self._library.volume_arena_size()
        self.arena_fd = arena_fd if arena_fd >= 0 else _memory(self.arena_size)
        self._arena = c_void_p(_map(self.arena_fd, self.arena_size))
        self._volume = c_void_p()
        opened = self._library.volume_library_open(fd, self._arena, shape.is_readonly, ctypes.byref(self._volume))
        self._check(opened, "opened")

    def format(self, key: bytearray, mode: int, uid: int, gid: int) -> None:
        """Write a new, empty volume behind the superblock, synced; mode and owner are the root's. Then close this."""
        shape, raw = self.shape.packed(), _as_key(key)
        self._check(self._library.volume_format(self._volume, ctypes.byref(shape), raw, mode, uid, gid), "made")

    def mount(self, key: bytearray) -> Durable:
        """Fill the arena and return what was found; nothing is written. Raises VolumeDamaged, VolumeError."""
        shape, found = self.shape.packed(), _Found()
        result = self._library.volume_mount(self._volume, ctypes.byref(shape), _as_key(key), ctypes.byref(found))
        self._check(result, "opened")
        return Durable(found.version, bytes(found.tag))

    def commit(self) -> None:
        """What was written before is on the disk then."""
        self._check(self._library.volume_commit(self._volume), "written")

    def checkpoint(self, *, is_last: bool = False) -> None:
        """The same, and the log is empty; `is_last`: the volume is closed."""
        self._check(self._library.volume_checkpoint(self._volume, is_last), "written")

    def maintain(self) -> None:
        """What is to be done about every 100 ms."""
        self._check(self._library.volume_maintain(self._volume), "written")

    def durable(self) -> Durable:
        """What a freshness anchor is to keep."""
        version, tag = c_uint64(), (c_uint8 * TAG_SIZE)()
        self._library.volume_durable(self._volume, ctypes.byref(version), tag)
        return Durable(version.value, bytes(tag))

    def usage(self) -> dict[str, int]:
        """Blocks, inodes, chunks in memory."""
        found = _Usage()
        self._library.volume_usage(self._volume, ctypes.byref(found))
        return {name: getattr(found, name) for name in _USAGE}

    def close(self) -> None:
        """Let go of the arena; what was not committed is lost unless another process has it mapped."""
        if self._volume:
            self._library.volume_library_close(self._volume)
            self._volume = c_void_p()
        if self.arena_fd >= 0:
            os.close(self.arena_fd)
            self.arena_fd = -1
            _libc().munmap(self._arena, self.arena_size)

    def _check(self, result: int, done: str) -> None:
        if result >= 0:
            return
        number = -result
        told = self._library.volume_library_report(self._volume) if self._volume else b""
        detail = f": {told.decode(errors='replace')}" if told else ""
        if number in _DAMAGED:
            rule = f"volume is damaged or was tampered with{detail or ': neither of its checkpoints can be believed'}"
            raise VolumeDamaged(rule, self.where, REMEDY_DAMAGED)
        remedy = _REMEDIES.get(number, "see whether the disk is failing")
        raise VolumeError(f"volume can't be {done} ({os.strerror(number)}){detail}", self.where, remedy)


def build_digest() -> bytes:
    """What tells builds of the core, and of the shims that work with it, apart: only those of one share an arena.
    Random where the file is no longer what was loaded."""
    from hashlib import sha256  # lazy: only who shares a volume

    _library()
    try:
        with open(VOLUME_LIBRARY, "rb") as file:
            is_loaded = _identity(os.fstat(file.fileno())) == _loaded_as[0]
            return sha256(read_kept(OBJECTS_ID) + b"\0" + file.read()).digest() if is_loaded else os.urandom(32)
    except OSError:
        return os.urandom(32)


def _identity(info: os.stat_result) -> tuple[int, int, int, int]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def _as_key(key: bytearray) -> ctypes.Array[c_uint8]:
    return (c_uint8 * KEY_SIZE).from_buffer(key)


def _memory(size: int) -> int:
    fd = os.memfd_create("scone-volume", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except OSError as error:
        os.close(fd)
        raise MachineLacks("no shared memory for a volume", str(error), "allow memfd_create of that size") from None
    return fd


def _libc() -> ctypes.CDLL:
    """For mappings that own no descriptor: one of the module mmap closes its copy at its end, and that number may be
    another's by then, as the runtime host closes all that it was forked with and doesn't know."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = c_void_p
    libc.mmap.argtypes = (c_void_p, c_size_t, c_int, c_int, c_int, c_long)
    libc.munmap.argtypes = (c_void_p, c_size_t)
    libc.madvise.argtypes = (c_void_p, c_size_t, c_int)
    return libc


def _map(fd: int, size: int) -> int:
    libc = _libc()
    found: int | None = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    if found is None or found == c_void_p(-1).value:
        why = os.strerror(ctypes.get_errno())
        raise MachineLacks("no address space for a volume", why, "raise the limit (ulimit -v)")
    libc.madvise(found, size, mmap.MADV_DONTDUMP)
    return found


_loaded: list[ctypes.CDLL] = []
_loaded_as: list[tuple[int, int, int, int]] = []


def _library() -> ctypes.CDLL:
    if not _loaded:
        try:
            _loaded_as[:] = [_identity(os.stat(VOLUME_LIBRARY))]
            library = ctypes.CDLL(VOLUME_LIBRARY)
        except OSError as error:
            raise MachineLacks(
                "volumes need libvolume.so", str(error), "build it: python -m scone_preload.build"
            ) from None
        _declare(library)
        _loaded.append(library)
    return _loaded[0]


def _declare(library: ctypes.CDLL) -> None:
    volume, key = c_void_p, c_uint8 * KEY_SIZE
    signatures = {
        "volume_arena_size": (c_uint64, ()),
        "volume_library_open": (c_long, (c_int, c_void_p, c_int, POINTER(c_void_p))),
        "volume_library_close": (None, (volume,)),
        "volume_library_report": (c_char_p, (volume,)),
        "volume_format": (c_long, (volume, POINTER(_Shape), key, c_uint32, c_uint32, c_uint32)),
        "volume_mount": (c_long, (volume, POINTER(_Shape), key, POINTER(_Found))),
        "volume_commit": (c_long, (volume,)),
        "volume_checkpoint": (c_long, (volume, c_bool)),
        "volume_maintain": (c_long, (volume,)),
        "volume_durable": (None, (volume, POINTER(c_uint64), c_uint8 * TAG_SIZE)),
        "volume_usage": (None, (volume, POINTER(_Usage))),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = list(arguments)
