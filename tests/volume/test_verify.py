"""verify, export and salvage on damaged containers of tests/volume/writer.py."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scone_preload.errors import UserError, VolumeDamaged
from scone_preload.volume.container import Container
from scone_preload.volume.export import Copier, Written
from scone_preload.volume.layout import BLOCK, FAN, LOG_BLOCK, ROOT_INO, Time
from scone_preload.volume.reading import open_state
from scone_preload.volume.salvage import salvage
from scone_preload.volume.target import Target
from scone_preload.volume.verify import Problem, Tally, verify
from tests.volume.test_reader import DIRECTORY, FILE, small
from tests.volume.writer import KEY, Writer


@contextmanager
def container_of(writer: Writer) -> Iterator[Container]:
    fd = os.open(writer.path, os.O_RDONLY)
    try:
        yield Container(fd, KEY, log_blocks=writer.log_blocks, is_plain=writer.is_plain)
    finally:
        os.close(fd)


def problems(writer: Writer) -> list[Problem]:
    with container_of(writer) as container:
        return list(verify(container, Tally(), lambda done, total: None))


def flip(path: Path, at: int, bit: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))


def test_a_whole_volume_has_no_problem(tmp_path: Path) -> None:
    writer = small(tmp_path / "v")
    assert problems(writer) == []
    writer.write(writer.make(ROOT_INO, b"more", FILE), b"x" * 9999)
    writer.unlink(ROOT_INO, b"second")
    writer.commit()
    tally = Tally()
    with container_of(writer) as container:
        assert list(verify(container, tally, lambda done, total: None)) == []
    assert (tally.files, tally.directories, tally.others, tally.commits) == (4, 2, 1, 1)


def test_a_bad_chunk_is_named_by_path_and_bytes(tmp_path: Path) -> None:
    writer = small(tmp_path / "v")
    big = writer.inodes[ROOT_INO].names[b"home"][0]
    big = writer.inodes[big].names[b"big"][0]
    block = writer.inodes[big].entries[3].block
    flip(writer.path, block * BLOCK + 100)
    (problem,) = problems(writer)
    assert str(problem) == (
        f"/home/big bytes {3 * BLOCK}..{4 * BLOCK - 1} (container bytes {block * BLOCK}..{(block + 1) * BLOCK - 1}): "
        "its tag doesn't fit"
    )


def test_a_bad_node_is_named_with_all_it_stood_for(tmp_path: Path) -> None:
    writer = small(tmp_path / "v")
    sparse = writer.inodes[ROOT_INO].names[b"sparse"][0]
    flip(writer.path, (writer.inodes[sparse].entries[FAN * FAN + 3].block + 1) * BLOCK)  # its node is written behind it
    (problem,) = problems(writer)
    assert (problem.path, problem.start) == ("/sparse", FAN * FAN * BLOCK)
    assert problem.start + problem.size == writer.inodes[sparse].record.size


def test_a_bad_batch_and_a_bad_checkpoint_are_named(tmp_path: Path) -> None:
    writer = small(tmp_path / "v")
    writer.write(writer.make(ROOT_INO, b"more", FILE), b"x")
    writer.commit()
    flip(writer.path, LOG_BLOCK * BLOCK + 60)
    flip(writer.path, 2 * BLOCK + 60)
    found = [(problem.path, problem.block) for problem in problems(writer)]
    assert found == [("(checkpoint)", 2), ("(log)", LOG_BLOCK)]
    flip(writer.path, 3 * BLOCK + 60)
    assert [problem.path for problem in problems(writer)] == ["(checkpoint)", "(checkpoint)", "/"]


def test_wrong_link_counts_and_stray_names_are_told(tmp_path: Path) -> None:
    writer = small(tmp_path / "v")
    text = writer.inodes[ROOT_INO].names[b"second"][0]
    writer.change(text, nlink=3)
    writer.inodes[ROOT_INO].names[b"stray"] = (77, 8)
    writer.name(ROOT_INO, b"root", ROOT_INO)
    writer.checkpoint()
    found = {problem.path: problem.why for problem in problems(writer)}
    assert found["/stray"] == "a name without a file (inode 77 is free)"
    assert found["/root"] == "a name of the root"
    assert found["/home/text"] == "its link count is 3, but there are 2 names"


def rich(path: Path) -> Writer:
    """Everything that export has to keep."""
    writer = small(path)
    home = writer.inodes[ROOT_INO].names[b"home"][0]
    writer.make(home, b"pipe", stat.S_IFIFO | 0o640)
    writer.change(writer.inodes[home].names[b"text"][0], mode=stat.S_IFREG | 0o4711, modified=Time(1_600_000_000, 7))
    deep = writer.make(home, b"deep", DIRECTORY)
    writer.write(writer.make(deep, b"\xff\n", FILE), b"odd name")
    writer.change(home, mode=stat.S_IFDIR | 0o2500, modified=Time(1_500_000_000, 8))
    writer.checkpoint()
    return writer


def exported(writer: Writer, target: Path, *, resume: bool = False) -> tuple[Written, list[Problem]]:
    told: list[Problem] = []
    with container_of(writer) as container:
        tree = open_state(container, "v").tree
        to = Target(str(target), resume=resume)
        copier = Copier(tree, to, told.append, lambda done, total: None)
        copier.copy(ROOT_INO)
        to.finish()
        to.close()
    return copier.written, told


def test_export_keeps_contents_modes_times_links_and_holes(tmp_path: Path) -> None:
    writer = rich(tmp_path / "v")
    to = tmp_path / "to"
    written, told = exported(writer, to)
    assert told == []
    text, home = (to / "home" / "text").stat(), (to / "home").stat()
    assert (stat.S_IMODE(text.st_mode), text.st_mtime_ns, text.st_nlink) == (0o4711, 1_600_000_000_000_000_007, 2)
    assert (stat.S_IMODE(home.st_mode), home.st_mtime_ns) == (0o2500, 1_500_000_000_000_000_008)
    assert text.st_ino == (to / "second").stat().st_ino
    assert (to / "link").readlink() == Path("home/text")
    assert (to / "home" / "deep" / "\udcff\n").read_bytes() == b"odd name"
    assert stat.S_ISFIFO((to / "home" / "pipe").stat().st_mode)
    sparse = (to / "sparse").stat()
    assert sparse.st_size == (FAN * FAN + 3) * BLOCK + 3
    assert sparse.st_blocks <= 16
    assert (written.files, written.others) == (4, 2)


def test_export_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    writer = rich(tmp_path / "v")
    to = tmp_path / "to"
    exported(writer, to)
    (to / "home" / "big").unlink()
    (to / "sparse").write_bytes(b"half")
    with pytest.raises(UserError, match="not empty"):
        exported(writer, to)
    written, told = exported(writer, to, resume=True)
    assert told == []
    assert (written.files, written.present) == (2, 2)
    assert (to / "home" / "big").stat().st_size == 10 * BLOCK + 17
    assert (to / "second").samefile(to / "home" / "text")


def test_export_leaves_damaged_files_out_and_says_so(tmp_path: Path) -> None:
    writer = rich(tmp_path / "v")
    big = writer.inodes[writer.inodes[ROOT_INO].names[b"home"][0]].names[b"big"][0]
    flip(writer.path, writer.inodes[big].entries[3].block * BLOCK)
    _, told = exported(writer, tmp_path / "to")
    assert [(problem.path, problem.start) for problem in told] == [("/home/big", 3 * BLOCK)]
    assert sorted(path.name for path in (tmp_path / "to" / "home").iterdir()) == ["deep", "pipe", "text"]


def salvaged(writer: Writer, target: Path) -> list[Problem]:
    told: list[Problem] = []
    with container_of(writer) as container:
        to = Target(str(target), resume=False)
        salvage(container, to, told.append, lambda done, total: None)
        to.close()
    return told


def test_salvage_leaves_a_hole_where_a_chunk_is_bad(tmp_path: Path) -> None:
    writer = rich(tmp_path / "v")
    big = writer.inodes[writer.inodes[ROOT_INO].names[b"home"][0]].names[b"big"][0]
    flip(writer.path, writer.inodes[big].entries[3].block * BLOCK)
    told = salvaged(writer, tmp_path / "to")
    assert [(problem.path, problem.start, problem.size) for problem in told] == [("/home/big", 3 * BLOCK, BLOCK)]
    whole = b"".join(writer.inodes[big].chunks[at] for at in range(11))[: 10 * BLOCK + 17]
    got = (tmp_path / "to" / "home" / "big").read_bytes()
    assert got == whole[: 3 * BLOCK] + bytes(BLOCK) + whole[4 * BLOCK :]


def everything_in(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(root)): path.read_bytes().rstrip(b"\0") for path in files}


def blocks_that_lead(writer: Writer) -> dict[str, int]:
    """The block of a node, of the inode table, of a directory, of the checkpoint."""
    with container_of(writer) as container:
        state = open_state(container, "v")
        table = state.tree.table.entries[0]
        root = state.tree.record(ROOT_INO)
        big = state.tree.record(writer.inodes[writer.inodes[ROOT_INO].names[b"home"][0]].names[b"big"][0])
        nodes = {"table": table, "directory": root.entries[0], "node": big.entries[0]}
        return {name: entry.block for name, entry in nodes.items()} | {"checkpoint": state.slot.block}


@pytest.mark.parametrize("what", ["table", "directory", "node", "checkpoint"])
def test_salvage_goes_past_one_bad_bit_in_what_leads_to_files(tmp_path: Path, what: str) -> None:
    writer = rich(tmp_path / "v")
    whole = everything_in_export(writer, tmp_path / "whole")
    in_room = 70 if what == "checkpoint" else BLOCK - 5  # that isn't used, or hardly
    flip(writer.path, blocks_that_lead(writer)[what] * BLOCK + in_room)
    told = salvaged(writer, tmp_path / "to")
    assert told
    assert everything_in(tmp_path / "to") == whole


def everything_in_export(writer: Writer, target: Path) -> dict[str, bytes]:
    assert exported(writer, target)[1] == []
    return everything_in(target)


def test_salvage_finds_files_that_no_directory_leads_to(tmp_path: Path) -> None:
    writer = rich(tmp_path / "v")
    block = blocks_that_lead(writer)["directory"]
    writer.put(block, os.urandom(BLOCK))
    told = salvaged(writer, tmp_path / "to")
    assert any(problem.path == "/" for problem in told)
    lost = tmp_path / "to" / "lost+found"
    names = [path.name for path in lost.iterdir()]
    assert f"inode-{writer.inodes[ROOT_INO].names[b'home'][0]}" in names
    assert b"hello\n" in everything_in(lost).values()


def test_nothing_to_salvage_is_an_error(tmp_path: Path) -> None:
    writer = rich(tmp_path / "v")
    for block in (2, 3):
        writer.put(block, os.urandom(BLOCK))
    with pytest.raises(VolumeDamaged, match="no checkpoint leads"):
        salvaged(writer, tmp_path / "to")


def test_a_link_in_the_target_is_not_followed(tmp_path: Path) -> None:
    writer = rich(tmp_path / "v")
    to, elsewhere = tmp_path / "to", tmp_path / "elsewhere"
    to.mkdir()
    elsewhere.mkdir()
    (to / "home").symlink_to(elsewhere)
    with pytest.raises(UserError, match="can't be written"):
        exported(writer, to, resume=True)
    assert list(elsewhere.iterdir()) == []


def test_salvage_goes_on_behind_a_bad_batch_that_others_follow(tmp_path: Path) -> None:
    writer = rich(tmp_path / "v")
    for name in (b"a", b"b", b"c"):
        writer.write(writer.make(ROOT_INO, name, FILE), name * 5000)
        writer.commit()
    whole = everything_in_export(writer, tmp_path / "whole")
    flip(writer.path, (LOG_BLOCK + 1) * BLOCK + 48 + 8 + 16 + 8)  # a block's number in the second commit's first entry
    assert any(problem.path == "(log)" for problem in problems(writer))
    told = salvaged(writer, tmp_path / "to")
    assert ("(log)", LOG_BLOCK + 1) in [(problem.path, problem.block) for problem in told]
    saved = everything_in(tmp_path / "to")
    assert (saved["a"], saved["c"]) == (whole["a"], whole["c"])
    assert set(saved) == set(whole)
    flip(writer.path, (LOG_BLOCK + 3) * BLOCK + 60)  # where the log ended anyway
    writer.put(LOG_BLOCK + 2, os.urandom(BLOCK))
    salvaged(writer, tmp_path / "less")
    assert "c" not in everything_in(tmp_path / "less")
