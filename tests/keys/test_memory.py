"""Where keys are and aren't: locked pages, wiped memory, no dumps, no command line, no environment."""

import contextlib
import ctypes
import mmap
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scone_preload.errors import KeystoreError, MachineLacks
from scone_preload.keys import memory
from scone_preload.keys.format import Purpose
from scone_preload.keys.memory import SecretBuffer, forbid_dumps, key_of_hex, take_variable
from tests.keys.support import PASSPHRASE, in_child, opened, status_of

# Opens the keystore, takes a key, says so, and waits for a line before each next step.
HOLDER = """
import gc, sys
from scone_preload.keys.format import Purpose
from scone_preload.keys.store import open_keystore
from scone_preload.keys.unlock import Unlock
store = open_keystore(sys.argv[1], Unlock())
key = store.key("data", Purpose.VOLUME)
print("open", flush=True); sys.stdin.readline()
key.close(); store.close(); gc.collect()
print("closed", flush=True); sys.stdin.readline()
"""


def mappings(pid: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        start, end, flags, name = re.match(r"(\w+)-(\w+) (\S+) \S+ \S+ \S+ *(.*)", line).groups()  # type: ignore[union-attr]
        if flags.startswith("r") and name not in ("[vvar]", "[vsyscall]"):
            yield int(start, 16), int(end, 16)


def count_in_memory(pid: int, patterns: list[bytes]) -> list[int]:
    """How often each pattern is in the process's memory, as a debugger's dump would have it."""
    counts = [0] * len(patterns)
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for start, end in mappings(pid):
            with contextlib.suppress(OSError):
                raw = os.pread(file.fileno(), end - start, start)
                counts = [count + raw.count(pattern) for count, pattern in zip(counts, patterns, strict=True)]
    return counts


def test_keys_are_in_no_memory_after_close(tmp_path: Path) -> None:
    with opened(tmp_path / "k") as store:
        store.add("data", Purpose.VOLUME)
        patterns = [store.key("data", Purpose.VOLUME).reveal(), store.master.reveal()]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "k"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"open\n"
        assert count_in_memory(holder.pid, patterns) == [1, 1], "one copy, in the locked buffer"
        holder.stdin.write(b"\n")
        assert holder.stdout.readline() == b"closed\n"
        assert count_in_memory(holder.pid, patterns) == [0, 0]
    finally:
        holder.stdin.write(b"\n")
        holder.communicate(timeout=20)


def smaps_flags(address: int) -> list[str]:
    text = Path("/proc/self/smaps").read_text()
    for block in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", text)[1:]:
        start, end = (int(part, 16) for part in block.split(" ", 1)[0].split("-"))
        if start <= address < end:
            return block.split("VmFlags:")[1].split("\n")[0].split()
    raise AssertionError("no such mapping")


def test_a_buffer_is_locked_not_dumped_and_wiped_on_fork() -> None:
    with SecretBuffer.of(b"x" * 32) as buffer:
        array = (ctypes.c_char * 32).from_buffer(buffer.view())
        flags = smaps_flags(ctypes.addressof(array))
        del array
    assert {"lo", "dd", "wf"} <= set(flags), flags


def test_a_forked_child_finds_zeros() -> None:
    buffer = SecretBuffer.of(b"x" * 32)

    def look() -> None:
        assert buffer.reveal() == bytes(32)

    assert status_of(in_child(look)) == 0
    assert buffer.reveal() == b"x" * 32


def test_close_zeroes_what_a_view_still_shows() -> None:
    buffer = SecretBuffer.of(b"x" * 32)
    view = buffer.view()
    buffer.close()
    assert view == bytes(32)


def test_a_closed_buffer_gives_nothing() -> None:
    buffer = SecretBuffer.of(b"x" * 32)
    buffer.close()
    buffer.close()
    for use in (buffer.view, buffer.reveal):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_buffer_does_not_show_itself() -> None:
    with SecretBuffer.of(b"canary") as buffer:
        assert repr(buffer) == "<SecretBuffer of 6 bytes>"
        with pytest.raises(TypeError):
            buffer.__reduce__()


def test_where_memory_can_not_be_locked_it_is_refused_with_the_remedy() -> None:
    def act() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        with pytest.raises(MachineLacks, match="limit 0 KiB: raise it: ulimit -l"):
            SecretBuffer(32)

    assert status_of(in_child(act)) == 0


def test_forbidding_dumps_forbids_them() -> None:
    def act() -> None:
        forbid_dumps()
        assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE

    assert status_of(in_child(act)) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_process_of_the_same_user_can_not_read_the_runtimes_memory() -> None:
    def act(*, forbidden: bool) -> None:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as after an exec by that user
        if forbidden:
            forbid_dumps()
        parent = os.getpid()
        result = status_of(in_child(lambda: os.open(f"/proc/{parent}/mem", os.O_RDONLY)))
        assert result == (1 if forbidden else 0)

    assert status_of(in_child(lambda: act(forbidden=False))) == 0
    assert status_of(in_child(lambda: act(forbidden=True))) == 0


TAKER = """
import os, sys
from scone_preload.keys.memory import forbid_dumps, take_variable
value = take_variable(os.environb, "SCONE_TEST_KEY")
forbid_dumps()
print(len(value), "SCONE_TEST_KEY" in os.environ, os.environ["SCONE_OTHER"], flush=True); sys.stdin.readline()
"""


def test_a_variable_that_was_taken_is_gone_from_environ() -> None:
    taker = subprocess.Popen(
        [sys.executable, "-c", TAKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"SCONE_TEST_KEY": PASSPHRASE.decode(), "SCONE_OTHER": "stays"},
    )
    assert taker.stdout is not None
    try:
        assert taker.stdout.readline() == b"%d False stays\n" % len(PASSPHRASE)
        if os.geteuid() == 0:
            environ = Path(f"/proc/{taker.pid}/environ").read_bytes()
            assert environ.startswith(b"SCONE_TEST_KEY=" + bytes(len(PASSPHRASE)))
            assert b"SCONE_OTHER=stays" in environ
    finally:
        taker.communicate(b"\n", timeout=20)


def test_an_absent_variable_is_none() -> None:
    assert take_variable({b"A": b"b"}, "SCONE_TEST_KEY") is None


@pytest.mark.parametrize("text", [b"", b"ab" * 31, b"ab" * 33, b"zz" * 32, b"\xff" * 64, PASSPHRASE])
def test_what_is_no_key_is_refused_without_showing_it(text: bytes) -> None:
    with pytest.raises(KeystoreError, match="64 hexadecimal digits: it: make one: openssl rand -hex 32"):
        key_of_hex(text, "it")


def test_a_key_may_end_with_a_newline() -> None:
    with key_of_hex(b"AB" * 32 + b"\n", "it") as key:
        assert key.reveal() == b"\xab" * 32


def test_the_modules_numbers_are_the_kernels() -> None:
    assert memory._MAP_LOCKED == 0x2000
    assert memory._MADV_WIPEONFORK == 18
    assert mmap.MADV_DONTDUMP == 16
