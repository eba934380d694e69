"""The tree of a volume as one state of it has it: records, entries, contents, names.

A state is a checkpoint's tree with the commits behind it laid over it, in memory. What can't be believed comes back as
a `Damage` with the byte range of the inode that it takes away: reading.py makes an error of it, verify.py a line of
its report, salvage.py a hole.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from stat import S_ISDIR

from scone_preload.volume import layout
from scone_preload.volume.container import Bad, Commit, Container, Doubt, Log, Slot
from scone_preload.volume.layout import (
    BLOCK,
    FAN,
    FAN_BITS,
    FREE,
    RECORDS,
    TABLE_INO,
    ChunkItem,
    CutItem,
    Entry,
    InodeItem,
    Name,
    Record,
    is_clear,
)

CHUNKS_MAX = layout.capacity(layout.HEIGHT_MAX)
Data = tuple[int, bytes]  # offset, and what stands there
CACHED = 512  # nodes, and chunks of the inode table and of directories


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of an inode that can't be had: `size` of them from `start` on; `bad` says where the cause is."""

    ino: int
    start: int
    size: int
    bad: Bad


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk that is no hole, or `count` chunks whose entries can't be had."""

    index: int
    count: int
    what: Entry | Bad


@dataclass(frozen=True, slots=True)
class Step:
    """What a walk met: the root of it has the path "" (bytes)."""

    path: bytes
    ino: int
    record: Record | Bad


@dataclass(frozen=True, slots=True)
class Lost:
    """Names of a directory that a walk couldn't read."""

    path: bytes
    damage: Damage


@dataclass(slots=True)
class Changes:
    """What commits did to an inode: its record; chunks from `cut` on are the checkpoint's no more; new entries."""

    record: Record | None = None
    cut: int = CHUNKS_MAX
    chunks: dict[int, Entry | None] = field(default_factory=dict)

    def cut_at(self, index: int) -> None:
        self.cut = min(self.cut, index)
        self.chunks = {at: entry for at, entry in self.chunks.items() if at < index}


def replay(commits: Iterable[Commit]) -> dict[int, Changes]:
    """What commits did, by inode."""
    found: dict[int, Changes] = {}
    for commit in commits:
        for item in commit.items:
            changes = found.setdefault(item.ino, Changes())
            if isinstance(item, ChunkItem):
                changes.chunks[item.index] = item.entry
            elif isinstance(item, CutItem):
                changes.cut_at(item.index)
            elif isinstance(item, InodeItem):
                changes.record = item.record
                if item.record.is_free:
                    changes.cut_at(0)
    return found


class Tree:
    """One state of a volume. `open_chunk` opens chunks and nodes; salvage gives one that is content with less."""

    def __init__(self, container: Container, table: Record, commits: Iterable[Commit] = ()) -> None:
        self.container = container
        self.table = table
        self.changes = replay(commits)
        # they are small, and asked for again and again: by path, by inode
        self._node: Callable[[int, int, int, Entry], tuple[Entry | None, ...] | Bad] = lru_cache(CACHED)(self.read_node)
        self._records: Callable[[int], tuple[Record | Bad, ...] | Bad] = lru_cache(CACHED)(self._read_records)

    # ---- what salvage does in another way ----

    def open_chunk(self, ino: int, level: int, index: int, entry: Entry, *, is_clear: bool) -> bytes | Bad:
        return self.container.chunk(ino, level, index, entry, is_clear=is_clear)

    def read_node(self, ino: int, level: int, index: int, entry: Entry) -> tuple[Entry | None, ...] | Bad:
        raw = self.open_chunk(ino, level, index, entry, is_clear=False)
        if isinstance(raw, Bad):
            return raw
        try:
            return layout.parse_entries(raw)
        except ValueError as error:
            return Bad(entry.block, 1, f"a node with {error}")

    # ---- records ----

    @property
    def inode_limit(self) -> int:
        """No inode has this number or a higher one."""
        return max([self.table.size // layout.RECORD.size, *(ino + 1 for ino in self.changes)])

    def record(self, ino: int) -> Record | Bad:
        """An inode's record, layout.FREE for one that isn't used; Bad: it stands in a chunk that can't be had."""
        if ino == TABLE_INO:
            return self.table
        changes = self.changes.get(ino)
        stored = self._stored(ino)
        if not changes or not changes.record:
            return stored
        if not isinstance(stored, Bad):
            return replace(changes.record, height=stored.height, entries=stored.entries)
        return changes.record if changes.cut == 0 else stored

    def _stored(self, ino: int) -> Record | Bad:
        if not 0 < ino < self.table.size // layout.RECORD.size:
            return FREE
        records = self._records(ino // RECORDS)
        return records if isinstance(records, Bad) else records[ino % RECORDS]

    def _read_records(self, index: int) -> tuple[Record | Bad, ...] | Bad:
        raw = self.chunk(TABLE_INO, self.table, index)
        if isinstance(raw, Bad):
            return raw
        block = entry.block if isinstance(entry := self.entry(TABLE_INO, self.table, index), Entry) else 0
        return tuple(_record(raw[at : at + layout.RECORD.size], block) for at in range(0, BLOCK, layout.RECORD.size))

    # ---- chunks ----

    def entry(self, ino: int, record: Record, index: int) -> Entry | Bad | None:
        """Where a chunk is; None: a hole."""
        changes = self.changes.get(ino)
        if index * BLOCK >= record.size:
            return None
        if changes and index in changes.chunks:
            return changes.chunks[index]
        if (changes and index >= changes.cut) or index >= layout.capacity(record.height):
            return None
        if not record.height:
            return record.entries[index]
        found = record.entries[0]
        for level in range(record.height, 0, -1):
            if found is None:
                return None
            node = self._node(ino, level, index >> FAN_BITS * level, found)
            if isinstance(node, Bad):
                return node
            found = node[index >> FAN_BITS * (level - 1) & FAN - 1]
        return found

    def chunk(self, ino: int, record: Record, index: int) -> bytes | Bad:
        """A whole chunk; zeros for a hole."""
        entry = self.entry(ino, record, index)
        if entry is None:
            return bytes(BLOCK)
        if isinstance(entry, Bad):
            return entry
        return self.open_chunk(ino, 0, index, entry, is_clear=is_clear(record, ino, 0))

    def pieces(self, ino: int, record: Record, start: int = 0) -> Iterator[Piece]:
        """All chunks that are no holes, from chunk `start` to the size, in order: reads nodes, holes cost nothing."""
        changes, limit = self.changes.get(ino, Changes()), -(-record.size // BLOCK)
        new = [at for at in sorted(changes.chunks, reverse=True) if start <= at < limit]
        stored = min(changes.cut, limit, layout.capacity(record.height))
        for piece in self._stored_pieces(ino, record, start, stored):
            at, end = piece.index, piece.index + piece.count
            while new and new[-1] < end:
                index = new.pop()
                if at < index and isinstance(piece.what, Bad):
                    yield Piece(at, index - at, piece.what)
                at = max(at, index + (index >= piece.index))
                if entry := changes.chunks[index]:
                    yield Piece(index, 1, entry)
            if at < end:
                yield Piece(at, end - at, piece.what)
        while new:
            if entry := changes.chunks[index := new.pop()]:
                yield Piece(index, 1, entry)

    def _stored_pieces(self, ino: int, record: Record, start: int, end: int) -> Iterator[Piece]:
        """As pieces(), of the checkpoint's tree alone, below chunk `end`."""
        if not record.height:
            found = enumerate(record.entries)
            yield from (Piece(at, 1, entry) for at, entry in found if entry and start <= at < end)
            return
        left = [(record.height, 0, record.entries[0])]
        while left:
            level, index, entry = left.pop()
            first, count = index << FAN_BITS * level, FAN**level
            if entry is None or first >= end or first + count <= start:
                continue
            if level == 0:
                yield Piece(index, 1, entry)
                continue
            node = self._node(ino, level, index, entry)
            if isinstance(node, Bad):
                yield Piece(max(first, start), min(first + count, end) - max(first, start), node)
                continue
            left += [(level - 1, index * FAN + at, node[at]) for at in range(FAN - 1, -1, -1)]

    # ---- contents ----

    def data(self, ino: int, record: Record, start: int = 0, end: int | None = None) -> Iterator[Data | Damage]:
        """(offset, bytes) of all that is no hole between two offsets and within the size, and what can't be had."""
        end = min(record.size, record.size if end is None else end)
        for piece in self.pieces(ino, record, start // BLOCK):
            at, behind = piece.index * BLOCK, min(end, (piece.index + piece.count) * BLOCK)
            if at >= end:
                return
            skip = max(start - at, 0)
            what = piece.what
            if isinstance(what, Entry):
                opened = self.open_chunk(ino, 0, piece.index, what, is_clear=is_clear(record, ino, 0))
                if isinstance(opened, bytes):
                    yield at + skip, opened[skip : behind - at]
                    continue
                what = opened
            yield Damage(ino, at + skip, behind - at - skip, what)

    def names(self, ino: int, record: Record) -> Iterator[Name | Damage]:
        """What a directory holds, in its own order, without `.` and `..`; and what can't be had of it."""
        for found in self.data(ino, record):
            if isinstance(found, Damage):
                yield found
                continue
            at, raw = found
            try:
                yield from tuple(layout.parse_names(raw))
            except ValueError as error:
                entry = self.entry(ino, record, at // BLOCK)
                block = entry.block if isinstance(entry, Entry) else 0
                yield Damage(ino, at, len(raw), Bad(block, 1, str(error)))

    def below(self, ino: int) -> "Iterator[Step | Lost]":
        """A directory and all below it, each before what it holds, names sorted; paths start with a slash."""
        left = [(b"", ino)]
        seen: set[int] = set()
        while left:
            path, ino = left.pop()
            record = self.record(ino)
            yield Step(path, ino, record)
            if isinstance(record, Bad) or not S_ISDIR(record.mode) or ino in seen:
                continue
            seen.add(ino)
            names = []
            for one in self.names(ino, record):
                if isinstance(one, Damage):
                    yield Lost(path, one)
                else:
                    names.append(one)
            left += [(path + b"/" + one.name, one.ino) for one in sorted(names, key=lambda one: one.name, reverse=True)]


def _record(raw: bytes, block: int) -> Record | Bad:
    try:
        return layout.parse_record(raw)
    except ValueError as error:
        return Bad(block, 1, str(error))


@dataclass(frozen=True, slots=True)
class State:
    """What a mount would find. `dropped`: why the last commit doesn't count, if it doesn't."""

    tree: Tree
    slot: Slot
    log: Log
    commits: tuple[Commit, ...]
    dropped: Damage | None = None

    @property
    def version(self) -> int:
        """Of the last commit or checkpoint that counts."""
        return self.commits[-1].version if self.commits else self.slot.seal.version

    @property
    def tag(self) -> bytes:
        """The tag of that."""
        return self.commits[-1].tag if self.commits else self.slot.seal.tag


def state_behind(container: Container, slot: Slot, doubt: Doubt | None = None) -> State:
    """The state that a mount makes of a checkpoint and its log.

    The last commit only counts if all its chunks open: else its sync had not ended. It had where another one was begun.
    `doubt`: as Container.log has it.
    """
    assert slot.checkpoint, "one that opened"
    log, table = container.log(slot, doubt), slot.checkpoint.table
    tree = Tree(container, table, log.commits)
    if log.commits and not log.unfinished and (damage := _unwritten(tree, log.commits[-1])):
        commits = log.commits[:-1]
        return State(Tree(container, table, commits), slot, log, commits, damage)
    return State(tree, slot, log, log.commits)


def _unwritten(tree: Tree, commit: Commit) -> Damage | None:
    """A chunk of the last commit that doesn't open."""
    for item in commit.items:
        if not isinstance(item, ChunkItem) or item.entry is None:
            continue
        changes = tree.changes[item.ino]
        record = tree.record(item.ino)
        if changes.chunks.get(item.index) is not item.entry or isinstance(record, Bad):
            continue
        if isinstance(found := tree.chunk(item.ino, record, item.index), Bad):
            return Damage(item.ino, item.index * BLOCK, BLOCK, found)
    return None
