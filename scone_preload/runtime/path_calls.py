"""Which files a call's paths mean, and how much an answer about them covers; imports nothing heavy.

Paths come absolute, but with links and ".."; they are followed here as the process would follow them, so that a link
can't lead past a rule. What else an answer holds for is told to the shim: a directory that is allowed as a whole, and
that holds no link or secret, needs no second question about what lies directly in it.
"""

from __future__ import annotations

import os

from scone_preload.policy.paths import FileRules, allows_all_in
from scone_preload.runtime import wire
from scone_preload.runtime.following import followed, root_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW, O_NOFOLLOW, O_EXCL, O_CREAT = 0x100, 0x400, 0o400000, 0o200, 0o100
NOFOLLOW_CALLS = frozenset({
    "lstat", "readlink", "readlinkat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "symlink", "symlinkat",
    "link", "rmdir", "lchown", "mkdir", "mkdirat", "mknod", "mknodat", "lsetxattr", "lgetxattr", "llistxattr",
    "lremovexattr",
})  # fmt: skip
OPEN_FLAGS_ARG = {"open": 1, "openat": 2}
AT_FLAGS_ARG = {"newfstatat": 3, "statx": 2, "faccessat2": 3, "fchownat": 4, "utimensat": 3, "fchmodat2": 3,
                "setxattrat": 2, "getxattrat": 2, "listxattrat": 2, "removexattrat": 2, "file_getattr": 4,
                "file_setattr": 4}  # fmt: skip
LINKAT_FLAGS_ARG = 4
ENTRIES_MAX = 4096  # looked at for links


def open_flags(name: str, message: wire.Call) -> int:
    """Return the flags of open(2) in a call of this name, 0 where it has none."""
    if name == "openat2":
        return int.from_bytes(message.strings.get(2, b"")[:8], "little")
    return message.args[OPEN_FLAGS_ARG[name]] & 0xFFFFFFFF if name in OPEN_FLAGS_ARG else 0


def real_paths(name: str, message: wire.Call, pid: int, own: Collection[str] = ()) -> list[str]:
    """Return the paths of a call, as process `pid` sees them, links followed where the call follows them; `own` as for
    `followed`."""
    found = []
    for about in (wire.ABOUT_PATH, wire.ABOUT_SECOND):
        raw = message.strings.get(about)
        if raw is not None:
            last = follows_last(name, message, second=about == wire.ABOUT_SECOND)
            found.append(followed(os.fsdecode(raw), pid, last=last, tid=message.header.tid, own=own))
    return found


def follows_last(name: str, message: wire.Call, *, second: bool = False) -> bool:
    """Does the call follow a link that its path (the second one: where it makes a name) ends in?"""
    if name in NOFOLLOW_CALLS or second:
        return False
    if name == "linkat":
        return bool(message.args[LINKAT_FLAGS_ARG] & AT_SYMLINK_FOLLOW)
    if name in ("open", "openat", "openat2"):
        flags = open_flags(name, message)
        return not (flags & O_NOFOLLOW or flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL)
    at = AT_FLAGS_ARG.get(name)
    return at is None or not message.args[at] & AT_SYMLINK_NOFOLLOW


def covers_directory(rules: FileRules, path: str, real: str, word: str, pid: int) -> bool:
    """Is all that lies directly in the directory of `path` allowed for this access, and can no link there lead out?

    `path` is what the shim knows, `real` the same with its links followed: where they differ, only this path is known.
    """
    folder = path.rpartition("/")[0] or "/"
    return path == real and allows_all_in(rules, folder, word) and not root_prefix(pid) and not _may_lead_out(folder)


def _may_lead_out(folder: str) -> bool:
    """Whether a directory holds a link, or too much to tell; one that isn't there holds nothing."""
    if folder.startswith("/proc"):
        return True
    looked = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                looked += 1
                if looked > ENTRIES_MAX or entry.is_symlink():
                    return True
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
