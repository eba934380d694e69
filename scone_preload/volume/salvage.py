"""Writes out whatever still opens of a damaged volume.

Contents of files and links are only ever written when their tags fit. What leads to them is another matter: where a
node, a chunk of the inode table or of a directory, or a checkpoint doesn't open, it is decrypted without being
believed, since one bad bit in it spoils one entry of many, and the good entries still prove themselves by the tags of
what they lead to. All that came to light that way is told of, as its names, owners and times may be forged.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from stat import S_IFMT, S_ISDIR

from scone_preload.errors import VolumeDamaged
from scone_preload.volume import layout
from scone_preload.volume.container import Bad, Commit, Container, Slot
from scone_preload.volume.export import Copier, Tell, Written
from scone_preload.volume.layout import BLOCK, ENTRY, ROOT_INO, TABLE_INO, Checkpoint, Entry, Name, Record
from scone_preload.volume.reading import REMEDY
from scone_preload.volume.target import Target
from scone_preload.volume.tree import Damage, State, Tree, state_behind
from scone_preload.volume.verify import CHECKPOINT, LOG, UNSYNCED, Advance, Problem, records

LOST = b"/lost+found"
DOUBTFUL = "doesn't open; what it seems to say was followed, but names, owners and times in it may be forged"
KINDS = frozenset({0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o120000, 0o140000})
LOST_RECORD = Record(0o040700, 2)


class DoubtfulTree(Tree):
    """A tree that also follows nodes, records and names that don't open, and says so."""

    def __init__(self, container: Container, table: Record, commits: Iterable[Commit], tell: Tell) -> None:
        self.tell = tell
        self._followed: dict[int, tuple[int, int, int]] = {}  # block -> as what: forged nodes could go round for ever
        super().__init__(container, table, commits)

    def open_chunk(self, ino: int, level: int, index: int, entry: Entry, *, is_clear: bool) -> bytes | Bad:
        opened = super().open_chunk(ino, level, index, entry, is_clear=is_clear)
        if isinstance(opened, bytes) or (ino != TABLE_INO and level == 0):
            return opened
        raw = self.container.raw(entry.block) if entry.block >= self.container.first_block else b""
        if len(raw) != BLOCK or self._followed.setdefault(entry.block, (ino, level, index)) != (ino, level, index):
            return opened
        what = f"node of level {level}" if level else "part of the inode table"
        self.tell(Problem(f"({what}, inode {ino})", 0, 0, entry.block, 1, DOUBTFUL))
        return self.container.unchecked(entry.nonce, raw)

    def read_node(self, ino: int, level: int, index: int, entry: Entry) -> tuple[Entry | None, ...] | Bad:
        raw = self.open_chunk(ino, level, index, entry, is_clear=False)
        if isinstance(raw, Bad):
            return raw
        found = tuple(_entry(raw[at : at + ENTRY.size]) for at in range(0, BLOCK, ENTRY.size))
        inside = range(self.container.first_block, self.container.blocks)
        if any(found) and not any(one.block in inside for one in found if one):
            return Bad(entry.block, 1, "a node in which no entry can be one")
        return found

    def record(self, ino: int) -> Record | Bad:
        found = super().record(ino)
        if isinstance(found, Record) and not found.is_free and not _is_likely(found):
            return Bad(0, 0, "a record that can't be one")
        return found

    def names(self, ino: int, record: Record) -> Iterator[Name | Damage]:
        for found in super().names(ino, record):
            yield found
            if isinstance(found, Damage):
                yield from self._doubtful_names(ino, record, found)

    def _doubtful_names(self, ino: int, record: Record, damage: Damage) -> Iterator[Name]:
        entry = self.entry(ino, record, damage.start // BLOCK)
        if not isinstance(entry, Entry):
            return
        raw = self.container.raw(entry.block)
        names = layout.parse_names(self.container.unchecked(entry.nonce, raw)) if len(raw) == BLOCK else iter(())
        while True:
            try:
                name = next(names, None)
            except ValueError:
                return
            if name is None:
                return
            target = self.record(name.ino)
            if isinstance(target, Record) and not target.is_free:
                yield name


def salvage(container: Container, target: Target, tell: Tell, advance: Advance) -> Written:
    """Write everything that opens into `target`; what is lost or doubtful is told. Raises VolumeDamaged, UserError."""
    state = _state(container, tell)
    table = state.slot.checkpoint.table if state.slot.checkpoint else layout.FREE
    tell = _once(tell)
    tree = DoubtfulTree(container, table, state.commits, tell)
    copier = Copier(tree, target, tell, advance, keeps_damaged=True)
    root = tree.record(ROOT_INO)
    if isinstance(root, Bad) or not S_ISDIR(root.mode):
        tell(Problem("/", 0, 0, 0, 0, "the root directory is lost: its files are in lost+found"))
        target.directory(b"", LOST_RECORD)
    else:
        copier.copy(ROOT_INO)
    _copy_unnamed(tree, copier, target)
    target.finish()
    return copier.written


def _copy_unnamed(tree: Tree, copier: Copier, target: Target) -> None:
    """What no directory leads to any more: by number, directories first, as they have names for others."""
    is_made = False
    left = [ino for ino, record in records(tree) if ino not in copier.seen and record.nlink]
    for ino in sorted(left, key=lambda ino: (not _is_directory(tree, ino), ino)):
        if ino in copier.seen:
            continue
        if not is_made:
            target.directory(LOST, LOST_RECORD)
            is_made = True
        copier.copy(ino, LOST + b"/inode-%d" % ino)


def _is_directory(tree: Tree, ino: int) -> bool:
    record = tree.record(ino)
    return isinstance(record, Record) and S_ISDIR(record.mode)


def _state(container: Container, tell: Tell) -> State:
    """The newest state of which anything opens.

    A checkpoint that doesn't open is taken for what it seems to say; rather than an older one that does, if the records
    that it leads to prove themselves.
    """
    slots = container.slots()
    for slot in slots:
        if slot.checkpoint is None and slot.why != "empty":
            tell(Problem(CHECKPOINT, 0, 0, slot.block, 1, slot.why))
    guessed = [_guessed(container, slot) for slot in slots]
    guessed.sort(key=lambda slot: slot.seal.version, reverse=True)
    whole = [
        slot for slot in guessed if slot in slots or (slot.checkpoint and _proves_itself(container, slot.checkpoint))
    ]
    for slot in (*whole, *guessed):
        if slot.checkpoint is None:
            continue
        doubts: list[Bad] = []
        state = state_behind(container, slot, doubts.append)
        if any(records(DoubtfulTree(container, slot.checkpoint.table, state.commits, lambda _: None))):
            _tell_log(state, doubts, tell)
            return state
    rule = "nothing can be salvaged: no checkpoint leads to the inode table"
    raise VolumeDamaged(rule, f"container bytes {2 * BLOCK}..{4 * BLOCK - 1}", REMEDY)


def _tell_log(state: State, doubts: list[Bad], tell: Tell) -> None:
    for bad in doubts:
        tell(Problem(LOG, 0, 0, bad.block, bad.count, f"a batch that {DOUBTFUL}"))
    if state.log.broken:
        tell(
            Problem(LOG, 0, 0, state.log.broken.block, state.log.broken.count, f"{state.log.broken.why}: the log ends")
        )
    if state.dropped:
        why = f"{state.dropped.bad.why}: so all of the last commit is left out ({UNSYNCED})"
        tell(Problem(f"(inode {state.dropped.ino})", state.dropped.start, BLOCK, state.dropped.bad.block, 1, why))


def _guessed(container: Container, slot: Slot) -> Slot:
    return replace(slot, checkpoint=slot.checkpoint or container.unchecked_slot(slot))


def _proves_itself(container: Container, checkpoint: Checkpoint) -> bool:
    root = Tree(container, checkpoint.table).record(ROOT_INO)
    return isinstance(root, Record) and S_ISDIR(root.mode)


def _once(tell: Tell) -> Tell:
    """The same problem is met by each look at it: told once."""
    told: set[Problem] = set()

    def tell_once(problem: Problem) -> None:
        if problem not in told:
            told.add(problem)
            tell(problem)

    return tell_once


def _entry(raw: bytes) -> Entry | None:
    """An entry; one that can't be one is bad when it is opened, and no hole."""
    return Entry(*ENTRY.unpack(raw)) if any(raw) else None


def _is_likely(record: Record) -> bool:
    times = (record.accessed, record.modified, record.changed, record.born)
    return (
        S_IFMT(record.mode) in KINDS
        and not record.mode >> 16
        and record.size <= layout.capacity(layout.HEIGHT_MAX) * BLOCK
        and all(time.nanoseconds < 1_000_000_000 for time in times)
    )
