"""scone-volume ls, stat, cat, export, verify, salvage: as users run them."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scone_preload.volume.layout import BLOCK, ROOT_INO
from tests.volume.boxes import boxed, key_file
from tests.volume.test_reader import FILE, LINK, fill
from tests.volume.test_verify import flip
from tests.volume.writer import Writer


class Box:
    """A volume in a folder, and the command on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.directory = folder, folder / "data"
        self.writer = fill(boxed(self.directory))
        self.key = key_file(folder)

    def run(self, *words: str | Path, key: Path | None = None) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "scone_preload.cli.volume", *words, "--unlock-with", key or self.key]
        environment = os.environ | {"SCONE_KEYSTORE": str(self.folder / "none"), "SCONE_DEBUG": "1"}
        return subprocess.run(
            command, capture_output=True, cwd=self.folder, env=environment, check=False, stdin=subprocess.DEVNULL
        )

    def big_block(self, chunk: int) -> int:
        return self.writer.inodes[big_of(self.writer)].entries[chunk].block


def big_of(writer: Writer) -> int:
    return writer.inodes[writer.inodes[ROOT_INO].names[b"home"][0]].names[b"big"][0]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_ls_lists_names_rows_and_json(box: Box) -> None:
    assert box.run("ls", "data").stdout == b"home\nlink\nsecond\nsparse\n"
    assert box.run("ls", "-R", "data/home").stdout == b"/home\n/home/big\n/home/text\n"
    rows = box.run("ls", "-lR", "./data/").stdout.decode().splitlines()
    assert "-rw-r--r--   2     0     0            6 2023-11-14 22:13 /second" in rows
    assert any(row.endswith(" /link -> home/text") for row in rows)
    found = json.loads(box.run("ls", "--json", "data/home").stdout)
    assert [(one["path"], one["size"], one["type"]) for one in found] == [
        ("/home/big", 10 * BLOCK + 17, "file"),
        ("/home/text", 6, "file"),
    ]


def test_stat_tells_everything(box: Box) -> None:
    row = json.loads(box.run("stat", "--json", "data/link").stdout)
    assert (row["type"], row["target"], row["modified"]) == ("link", "home/text", "2023-11-14T22:13:20.000000005Z")
    assert b"allocated:   4096\n" in box.run("stat", "data/sparse").stdout


def test_cat_writes_files_and_follows_links_inside(box: Box) -> None:
    assert box.run("cat", "data/link").stdout == b"hello\n"
    big = b"".join(box.writer.inodes[big_of(box.writer)].chunks.values())[: 10 * BLOCK + 17]
    assert box.run("cat", "data/home/../home/big").stdout == big
    sparse = box.run("cat", "data/sparse").stdout
    assert (len(sparse), sparse.strip(b"\0")) == (((1 << 14) + 3) * BLOCK + 3, b"far")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("cat", "data/none"), 125, "no such file in the volume: /none"),
        (("cat", "data/home"), 125, "not a regular file but a directory"),
        (("cat", "data/home/text/x"), 125, "not a directory: /home/text"),
        (("ls", "elsewhere/x"), 125, "no volume there, nor above: elsewhere/x"),
        (("verify", "data/home"), 125, "not the directory of a volume"),
        (("export", "data", "data/home"), 125, "target is inside the volume's directory"),
    ],
)
def test_what_is_asked_wrongly_is_refused(box: Box, words: tuple[str, ...], status: int, message: str) -> None:
    done = box.run(*words)
    assert (done.returncode, done.stdout) == (status, b"")
    assert message in done.stderr.decode()


def test_links_out_of_the_volume_are_refused(box: Box) -> None:
    box.writer.write(box.writer.make(ROOT_INO, b"out", LINK), b"/etc/passwd")
    box.writer.commit()
    done = box.run("cat", "data/out")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"link leads out of the volume: /out -> /etc/passwd" in done.stderr


def test_a_wrong_key_is_no_damage(box: Box) -> None:
    other = box.folder / "other"
    other.write_text("77" * 32)
    other.chmod(0o600)
    done = box.run("cat", "data/link", key=other)
    assert done.returncode == 125
    assert b"stays locked" in done.stderr


def test_a_damaged_file_is_an_error_that_names_its_bytes(box: Box) -> None:
    flip(box.writer.path, box.big_block(2) * BLOCK + 7)
    done = box.run("cat", "data/home/big")
    assert done.returncode == 125
    assert len(done.stdout) == 2 * BLOCK
    assert f"/home/big bytes {2 * BLOCK}..{3 * BLOCK - 1}" in done.stderr.decode()
    assert box.run("cat", "data/link").stdout == b"hello\n"


def test_verify_names_bad_bytes_and_ends_with_1(box: Box) -> None:
    done = box.run("verify", "data")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"no problem" in done.stderr
    flip(box.writer.path, box.big_block(2) * BLOCK + 7)
    flip(box.writer.path, BLOCK + 60)
    done = box.run("verify", "data")
    assert done.returncode == 1
    assert [line.partition(b" (container")[0] for line in done.stdout.splitlines()] == [
        b"(superblock)",
        b"/home/big bytes 8192..12287",
    ]
    report = json.loads(box.run("verify", "--json", "data").stdout)
    assert [problem["path"] for problem in report["problems"]] == ["(superblock)", "/home/big"]
    assert (report["files"], report["directories"]) == (3, 2)


def test_export_and_salvage_write_what_is_whole(box: Box) -> None:
    assert box.run("export", "data", "out").returncode == 0
    assert (box.folder / "out" / "second").read_bytes() == b"hello\n"
    assert box.run("export", "data/home/text", "one").returncode == 0
    assert [path.name for path in (box.folder / "one").iterdir()] == ["text"]
    assert b"--resume" in box.run("export", "data", "out").stderr
    assert box.run("export", "--resume", "data", "out").returncode == 0
    flip(box.writer.path, box.big_block(2) * BLOCK + 7)
    done = box.run("salvage", "--json", "data", "saved")
    assert done.returncode == 1
    assert [problem["start"] for problem in json.loads(done.stdout)["problems"]] == [2 * BLOCK]
    saved = (box.folder / "saved" / "home" / "big").read_bytes()
    whole = (box.folder / "out" / "home" / "big").read_bytes()
    assert saved == whole[: 2 * BLOCK] + bytes(BLOCK) + whole[3 * BLOCK :]


def test_a_volume_in_use_is_refused_unless_forced(box: Box) -> None:
    with box.writer.path.open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        fcntl.lockf(holder, fcntl.LOCK_EX, 1, 0)
        done = box.run("cat", "data/link")
        assert done.returncode == 125
        assert f"in use by process {os.getpid()}" in done.stderr.decode()
        assert box.run("cat", "--force-read", "data/link").stdout == b"hello\n"
        assert box.run("ls", "--force-read", "data").returncode == 0


def test_several_readers_share_a_volume(box: Box) -> None:
    with box.writer.path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_SH)
        assert box.run("cat", "data/link").stdout == b"hello\n"


def test_commits_that_no_checkpoint_has_yet_are_shown(box: Box) -> None:
    box.writer.write(box.writer.make(ROOT_INO, b"new", FILE), b"fresh")
    box.writer.commit()
    assert box.run("cat", "data/new").stdout == b"fresh"
