"""The reader on containers that tests/volume/writer.py wrote: trees, contents, logs, commits that don't count."""

import os
import random
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scone_preload.errors import VolumeDamaged
from scone_preload.volume.container import Container
from scone_preload.volume.layout import BLOCK, FAN, LOG_BLOCK, ROOT_INO
from scone_preload.volume.reading import Reader, open_state
from scone_preload.volume.tree import State
from tests.volume.writer import KEY, Writer

FILE, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777


@contextmanager
def opened(writer: Writer) -> Iterator[State]:
    fd = os.open(writer.path, os.O_RDONLY)
    try:
        yield open_state(Container(fd, KEY, log_blocks=writer.log_blocks, is_plain=writer.is_plain), "v")
    finally:
        os.close(fd)


Found = dict[bytes, tuple[int, int, int, dict[int, bytes]]]


def everything(writer: Writer) -> Found:
    """(mode, links, size, chunks that are not zero) of all, by path."""
    with opened(writer) as state:
        return everything_of(state)


def everything_of(state: State) -> Found:
    """The same of an opened state."""
    reader = Reader(state.tree)
    found = {}
    for node in reader.below(reader.walk(b"/")):
        one = node.record
        data = () if stat.S_ISDIR(one.mode) else reader.data(node)
        chunks = {at // BLOCK: part for at, part in data if any(part)}
        found[node.path] = (one.mode, one.nlink, one.size, chunks)
    return found


def expected(writer: Writer) -> Found:
    """The same as the writer has it in memory."""
    found, left = {}, [(b"", ROOT_INO)]
    while left:
        path, ino = left.pop()
        inode = writer.inodes[ino]
        one = inode.record
        chunks = {at: raw[: one.size - at * BLOCK] for at, raw in inode.chunks.items() if any(raw)}
        found[path] = (one.mode, one.nlink, one.size, {} if stat.S_ISDIR(one.mode) else chunks)
        left += [(path + b"/" + name, child) for name, (child, _) in inode.names.items()]
    return found


def small(path: Path, **more: int) -> Writer:
    """A few files, after a checkpoint."""
    return fill(Writer(path, **more))


def fill(writer: Writer) -> Writer:
    home = writer.make(ROOT_INO, b"home", DIRECTORY)
    text = writer.make(home, b"text", FILE)
    writer.write(text, b"hello\n")
    big = writer.make(home, b"big", FILE)
    writer.write(big, random.Random(1).randbytes(10 * BLOCK + 17))
    sparse = writer.make(ROOT_INO, b"sparse", FILE)
    writer.write(sparse, b"far", (FAN * FAN + 3) * BLOCK)
    link = writer.make(ROOT_INO, b"link", LINK)
    writer.write(link, b"home/text")
    writer.link(ROOT_INO, b"second", text)
    writer.checkpoint()
    return writer


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_checkpoint_is_read(tmp_path: Path, is_plain: bool) -> None:
    writer = small(tmp_path / "v", is_plain=is_plain)
    assert everything(writer) == expected(writer)


def test_commits_behind_a_checkpoint_are_read(tmp_path: Path) -> None:
    writer = small(tmp_path / "v")
    more = writer.make(ROOT_INO, b"more", FILE)
    writer.write(more, b"x" * 5 * BLOCK)
    writer.commit(batch_items=2)
    assert everything(writer) == expected(writer)
    writer.unlink(ROOT_INO, b"sparse")
    writer.truncate(more, 7)
    writer.commit()
    writer.write(writer.make(ROOT_INO, b"again", FILE), b"y", 3 * BLOCK)
    writer.commit()
    assert everything(writer) == expected(writer)


@pytest.mark.parametrize("how", [{"is_whole": False, "batch_items": 1}, {"is_written": False}])
def test_a_commit_that_was_not_finished_is_none(tmp_path: Path, how: dict[str, bool]) -> None:
    writer = small(tmp_path / "v")
    before = expected(writer)
    writer.write(writer.make(ROOT_INO, b"more", FILE), b"x")
    writer.commit(**how)
    assert everything(writer) == before


def test_random_operations_are_read_after_each_commit(tmp_path: Path) -> None:
    for seed in range(12):
        rng = random.Random(seed)
        writer = small(tmp_path / f"v{seed}", log_blocks=20, is_plain=seed % 2)
        for _ in range(25):
            for _ in range(rng.randrange(6)):
                change(writer, rng)
            if rng.random() < 0.3 or writer.log_at > 12:
                writer.checkpoint()
            else:
                writer.commit(batch_items=rng.choice((1, 3, 1000)) if writer.log_at < 4 else 1000)
            assert everything(writer) == expected(writer)


def change(writer: Writer, rng: random.Random) -> None:
    directories = [ino for ino, inode in writer.inodes.items() if stat.S_ISDIR(inode.record.mode)]
    files = [ino for ino, inode in writer.inodes.items() if stat.S_ISREG(inode.record.mode)]
    parent, name = rng.choice(directories), b"%d" % rng.randrange(20) * rng.choice((1, 100))
    is_free = name not in writer.inodes[parent].names
    act = rng.randrange(8)
    if act == 0 and is_free:
        writer.make(parent, name, DIRECTORY)
    elif act in (1, 2) and is_free:
        files.append(writer.make(parent, name, FILE))
    elif act == 3 and not is_free and not writer.inodes[writer.inodes[parent].names[name][0]].names:
        writer.unlink(parent, name)
        return
    if not files:
        return
    ino = rng.choice(files)
    if act == 4 and is_free:
        writer.link(parent, name, ino)
    elif act == 5:
        writer.truncate(ino, rng.randrange(200 * BLOCK))
    elif act == 6 and writer.inodes[ino].chunks:
        writer.punch(ino, rng.choice(list(writer.inodes[ino].chunks)))
    else:
        at = rng.choice((0, rng.randrange(600))) * BLOCK + rng.randrange(99)
        writer.write(ino, rng.randbytes(rng.randrange(3 * BLOCK)), at)


def test_a_batch_of_ours_that_contradicts_itself_is_damage_and_no_end(tmp_path: Path) -> None:
    writer = small(tmp_path / "v")
    writer._write_batch(b"\1\0\0\0\1\0\0\0")
    with pytest.raises(VolumeDamaged, match=r"container bytes 16384\.\.20479: a batch of 0 items that says 1"):
        everything(writer)


def test_batches_of_another_past_are_none(tmp_path: Path) -> None:
    """Two runs from one checkpoint: a batch of the one isn't taken for the next of the other."""
    pasts = []
    for name in (b"a", b"b"):
        writer = small(tmp_path / name.decode())
        for _ in range(2):
            writer.write(writer.make(ROOT_INO, name, FILE), name)
            name *= 2
            writer.commit()
        pasts.append(writer)
    with pasts[0].path.open("rb") as file:
        file.seek((LOG_BLOCK + 1) * BLOCK)
        pasts[1].put(LOG_BLOCK + 1, file.read(BLOCK))
    found = everything(pasts[1])
    assert b"/b" in found
    assert not {b"/bb", b"/aa"} & set(found)
