"""P5 for what goes on behind damage: verify tells of it, salvage never writes bytes that were not the file's."""

import random
import shutil
from pathlib import Path

from scone_preload.errors import VolumeError
from scone_preload.volume.container import Container
from scone_preload.volume.layout import BLOCK
from scone_preload.volume.salvage import salvage
from scone_preload.volume.slots import data_key
from scone_preload.volume.target import Target
from scone_preload.volume.verify import Problem, Tally, verify
from tests.volume.boxes import VOLUME_KEY
from tests.volume.tampering import Bench, Row
from tests.volume.test_p5_tampering import read_by_python, rows_of, written_by_core
from tests.volume.test_reader import Found
from tests.volume.writer import VOLUME_ID

ROWS = 250


def container_of(fd: int) -> Container:
    return Container(fd, bytes(data_key(VOLUME_KEY, VOLUME_ID)), log_blocks=16)


def sample(folder: Path, images: list[bytes], rng: random.Random) -> list[Row]:
    rows = [row for row in rows_of(folder, images, rng, 16) if "superblock" not in row.name]
    return rng.sample(rows, ROWS)


def test_verify_tells_of_whatever_reading_would_stumble_over(tmp_path: Path) -> None:
    images, states = written_by_core(tmp_path, is_plain=False)
    bench = Bench(str(tmp_path / "bench"), images[-1])
    for row in sample(tmp_path, images, random.Random(11)):
        bench.apply(row)
        problems = list(verify(container_of(bench.fd), Tally(), lambda done, total: None))
        try:
            is_harmed = read_by_python(bench.fd) != states[-1]
        except VolumeError:
            is_harmed = True
        # a checkpoint or a log that was taken away leaves a state in which nothing is bad: only an anchor can tell
        assert problems or not is_harmed or row.may_be_older, row.name
        bench.restore(row)
    bench.close()


def written_files(target: Path) -> dict[str, bytes]:
    files = (path for path in target.rglob("*") if path.is_file() and not path.is_symlink())
    return {f"/{path.relative_to(target)}": path.read_bytes() for path in files}


def chunks_of(states: list[Found]) -> dict[str, set[bytes]]:
    """Every chunk that a path ever had, and all of all paths as "*"; zeros left out at their ends."""
    known: dict[str, set[bytes]] = {"*": set()}
    for state in states:
        for path, (_, _, _, chunks) in state.items():
            found = {raw.rstrip(b"\0") for raw in chunks.values()}
            known.setdefault(path.decode(), set()).update(found)
            known["*"] |= found
    return known


def test_salvage_only_writes_what_was_there(tmp_path: Path) -> None:
    images, states = written_by_core(tmp_path, is_plain=False)
    known = chunks_of(states)
    bench = Bench(str(tmp_path / "bench"), images[-1])
    saved, whole = 0, written_size(states[-1])
    for number, row in enumerate(sample(tmp_path, images, random.Random(12))):
        bench.apply(row)
        told: list[Problem] = []
        to = tmp_path / f"to{number}"
        target = Target(str(to), resume=False)
        try:
            salvage(container_of(bench.fd), target, told.append, lambda done, total: None)
        except VolumeError:
            assert "cut" in row.name or "block" in row.name, row.name  # one bit leaves something
        finally:
            target.close()
        bench.restore(row)
        for path, raw in written_files(to).items():
            parts = {raw[at : at + BLOCK].rstrip(b"\0") for at in range(0, len(raw), BLOCK)} - {b""}
            assert parts <= known.get(path, known["*"]), (row.name, path)
            saved += sum(map(len, parts))
        shutil.rmtree(to)
    bench.close()
    assert saved > ROWS * whole * 3 // 4


def written_size(state: Found) -> int:
    return sum(len(raw.rstrip(b"\0")) for _, _, _, chunks in state.values() for raw in chunks.values())
