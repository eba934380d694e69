"""P5: whatever the host does to a container, a reader gives the right data or an error that says what is wrong.

Each row of tests/volume/tampering.py is applied to a small volume, and all of it is read. "Right data" is the state of
the last commit; where only a freshness anchor could tell the difference, it may be that of an earlier one, as a whole.
"""

import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import pytest

from scone_preload.errors import NotAVolume, VolumeDamaged, VolumeError
from scone_preload.keys.memory import SecretBuffer
from scone_preload.volume import place
from scone_preload.volume.container import Container
from scone_preload.volume.format import Slot
from scone_preload.volume.layout import BLOCK, FAN, ROOT_INO
from scone_preload.volume.opening import check_size
from scone_preload.volume.reading import open_state
from scone_preload.volume.slots import data_key
from scone_preload.volume.superblock import open_superblock
from tests.volume.boxes import OPENS_WITH, VOLUME_KEY, boxed
from tests.volume.driven import Driven
from tests.volume.tampering import Bench, Row, areas, flips, sizes, whole_blocks
from tests.volume.test_reader import DIRECTORY, FILE, LINK, Found, everything_of
from tests.volume.writer import VOLUME_ID, Writer

Read = Callable[[int], Found]
PARTS = 4  # of what one test would take long for
STEP = int(os.environ.get("SCONE_TAMPERING_STEP", "16"))  # mounts are slow: of whole blocks each 16th byte; 1: all
Images = tuple[list[bytes], list[Found]]  # of one volume, after each of its commits


def opener(slot: Slot) -> SecretBuffer:
    return SecretBuffer.of(OPENS_WITH)


def read_by_python(fd: int) -> Found:
    """All of a container, superblock first, as scone-volume does."""
    superblock, key = open_superblock(fd, opener, "volume.scone", lambda: "nothing")
    with key:
        raw = bytes(data_key(key.view(), superblock.volume_id))
    container = Container(fd, raw, log_blocks=superblock.log_blocks, is_plain=superblock.is_plain)
    return everything_of(open_state(container, "volume.scone"))


def read_by_core(fd: int) -> Found:
    """All of a container: mounted, walked, read."""
    superblock, key = open_superblock(fd, opener, "volume.scone", lambda: "nothing")
    with key:
        raw = bytes(data_key(key.view(), superblock.volume_id))
    check_size(place.Container("data", "volume.scone", fd, is_readonly=True), superblock)
    options = {"log_blocks": superblock.log_blocks, "is_plain": superblock.is_plain}
    with Driven(fd, key=raw, readonly=True, **options) as core:
        core.mount()
        try:
            return core.everything()
        except OSError as error:
            raise VolumeDamaged(f"{error.strerror}: {core.report()}", "volume.scone", "none") from None


def written_by_core(folder: Path, *, is_plain: bool) -> Images:
    """The same by the core."""
    path = boxed(folder / "data", is_plain=is_plain).path
    raw = bytes(data_key(VOLUME_KEY, VOLUME_ID))
    images: list[bytes] = []
    with path.open("r+b") as file:
        file.truncate(2 * BLOCK)
        with Driven(file.fileno(), key=raw, is_plain=is_plain) as core:
            core.format()
        with Driven(file.fileno(), key=raw, is_plain=is_plain) as core:
            core.mount()
            for act in (core_populates, core_rewrites, core_appends, core_lengthens):
                act(core)
                (core.core.checkpoint if act in (core_populates, core_rewrites) else core.core.commit)()
                images.append(path.read_bytes())
    return images, [read_image(folder, image, read_by_core) for image in images]


def core_populates(core: Driven) -> None:
    core.create(b"/home", DIRECTORY)
    for name, data, at in (
        (b"/home/one", b"first\n", 0),
        (b"/home/two", random.Random(1).randbytes(6 * BLOCK + 9), 0),
        (b"/far", b"far", (FAN + 3) * BLOCK),
    ):
        core.create(name, FILE)
        core.write(name, data, at)
    core.symlink(b"/link", b"home/one")


def core_rewrites(core: Driven) -> None:
    core.write(b"/home/two", b"changed", 2 * BLOCK)
    core.create(b"/home/three", FILE)
    core.write(b"/home/three", b"third\n" * 999)


def core_appends(core: Driven) -> None:
    core.write(b"/home/one", b"more\n", 6)


def core_lengthens(core: Driven) -> None:
    core.write(b"/far", b"nearer", BLOCK)
    core.create(b"/last", FILE)
    core.write(b"/last", b"last words")


def written(folder: Path, *, is_plain: bool) -> Images:
    """By the tests' writer: two checkpoints, and two commits behind them."""
    writer = boxed(folder / "data", is_plain=is_plain)
    images: list[bytes] = []
    for act in (populate, rewrite, append, lengthen):
        act(writer)
        (writer.checkpoint if act in (populate, rewrite) else writer.commit)()
        images.append(writer.path.read_bytes())
    return images, [read_image(folder, image, read_by_python) for image in images]


def populate(writer: Writer) -> None:
    home = writer.make(ROOT_INO, b"home", DIRECTORY)
    writer.write(writer.make(home, b"one", FILE), b"first\n")
    writer.write(writer.make(home, b"two", FILE), random.Random(1).randbytes(6 * BLOCK + 9))
    writer.write(writer.make(ROOT_INO, b"far", FILE), b"far", (FAN + 3) * BLOCK)
    writer.write(writer.make(ROOT_INO, b"link", LINK), b"home/one")


def rewrite(writer: Writer) -> None:
    home = writer.inodes[ROOT_INO].names[b"home"][0]
    writer.write(writer.inodes[home].names[b"two"][0], b"changed", 2 * BLOCK)
    writer.write(writer.make(home, b"three", FILE), b"third\n" * 999)


def append(writer: Writer) -> None:
    home = writer.inodes[ROOT_INO].names[b"home"][0]
    writer.write(writer.inodes[home].names[b"one"][0], b"more\n", 6)


def lengthen(writer: Writer) -> None:
    writer.write(writer.inodes[ROOT_INO].names[b"far"][0], b"nearer", BLOCK)
    writer.write(writer.make(ROOT_INO, b"last", FILE), b"last words")


def read_image(folder: Path, image: bytes, read: Read) -> Found:
    bench = Bench(str(folder / "image"), image)
    try:
        return read(bench.fd)
    finally:
        bench.close()


def rows_of(folder: Path, images: list[bytes], rng: random.Random, step: int = 1) -> Iterable[Row]:
    bench = Bench(str(folder / "image"), images[-1])
    superblock, key = open_superblock(bench.fd, opener, "v", lambda: "nothing")
    with key:
        raw = bytes(data_key(key.view(), superblock.volume_id))
    container = Container(bench.fd, raw, log_blocks=superblock.log_blocks, is_plain=superblock.is_plain)
    found = areas(container, open_state(container, "v"))
    bench.close()
    yield from flips(images[-1], found, rng, per_kind=40, step=step)
    yield from sizes(images[-1], found, rng)
    yield from whole_blocks(images[-1], images[:-1], found, rng, pairs=300)


NAMES_BYTES = re.compile(
    r"bytes \d+(\.\.| to )\d+|its record \(inode \d+\)|superblock|not a volume|ends after|stays locked|has version"
)


def judge(row: Row, read: Callable[[], Found], states: list[Found]) -> str:
    """What came of it, or what is wrong with that."""
    try:
        found = read()
    except VolumeError as error:
        return "refused" if NAMES_BYTES.search(str(error)) else f"WRONG: {row.name}: no bytes are named: {error}"
    if found == states[-1]:
        return "unharmed" if not row.is_used else f"WRONG: {row.name}: went unnoticed"
    if found in states[:-1]:
        return "older" if row.may_be_older else f"WRONG: {row.name}: an older state"
    return f"WRONG: {row.name}: wrong data"


def run(
    folder: Path, images: Images, read: Read, rng: random.Random, step: int = 1, *, part: int = 0, parts: int = 1
) -> Counter[str]:
    raws, states = images
    bench = Bench(str(folder / "bench"), raws[-1])
    came: Counter[str] = Counter()
    for row in islice(rows_of(folder, raws, rng, step), part, None, parts):
        bench.apply(row)
        came[judge(row, lambda: read(bench.fd), states)] += 1
        bench.restore(row)
    assert os.pread(bench.fd, len(raws[-1]) + 1, 0) == raws[-1]
    bench.close()
    return came


@pytest.mark.parametrize("part", range(PARTS))
def test_python_reads_right_data_or_says_what_is_wrong(tmp_path: Path, part: int) -> None:
    images = written_by_core(tmp_path, is_plain=False)
    came = run(tmp_path, images, read_by_python, random.Random(5), part=part, parts=PARTS)
    assert not [what for what in came if what.startswith("WRONG")]
    assert came["refused"] > 15_000 / PARTS
    assert came["older"] > 1_000 / PARTS
    assert came["unharmed"] > 4_000 / PARTS


def test_python_reads_the_writers_volume_in_the_clear_or_says_what_is_wrong(tmp_path: Path) -> None:
    came = run(tmp_path, written(tmp_path, is_plain=True), read_by_python, random.Random(5), STEP)
    assert not [what for what in came if what.startswith("WRONG")]
    assert came["refused"] > 15_000 / STEP


@pytest.mark.parametrize("is_plain", [False, True])
def test_the_core_reads_right_data_or_says_what_is_wrong(tmp_path: Path, is_plain: bool) -> None:
    came = run(tmp_path, written_by_core(tmp_path, is_plain=is_plain), read_by_core, random.Random(6), STEP)
    assert not [what for what in came if what.startswith("WRONG")]
    assert came["refused"] > 15_000 / STEP
    assert came["older"] > 1_000


def test_both_read_the_same_states(tmp_path: Path) -> None:
    for is_plain in (False, True):
        folder = tmp_path / str(is_plain)
        folder.mkdir()
        raws, states = written_by_core(folder, is_plain=is_plain)
        assert [read_image(folder, raw, read_by_python) for raw in raws] == states


def test_an_older_copy_of_the_whole_is_that_state_and_nothing_else(tmp_path: Path) -> None:
    """It is for the freshness anchor to refuse it: see test_opening.py."""
    raws, states = written(tmp_path, is_plain=False)
    for raw, state in zip(raws, states, strict=True):
        assert read_image(tmp_path, raw, read_by_python) == state


def test_another_volumes_superblock_doesnt_open_this_one(tmp_path: Path) -> None:
    raws, _ = written(tmp_path, is_plain=False)
    with pytest.raises(NotAVolume):
        read_image(tmp_path, b"\0" * len(raws[-1]), read_by_python)
