"""What stands in a volume's container, as bytes and as dataclasses: entries, records, checkpoints, batches, names.

Mirrors libshim/wire/volume.h, and a test compares the two; docs/volume.md has worked bytes. The superblock is not here
(format.py). Nothing here decrypts. What can't be raises ValueError with a few words: the caller knows where it stood.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from stat import S_ISREG

BLOCK, FAN, DIRECT, HEIGHT_MAX = 4096, 128, 4, 5
FAN_BITS = 7
NAME_MAX = 255
TABLE_INO, ROOT_INO = 0, 1
CHECKPOINT_BLOCK, LOG_BLOCK = 2, 4
MAGIC_CHECKPOINT, MAGIC_LOG = 0x504B4353, 0x474F4C53
BATCH_LAST = 1
ITEM_CHUNK, ITEM_INODE, ITEM_CUT = 1, 2, 3

ENTRY = struct.Struct("<I12s16s")
PLACE = struct.Struct("<QQ")
TIME = struct.Struct("<qII")
RECORD = struct.Struct("<IIIIQQ16s16s16s16sIIQB7sQ128s")
NAME = struct.Struct("<QHBBI")
SEAL = struct.Struct("<IIQ12s16sI")
CHECKPOINT = struct.Struct("<QQQQII256s")
BATCH = struct.Struct("<II")
ITEM = struct.Struct("<IIQ")
INDEX = struct.Struct("<Q")

BOUND_SIZE = 16  # bytes of a seal that are additional data: magic, size, version
RECORDS = BLOCK // RECORD.size  # a chunk of the inode table


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a chunk or a node is, and what authenticates it."""

    block: int
    nonce: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds since 1970, and nanoseconds."""

    seconds: int = 0
    nanoseconds: int = 0

    @property
    def total(self) -> int:
        """In nanoseconds, as os.utime has it."""
        return self.seconds * 1_000_000_000 + self.nanoseconds


@dataclass(frozen=True, slots=True)
class Record:
    """An inode. `entries` has four; None is a hole."""

    mode: int
    nlink: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    chunks: int = 0
    accessed: Time = Time()
    modified: Time = Time()
    changed: Time = Time()
    born: Time = Time()
    device: int = 0
    generation: int = 0
    parent: int = 0
    height: int = 0
    entries: tuple[Entry | None, ...] = (None,) * DIRECT

    @property
    def is_free(self) -> bool:
        return self.mode == 0


FREE = Record(0)
HOLE, UNUSED = bytes(ENTRY.size), bytes(RECORD.size)  # most of what is parsed


@dataclass(frozen=True, slots=True)
class Name:
    """A name in a directory; `kind` is DT_REG or the like."""

    ino: int
    kind: int
    name: bytes


@dataclass(frozen=True, slots=True)
class Seal:
    """The head of a sealed body."""

    magic: int
    size: int
    version: int
    nonce: bytes = bytes(12)
    tag: bytes = bytes(16)

    @property
    def blocks(self) -> int:
        """Whole blocks that seal and body take."""
        return -(-(SEAL.size + self.size) // BLOCK)

    def bound(self, before: bytes = b"") -> bytes:
        """The additional data; a batch is bound to the tag of the batch or checkpoint before it, too."""
        return build_seal(self)[:BOUND_SIZE] + before


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The body of a checkpoint."""

    sequence: int
    log_at: int
    block_count: int
    seconds: int
    is_clean: bool
    table: Record


@dataclass(frozen=True, slots=True)
class ChunkItem:
    """The new entry of a chunk; None: it is a hole now."""

    ino: int
    index: int
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class InodeItem:
    """The new record of an inode, but for its height and entries."""

    ino: int
    record: Record


@dataclass(frozen=True, slots=True)
class CutItem:
    """Chunks from `index` on are holes."""

    ino: int
    index: int


Item = ChunkItem | InodeItem | CutItem


def place(ino: int, level: int, index: int) -> bytes:
    """The additional data of a chunk or node."""
    return PLACE.pack(ino, level << 56 | index)


def capacity(height: int) -> int:
    """How many chunks a record of that height can reach."""
    return FAN**height if height else DIRECT


def is_clear(record: Record, ino: int, level: int) -> bool:
    """Whether a chunk stands in the clear in a volume of mode `authenticate`."""
    return level == 0 and ino != TABLE_INO and S_ISREG(record.mode)


def parse_entry(raw: bytes) -> Entry | None:
    """An entry, or None for a hole."""
    if raw == HOLE:
        return None
    block, nonce, tag = ENTRY.unpack(raw)
    if not block:
        raise ValueError("an entry without a block")
    return Entry(block, nonce, tag)


def build_entry(entry: Entry | None) -> bytes:
    return ENTRY.pack(entry.block, entry.nonce, entry.tag) if entry else bytes(ENTRY.size)


def parse_entries(raw: bytes) -> tuple[Entry | None, ...]:
    """The entries of an opened node, or of a record."""
    return tuple(parse_entry(raw[at : at + ENTRY.size]) for at in range(0, len(raw), ENTRY.size))


def build_node(entries: tuple[Entry | None, ...]) -> bytes:
    return b"".join(map(build_entry, entries)).ljust(BLOCK, b"\0")


def parse_record(raw: bytes) -> Record:
    """A record of the inode table."""
    if raw == UNUSED:
        return FREE
    mode, nlink, uid, gid, size, chunks, *times, device, generation, parent, height, _, _, entries = RECORD.unpack(raw)
    if height > HEIGHT_MAX:
        raise ValueError(f"an inode of height {height}")
    if size >> 63:
        raise ValueError("an inode of an impossible size")
    found = parse_entries(entries)
    if height and any(found[1:]):
        raise ValueError("an inode with several trees")
    accessed, modified, changed, born = map(_parse_time, times)
    return Record(mode, nlink, uid, gid, size, chunks, accessed, modified, changed, born,
                  device, generation, parent, height, found)  # fmt: skip


def build_record(record: Record) -> bytes:
    one = record
    times = map(_build_time, (one.accessed, one.modified, one.changed, one.born))
    numbers = (one.mode, one.nlink, one.uid, one.gid, one.size, one.chunks)
    rest = (one.device, one.generation, one.parent, one.height, bytes(7), 0)
    return RECORD.pack(*numbers, *times, *rest, b"".join(map(build_entry, one.entries)))


def parse_seal(raw: bytes) -> Seal:
    """The head of a block; anything parses."""
    return Seal(*SEAL.unpack_from(raw)[:5])


def build_seal(seal: Seal) -> bytes:
    return SEAL.pack(seal.magic, seal.size, seal.version, seal.nonce, seal.tag, 0)


def parse_checkpoint(raw: bytes) -> Checkpoint:
    """The opened body of a checkpoint."""
    if len(raw) != CHECKPOINT.size:
        raise ValueError(f"a checkpoint of {len(raw)} bytes")
    sequence, log_at, block_count, seconds, is_clean, _, table = CHECKPOINT.unpack(raw)
    if is_clean > 1:
        raise ValueError("a checkpoint that is neither clean nor not")
    return Checkpoint(sequence, log_at, block_count, seconds, bool(is_clean), parse_record(table))


def build_checkpoint(one: Checkpoint) -> bytes:
    numbers = (one.sequence, one.log_at, one.block_count, one.seconds, one.is_clean, 0)
    return CHECKPOINT.pack(*numbers, build_record(one.table))


def parse_batch(raw: bytes) -> tuple[bool, tuple[Item, ...]]:
    """Whether it is its commit's last one, and its items."""
    if len(raw) < BATCH.size:
        raise ValueError("a batch without a head")
    flags, count = BATCH.unpack_from(raw)
    if flags & ~BATCH_LAST:
        raise ValueError(f"a batch with unknown flags {flags:#x}")
    at, items = BATCH.size, []
    while at < len(raw):
        item, at = _parse_item(raw, at)
        items.append(item)
    if len(items) != count:
        raise ValueError(f"a batch of {len(items)} items that says {count}")
    return bool(flags & BATCH_LAST), tuple(items)


def build_batch(items: tuple[Item, ...], *, is_last: bool) -> bytes:
    return BATCH.pack(BATCH_LAST if is_last else 0, len(items)) + b"".join(map(_build_item, items))


def parse_names(chunk: bytes) -> Iterator[Name]:
    """The names in one whole chunk of a directory; raise ValueError where it contradicts itself."""
    at = 0
    while at < len(chunk):
        if len(chunk) - at < NAME.size:
            raise ValueError("a name's record that ends early")
        ino, size, name_size, kind, _ = NAME.unpack_from(chunk, at)
        if not ino and not size:
            return
        if size % 8 or size < NAME.size + (name_size if ino else 0) or at + size > len(chunk):
            raise ValueError(f"a name's record of {size} bytes")
        if ino:
            yield Name(ino, kind, _checked_name(chunk[at + NAME.size : at + NAME.size + name_size]))
        at += size


def build_name(name: Name, size: int = 0) -> bytes:
    """A name's record, at least `size` bytes."""
    whole = max(size, -(-(NAME.size + len(name.name)) // 8) * 8)
    return (NAME.pack(name.ino, whole, len(name.name), name.kind, 0) + name.name).ljust(whole, b"\0")


def without_tree(record: Record) -> Record:
    """The record as an item of the log has it."""
    return replace(record, height=0, entries=(None,) * DIRECT)


def _checked_name(name: bytes) -> bytes:
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise ValueError("a name that can't be one")
    return name


def _parse_time(raw: bytes) -> Time:
    seconds, nanoseconds, _ = TIME.unpack(raw)
    return Time(seconds, nanoseconds)


def _build_time(time: Time) -> bytes:
    return TIME.pack(time.seconds, time.nanoseconds, 0)


def _parse_item(raw: bytes, at: int) -> tuple[Item, int]:
    if len(raw) - at < ITEM.size:
        raise ValueError("an item of a batch that ends early")
    kind, size, ino = ITEM.unpack_from(raw, at)
    body = raw[at + ITEM.size : at + size]
    if size != ITEM.size + ITEM_SIZES.get(kind, -1) or len(body) != ITEM_SIZES[kind]:
        raise ValueError(f"an item of a batch of kind {kind} and {size} bytes")
    if ino == TABLE_INO:
        raise ValueError("an item of a batch for the inode table")
    if kind == ITEM_INODE:
        return InodeItem(ino, without_tree(parse_record(body[:-128] + bytes(128)))), at + size
    (index,) = INDEX.unpack_from(body)
    if index >= capacity(HEIGHT_MAX) + (kind == ITEM_CUT):
        raise ValueError("an item of a batch for an impossible chunk")
    if kind == ITEM_CUT:
        return CutItem(ino, index), at + size
    return ChunkItem(ino, index, parse_entry(body[INDEX.size :])), at + size


def _build_item(item: Item) -> bytes:
    kind, body = ITEM_CUT, b""
    if isinstance(item, InodeItem):
        kind, body = ITEM_INODE, build_record(without_tree(item.record))
    elif isinstance(item, ChunkItem):
        kind, body = ITEM_CHUNK, INDEX.pack(item.index) + build_entry(item.entry)
    else:
        body = INDEX.pack(item.index)
    return ITEM.pack(kind, ITEM.size + len(body), item.ino) + body


ITEM_SIZES = {ITEM_CHUNK: INDEX.size + ENTRY.size, ITEM_INODE: RECORD.size, ITEM_CUT: INDEX.size}
assert (ENTRY.size, RECORD.size, SEAL.size, CHECKPOINT.size, NAME.size) == (32, 256, 48, 296, 16)
