"""A volume's container: opens its sealed blocks, finds the checkpoint that counts and the commits behind it.

Reads by `pread` from a descriptor that is the caller's. Nothing is believed before its tag fits; what doesn't open is a
`Bad`, with the block that it stood in, since the readers above differ in what they do about it (tree.py raises,
verify.py counts, salvage.py leaves a hole).
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from scone_preload.volume import layout
from scone_preload.volume.layout import BLOCK, LOG_BLOCK, SEAL, Checkpoint, Entry, Item, Seal


@dataclass(frozen=True, slots=True)
class Bad:
    """Blocks that can't be believed: the first, how many, and why. `is_ours`: their tag fits, so a bug wrote them."""

    block: int
    count: int
    why: str
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """Batches that belong together. `version` and `tag` are those of the last one."""

    version: int
    tag: bytes
    blocks: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """An opened batch, and where the one behind it may be."""

    seal: Seal
    block: int
    behind: int
    is_last: bool
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """One of the two places of checkpoints: what was found there, or why nothing was."""

    block: int
    seal: Seal
    checkpoint: Checkpoint | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """What stands behind a checkpoint. `unfinished`: how many batches of a commit whose last one is missing.

    `broken`: the batch at which reading ended, where it is clear that there had been one.
    """

    commits: tuple[Commit, ...] = ()
    unfinished: int = 0
    broken: Bad | None = None


Doubt = Callable[[Bad], None]


class Container:
    """A container and its data key; what its superblock says of it. The descriptor stays the caller's."""

    def __init__(self, fd: int, data_key: bytes | bytearray, *, log_blocks: int, is_plain: bool = False) -> None:
        self.log_blocks = log_blocks
        self.is_plain = is_plain  # mode `authenticate`: chunks of files stand in the clear
        self.first_block = LOG_BLOCK + log_blocks  # of chunks and nodes
        self._fd = fd
        self._key = data_key
        self._cipher = AESGCM(data_key)

    @property
    def blocks(self) -> int:
        """Whole blocks that the file has now."""
        return os.fstat(self._fd).st_size // BLOCK

    @property
    def size(self) -> int:
        """Bytes that the file has now."""
        return os.fstat(self._fd).st_size

    def raw(self, block: int, count: int = 1) -> bytes:
        """Bytes as the host gives them; fewer at the end of the file, or where it can't be read."""
        parts, at, left = [], block * BLOCK, count * BLOCK
        while left:
            try:
                part = os.pread(self._fd, left, at)
            except OSError:
                break
            if not part:
                break
            parts.append(part)
            at, left = at + len(part), left - len(part)
        return b"".join(parts)

    def chunk(self, ino: int, level: int, index: int, entry: Entry, *, is_clear: bool = False) -> bytes | Bad:
        """An opened chunk or node; `is_clear`: layout.is_clear() of it."""
        if entry.block < self.first_block:
            return Bad(entry.block, 1, "an entry that names no block of data")
        raw = self.raw(entry.block)
        if len(raw) != BLOCK:
            return Bad(entry.block, 1, "behind the container's end, or can't be read")
        bound = layout.place(ino, level, index)
        try:
            if is_clear and self.is_plain:
                self._cipher.decrypt(entry.nonce, entry.tag, bound + raw)
                return raw
            return self._cipher.decrypt(entry.nonce, raw + entry.tag, bound)
        except InvalidTag:
            return Bad(entry.block, 1, "its tag doesn't fit")

    def unchecked(self, nonce: bytes, sealed: bytes) -> bytes:
        """What would be there if the tag did fit: only for salvage, which says so."""
        counter = Cipher(AES(self._key), CTR(nonce + struct.pack(">I", 2))).decryptor()
        return counter.update(sealed)

    # ---- checkpoints ----

    def slots(self) -> tuple[Slot, ...]:
        """Both places of checkpoints, the one that counts first, if any does."""
        found = (self._slot(layout.CHECKPOINT_BLOCK + at) for at in range(2))
        return tuple(sorted(found, key=lambda slot: slot.seal.version if slot.checkpoint else -1, reverse=True))

    def _slot(self, block: int) -> Slot:
        raw = self.raw(block)
        if len(raw) != BLOCK:
            return Slot(block, Seal(0, 0, 0), None, "behind the container's end, or can't be read")
        seal = layout.parse_seal(raw)
        if not any(raw):
            return Slot(block, seal, None, "empty")
        if seal.magic != layout.MAGIC_CHECKPOINT or seal.size != layout.CHECKPOINT.size:
            return Slot(block, seal, None, "no checkpoint")
        body = self._unseal(seal, raw, b"")
        if body is None:
            return Slot(block, seal, None, "its tag doesn't fit")
        try:
            checkpoint = layout.parse_checkpoint(body)
        except ValueError as error:
            return Slot(block, seal, None, str(error))
        if layout.CHECKPOINT_BLOCK + checkpoint.sequence % 2 != block:
            return Slot(block, seal, None, "the other one's place")
        if checkpoint.log_at >= self.log_blocks:
            return Slot(block, seal, None, "a log that begins behind its area")
        return Slot(block, seal, checkpoint)

    def unchecked_slot(self, slot: Slot) -> Checkpoint | None:
        """A checkpoint as it would be without its tag, if it can be one: only for salvage."""
        raw = self.raw(slot.block)
        try:
            body = self.unchecked(slot.seal.nonce, raw[SEAL.size : SEAL.size + layout.CHECKPOINT.size])
            checkpoint = layout.parse_checkpoint(body)
        except ValueError:
            return None
        return checkpoint if checkpoint.log_at < self.log_blocks else None

    # ---- the log ----

    def log(self, slot: Slot, doubt: Doubt | None = None) -> Log:
        """The commits behind a checkpoint, in their order.

        With `doubt`, a batch that doesn't open, but that another follows, is taken for what it seems to say, and told.
        """
        if slot.checkpoint is None or slot.checkpoint.is_clean:
            return Log()
        commits: list[Commit] = []
        pending: list[Batch] = []
        before, at = slot.seal, slot.checkpoint.log_at
        while isinstance(batch := self._batch(at, before, doubt), Batch):
            pending.append(batch)
            before, at = batch.seal, batch.behind
            if batch.is_last:
                items = tuple(item for one in pending for item in one.items)
                commits.append(Commit(before.version, before.tag, sum(one.seal.blocks for one in pending), items))
                pending = []
        return Log(tuple(commits), len(pending), batch)

    def _batch(self, at: int, before: Seal, doubt: Doubt | None = None) -> Batch | Bad | None:
        """The batch that follows `before`, or None; Bad: something there says to be it, and isn't."""
        places = [0] if at >= self.log_blocks else [at, 0] if at else [0]
        worst = None
        for place in places:
            found = self._batch_at(place, before)
            if isinstance(found, Batch):
                return found
            worst = worst or found
        return self._doubtful(worst, doubt) if worst and doubt else worst

    def _doubtful(self, bad: Bad, doubt: Doubt) -> Batch | Bad:
        """A batch that doesn't open, if the one behind it is bound to it: so it once was whole."""
        raw = self.raw(bad.block, bad.count)
        seal = layout.parse_seal(raw.ljust(SEAL.size, b"\0"))
        behind = bad.block - LOG_BLOCK + seal.blocks
        if bad.is_ours or not isinstance(self._batch(behind, seal), Batch):
            return bad
        doubt(bad)
        try:
            is_last, items = layout.parse_batch(self.unchecked(seal.nonce, raw[SEAL.size : SEAL.size + seal.size]))
        except ValueError:
            is_last, items = False, ()
        return Batch(seal, bad.block, behind, is_last, items)

    def _batch_at(self, at: int, before: Seal) -> Batch | Bad | None:
        head = self.raw(LOG_BLOCK + at)
        if len(head) != BLOCK:
            return Bad(LOG_BLOCK + at, 1, "behind the container's end, or can't be read")
        seal = layout.parse_seal(head)
        behind = at + seal.blocks
        if seal.magic != layout.MAGIC_LOG or seal.version != before.version + 1:
            return None
        if behind > self.log_blocks:
            return Bad(LOG_BLOCK + at, 1, "a batch that doesn't fit into the log")
        body = self._unseal(seal, self.raw(LOG_BLOCK + at, seal.blocks), before.tag)
        if body is None:
            return Bad(LOG_BLOCK + at, seal.blocks, "its tag doesn't fit")
        try:
            is_last, items = layout.parse_batch(body)
        except ValueError as error:
            return Bad(LOG_BLOCK + at, seal.blocks, str(error), is_ours=True)
        return Batch(seal, LOG_BLOCK + at, behind, is_last, items)

    def _unseal(self, seal: Seal, raw: bytes, before: bytes) -> bytes | None:
        sealed = raw[SEAL.size : SEAL.size + seal.size]
        if len(sealed) != seal.size:
            return None
        try:
            return self._cipher.decrypt(seal.nonce, sealed + seal.tag, seal.bound(before))
        except InvalidTag:
            return None
