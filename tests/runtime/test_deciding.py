"""P7: which file a path means for a process, and how much an answer about it covers."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_preload.policy.calls import call_named
from scone_preload.policy.effective import parse
from scone_preload.policy.paths import FileRules
from scone_preload.policy.rules import file_rules
from scone_preload.runtime import wire
from scone_preload.runtime.deciding import socket_of
from scone_preload.runtime.following import LINKS_MAX, followed
from scone_preload.runtime.path_calls import ENTRIES_MAX, covers_directory, follows_last
from scone_preload.spec.model import Call as Row
from tests.runtime import packets

PID = os.getpid()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("")
    (tmp_path / "link").symlink_to("a/file")
    (tmp_path / "way").symlink_to("a/b")
    (tmp_path / "whole").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "none").symlink_to("nowhere/at/all")
    return tmp_path.resolve()


CASES = [
    ("{}/a/file", "{}/a/file", "{}/a/file"),
    ("{}/link", "{}/a/file", "{}/link"),
    ("{}/way/../file", "{}/a/file", "{}/a/file"),
    ("{}/whole/b/..", "{}/a", "{}/a"),
    ("{}/whole/.", "{}/a", "{}/a"),
    ("{}/whole", "{}/a", "{}/whole"),
    ("{}/none", "{}/nowhere/at/all", "{}/none"),
    ("{}/none/x", "{}/nowhere/at/all/x", "{}/nowhere/at/all/x"),
    ("{}/nothing/../a", "{}/a", "{}/a"),
    ("/../../etc", "/etc", "/etc"),
    ("/", "/", "/"),
    ("/proc/self/cwd", "{cwd}", "/proc/self/cwd"),
    ("/proc/self/status", "/proc/self/status", "/proc/self/status"),
    ("/proc/{pid}/status", "/proc/self/status", "/proc/self/status"),
    ("/proc/self", "/proc/self", "/proc/self"),
    ("/proc/thread-self/status", "/proc/thread-self/status", "/proc/thread-self/status"),
    ("/proc/mounts", "/proc/self/mounts", "/proc/mounts"),
    ("/proc/self/ns/pid", "/proc/self/ns/pid", "/proc/self/ns/pid"),
]


@pytest.mark.parametrize(("path", "with_last", "without_last"), CASES)
def test_p7_a_path_leads_where_the_kernel_goes(path: str, with_last: str, without_last: str, tree: Path) -> None:
    def fill(text: str) -> str:
        return text.replace("{}", str(tree)).replace("{cwd}", str(Path.cwd())).replace("{pid}", str(PID))

    assert followed(fill(path), PID, last=True) == fill(with_last)
    assert followed(fill(path), PID, last=False) == fill(without_last)


def test_p2_no_link_leads_away_from_what_the_runtime_serves(tree: Path) -> None:
    own = {f"{tree}/whole/secret", f"{tree}/link", "/etc/none/x"}
    for path in (f"{tree}/whole/secret", f"{tree}/link", f"{tree}/a/../link", f"{tree}/./whole//secret"):
        assert followed(path, PID, last=True, own=own) == os.path.normpath(path)
    assert followed("/proc/self/../../etc/none/x", PID, last=True, own=own) == "/etc/none/x"
    (tree / "there").symlink_to(tree / "link")
    assert followed(f"{tree}/there", PID, last=True, own=own) == f"{tree}/link"
    assert followed(f"{tree}/whole/file", PID, last=True, own=own) == f"{tree}/a/file"


def test_a_loop_of_links_ends(tree: Path) -> None:
    assert followed(f"{tree}/loop", PID, last=True).startswith(str(tree))
    for at in range(LINKS_MAX + 5):
        (tree / f"l{at}").symlink_to(f"l{at + 1}")
    assert followed(f"{tree}/l0", PID, last=True) == f"{tree}/l{LINKS_MAX}"


def test_descriptors_of_the_process_lead_to_its_files(tree: Path) -> None:
    with (tree / "a" / "file").open() as file:
        assert followed(f"/proc/self/fd/{file.fileno()}", PID, last=True) == f"{tree}/a/file"
        assert followed(f"/dev/fd/{file.fileno()}", PID, last=True) == f"{tree}/a/file"
    reading, writing = os.pipe()
    assert followed(f"/proc/self/fd/{reading}", PID, last=True) == f"/proc/self/fd/{reading}"
    os.close(reading)
    os.close(writing)


def test_the_descriptors_are_the_askers_and_not_this_processs(tree: Path) -> None:
    with (tree / "a" / "file").open() as file, subprocess.Popen(["sleep", "60"], stdin=file) as child:
        assert followed("/proc/self/fd/0", child.pid, last=True) == f"{tree}/a/file"
        child.kill()


PARTS = st.lists(st.sampled_from(["a", "b", "..", ".", "link", "way", "whole", "none", "file", ""]), max_size=8)


@settings(max_examples=400, deadline=None)
@given(PARTS)
def test_p7_what_can_be_opened_is_what_the_kernel_opens(parts: list[str]) -> None:
    tree = Path("/tmp/scone-test-following")
    if not tree.exists():
        (tree / "a" / "b").mkdir(parents=True)
        (tree / "a" / "file").write_text("")
        for name, target in (("link", "a/file"), ("way", "a/b"), ("whole", str(tree / "a")), ("a/up", "../a")):
            (tree / name).symlink_to(target)
    path = f"{tree}/{'/'.join(parts)}"
    try:
        fd = os.open(path, os.O_PATH)
    except OSError:
        return
    try:
        assert followed(path.rstrip("/") if path.strip("/") else "/", PID, last=True) == os.readlink(
            f"/proc/self/fd/{fd}"
        )
    finally:
        os.close(fd)


# ---- what a call follows ----


def asked(name: str, *args: int, strings: dict[int, bytes] | None = None, flags: int = 0) -> tuple[Row, wire.Call]:
    row = call_named(name)
    assert row is not None
    found = wire.parse(packets.call(row.nr, args, strings or {}, pid=PID, flags=flags))
    assert isinstance(found, wire.Call)
    return row, found


FOLLOWS = [
    ("open", (0, 0), True), ("open", (0, 0o400000), False), ("open", (0, 0o300), False), ("open", (0, 0o100), True),
    ("openat", (0, 0, 0o400000), False), ("stat", (), True), ("lstat", (), False),
    ("newfstatat", (0, 0, 0, 0x100), False),
    ("newfstatat", (0, 0, 0, 0), True), ("statx", (0, 0, 0x100), False), ("unlink", (), False), ("rename", (), False),
    ("linkat", (0, 0, 0, 0, 0), False), ("linkat", (0, 0, 0, 0, 0x400), True), ("fchmodat", (), True),
    ("fchownat", (0, 0, 0, 0, 0x100), False), ("utimensat", (0, 0, 0, 0x100), False), ("truncate", (), True),
    ("lsetxattr", (), False), ("readlink", (), False), ("mkdir", (), False), ("mknod", (), False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "follows"), FOLLOWS)
def test_which_calls_follow_a_link_at_the_end(name: str, args: tuple[int, ...], follows: bool) -> None:
    row, message = asked(name, *args)
    assert follows_last(row.name, message) == follows
    assert not follows_last(row.name, message, second=True)


# ---- how much an answer covers ----


def policy(files: str) -> FileRules:
    return file_rules(parse(b"version = 1\n" + files.encode()))


def test_a_directory_is_covered_when_nothing_in_it_is_decided_otherwise(tree: Path) -> None:
    one = policy(f'[files]\nunlisted = "refuse"\nread = ["{tree}/"]\nwrite = ["{tree}/a/"]\n')
    inside = f"{tree}/a/file"
    assert covers_directory(one, inside, inside, "read", PID)
    assert covers_directory(one, inside, inside, "write", PID)
    assert not covers_directory(one, f"{tree}/x", f"{tree}/x", "write", PID)
    assert not covers_directory(one, f"{tree}/x", f"{tree}/x", "read", PID)  # links lie there
    assert not covers_directory(one, f"{tree}/whole/file", inside, "read", PID)  # by a link
    assert not covers_directory(policy(""), "/proc/self/status", "/proc/self/status", "read", PID)
    secret = policy(f'[[secret]]\npath = "{tree}/a/secret"\nfrom = "env:A"\n')
    assert not covers_directory(secret, inside, inside, "read", PID)
    assert covers_directory(secret, f"{tree}/a/b/x", f"{tree}/a/b/x", "read", PID)
    assert covers_directory(secret, f"{tree}/none/x", f"{tree}/none/x", "read", PID)  # nothing is there


def test_a_pattern_covers_no_directory(tree: Path) -> None:
    one = policy(f'[files]\nunlisted = "refuse"\nread = ["{tree}/a/*"]\n')
    assert not covers_directory(one, f"{tree}/a/file", f"{tree}/a/file", "read", PID)


def test_a_directory_with_too_much_in_it_to_look_at_is_not_covered(tree: Path) -> None:
    for at in range(ENTRIES_MAX + 1):
        (tree / "a" / "b" / str(at)).write_text("")
    assert not covers_directory(policy(""), f"{tree}/a/b/1", f"{tree}/a/b/1", "read", PID)
    (tree / "a" / "b" / "0").unlink()
    assert covers_directory(policy(""), f"{tree}/a/b/1", f"{tree}/a/b/1", "read", PID)


# ---- sockets ----


def end(raw: bytes, name: str = "connect", flags: int = 0) -> str:
    return str(socket_of(raw, *asked(name, 3, flags=flags), PID))


def test_addresses_are_read_as_the_kernel_reads_them(tree: Path) -> None:
    four = (2).to_bytes(2, "little") + (80).to_bytes(2, "big") + bytes([127, 0, 0, 1])
    six = (10).to_bytes(2, "little") + (80).to_bytes(2, "big") + bytes(4)
    mapped = socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1")
    assert end(four) == "tcp 127.0.0.1:80"
    assert end(four, flags=2) == "udp 127.0.0.1:80"
    assert end(b"\0\0" + four[2:], "sendto", flags=2) == "udp 127.0.0.1:80"
    assert end(b"\0\0" + four[2:]) == "None"
    assert end(six + mapped) == "tcp 127.0.0.1:80"
    assert end(six + bytes(15) + b"\1") == "tcp [::1]:80"
    assert end(b"\1\0\0name") == "unix:@name"
    assert end(b"\1\0" + os.fsencode(tree) + b"/whole/file\0rest") == f"unix:{tree}/a/file"
    assert end(b"\1\0" + os.fsencode(tree) + b"/link") == f"unix:{tree}/a/file"
    assert end(b"\1\0" + os.fsencode(tree) + b"/link", "bind") == f"unix:{tree}/link"
    for short in (b"", b"\2\0", four[:7], (six + mapped)[:23], b"\1\0", b"\x10\0" + bytes(10)):
        assert end(short) == "None"
