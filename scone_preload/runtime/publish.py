"""Sees to it that a process which has given up its user can still read its shim.

A loader that can't open a preload says so and goes on without it, so a program would run unwrapped. A shim in a
private cache (/root/.cache) is therefore copied to a folder of ours that all can read before such a process execs.
"""

import os
from pathlib import Path

from scone_preload.errors import BinaryRefused
from scone_preload.paths import cache_directories, is_trusted


def readable_shim(shim: Path, pid: int) -> Path:
    """Return the shim, or a copy of it, in a place where process `pid` can read it; raise BinaryRefused."""
    user = file_user(pid)
    if user == os.geteuid() or readable_by_all(shim):
        return shim
    folder = Path(cache_directories({})[-1])
    copy = folder / "public" / shim.name
    try:
        for made in (folder, copy.parent):
            made.mkdir(exist_ok=True)
            if not is_trusted(str(made)):
                raise PermissionError("not ours alone")
            made.chmod(0o755)
        raw = shim.read_bytes()
        from scone_preload.cache import write_atomically  # lazy: 15 ms that other execs don't wait for

        if not copy.exists() or copy.read_bytes() != raw:
            write_atomically(copy, raw)
    except OSError as error:
        reason = f"shim not readable by user {user}, and {copy} can't be made ({error.strerror or error})"
        raise BinaryRefused(reason, str(shim), "set XDG_CACHE_HOME to a folder that all can read") from None
    return copy


def readable_by_all(path: Path) -> bool:
    """Can every user open this file?"""
    return bool(path.stat().st_mode & 0o004) and all(parent.stat().st_mode & 0o001 for parent in path.parents)


def file_user(pid: int) -> int:
    """Return the user as whom a process accesses files; -1 when it can't be known."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            line = next(line for line in file if line.startswith("Uid:"))
    except (OSError, StopIteration):
        return -1
    return int(line.split()[4])
