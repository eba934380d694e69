"""Reads every byte that counts of a volume and tells what can't be believed, by path and bytes.

Everything is opened: superblock copies, checkpoints, the batches of the log, all nodes, the inode table, all chunks of
all inodes, also of those that no name leads to. Then names, link counts and parents are compared with each other.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from stat import S_ISDIR, S_ISREG

from scone_preload.volume import layout
from scone_preload.volume.container import Bad, Container
from scone_preload.volume.layout import BLOCK, RECORDS, ROOT_INO, TABLE_INO, Entry, Record
from scone_preload.volume.reading import shown
from scone_preload.volume.tree import Damage, Lost, State, Step, Tree, state_behind

ADVANCE_CHUNKS = 256
TABLE, CHECKPOINT, LOG = "(inode table)", "(checkpoint)", "(log)"
UNSYNCED = "a crash before the end of its sync leaves the same"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong: `size` bytes from `start` of `path` (or of a part of the container, in brackets).

    `block` and `blocks` are the container's that it comes from, 0 if none are to blame.
    """

    path: str
    start: int
    size: int
    block: int
    blocks: int
    why: str

    def __str__(self) -> str:
        text = self.path
        if self.size:
            text += f" bytes {self.start}..{self.start + self.size - 1}"
        if self.blocks:
            text += f" (container bytes {self.block * BLOCK}..{(self.block + self.blocks) * BLOCK - 1})"
        return f"{text}: {self.why}"


@dataclass(slots=True)
class Tally:
    """What was read so far."""

    version: int = 0
    tag: str = ""  # of that version, hexadecimal
    commits: int = 0
    files: int = 0
    directories: int = 0
    others: int = 0
    chunks: int = 0
    unnamed: int = 0  # files that were open when the volume was last used: the next start frees them


Advance = Callable[[int, int], None]  # bytes that are done, and of how many


def record_problem(ino: int, path: str, bad: Bad) -> Problem:
    """The problem for an inode whose record can't be had."""
    return Problem(path, 0, 0, bad.block, bad.count, f"its record (inode {ino}) is lost: {bad.why}")


def damage_problem(path: str, damage: Damage) -> Problem:
    """The problem for bytes of a file that can't be had."""
    return Problem(path, damage.start, damage.size, damage.bad.block, damage.bad.count, damage.bad.why)


def verify(container: Container, tally: Tally, advance: Advance) -> Iterator[Problem]:
    """Every problem, as it is found; what was read is counted in `tally`."""
    slots = container.slots()
    for slot in slots:
        if slot.checkpoint is None and slot.why != "empty":
            yield Problem(CHECKPOINT, 0, 0, slot.block, 1, f"{slot.why} ({UNSYNCED})")
    if slots[0].checkpoint is None:
        yield Problem("/", 0, 0, 0, 0, "nothing can be read: no checkpoint opens")
        return
    yield from _Check(state_behind(container, slots[0]), tally, advance).problems()


def records(tree: Tree) -> Iterator[tuple[int, Record]]:
    """All inodes in use whose records can be had, in order."""
    new = sorted(tree.changes, reverse=True)
    for piece in tree.pieces(TABLE_INO, tree.table):
        first, count = piece.index * RECORDS, piece.count * RECORDS if isinstance(piece.what, Entry) else 0
        while new and new[-1] < first:
            yield from _used(tree, new.pop())
        for ino in range(max(first, ROOT_INO), first + count):
            yield from _used(tree, ino)
        new = [ino for ino in new if not first <= ino < first + count]
    for ino in reversed(new):
        yield from _used(tree, ino)


def _used(tree: Tree, ino: int) -> Iterator[tuple[int, Record]]:
    record = tree.record(ino)
    if isinstance(record, Record) and not record.is_free:
        yield ino, record


class _Check:
    """The state that a mount would find, all of it."""

    def __init__(self, state: State, tally: Tally, advance: Advance) -> None:
        self.state, self.tree = state, state.tree
        self.tally, self.advance = tally, advance
        self.paths: dict[int, bytes] = {}
        self.links: Counter[int] = Counter()
        self.subdirectories: Counter[int] = Counter()
        self.is_complete = True  # all names could be read
        self.total = 0
        tally.version, tally.tag, tally.commits = state.version, state.tag.hex(), len(state.commits)

    def problems(self) -> Iterator[Problem]:
        yield from self._of_names()
        yield from self._of_log()
        yield from self._of_table()
        self.total = sum(record.chunks for _, record in records(self.tree)) * BLOCK
        for ino, record in records(self.tree):
            yield from self._of_inode(ino, record)
        self.advance(self.total, self.total)

    def _path(self, ino: int) -> str:
        return shown(self.paths.get(ino, b"(inode %d, without a name)" % ino))

    def _of_names(self) -> Iterator[Problem]:
        for found in self.tree.below(ROOT_INO):
            if isinstance(found, Lost):
                self.is_complete = False
                yield damage_problem(shown(found.path), found.damage)
            elif found.ino == ROOT_INO and found.path:
                yield Problem(shown(found.path), 0, 0, 0, 0, "a name of the root")
            else:
                yield from self._of_step(found)

    def _of_step(self, step: Step) -> Iterator[Problem]:
        path, ino, record = shown(step.path), step.ino, step.record
        self.links[ino] += 1
        is_first = self.paths.setdefault(ino, step.path) is step.path
        if isinstance(record, Bad):
            self.is_complete = False
            yield record_problem(ino, path, record)
        elif record.is_free:
            yield Problem(path, 0, 0, 0, 0, f"a name without a file (inode {ino} is free)")
        elif S_ISDIR(record.mode):
            if not is_first:
                yield Problem(path, 0, 0, 0, 0, f"a second name of directory {shown(self.paths[ino])}")
            self.subdirectories[record.parent] += 1

    def _of_log(self) -> Iterator[Problem]:
        log, dropped = self.state.log, self.state.dropped
        if log.broken:
            yield Problem(LOG, 0, 0, log.broken.block, log.broken.count, f"{log.broken.why} ({UNSYNCED})")
        elif log.unfinished:
            yield Problem(LOG, 0, 0, 0, 0, f"the last commit misses its last batch ({UNSYNCED})")
        if dropped:
            why = f"{dropped.bad.why}: so the last commit doesn't count ({UNSYNCED})"
            yield damage_problem(self._path(dropped.ino), replace(dropped, bad=replace(dropped.bad, why=why)))

    def _of_table(self) -> Iterator[Problem]:
        for damage in self._damages(TABLE_INO, self.tree.table):
            first, count = damage.start // layout.RECORD.size, damage.size // layout.RECORD.size
            why = f"{damage.bad.why}: it held inodes {first}..{first + count - 1}"
            yield damage_problem(TABLE, replace(damage, bad=replace(damage.bad, why=why)))

    def _of_inode(self, ino: int, record: Record) -> Iterator[Problem]:
        is_named = ino in self.paths
        self._count(record, is_named=is_named)
        for damage in self._damages(ino, record):
            if not (S_ISDIR(record.mode) and is_named):  # whose names were told of before
                yield damage_problem(self._path(ino), damage)
        links = self.links[ino]
        if S_ISDIR(record.mode):
            links = 2 + self.subdirectories[ino] - (ino == ROOT_INO)  # the root is its own parent
        if is_named and self.is_complete and links != record.nlink:
            why = f"its link count is {record.nlink}, but there are {links} names"
            yield Problem(self._path(ino), 0, 0, 0, 0, why)

    def _damages(self, ino: int, record: Record) -> Iterator[Damage]:
        """Everything of an inode that doesn't open."""
        for piece in self.tree.pieces(ino, record):
            what = piece.what
            if isinstance(what, Entry):
                self.tally.chunks += 1
                if self.tally.chunks % ADVANCE_CHUNKS == 0:
                    self.advance(self.tally.chunks * BLOCK, self.total)
                opened = self.tree.open_chunk(ino, 0, piece.index, what, is_clear=layout.is_clear(record, ino, 0))
                if isinstance(opened, bytes):
                    continue
                what = opened
            start = piece.index * BLOCK
            yield Damage(ino, start, min(piece.count * BLOCK, record.size - start), what)

    def _count(self, record: Record, *, is_named: bool) -> None:
        tally = self.tally
        if not is_named:
            tally.unnamed += 1
        elif S_ISDIR(record.mode):
            tally.directories += 1
        elif S_ISREG(record.mode):
            tally.files += 1
        else:
            tally.others += 1
