"""Copies a tree into a volume: a program that runs wrapped, so that the volume is filled as any program would fill it.

Started by scone-volume import as a script, SOURCE TARGET, with the standard library alone. It says on standard output
what it does, a line each: `total BYTES`, `done BYTES`, `note TEXT`, `failed TEXT`. Interrupted, it goes on at the next
run: a file takes its name when it is whole, and has its source's size and time then; what differs is never overwritten.
"""

import os
import stat
import sys

PART = ".scone-import.part"
PIECE = 1 << 20
SYNC_EVERY = 256 << 20


class Failed(Exception):
    """What stops an import; its text is for the user."""


class Copier:
    """One run."""

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.links: dict[tuple[int, int], str] = {}
        self.unsynced = 0
        self.is_root = os.geteuid() == 0

    def run(self) -> None:
        """Copy everything; raise Failed, OSError."""
        say("total", str(total(self.source)))
        folders: list[tuple[str, os.stat_result]] = []
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            with os.scandir(f"{self.source}/{folder}") as entries:
                found = sorted(entry.name for entry in entries)
            for name in found:
                path = f"{folder}/{name}" if folder else name
                info = os.lstat(f"{self.source}/{path}")
                self.copy(path, info)
                if stat.S_ISDIR(info.st_mode):
                    waiting.append(path)
                    folders.append((path, info))
            self.remove_part(folder)
        for path, info in reversed(folders):
            self.finish(f"{self.target}/{path}", info)
        self.finish(self.target, os.stat(self.source))
        sync(self.target)

    def copy(self, path: str, info: os.stat_result) -> None:
        """Copy one name."""
        target, kind = f"{self.target}/{path}", stat.S_IFMT(info.st_mode)
        before = self.links.get((info.st_dev, info.st_ino))
        if self.is_there(path, target, info):
            say("done", str(info.st_size if kind == stat.S_IFREG and before is None else 0))
        elif before is not None:
            os.link(before, target, follow_symlinks=False)
        elif kind == stat.S_IFREG:
            self.copy_file(path, target, info)
        else:
            self.make(path, target, info)
        if info.st_nlink > 1 and kind != stat.S_IFDIR:
            self.links.setdefault((info.st_dev, info.st_ino), target)

    def is_there(self, path: str, target: str, info: os.stat_result) -> bool:
        """Was it copied by an earlier run? Raises Failed where something else is there."""
        try:
            there = os.lstat(target)
        except FileNotFoundError:
            return False
        same = stat.S_IFMT(there.st_mode) == stat.S_IFMT(info.st_mode)
        if same and stat.S_ISREG(info.st_mode):
            same = (there.st_size, there.st_mtime_ns) == (info.st_size, info.st_mtime_ns)
        if same and stat.S_ISLNK(info.st_mode):
            same = os.readlink(target) == os.readlink(f"{self.source}/{path}")
        if not same:
            raise Failed(f"{target} is there already and differs; nothing is overwritten")
        return True

    def make(self, path: str, target: str, info: os.stat_result) -> None:
        """Make what is no file."""
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFDIR:
            os.mkdir(target, 0o700)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(f"{self.source}/{path}"), target)
            self.finish(target, info)
        else:
            say("note", f"{path} is a pipe, socket or device, which no volume keeps: left out")

    def copy_file(self, path: str, target: str, info: os.stat_result) -> None:
        """Copy a file's bytes, holes as holes, under a name of its own first."""
        part = f"{os.path.dirname(target)}/{PART}"
        with open(f"{self.source}/{path}", "rb", buffering=0) as source, open(part, "wb", buffering=0) as copy:
            for start, end in pieces(source.fileno(), info.st_size):
                size = copy_range(source.fileno(), copy.fileno(), start, end)
                say("done", str(size))
            copy.truncate(info.st_size)
            now = os.fstat(source.fileno())
        if (now.st_size, now.st_mtime_ns) != (info.st_size, info.st_mtime_ns):
            raise Failed(f"{self.source}/{path} was changed while it was copied")
        self.finish(part, info)
        os.rename(part, target)
        self.unsynced += info.st_size
        if self.unsynced >= SYNC_EVERY:
            sync(self.target)
            self.unsynced = 0

    def finish(self, target: str, info: os.stat_result) -> None:
        """Owner, permissions and times, as far as this user may set them."""
        if self.is_root:
            os.chown(target, info.st_uid, info.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(target, stat.S_IMODE(info.st_mode))
        os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)

    def remove_part(self, folder: str) -> None:
        """What an interrupted run left is gone, unless its name was used again."""
        try:
            os.unlink(f"{self.target}/{folder}/{PART}")
        except FileNotFoundError:
            return


def pieces(fd: int, size: int) -> list[tuple[int, int]]:
    """The ranges that hold data, at most PIECE bytes each."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        except OSError:  # no more data, or a file system that can't tell
            start, end = (size, size) if found else (at, size)
        found += [(one, min(one + PIECE, end)) for one in range(start, end, PIECE)]
        at = max(end, at + 1)
    return found


def copy_range(source: int, target: int, start: int, end: int) -> int:
    """Copy these bytes to the same place; return how many there were."""
    at = start
    while at < end:
        data = os.pread(source, end - at, at)
        if not data:
            break
        at += os.pwrite(target, data, at)
    return at - start


def total(source: str) -> int:
    """The size of all files, each once."""
    size, seen = 0, set()
    for folder, _, names in os.walk(source):
        for name in names:
            info = os.lstat(f"{folder}/{name}")
            if stat.S_ISREG(info.st_mode) and (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                size += info.st_size
    return size


def sync(directory: str) -> None:
    """All of the volume is on the disk then."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def say(kind: str, text: str) -> None:
    """One line for scone-volume."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    sys.stdout.write(f"{kind} {line}\n")
    sys.stdout.flush()


def main(source: str, target: str) -> int:
    """The program."""
    try:
        Copier(source, target).run()
    except Failed as error:
        say("failed", str(error))
        return 1
    except OSError as error:
        say("failed", f"{error.strerror}: {error.filename or target}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
