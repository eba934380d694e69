"""Writes volumes by docs/volume.md, for tests only: no cache, no free blocks, everything in memory, each nonce counted.

It is not the core's twin: it never uses a block twice and writes all nodes of a changed file anew. Its containers must
be read by scone_preload/volume and mounted by the core.
"""

import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scone_preload.volume import layout
from scone_preload.volume.layout import (
    BLOCK,
    DIRECT,
    FAN,
    LOG_BLOCK,
    ROOT_INO,
    TABLE_INO,
    Checkpoint,
    ChunkItem,
    CutItem,
    Entry,
    InodeItem,
    Item,
    Name,
    Record,
    Seal,
    Time,
)

KEY = bytes(range(32))
VOLUME_ID = b"\x0a" * 16
NOW = Time(1_700_000_000, 5)
KINDS = {
    stat.S_IFDIR: 4,
    stat.S_IFREG: 8,
    stat.S_IFLNK: 10,
    stat.S_IFIFO: 1,
    stat.S_IFSOCK: 12,
    stat.S_IFCHR: 2,
    stat.S_IFBLK: 6,
}


@dataclass(slots=True)
class Inode:
    """An inode as it is now, and what of it no commit has yet."""

    record: Record
    chunks: dict[int, bytes] = field(default_factory=dict)  # of data, those that are no holes
    entries: dict[int, Entry] = field(default_factory=dict)  # as they were written
    cuts: list[int] = field(default_factory=list)
    dirty: set[int] = field(default_factory=set)
    is_changed: bool = True
    names: dict[bytes, tuple[int, int]] = field(default_factory=dict)


class Writer:
    """A container in the making. `checkpoint()` first; then changes, `commit()`, `checkpoint()`."""

    def __init__(self, path: Path, *, key: bytes = KEY, log_blocks: int = 16, is_plain: bool = False) -> None:
        self.path = path
        path.write_bytes(b"")
        self.cipher = AESGCM(key)
        self.log_blocks, self.is_plain = log_blocks, is_plain
        self.next_block = LOG_BLOCK + log_blocks
        self.nonce, self.version, self.sequence = 1 << 64, 0, 0
        self.log_at, self.tag = 0, b""
        self.inodes: dict[int, Inode] = {ROOT_INO: Inode(Record(stat.S_IFDIR | 0o755, 2, parent=ROOT_INO, born=NOW))}
        self.freed: list[int] = []
        self.put(0, bytes((LOG_BLOCK + log_blocks) * BLOCK))

    # ---- the tree ----

    def make(self, parent: int, name: bytes, mode: int, **fields: int | Time) -> int:
        """A new inode with a name; its number."""
        ino = next(number for number in range(ROOT_INO + 1, 1 << 32) if number not in self.inodes)
        is_directory = stat.S_ISDIR(mode)
        record = Record(mode, 2 if is_directory else 1, accessed=NOW, modified=NOW, changed=NOW, born=NOW)
        record = replace(record, parent=parent if is_directory else 0, **fields)
        generation = 1 if ino in self.freed else 0
        self.inodes[ino] = Inode(replace(record, generation=generation), cuts=[0] if generation else [])
        self.name(parent, name, ino)
        if is_directory:
            self.change(parent, nlink=self.inodes[parent].record.nlink + 1)
        return ino

    def name(self, parent: int, name: bytes, ino: int) -> None:
        """A name for an inode; its link count is the caller's."""
        self.inodes[parent].names[name] = (ino, KINDS[stat.S_IFMT(self.inodes[ino].record.mode)])
        self._write_names(parent)

    def link(self, parent: int, name: bytes, ino: int) -> None:
        self.name(parent, name, ino)
        self.change(ino, nlink=self.inodes[ino].record.nlink + 1)

    def unlink(self, parent: int, name: bytes) -> None:
        ino, _ = self.inodes[parent].names.pop(name)
        self._write_names(parent)
        if stat.S_ISDIR(self.inodes[ino].record.mode):
            self.change(parent, nlink=self.inodes[parent].record.nlink - 1)
            self.change(ino, nlink=1)
        self.change(ino, nlink=self.inodes[ino].record.nlink - 1)
        if not self.inodes[ino].record.nlink:
            del self.inodes[ino]
            self.freed.append(ino)

    def rename(self, parent: int, name: bytes, other: int, new: bytes) -> None:
        """Of a file, or of a directory within one directory."""
        ino, _ = self.inodes[parent].names.pop(name)
        self._write_names(parent)
        self.name(other, new, ino)

    def write(self, ino: int, data: bytes, at: int = 0) -> None:
        inode = self.inodes[ino]
        while data:
            index, skip = divmod(at, BLOCK)
            part, data = data[: BLOCK - skip], data[BLOCK - skip :]
            old = inode.chunks.get(index, bytes(BLOCK))
            inode.chunks[index] = old[:skip] + part + old[skip + len(part) :]
            inode.dirty.add(index)
            at += len(part)
        self.change(ino, size=max(inode.record.size, at), chunks=len(inode.chunks), modified=NOW)

    def truncate(self, ino: int, size: int) -> None:
        inode = self.inodes[ino]
        first, rest = -(-size // BLOCK), size % BLOCK
        if size < inode.record.size:
            inode.cuts.append(first)
            for old in (inode.chunks, inode.entries):
                for index in [index for index in old if index >= first]:
                    del old[index]
            inode.dirty = {index for index in inode.dirty if index < first}
            if rest and first - 1 in inode.chunks:
                inode.chunks[first - 1] = inode.chunks[first - 1][:rest].ljust(BLOCK, b"\0")
                inode.dirty.add(first - 1)
        self.change(ino, size=size, chunks=len(inode.chunks))

    def punch(self, ino: int, index: int) -> None:
        """A chunk becomes a hole."""
        inode = self.inodes[ino]
        if inode.chunks.pop(index, None):
            inode.entries.pop(index, None)
            inode.dirty.add(index)
            self.change(ino, chunks=len(inode.chunks))

    def change(self, ino: int, **fields: int | Time) -> None:
        inode = self.inodes[ino]
        inode.record = replace(inode.record, **fields)
        inode.is_changed = True

    def _write_names(self, parent: int) -> None:
        raw = b"".join(map(directory_chunk, pack_names(self.inodes[parent].names)))
        self.truncate(parent, min(len(raw), self.inodes[parent].record.size))
        self.write(parent, raw)

    # ---- the container ----

    def put(self, block: int, raw: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(block * BLOCK)
            file.write(raw)

    def seal_chunk(self, ino: int, level: int, index: int, raw: bytes, *, is_clear: bool = False) -> Entry:
        nonce, bound = self._nonce(), layout.place(ino, level, index)
        if is_clear and self.is_plain:
            sealed = raw + self.cipher.encrypt(nonce, b"", bound + raw)
        else:
            sealed = self.cipher.encrypt(nonce, raw, bound)
        block, self.next_block = self.next_block, self.next_block + 1
        self.put(block, sealed[:BLOCK])
        return Entry(block, nonce, sealed[BLOCK:])

    def commit(self, *, batch_items: int = 1000, is_whole: bool = True, is_written: bool = True) -> None:
        """What changed since the last commit. Not `is_whole`: its last batch is missing; not `is_written`: its last
        chunk never came to the disk."""
        items: list[Item] = []
        for ino in self.freed:
            items += [CutItem(ino, 0), InodeItem(ino, replace(layout.FREE, generation=1))]
        self.freed = []
        for ino, inode in self.inodes.items():
            items += [CutItem(ino, index) for index in inode.cuts]
            items += [ChunkItem(ino, index, entry) for index, entry in self._write_chunks(ino)]
            items += [InodeItem(ino, inode.record)] if inode.is_changed else []
            inode.cuts, inode.is_changed = [], False
        if not is_written:
            self.put(self.next_block - 1, bytes(BLOCK))
        parts = [tuple(items[at : at + batch_items]) for at in range(0, len(items), batch_items)] or [()]
        for part in parts[: None if is_whole else -1]:
            self._write_batch(layout.build_batch(part, is_last=part is parts[-1]))

    def checkpoint(self, *, is_clean: bool = False) -> None:
        """All nodes, the inode table, the checkpoint."""
        table = Inode(Record(0))
        self.inodes[TABLE_INO] = table
        limit = (max(self.inodes) // layout.RECORDS + 1) * layout.RECORDS
        records = {ino: self._with_tree(ino) for ino in self.inodes if ino}
        raw = b"".join(layout.build_record(records.get(ino, layout.FREE)) for ino in range(limit))
        self.write(TABLE_INO, raw)
        record = self._with_tree(TABLE_INO)
        del self.inodes[TABLE_INO]
        for inode in self.inodes.values():
            inode.cuts, inode.is_changed = [], False
        self.freed = []
        self.sequence += 1
        body = layout.build_checkpoint(
            Checkpoint(self.sequence, self.log_at % self.log_blocks, self.next_block, NOW.seconds, is_clean, record)
        )
        self.put(layout.CHECKPOINT_BLOCK + self.sequence % 2, self._seal(layout.MAGIC_CHECKPOINT, body, b""))

    def _write_chunks(self, ino: int) -> list[tuple[int, Entry | None]]:
        inode, found = self.inodes[ino], []
        is_clear = layout.is_clear(inode.record, ino, 0)
        for index in sorted(inode.dirty):
            raw = inode.chunks.get(index)
            if raw is not None:
                inode.entries[index] = self.seal_chunk(ino, 0, index, raw, is_clear=is_clear)
            found.append((index, inode.entries.get(index)))
        inode.dirty = set()
        return found

    def _with_tree(self, ino: int) -> Record:
        """The record with its entries; writes chunks and all nodes."""
        self._write_chunks(ino)
        inode = self.inodes[ino]
        level, entries = 0, dict(inode.entries)
        while max(entries, default=0) >= (DIRECT if level == 0 else 1):
            level += 1
            nodes = {index // FAN for index in entries}
            entries = {
                node: self.seal_chunk(
                    ino, level, node, layout.build_node(tuple(entries.get(node * FAN + at) for at in range(FAN)))
                )
                for node in sorted(nodes)
            }
        return replace(inode.record, height=level, entries=tuple(entries.get(at) for at in range(DIRECT)))

    def _write_batch(self, body: bytes) -> None:
        blocks = Seal(layout.MAGIC_LOG, len(body), 0).blocks
        if self.log_at + blocks > self.log_blocks:
            self.log_at = 0
        self.put(LOG_BLOCK + self.log_at, self._seal(layout.MAGIC_LOG, body, self.tag))
        self.log_at += blocks

    def _seal(self, magic: int, body: bytes, before: bytes) -> bytes:
        self.version += 1
        seal = Seal(magic, len(body), self.version, self._nonce())
        sealed = self.cipher.encrypt(seal.nonce, body, seal.bound(before))
        self.tag = sealed[len(body) :]
        whole = layout.build_seal(replace(seal, tag=self.tag)) + sealed[: len(body)]
        return whole.ljust(seal.blocks * BLOCK, b"\0")

    def _nonce(self) -> bytes:
        self.nonce += 1
        return self.nonce.to_bytes(12, "little")


def pack_names(names: dict[bytes, tuple[int, int]]) -> list[list[Name]]:
    """Names, chunk by chunk."""
    found: list[list[Name]] = [[]]
    room = BLOCK
    for name, (ino, kind) in names.items():
        record = Name(ino, kind, name)
        size = len(layout.build_name(record))
        if size > room:
            found.append([])
            room = BLOCK
        found[-1].append(record)
        room -= size
    return found if names else []


def directory_chunk(names: list[Name]) -> bytes:
    """A whole chunk; the last name's record takes the rest of it."""
    raw = b"".join(map(layout.build_name, names[:-1]))
    return raw + layout.build_name(names[-1], BLOCK - len(raw))
