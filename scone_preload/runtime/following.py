"""Which file a path means for a process: links are followed as the kernel would, by that process's root and /proc/self.

Theory of operation: a walk over the path's components, each read with readlink under the process's root. /proc/self,
/proc/thread-self and the process's own number stay as "/proc/self" in the result, which is what policies name; what
lies behind one of its magic links (fd/3, cwd, exe) is what the kernel says of it. A loop, or more links than the kernel
follows, ends the walk where it is: the kernel will refuse it.

Links are the host's word. What the runtime serves itself (`own`) is therefore known by its name alone, before anything
is read: no link that the host puts there, or on the way there, leads away from it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

LINKS_MAX = 40
SELF, THREAD_SELF = "/proc/self", "/proc/thread-self"


def followed(path: str, pid: int, *, last: bool, tid: int = 0, own: Collection[str] = ()) -> str:
    """Return an absolute path with its links followed, as process `pid` sees them; with `last` also one at its end.

    A name of `own`, given or met on the way, is returned as it is.
    """
    root = root_prefix(pid)
    names = {SELF: f"/proc/{pid}", THREAD_SELF: f"/proc/{pid}/task/{tid or pid}"}
    rest = [part for part in path.split("/") if part]
    done, links = "", 0
    while rest:
        if own and (name := os.path.normpath(f"{done}/{'/'.join(rest)}")) in own:
            return name
        part = rest.pop(0)
        if part == ".":
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        done = _named(f"{done}/{part}", pid)
        if done in names or (not rest and not last and part):
            continue
        target = _link(done, root, names)
        if target and links < LINKS_MAX:
            links += 1
            done = "" if target.startswith("/") else done.rpartition("/")[0]
            rest = [part for part in target.split("/") if part] + rest
    return done or "/"


def _named(path: str, pid: int) -> str:
    """The process's own folder has one name, whoever asks."""
    return SELF if path == f"/proc/{pid}" else path


def _link(path: str, root: str, names: dict[str, str]) -> str:
    """What a link says; "" for what is none, or one of /proc that leads to no path (a pipe, a socket)."""
    where = path
    for name, real in names.items():
        if path.startswith(f"{name}/"):
            where = real + path.removeprefix(name)
    try:
        target = os.readlink(where if where != path else root + path)
    except (OSError, ValueError):
        return ""
    is_magic = where != path or (path.startswith("/proc/") and path.split("/")[2].isdigit())
    return target if not is_magic or target.startswith("/") else ""


def root_prefix(pid: int) -> str:
    """Return what stands before an absolute path of process `pid` to name that file here: "" if its root is ours."""
    root = f"/proc/{pid}/root"
    try:
        theirs, ours = os.stat(root), os.stat("/")
    except OSError:
        return ""
    return "" if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) else root
