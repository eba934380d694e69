"""Two implementations of one format: the core, in C, and the reader, in Python, with the writer of these tests.

Each reads what the other wrote, after random operations, with the log as it stands and no checkpoint in between.
"""

import errno
import os
import random
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scone_preload.volume.container import Container
from scone_preload.volume.layout import BLOCK, ROOT_INO
from scone_preload.volume.reading import open_state
from scone_preload.volume.verify import Tally, verify
from tests.volume.driven import Driven
from tests.volume.test_reader import Found, change, everything_of, expected, small
from tests.volume.writer import KEY

FILE, DIRECTORY = stat.S_IFREG | 0o640, stat.S_IFDIR | 0o750


@contextmanager
def file_at(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def by_reader(fd: int, *, log_blocks: int, is_plain: bool) -> tuple[Found, int, bytes]:
    """All of a container, and its version and tag; none of it may be bad."""
    container = Container(fd, KEY, log_blocks=log_blocks, is_plain=is_plain)
    state = open_state(container, "v")
    assert [str(one) for one in verify(container, Tally(), lambda done, total: None)] == []
    return everything_of(state), state.version, state.tag


def by_core(fd: int, *, log_blocks: int, is_plain: bool) -> tuple[Found, int, bytes]:
    with Driven(fd, log_blocks=log_blocks, is_plain=is_plain, readonly=True) as core:
        found = core.mount()
        return core.everything(), found.version, found.tag


@pytest.mark.parametrize("is_plain", [False, True])
def test_the_core_mounts_what_the_writer_wrote(tmp_path: Path, is_plain: bool) -> None:
    for seed in range(6):
        rng = random.Random(seed)
        writer = small(tmp_path / f"v{seed}", log_blocks=20, is_plain=is_plain)
        for _ in range(12):
            for _ in range(rng.randrange(6)):
                change(writer, rng)
            if rng.random() < 0.3 or writer.log_at > 12:
                writer.checkpoint()
            else:
                writer.commit(batch_items=rng.choice((1, 3, 1000)) if writer.log_at < 4 else 1000)
            with file_at(writer.path) as fd:
                found = by_core(fd, log_blocks=20, is_plain=is_plain)
                assert found == (expected(writer), writer.version, writer.tag)
                assert found == by_reader(fd, log_blocks=20, is_plain=is_plain)


@pytest.mark.parametrize("how", [{"is_whole": False, "batch_items": 1}, {"is_written": False}])
def test_both_leave_out_a_commit_that_was_not_finished(tmp_path: Path, how: dict[str, bool]) -> None:
    writer = small(tmp_path / "v")
    before = expected(writer)
    writer.write(writer.make(ROOT_INO, b"more", FILE), b"x")
    writer.commit(**how)
    with file_at(writer.path) as fd:
        found = by_core(fd, log_blocks=16, is_plain=False)
        assert found[0] == before
        assert found == (
            everything_of(state := open_state(Container(fd, KEY, log_blocks=16), "v")),
            state.version,
            state.tag,
        )


def test_both_take_a_commit_for_durable_that_another_follows(tmp_path: Path) -> None:
    """So the chunk that is missing from it is damage, and no unfinished sync."""
    writer = small(tmp_path / "v")
    writer.write(writer.make(ROOT_INO, b"more", FILE), b"x")
    writer.commit(is_written=False)
    for name in (b"a", b"b"):
        writer.make(ROOT_INO, name, FILE)
    writer.commit(is_whole=False, batch_items=2)
    with file_at(writer.path) as fd:
        with pytest.raises(Exception, match=r"/more bytes 0\.\.0|damaged"):
            everything_of(open_state(Container(fd, KEY, log_blocks=16), "v"))
        with pytest.raises(OSError, match="Input/output"):
            by_core(fd, log_blocks=16, is_plain=False)


@pytest.mark.parametrize("is_plain", [False, True])
def test_the_reader_reads_what_the_core_wrote(tmp_path: Path, is_plain: bool) -> None:
    for seed in range(8):
        rng = random.Random(seed)
        with file_at(tmp_path / f"v{seed}") as fd:
            made(fd, is_plain=is_plain)
            for _ in range(3):
                with Driven(fd, log_blocks=64, is_plain=is_plain) as core:
                    core.mount()
                    for _ in range(10):
                        for _ in range(rng.randrange(1, 12)):
                            operate(core, rng)
                        kept(core, rng)
                        durable = core.core.durable()
                        found = by_reader(fd, log_blocks=64, is_plain=is_plain)
                        assert found == (core.everything(), durable.version, durable.tag)
                    if rng.random() < 0.5:
                        core.core.checkpoint(is_last=True)
                assert by_core(fd, log_blocks=64, is_plain=is_plain) == by_reader(fd, log_blocks=64, is_plain=is_plain)


def made(fd: int, *, is_plain: bool) -> None:
    """A new, empty volume."""
    os.ftruncate(fd, 2 * BLOCK)
    with Driven(fd, log_blocks=64, is_plain=is_plain) as core:
        core.format()


def kept(core: Driven, rng: random.Random) -> None:
    if rng.random() < 0.2:
        core.core.checkpoint()
    else:
        core.core.commit()


def operate(core: Driven, rng: random.Random) -> None:
    """One operation; others that are tried before may be refused as the system would."""
    while not attempt(core, rng):
        pass


def attempt(core: Driven, rng: random.Random) -> bool:
    names = [
        b"/a",
        b"/b",
        b"/d",
        b"/d/c",
        b"/d/e",
        b"/d/" + b"long" * 50,
        b"/d/d",
        b"/d/d/f",
        b"/%d" % rng.randrange(99),
    ]
    one, other = rng.choice(names), rng.choice(names)
    place = rng.choice((0, rng.randrange(1 << 14), rng.randrange(1 << 22)))
    acts = [
        lambda: core.create(one, FILE),
        lambda: core.create(one, DIRECTORY),
        lambda: core.write(one, rng.randbytes(rng.randrange(1, 9 * BLOCK)), place),
        lambda: core.write(one, rng.randbytes(rng.randrange(1, BLOCK)), place),
        lambda: core.truncate(one, place),
        lambda: core.punch(one, min(place, 5000), place + 5000),
        lambda: core.unlink(one),
        lambda: core.unlink(one, is_directory=True),
        lambda: core.rename(one, other),
        lambda: core.link(one, other),
        lambda: core.symlink(one, b"d/e" * rng.choice((1, 900))),
    ]
    try:
        rng.choice(acts)()
    except OSError as error:
        if error.errno in (errno.EIO, errno.EFAULT, errno.EBADMSG):
            raise
        return False
    return True


@pytest.mark.parametrize("is_plain", [False, True])
def test_both_find_the_same_state_after_a_crash_in_a_commit(tmp_path: Path, is_plain: bool) -> None:
    """Of what a commit wrote before its sync, any blocks may have come to the disk: it counts, or the one before."""
    counted = {False: 0, True: 0}
    for seed in range(4):
        rng = random.Random(seed)
        with file_at(tmp_path / f"v{seed}") as fd:
            made(fd, is_plain=is_plain)
            with Driven(fd, log_blocks=64, is_plain=is_plain) as core:
                core.mount()
                core.core.checkpoint()
                before, known = image_of(fd), core.everything()
                for _ in range(8):
                    for _ in range(rng.randrange(1, 8)):
                        operate(core, rng)
                    core.core.commit()
                    after, new = image_of(fd), core.everything()
                    for torn in some_of(before, after, rng):
                        with file_at(tmp_path / "torn") as other:
                            os.ftruncate(other, 0)
                            os.pwrite(other, torn, 0)
                            found = by_core(other, log_blocks=64, is_plain=is_plain)
                            state = open_state(Container(other, KEY, log_blocks=64, is_plain=is_plain), "v")
                            assert found == (everything_of(state), state.version, state.tag)
                            assert found[0] in (known, new)
                            counted[found[0] == new] += 1
                    before, known = after, new
    assert min(counted.values()) > 20


def image_of(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def some_of(before: bytes, after: bytes, rng: random.Random) -> Iterator[bytes]:
    """Images with some of the blocks in which two differ: all but one, one alone, half of them."""
    before = before.ljust(len(after), b"\0")
    blocks = [at for at in range(0, len(after), BLOCK) if before[at : at + BLOCK] != after[at : at + BLOCK]]
    if not blocks:
        return
    one = rng.choice(blocks)
    for chosen in ([at for at in blocks if at != one], [one], rng.sample(blocks, len(blocks) // 2), blocks):
        image = bytearray(before)
        for at in chosen:
            image[at : at + BLOCK] = after[at : at + BLOCK]
        yield bytes(image)
