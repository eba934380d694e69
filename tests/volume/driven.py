"""The core, driven without a program: by ctypes, as the runtime host does, but down to names and bytes.

For tests that compare what it does with scone_preload/volume's own reading, and with tests/volume/writer.py.
"""

import ctypes
import errno
import functools
import os
import stat
import struct
import subprocess
import tempfile
from collections.abc import Callable
from ctypes import POINTER, byref, c_char, c_char_p, c_long, c_uint32, c_uint64, c_void_p
from pathlib import Path

from scone_preload.paths import VOLUME_LIBRARY
from scone_preload.volume.core import Core, Durable, Shape
from scone_preload.volume.layout import BLOCK, Record, build_record, parse_record
from tests.volume.test_reader import Found
from tests.volume.writer import KEY, VOLUME_ID

ROOT = Path(__file__).resolve().parents[2]
FOLLOW, PARENT_ONLY = 1, 2
PIECE = 1 << 16


class Where(ctypes.Structure):
    _fields_ = [
        ("directory", c_void_p),
        ("inode", c_void_p),
        ("name", c_char_p),
        ("name_size", c_uint32),
        ("must_be_directory", c_uint32),
        ("path", c_char * 4096),
    ]


class Who(ctypes.Structure):
    _fields_ = [("uid", c_uint32), ("gid", c_uint32), ("group_count", c_uint32), ("groups", c_uint32 * 64)]


@functools.cache
def record_offset() -> int:
    """Where an inode in the arena has its record, from the header."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "show.c"
        source.write_text(
            f'#include <stdio.h>\n#include "{ROOT}/libshim/volume/inode.h"\n'
            'int main(void)\n{\n\tprintf("%zu\\n", offsetof(struct vol_inode, record));\n\treturn 0;\n}\n'
        )
        subprocess.run(["gcc", "-o", f"{folder}/show", source], check=True)
        return int(subprocess.run([f"{folder}/show"], check=True, capture_output=True).stdout)


@functools.cache
def library() -> ctypes.CDLL:
    found = ctypes.CDLL(VOLUME_LIBRARY)
    pointer, size, where, who = c_void_p, c_uint64, POINTER(Where), POINTER(Who)
    name = (c_char_p, c_uint32)
    signatures: dict[str, tuple[object, ...]] = {
        "inode_get": (pointer, size, POINTER(c_void_p)),
        "inode_put": (pointer, pointer),
        "inode_read": (pointer, pointer, c_void_p, size, size),
        "inode_write": (pointer, pointer, c_char_p, size, size, POINTER(c_uint64)),
        "inode_truncate": (pointer, pointer, size),
        "inode_punch": (pointer, pointer, size, size),
        "names_walk": (pointer, pointer, c_char_p, c_char_p, c_uint32, who, where),
        "names_release": (pointer, where),
        "names_create": (pointer, pointer, *name, c_char_p, who, POINTER(c_void_p)),
        "names_symlink": (pointer, pointer, *name, c_char_p, who),
        "names_link": (pointer, pointer, pointer, *name, who),
        "names_unlink": (pointer, pointer, *name, ctypes.c_bool, who),
        "names_rename": (pointer, pointer, *name, pointer, *name, c_uint32, who),
        "names_readlink": (pointer, pointer, c_void_p, size),
        "names_list": (pointer, pointer, POINTER(c_uint64), c_void_p, size),
    }
    for function, arguments in signatures.items():
        getattr(found, function).argtypes = list(arguments)
        getattr(found, function).restype = c_long
    found.inode_put.restype = found.names_release.restype = None
    found.volume_library_report.argtypes, found.volume_library_report.restype = [pointer], c_char_p
    return found


def checked(result: int) -> int:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


class Driven:
    """A container in the core's hands; paths are absolute, inside the volume."""

    def __init__(
        self, fd: int, *, key: bytes = KEY, log_blocks: int = 16, is_plain: bool = False, readonly: bool = False
    ):
        shape = Shape(VOLUME_ID, log_blocks, is_plain=is_plain, is_readonly=readonly)
        self.key = bytearray(key)
        self.core = Core(fd, "v", shape)
        self.who = Who()
        self._buffer = ctypes.create_string_buffer(PIECE)

    def __enter__(self) -> "Driven":
        return self

    def __exit__(self, *_: object) -> None:
        self.core.close()

    @property
    def volume(self) -> c_void_p:
        return self.core._volume

    def mount(self) -> Durable:
        return self.core.mount(self.key)

    def format(self) -> None:
        self.core.format(self.key, stat.S_IFDIR | 0o755, 0, 0)

    # ---- inodes ----

    def get(self, ino: int) -> c_void_p:
        inode = c_void_p()
        checked(library().inode_get(self.volume, ino, byref(inode)))
        return inode

    def put(self, inode: c_void_p | int) -> None:
        library().inode_put(self.volume, inode)

    def record(self, inode: c_void_p) -> Record:
        return parse_record(ctypes.string_at((inode.value or 0) + record_offset(), 256))

    def read(self, inode: c_void_p, size: int, at: int) -> bytes:
        done = checked(library().inode_read(self.volume, inode, self._buffer, min(size, PIECE), at))
        return ctypes.string_at(self._buffer, done)

    def _walked(self, path: bytes, flags: int) -> Where:
        where, root = Where(), self.get(1)
        try:
            checked(library().names_walk(self.volume, root, path, b"/data", flags, byref(self.who), byref(where)))
        finally:
            self.put(root)
        return where

    # ---- changes, by path ----

    def create(self, path: bytes, mode: int, **fields: int) -> None:
        where, inode = self._walked(path, PARENT_ONLY), c_void_p()
        record = build_record(Record(mode, **fields))  # type: ignore[arg-type]
        try:
            name = (where.name, where.name_size)
            arguments = (where.directory, *name, record, byref(self.who), byref(inode))
            checked(library().names_create(self.volume, *arguments))
            self.put(inode)
        finally:
            library().names_release(self.volume, byref(where))

    def symlink(self, path: bytes, target: bytes) -> None:
        where = self._walked(path, PARENT_ONLY)
        try:
            name = (where.name, where.name_size)
            checked(library().names_symlink(self.volume, where.directory, *name, target, byref(self.who)))
        finally:
            library().names_release(self.volume, byref(where))

    def link(self, old: bytes, path: bytes) -> None:
        source = self._walked(old, 0)
        where = self._walked(path, PARENT_ONLY)
        try:
            if not source.inode:
                raise OSError(errno.ENOENT, "none")
            arguments = (source.inode, where.directory, where.name, where.name_size, byref(self.who))
            checked(library().names_link(self.volume, *arguments))
        finally:
            library().names_release(self.volume, byref(where))
            library().names_release(self.volume, byref(source))

    def unlink(self, path: bytes, *, is_directory: bool = False) -> None:
        where = self._walked(path, PARENT_ONLY)
        try:
            arguments = (where.directory, where.name, where.name_size, is_directory, byref(self.who))
            checked(library().names_unlink(self.volume, *arguments))
        finally:
            library().names_release(self.volume, byref(where))

    def rename(self, old: bytes, new: bytes) -> None:
        source, where = self._walked(old, PARENT_ONLY), self._walked(new, PARENT_ONLY)
        try:
            names = (source.directory, source.name, source.name_size, where.directory, where.name, where.name_size)
            checked(library().names_rename(self.volume, *names, 0, byref(self.who)))
        finally:
            library().names_release(self.volume, byref(where))
            library().names_release(self.volume, byref(source))

    def write(self, path: bytes, data: bytes, at: int = 0) -> None:
        self._of(path, lambda inode: library().inode_write(self.volume, inode, data, len(data), at, None))

    def truncate(self, path: bytes, size: int) -> None:
        self._of(path, lambda inode: library().inode_truncate(self.volume, inode, size))

    def punch(self, path: bytes, start: int, end: int) -> None:
        self._of(path, lambda inode: library().inode_punch(self.volume, inode, start, end))

    def _of(self, path: bytes, act: Callable[[int], int]) -> None:
        where = self._walked(path, FOLLOW)
        try:
            if not where.inode:
                raise OSError(errno.ENOENT, "none")
            if not stat.S_ISREG(self.record(c_void_p(where.inode)).mode):
                raise OSError(errno.EISDIR, "not a file")  # which the shim knows, and the core takes as given
            checked(act(where.inode))
        finally:
            library().names_release(self.volume, byref(where))

    # ---- all of it ----

    def report(self) -> str:
        """What the core told of damage since the last call."""
        return str(library().volume_library_report(self.volume).decode())

    def listed(self, inode: c_void_p) -> list[tuple[bytes, int]]:
        """(name, inode) of a directory."""
        position, found = c_uint64(), []
        while size := checked(library().names_list(self.volume, inode, byref(position), self._buffer, PIECE)):
            raw, at = ctypes.string_at(self._buffer, size), 0
            while at < size:
                ino, _, length, _ = struct.unpack_from("<QqHB", raw, at)
                name = raw[at + 19 : at + length].split(b"\0")[0]
                found += [(name, ino)] if name not in (b".", b"..") else []
                at += length
        return found

    def everything(self) -> Found:
        """As tests/volume/test_reader.py has it."""
        found: Found = {}
        left = [(b"", 1)]
        while left:
            path, ino = left.pop()
            inode = self.get(ino)
            try:
                record = self.record(inode)
                is_directory = stat.S_ISDIR(record.mode)
                found[path] = (
                    record.mode,
                    record.nlink,
                    record.size,
                    {} if is_directory else self._chunks(inode, record),
                )
                left += [(path + b"/" + name, child) for name, child in self.listed(inode)] if is_directory else []
            finally:
                self.put(inode)
        return found

    def _chunks(self, inode: c_void_p, record: Record) -> dict[int, bytes]:
        found, at = {}, 0
        while at < record.size:
            raw = self.read(inode, record.size - at, at)
            if raw != bytes(len(raw)):
                parts = {at + skip: raw[skip : skip + BLOCK] for skip in range(0, len(raw), BLOCK)}
                found |= {place // BLOCK: part for place, part in parts.items() if any(part)}
            at += len(raw)
        return found
