"""A volume's tree, or a part of it, written out into a directory of the host in the clear.

What is damaged is told and goes on: export leaves such a file out, salvage keeps it with holes where nothing opened. No
directory of a volume is entered twice, whatever its names say.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from stat import S_ISDIR, S_ISLNK, S_ISREG

from scone_preload.errors import VolumeDamaged
from scone_preload.volume.container import Bad
from scone_preload.volume.layout import BLOCK, Record
from scone_preload.volume.reading import TARGET_MAX, Node, shown
from scone_preload.volume.target import Target
from scone_preload.volume.tree import Damage, Lost, Step, Tree
from scone_preload.volume.verify import Advance, Problem, damage_problem, record_problem

Tell = Callable[[Problem], None]


@dataclass(slots=True)
class Written:
    """What was written; `present`: by an earlier run."""

    files: int = 0
    present: int = 0
    others: int = 0
    bytes: int = 0
    damaged: int = 0


class Copier:
    """Writes inodes of one tree into one target."""

    def __init__(
        self, tree: Tree, target: Target, tell: Tell, advance: Advance, *, keeps_damaged: bool = False
    ) -> None:
        self.tree = tree
        self.target = target
        self.tell = tell
        self.keeps_damaged = keeps_damaged
        self.written = Written()
        self.seen: dict[int, bytes] = {}
        self._advance = advance
        self._total = 0

    def copy_from(self, node: Node) -> None:
        """A directory into the target, or one file by its own name."""
        name = node.path.rpartition(b"/")[2]
        self.copy(node.ino, b"" if S_ISDIR(node.record.mode) else b"/" + name)

    def copy(self, ino: int, under: bytes = b"") -> None:
        """Write a directory and all below it, or one file, as path `under` of the target (b"": as its root)."""
        self._total += sum(
            step.record.chunks * BLOCK
            for step in self.tree.below(ino)
            if isinstance(step, Step) and isinstance(step.record, Record)
        )
        for found in self.tree.below(ino):
            path = under + found.path
            if isinstance(found, Lost):
                self.tell(damage_problem(shown(path), found.damage))
            elif isinstance(found.record, Bad):
                self.tell(record_problem(found.ino, shown(path), found.record))
            elif found.record.is_free:
                self.tell(Problem(shown(path), 0, 0, 0, 0, f"a name without a file (inode {found.ino} is free)"))
            else:
                self._one(path, found.ino, found.record)

    def _one(self, path: bytes, ino: int, record: Record) -> None:
        try:
            if S_ISDIR(record.mode):
                self._directory(path, ino, record)
            elif ino in self.seen:
                self.target.link(path, self.seen[ino])
            else:
                self._first(path, ino, record)
        except OSError as error:
            raise self.target.error(path, error) from None

    def _directory(self, path: bytes, ino: int, record: Record) -> None:
        if ino in self.seen:
            why = f"a second name of directory {shown(self.seen[ino])}"
            self.tell(Problem(shown(path), 0, 0, 0, 0, why))
            return
        self.target.directory(path, record)
        self.seen[ino] = path

    def _first(self, path: bytes, ino: int, record: Record) -> None:
        if S_ISREG(record.mode):
            is_there = self._file(path, ino, record)
        elif S_ISLNK(record.mode):
            is_there = self._symlink(path, ino, record)
        else:
            is_there = self._special(path, record)
        if is_there:
            self.seen[ino] = path

    def _file(self, path: bytes, ino: int, record: Record) -> bool:
        if self.target.has(path, record):
            self.written.present += 1
            return True
        try:
            self.target.file(path, record, self._data(path, ino, record))
        except VolumeDamaged:
            return False
        self.written.files += 1
        return True

    def _data(self, path: bytes, ino: int, record: Record) -> Iterator[tuple[int, bytes]]:
        is_damaged = False
        for found in self.tree.data(ino, record):
            if isinstance(found, Damage):
                is_damaged = True
                self.tell(damage_problem(shown(path), found))
                continue
            self.written.bytes += len(found[1])
            self._advance(self.written.bytes, self._total)
            yield found
        self.written.damaged += is_damaged
        if is_damaged and not self.keeps_damaged:
            raise VolumeDamaged("file is left out", shown(path), "take what is left of it: scone-volume salvage")

    def _symlink(self, path: bytes, ino: int, record: Record) -> bool:
        whole = bytearray(min(record.size, TARGET_MAX))
        for found in self.tree.data(ino, record, 0, len(whole)):
            if isinstance(found, Damage):
                self.tell(damage_problem(shown(path), found))
                return False
            whole[found[0] : found[0] + len(found[1])] = found[1]
        if not whole or 0 in whole or record.size >= TARGET_MAX:
            self.tell(Problem(shown(path), 0, 0, 0, 0, "a link with an impossible target"))
            return False
        self.target.symlink(path, record, bytes(whole))
        self.written.others += 1
        return True

    def _special(self, path: bytes, record: Record) -> bool:
        try:
            self.target.special(path, record)
        except PermissionError:
            self.tell(Problem(shown(path), 0, 0, 0, 0, "a device, which only root can make: left out"))
            return False
        self.written.others += 1
        return True
