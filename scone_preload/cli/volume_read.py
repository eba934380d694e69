"""The commands of scone-volume that look into a volume: ls, stat, cat; and the table of all that read one.

They need neither the core nor a running program: an owner reads with this code alone what the core wrote.
"""

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from scone_preload.cli.command_line import Command, Option
from scone_preload.cli.volume_rescue import export, salvage, verify
from scone_preload.cli.volume_session import Session, show
from scone_preload.errors import UserError
from scone_preload.volume.inside import opened, split
from scone_preload.volume.layout import BLOCK, Record, Time
from scone_preload.volume.reading import Node, Reader, shown

JSON = Option("--json", "", "print JSON")
FORCE = Option("--force-read", "", "also while a program has the volume open: its state at the last sync")
OLDER = Option("--older", "", "also when the volume is older than its freshness anchor, or has none here")
RESUME = Option("--resume", "", "go on where an earlier run ended: whole files are not written again")

ROWS: tuple[Command, ...] = (
    Command("ls", "PATH", "list a file or directory of a volume, such as ./data/log",
            (Option("-l", "", "with modes, owners, sizes and times"), Option("-R", "", "with all that is below"),
             Option("-lR", "", "both"), FORCE, OLDER, JSON)),
    Command("stat", "PATH", "tell all that a volume knows of a file", (FORCE, OLDER, JSON)),
    Command("cat", "PATH", "write a file of a volume to standard output", (FORCE, OLDER)),
    Command("export", "PATH TARGET", "write a volume, or a part of it, into a directory in the clear; what is damaged"
            " is left out, and named", (RESUME, OLDER, JSON)),
    Command("verify", "DIR", "read every byte of a volume, and name each one that can't be believed", (OLDER, JSON)),
    Command("salvage", "DIR TARGET", "write what still opens of a damaged volume into an empty directory, holes where"
            " nothing does", (JSON,)),
)  # fmt: skip
HOLE = bytes(1 << 18)
KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFIFO: "pipe",
         stat.S_IFSOCK: "socket", stat.S_IFCHR: "character device", stat.S_IFBLK: "block device"}  # fmt: skip


def ls(session: Session) -> None:
    """Names, or rows with -l, or JSON."""
    is_long, is_deep = session.has("-l") or session.has("-lR"), session.has("-R") or session.has("-lR")
    with _reader(session) as (reader, inside):
        node = reader.walk(inside)
        rows = list(_listed(reader, node, is_deep=is_deep))
        if session.has("--json"):
            show(json.dumps([_row(reader, one) for one in rows], indent=2) + "\n")
            return
        for one in rows:
            name = shown(one.path) if is_deep or one is node else shown(one.path.rpartition(b"/")[2])
            show(f"{_long(one.record)} {name}{_arrow(reader, one)}\n" if is_long else f"{name}\n")


def stat_path(session: Session) -> None:
    """Everything of one inode."""
    with _reader(session) as (reader, inside):
        row = _row(reader, reader.walk(inside, is_following=False))
    if session.has("--json"):
        show(json.dumps(row, indent=2) + "\n")
        return
    for name, value in row.items():
        show(f"{name + ':':<12} {value}\n")


def cat(session: Session) -> None:
    """A file's bytes."""
    with _reader(session) as (reader, inside):
        node = reader.walk(inside)
        if not stat.S_ISREG(node.record.mode):
            what = KINDS.get(stat.S_IFMT(node.record.mode), "no file")
            raise UserError(f"not a regular file but a {what}", session.given.argument, "see: scone-volume ls")
        sys.stdout.flush()
        at = 0
        for start, part in reader.data(node):
            _holes(start - at)
            sys.stdout.buffer.write(part)
            at = start + len(part)
        _holes(node.record.size - at)
        sys.stdout.buffer.flush()


@contextmanager
def _reader(session: Session) -> Iterator[tuple[Reader, bytes]]:
    directory, inside = split(session.given.argument)
    force = session.has("--force-read")
    with opened(directory, session.keys(), is_anchored=not session.has("--older"), force=force) as state:
        yield Reader(state.tree), inside


def _listed(reader: Reader, node: Node, *, is_deep: bool) -> Iterator[Node]:
    if not stat.S_ISDIR(node.record.mode):
        yield node
    elif is_deep:
        yield from reader.below(node)
    else:
        for name in sorted(reader.names(node), key=lambda one: one.name):
            yield reader.node(node.path + b"/" + name.name, name.ino)


def _row(reader: Reader, node: Node) -> dict[str, str | int]:
    one = node.record
    kind = stat.S_IFMT(one.mode)
    row: dict[str, str | int] = {
        "path": os.fsdecode(node.path) or "/",
        "type": KINDS.get(kind, "unknown"),
        "inode": node.ino,
        "mode": f"{stat.S_IMODE(one.mode):04o}",
        "links": one.nlink,
        "uid": one.uid,
        "gid": one.gid,
        "size": one.size,
        "allocated": one.chunks * BLOCK,
    }
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        row["device"] = f"{os.major(one.device)},{os.minor(one.device)}"
    if kind == stat.S_IFLNK:
        row["target"] = os.fsdecode(reader.target(node))
    times = {"accessed": one.accessed, "modified": one.modified, "changed": one.changed, "born": one.born}
    return row | {name: _time(time) for name, time in times.items()}


def _time(time: Time) -> str:
    try:
        day = datetime.fromtimestamp(time.seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"@{time.seconds}.{time.nanoseconds:09}"
    return f"{day:%Y-%m-%dT%H:%M:%S}.{time.nanoseconds:09}Z"


def _long(one: Record) -> str:
    day = _time(one.modified)[:16].replace("T", " ")
    return f"{stat.filemode(one.mode)} {one.nlink:>3} {one.uid:>5} {one.gid:>5} {one.size:>12} {day}"


def _arrow(reader: Reader, node: Node) -> str:
    return f" -> {shown(reader.target(node))}" if stat.S_ISLNK(node.record.mode) else ""


def _holes(size: int) -> None:
    while size > 0:
        sys.stdout.buffer.write(HOLE[: min(size, len(HOLE))])
        size -= len(HOLE)


COMMANDS: dict[str, Callable[[Session], None]] = {
    "ls": ls,
    "stat": stat_path,
    "cat": cat,
    "export": export,
    "verify": verify,
    "salvage": salvage,
}
