"""Directories as values, to compare what two runs left on disk."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable
from pathlib import Path


def snapshot(root: Path, ignore: Iterable[str] = ()) -> dict[str, str]:
    """relative path -> type, mode and content hash (or link target); `ignore` names path prefixes to leave out."""
    skipped = tuple(ignore)
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if not name.startswith(skipped) or not skipped:
            found[name] = _describe(path)
    return found


def _describe(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    if stat.S_ISREG(mode):
        return f"file {stat.S_IMODE(mode):o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return f"{stat.filemode(mode)}"
