"""Answers where the syscall instructions of a library are that a wrapped process has just mapped.

The analysis is cached by the build layer, by build id; a library never seen before costs its mapper some hundred
milliseconds once. What can't be analysed is left to the trap door, which catches the same calls, slower.
"""

import os
from pathlib import Path

from scone_preload.build import sites_answer
from scone_preload.errors import SconeError
from scone_preload.runtime import wire
from scone_preload.runtime.places import open_in_root, shares_root


def answer_sites(message: wire.Sites, pid: int) -> bytes:
    """Return the answer to SITES for process `pid`."""
    path = os.fsdecode(message.path)
    try:
        if not path.startswith("/"):  # a loader with "." among its directories
            return _answer(Path(f"/proc/{pid}/cwd/{path}"), message)
        if shares_root(pid):
            return _answer(Path(path), message)
        fd = open_in_root(pid, path)
        try:
            return _answer(Path(f"/proc/self/fd/{fd}"), message)
        finally:
            os.close(fd)
    except (OSError, ValueError, SconeError):
        return wire.build_sites_answer(b"")


def _answer(path: Path, message: wire.Sites) -> bytes:
    return wire.build_sites_answer(sites_answer(path, message.offset, message.length))
