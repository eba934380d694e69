"""What a hostile host can do to a container, as a table: each row changes bytes of an image of it.

Rows are generated from a map of what stands in which block, so that each kind of block meets each kind of change.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from stat import S_ISDIR

from scone_preload.volume.container import Container
from scone_preload.volume.layout import BLOCK, LOG_BLOCK, SEAL, TABLE_INO, Entry, parse_seal
from scone_preload.volume.tree import State, Tree
from scone_preload.volume.verify import records

Patches = tuple[tuple[int, bytes], ...]  # (offset, bytes)


@dataclass(frozen=True, slots=True)
class Row:
    """One tampering: bytes to be written, and the size that the container has then (None: the same).

    `may_be_older`: it takes away what only an anchor could miss, so an earlier commit may come back, whole.
    """

    name: str
    patches: Patches = ()
    size: int | None = None
    may_be_older: bool = False
    is_used: bool = True  # bytes that count: so it can't go unnoticed


@dataclass(frozen=True, slots=True)
class Area:
    """A piece of the container that means something: `size` bytes from `start` on."""

    kind: str
    start: int
    size: int


def areas(container: Container, state: State) -> list[Area]:
    """What stands where, for a state without damage."""
    found = [Area("superblock", at * BLOCK, BLOCK) for at in range(2)]
    for slot in container.slots():
        if slot.checkpoint:
            kind = "checkpoint" if slot.block == state.slot.block else "old checkpoint"
            found += _sealed(kind, slot.block, slot.seal.size)
    at = LOG_BLOCK + (state.slot.checkpoint.log_at if state.slot.checkpoint else 0)
    for commit in state.commits:
        found += _sealed("batch", at, parse_seal(container.raw(at)).size)
        at += commit.blocks
    seen = _Seen(container, state.tree.table, state.commits)
    for ino, record in ((TABLE_INO, seen.table), *records(seen)):
        for piece in seen.pieces(ino, record):
            assert isinstance(piece.what, Entry)
            kind = "table chunk" if ino == TABLE_INO else "directory chunk" if S_ISDIR(record.mode) else "chunk"
            new = state.commits[-1].items if state.commits else ()
            is_new = any(getattr(item, "entry", None) == piece.what for item in new)
            found.append(Area(f"new {kind}" if is_new else kind, piece.what.block * BLOCK, BLOCK))
    return found + [Area("node", block * BLOCK, BLOCK) for block in sorted(seen.nodes)]


def _sealed(kind: str, block: int, size: int) -> list[Area]:
    """Seal and body; the four reserved bytes between them count for nothing."""
    return [Area(kind, block * BLOCK, SEAL.size - 4), Area(kind, block * BLOCK + SEAL.size, size)]


class _Seen(Tree):
    """Remembers where nodes stand."""

    def read_node(self, ino: int, level: int, index: int, entry: Entry) -> tuple[Entry | None, ...]:
        if not hasattr(self, "nodes"):
            self.nodes: set[int] = set()
        self.nodes.add(entry.block)
        return super().read_node(ino, level, index, entry)


EARLIER = ("batch", "checkpoint", "new chunk", "new directory chunk")


def flips(image: bytes, found: list[Area], rng: random.Random, *, per_kind: int, step: int = 1) -> Iterator[Row]:
    """One bit of each byte of the first area of each kind, and of some bytes of all others.

    `step`: of a whole block, only of each so many bytes; heads, checkpoints and batches are always done whole.
    """
    met: set[str] = set()
    for area in found:
        whole = area.kind not in met or area.size != BLOCK
        met.add(area.kind)
        few = range(0, area.size, step if area.size == BLOCK else 1)
        places = few if whole else sorted(rng.sample(range(area.size), min(per_kind, area.size)))
        for at in places:
            place = area.start + at
            byte = image[place] ^ 1 << rng.randrange(8)
            yield Row(f"bit of {area.kind} at {place}", ((place, bytes([byte])),), **_outcome(area.kind))


def _outcome(kind: str) -> dict[str, bool]:
    return {"may_be_older": kind in EARLIER, "is_used": kind not in ("superblock", "old checkpoint")}


def _chosen(image: bytes, found: list[Area]) -> list[int]:
    """Blocks that mean something, the first ones, and some of those that are free or not written yet."""
    used = {area.start // BLOCK for area in found}
    return [at for at in range(len(image) // BLOCK) if at in used or at < 24 or at % 16 == 0]


def sizes(image: bytes, found: list[Area], rng: random.Random) -> Iterator[Row]:
    """Cut at blocks' borders and inside of them, and made longer."""
    for block in _chosen(image, found):
        for size in (block * BLOCK, block * BLOCK + rng.randrange(1, BLOCK)):
            yield Row(f"cut to {size}", size=size, may_be_older=True, is_used=False)
    for more in (1, BLOCK, 5 * BLOCK + 7):
        yield Row(f"zeros behind: {more}", ((len(image), bytes(more)),), is_used=False)
        yield Row(f"noise behind: {more}", ((len(image), rng.randbytes(more)),), is_used=False)


def whole_blocks(
    image: bytes, older: list[bytes], found: list[Area], rng: random.Random, *, pairs: int
) -> Iterator[Row]:
    """Blocks that are zeros, noise, older copies of themselves, or others' bytes."""
    kinds = {area.start // BLOCK: area.kind for area in found}
    blocks = _chosen(image, found)

    def block_of(raw: bytes, at: int) -> bytes:
        return raw[at * BLOCK : (at + 1) * BLOCK].ljust(BLOCK, b"\0")

    for at in blocks:
        outcome = _outcome(kinds.get(at, "old checkpoint"))
        yield Row(f"zeros in block {at}", ((at * BLOCK, bytes(BLOCK)),), **outcome)
        yield Row(f"noise in block {at}", ((at * BLOCK, rng.randbytes(BLOCK)),), **outcome)
        for number, raw in enumerate(older):
            if len(raw) > at * BLOCK and block_of(raw, at) != block_of(image, at):
                yield Row(f"block {at} as it was in image {number}", ((at * BLOCK, block_of(raw, at)),), **outcome)
    for one, other in {tuple(sorted(rng.sample(blocks, 2))) for _ in range(pairs)} | _alike(found):
        patches = ((one * BLOCK, block_of(image, other)), (other * BLOCK, block_of(image, one)))
        known = [_outcome(kinds.get(at, "old checkpoint")) for at in (one, other)]
        is_same = block_of(image, one) == block_of(image, other)
        yield Row(
            f"blocks {one} and {other} swapped",
            patches,
            may_be_older=any(outcome["may_be_older"] for outcome in known),
            is_used=any(outcome["is_used"] for outcome in known) and not is_same,
        )


def _alike(found: list[Area]) -> set[tuple[int, int]]:
    """Chunks next to each other in the table: of one file, and of two."""
    blocks = [area.start // BLOCK for area in found if area.kind.endswith("chunk")]
    return {(min(pair), max(pair)) for pair in pairwise(blocks) if pair[0] != pair[1]}


class Bench:
    """A file that is tampered with and put right again, row by row."""

    def __init__(self, path: str, image: bytes) -> None:
        self.image = image
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.pwrite(self.fd, image, 0)

    def close(self) -> None:
        os.close(self.fd)

    def apply(self, row: Row) -> None:
        for at, raw in row.patches:
            os.pwrite(self.fd, raw, at)
        if row.size is not None:
            os.ftruncate(self.fd, row.size)

    def restore(self, row: Row) -> None:
        for at, raw in row.patches:
            os.pwrite(self.fd, self.image[at : at + len(raw)], at)
        if row.size is not None:
            os.pwrite(self.fd, self.image[row.size :], row.size)
        os.ftruncate(self.fd, len(self.image))
