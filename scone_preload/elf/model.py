"""The results of ELF analysis, as plain data."""

from dataclasses import dataclass
from pathlib import Path

ANALYSER_VERSION = 2  # part of every cache key: raise it when an analysis may come out differently
SITE_WINDOW_MAX = 18  # shim_abi.h
JUMP_SIZE = 5


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file at their p_vaddr address."""

    address: int
    data: bytes

    @property
    def end(self) -> int:
        return self.address + len(self.data)


@dataclass(frozen=True, slots=True)
class Site:
    """One patchable `syscall`: `struct site` of shim_abi.h, and the numbers it can make (empty: not provable)."""

    offset: int
    syscall_at: int
    code: bytes
    numbers: tuple[int, ...]

    @property
    def address(self) -> int:
        return self.offset + self.syscall_at


@dataclass(frozen=True, slots=True)
class Unpatched:
    """One `syscall` that must be left to the trap door, and why."""

    address: int
    reason: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Every `syscall` of one object, sorted by address; offsets are in its p_vaddr space."""

    sites: tuple[Site, ...]
    unpatched: tuple[Unpatched, ...]


@dataclass(frozen=True, slots=True)
class Library:
    """One object of a closure: the program itself, its loader or a library."""

    path: Path
    name: str  # soname, or the file's name
    build_id: bytes  # empty: it has none
    identity: str  # build id in hex, or "sha256-<hash>" of the file
    imports: frozenset[str]
    exports: frozenset[str]


@dataclass(frozen=True, slots=True)
class Closure:
    """What the loader will map for a program: [0] is the program; then its loader; then libraries in load order."""

    objects: tuple[Library, ...]
    missing: tuple[str, ...]  # DT_NEEDED names that were found nowhere
