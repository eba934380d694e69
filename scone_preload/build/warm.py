"""The warm path: which shim was built for this very file, decided by stat() alone.

An index file per program path names the shim and every file that the decision rests on (program, scripts, loader,
libraries, ld.so.cache), each with device, inode, size, mtime and ctime. If one has changed, or libshim was rebuilt, the
answer is "don't know". The shim itself is pinned the same way: it was verified by its hash when the entry was written.

Every start of scone-wrap runs this, so it imports only `os` (pathlib, json and hashlib would cost 8, 3 and 8 ms).
"""
# ruff: noqa: PTH100, PTH116, PTH123

from __future__ import annotations

import os

from scone_preload.paths import OBJECTS_ID, cache_directories, is_trusted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAGIC = "scone-index 1"
LOADER_VARIABLES = (b"LD_LIBRARY_PATH", b"LD_PRELOAD")
NAME_MAX = 240


def find_pins(path: str, environment: Mapping[bytes, bytes], *, same_search: bool = True) -> tuple[str, ...]:
    """The pins of the cached shim of the program at `path` and of all that it rests on, shim first; () as find_warm."""
    path = os.path.abspath(path)
    wanted = head(objects_id(), environment)
    for directory in cache_directories(environment):
        text = _read(index_file(directory, path)) if is_trusted(directory) else ""
        lines = text.splitlines()
        if len(lines) < 4 or lines[0] != wanted[0] or (same_search and lines[1] != wanted[1]):
            continue
        if pinned(lines[3]) == path and all(_is_same(line) for line in lines[2:]):
            return tuple(lines[2:])
    return ()


def find_warm(path: str, environment: Mapping[bytes, bytes], *, same_search: bool = True) -> str:
    """The cached shim of the program at `path`, or "" if there is none that is certainly right.

    Without `same_search` a shim that was built under other LD_LIBRARY_PATH or LD_PRELOAD values counts, too.
    """
    pins = find_pins(path, environment, same_search=same_search)
    return pinned(pins[0]) if pins else ""


def find_pin(path: str, environment: Mapping[bytes, bytes], *, same_search: bool = True) -> str:
    """The same with what it was recognised by: a line as pin() gives it."""
    return (*find_pins(path, environment, same_search=same_search), "")[0]


def head(objects: str, environment: Mapping[bytes, bytes]) -> tuple[str, str]:
    """The first two lines of an index file: what built it, and where the loader was told to look."""
    search = "\0".join(os.fsdecode(environment.get(name, b"")) for name in LOADER_VARIABLES)
    return f"{MAGIC} {objects}", repr(search)


def index_text(objects: str, environment: Mapping[bytes, bytes], shim: str, inputs: Sequence[str]) -> str:
    """A whole index file, `inputs` beginning with the program's path; "" if a path is gone or has a line break."""
    try:
        pins = [pin(path) for path in (shim, *inputs)]
    except OSError:
        return ""
    if any(line.splitlines() != [line] for line in pins):
        return ""
    return "\n".join([*head(objects, environment), *pins, ""])


def index_file(directory: str, path: str) -> str:
    """Where the index of an absolute program path lies; long paths with the same end share one file."""
    name = path.replace("%", "%25").replace("/", "%2F")
    return f"{directory}/index/{name[-NAME_MAX:]}"


def objects_id() -> str:
    """Identity of the libshim that is built now; "" if none is."""
    return _read(OBJECTS_ID).strip()


def pin(path: str) -> str:
    """`dev,ino,size,mtime,ctime path`; a path that doesn't exist raises OSError."""
    info = os.stat(path)
    return f"{info.st_dev},{info.st_ino},{info.st_size},{info.st_mtime_ns},{info.st_ctime_ns} {path}"


def pinned(line: str) -> str:
    """The path that a line pins."""
    return line.partition(" ")[2]


def _is_same(line: str) -> bool:
    try:
        return pin(pinned(line)) == line
    except (OSError, ValueError):
        return False


def _read(path: str) -> str:
    """The file's text, "" if it can't be read (a damaged entry is a miss)."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
