"""Which objects the loader will map for a program, found by the loader's own rules (ld.so(8)).

The result decides what is analysed before the start; the shim checks build ids when it runs and asks for the sites of
anything that was not foreseen, so a miss here costs time, not protection.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import lief

from scone_preload.elf.ldcache import read_ld_cache
from scone_preload.elf.model import Closure, Library
from scone_preload.elf.parse import parse_elf

LD_CACHE = Path("/etc/ld.so.cache")
# The loader's built-in directories, by distribution: Debian and Ubuntu; Fedora, RHEL and SUSE; Arch, Alpine-glibc.
DEFAULT_DIRECTORIES = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
HWCAPS = ("glibc-hwcaps/x86-64-v4", "glibc-hwcaps/x86-64-v3", "glibc-hwcaps/x86-64-v2", "")
EM_X86_64, ELFCLASS64 = 62, 2


@dataclass(frozen=True, slots=True)
class _Object:
    """One parsed object and what its own search needs."""

    library: Library
    needed: tuple[str, ...]
    rpath: tuple[str, ...]  # DT_RPATH, only where there is no DT_RUNPATH
    runpath: tuple[str, ...]


def find_closure(program: Path, loader: str, environ: Mapping[str, str]) -> Closure:
    """The program, its loader, then everything it needs, breadth first as the loader maps it."""
    first = _parse(program)
    loader_object = _parse(Path(loader))
    cache = _cache()
    objects = {program.resolve(): first, Path(loader).resolve(): loader_object}
    names = {loader_object.library.name}
    missing: list[str] = []
    queue: list[tuple[_Object, str, tuple[_Object, ...]]] = [
        (first, name, (first,)) for name in (*_preloads(environ), *first.needed)
    ]
    while queue:
        asker, name, ancestors = queue.pop(0)
        if name in names:
            continue
        names.add(name)
        path = _find(asker, name, ancestors, environ, cache)
        if path is None:
            missing.append(name)
        elif path.resolve() not in objects:
            found = _parse(path)
            objects[path.resolve()] = found
            queue += [(found, needed, (*ancestors, found)) for needed in found.needed]
    return Closure(tuple(found.library for found in objects.values()), tuple(missing))


def read_library(path: Path) -> Library:
    """Identity and dynamic symbols of the object at `path`; raises ValueError if it is no ELF file."""
    return _parse(path).library


def find_libraries(names: Iterable[str]) -> tuple[Library, ...]:
    """The system's own libraries of these sonames or paths, those that exist."""
    cache = _cache()
    found = []
    for name in names:
        places = [Path(name)] if "/" in name else [*cache.get(name, []), *_default_places(name)]
        found += [read_library(path) for path in places if _fits(path)][:1]
    return tuple(found)


def _default_places(name: str) -> Iterator[Path]:
    yield from (Path(directory, sub, name) for directory in DEFAULT_DIRECTORIES for sub in HWCAPS)


def _preloads(environ: Mapping[str, str]) -> list[str]:
    return environ.get("LD_PRELOAD", "").replace(":", " ").split()


def _cache() -> dict[str, list[Path]]:
    """The loader ignores a cache that it can't read, and so do we."""
    try:
        return read_ld_cache(LD_CACHE.read_bytes())
    except (OSError, ValueError):
        return {}


def _parse(path: Path) -> _Object:
    binary = parse_elf(path)
    build_id = _build_id(binary)
    entries = list(binary.dynamic_entries)
    sonames = [str(entry.name) for entry in entries if isinstance(entry, lief.ELF.DynamicSharedObject)]
    needed = [str(entry.name) for entry in entries if isinstance(entry, lief.ELF.DynamicEntryLibrary)]
    identity = build_id.hex() or "sha256-" + hashlib.sha256(path.read_bytes()).hexdigest()
    library = Library(
        path=path,
        name=sonames[0] if sonames else path.name,
        build_id=build_id,
        identity=identity,
        imports=frozenset(str(s.name) for s in binary.imported_symbols if s.name),
        exports=frozenset(str(s.name) for s in binary.exported_symbols if s.name),
    )
    runpath = _split([str(e.runpath) for e in entries if isinstance(e, lief.ELF.DynamicEntryRunPath)], path)
    rpath = _split([str(e.rpath) for e in entries if isinstance(e, lief.ELF.DynamicEntryRpath)], path)
    return _Object(library, tuple(needed), () if runpath else rpath, runpath)


def _build_id(binary: lief.ELF.Binary) -> bytes:
    """The GNU build id; only one of 20 bytes or less counts (BUILD_ID_MAX)."""
    for note in binary.notes:
        if note.type == lief.ELF.Note.TYPE.GNU_BUILD_ID:
            found = bytes(note.description)
            return found if len(found) <= 20 else b""
    return b""


def _split(paths: list[str], owner: Path) -> tuple[str, ...]:
    """Directories of colon lists, with the loader's $ORIGIN, $LIB and $PLATFORM put in."""
    origin = str(owner.resolve().parent)
    found = []
    for directory in ":".join(paths).split(":"):
        for name, value in (("ORIGIN", origin), ("LIB", "lib/x86_64-linux-gnu"), ("PLATFORM", "x86_64")):
            directory = directory.replace(f"${{{name}}}", value).replace(f"${name}", value)
        if directory:
            found.append(directory)
    return tuple(found)


def _find(
    asker: _Object,
    name: str,
    ancestors: tuple[_Object, ...],
    environ: Mapping[str, str],
    cache: Mapping[str, list[Path]],
) -> Path | None:
    if "/" in name:
        path = Path(_split([name], asker.library.path)[0])
        return path if _fits(path) else None
    return next((path for path in _candidates(asker, name, ancestors, environ, cache) if _fits(path)), None)


def _candidates(
    asker: _Object,
    name: str,
    ancestors: tuple[_Object, ...],
    environ: Mapping[str, str],
    cache: Mapping[str, list[Path]],
) -> Iterator[Path]:
    """Where the loader looks for a name without a slash, in its order."""
    directories: list[str] = []
    if not asker.runpath:
        directories += [directory for owner in reversed(ancestors) for directory in owner.rpath]
    listed = environ.get("LD_LIBRARY_PATH", "").replace(";", ":")
    directories += [directory or "." for directory in listed.split(":")] if listed else []
    directories += asker.runpath
    yield from (Path(directory, sub, name) for directory in directories for sub in HWCAPS)
    yield from cache.get(name, [])
    yield from _default_places(name)


def _fits(path: Path) -> bool:
    """True if it is a 64-bit x86 ELF file; the loader silently skips others."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError:
        return False
    return head[:5] == b"\x7fELF" + bytes([ELFCLASS64]) and head[18:20] == EM_X86_64.to_bytes(2, "little")
