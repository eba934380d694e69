"""Who gets the policy: no HELLO with a wrong, replayed or stolen nonce, or with other code than was analysed."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scone_preload.build.warm import pin
from scone_preload.errors import HostileHost, UserError
from scone_preload.runtime import images, wire
from scone_preload.runtime.files import Files, Given
from scone_preload.runtime.images import Images, mapped_files, new_nonce
from tests.helpers.modes import Mode, command, warm
from tests.helpers.processes import run
from tests.runtime import packets
from tests.runtime.probing import Prober

POLICY = b"the policy"
PID = os.getpid()


class Mapped:
    """A file of code that this process maps, as a library is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copy("/bin/true", path)
        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)

    @property
    def line(self) -> bytes:
        lines = Path("/proc/self/maps").read_bytes().splitlines()
        return next(line for line in lines if os.fsencode(self.path) in line and b" r-xp " in line)


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[Mapped]:
    found = Mapped(tmp_path / "lib.so")
    yield found
    found.map.close()


def pool(*, strict: bool = False, files: Files | None = None) -> Images:
    return Images(POLICY, (files or Files()).packets, strict=lambda: strict, ready=lambda: None)


def said(nonce: int, *lines: bytes) -> wire.Hello:
    hello = wire.parse(packets.hello(flags=2, nonce=nonce, maps=b"".join(line + b"\n" for line in lines)))
    assert isinstance(hello, wire.Hello)
    assert hello.wants_policy
    return hello


def outcome(found: list[bytes]) -> tuple[int, bytes]:
    """errno and what follows: the policy, or the message."""
    error, size, _, _ = wire.layout("ctl_hello_answer").unpack_from(found[0])
    rest = found[0][16:]
    assert rest[-1:] == b"\0"
    return (error, rest[:size]) if not error else (error, rest[size:-1])


def test_an_expected_image_gets_the_policy_once(mapped: Mapped) -> None:
    one = pool()
    nonce = one.expect(PID, [pin(str(mapped.path))])
    assert outcome(one.answer(said(nonce, mapped.line), PID)) == (0, POLICY)
    error, message = outcome(one.answer(said(nonce, mapped.line), PID))
    assert (error, message) == (1, b"HELLO of an image that nobody started: process %d: it gets no policy" % PID)


@pytest.mark.parametrize("wrong", ["a guess", "zero", "another process's", "the one before"])
def test_p7_a_nonce_that_is_not_the_images_own_gets_nothing(wrong: str, mapped: Mapped) -> None:
    one = pool()
    before = one.expect(PID, [pin(str(mapped.path))])
    nonce = one.expect(PID, [pin(str(mapped.path))])
    other = one.expect(PID + 1, [pin(str(mapped.path))])
    used = {"a guess": nonce ^ 1, "zero": 0, "another process's": other, "the one before": before}[wrong]
    assert outcome(one.answer(said(used, mapped.line), PID))[0] == 1


def test_p7_a_stolen_nonce_is_worth_nothing_to_the_thief(mapped: Mapped) -> None:
    one = pool()
    nonce = one.expect(PID, [pin(str(mapped.path))])
    assert outcome(one.answer(said(nonce, mapped.line), PID + 1))[0] == 1
    assert outcome(one.answer(said(nonce, mapped.line), PID))[0] == 1  # and it is burnt


def test_nonces_can_not_be_guessed_and_fit_what_the_shim_reads() -> None:
    found = {new_nonce() for _ in range(1000)}
    assert len(found) == 1000
    assert all(0 < nonce < 1 << 63 for nonce in found)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def overwrite(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"\x7fELF")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy(path, other)
    other.rename(path)


@pytest.mark.parametrize("change", [append, overwrite], ids=lambda change: change.__name__)
def test_p7_code_that_was_changed_after_its_analysis_gets_nothing(change: object, mapped: Mapped) -> None:
    one = pool()
    nonce = one.expect(PID, [pin(str(mapped.path))])
    assert callable(change)
    change(mapped.path)
    error, message = outcome(one.answer(said(nonce, mapped.line), PID))
    assert error == 1
    assert message.startswith(b"code was changed between its analysis and the start: " + os.fsencode(mapped.path))


def test_p7_a_file_put_in_the_place_of_the_analysed_one_gets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    shutil.copy("/bin/true", path)
    one = pool()
    nonce = one.expect(PID, [pin(str(path))])
    replace(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC):
        line = next(one for one in Path("/proc/self/maps").read_bytes().splitlines() if os.fsencode(path) in one)
        assert outcome(one.answer(said(nonce, line), PID))[0] == 1


def test_an_analysed_file_that_was_unlinked_once_it_was_mapped_is_still_known(mapped: Mapped) -> None:
    one = pool()
    nonce = one.expect(PID, [pin(str(mapped.path))])
    line = mapped.line
    if not os.access(f"/proc/self/map_files/{line.split()[0].decode()}", os.R_OK):
        pytest.skip("only who may read map_files sees past the name")
    replace(mapped.path)
    assert outcome(one.answer(said(nonce, line), PID))[0] == 1  # its name means another file now: closed


def test_code_that_was_not_analysed_is_let_in_unless_only_listed_programs_may_run(mapped: Mapped) -> None:
    for strict in (False, True):
        one = pool(strict=strict)
        nonce = one.expect(PID, [pin("/bin/true")])
        assert outcome(one.answer(said(nonce, mapped.line), PID))[0] == int(strict)


@pytest.mark.parametrize(
    "line", [b"nonsense", b"1-2 r-xp 0 0:0", b"1000-2000 r-xp 0 00:00 1 /nowhere/at/all", b"zz-y r-xp 0 00:00 1 /bin/x"]
)
def test_p7_lines_that_make_no_sense_get_nothing(line: bytes) -> None:
    one = pool()
    assert outcome(one.answer(said(one.expect(PID, [])), PID))[0] == 0
    assert outcome(one.answer(said(one.expect(PID, []), line), PID))[0] == 1


def test_what_is_not_ready_gets_the_reason() -> None:
    def ready() -> None:
        raise UserError("secret not given", "/run/a", "set it")

    one = Images(POLICY, Files().packets, strict=lambda: False, ready=ready)
    assert outcome(one.answer(said(one.expect(PID, [])), PID)) == (1, b"secret not given: /run/a: set it")


def test_images_of_processes_that_ended_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "EXPECTED_MAX", 10)
    one = pool()
    nonce = one.expect(PID, [])
    for pid in range(5_000_000, 5_000_100):
        one.expect(pid, [])
    assert len(one._expected) <= 12
    assert outcome(one.answer(said(nonce), PID))[0] == 0


def test_paths_with_spaces_and_strange_bytes_are_read(tmp_path: Path) -> None:
    assert mapped_files(b"1-2 r-xp 0 00:00 1    /a b/c\xff\n") == (("1-2", "/a b/c\udcff"),)
    assert mapped_files(b"") == ()
    with pytest.raises(HostileHost):
        mapped_files(b"\n")


# ---- memory files over an exec ----


def test_files_that_stay_open_come_with_the_policy() -> None:
    files = Files()
    files.note(7, Given(content=b"x" * 70_000, mode=0o400, uid=1, gid=2))
    one = pool(files=files)
    nonce = one.expect(PID, [])
    kept = [wire.Kept(3, 0, 5, 7, 0), wire.Kept(4, 0, 5, 8, 1), wire.Kept(5, 0, 5, 7, 0), wire.Kept(6, 0, 0, 8, 1)]
    one.keep(PID, tuple(kept))
    one.keep(PID + 1, ())
    found = one.answer(said(nonce), PID)
    assert wire.layout("ctl_hello_answer").unpack_from(found[0])[2] == 2
    heads = [wire.layout("ctl_hello_file").unpack(packet) for packet in found if len(packet) == 56]
    assert [(head[0], head[2], head[3], head[-1]) for head in heads] == [(3, 5, 70_000, 0), (5, 5, 70_000, 0)]
    assert sum(len(packet) for packet in found[1:]) == 70_000 + 2 * 56


def test_files_are_forgotten_when_they_are_too_many() -> None:
    files = Files()
    for number in range(10):
        files.note(number, Given(content=bytes(16 << 20), mode=0, uid=0, gid=0))
    known = [number for number in range(10) if files.packets([wire.Kept(0, 0, 0, number, 0)])[0]]
    assert known == [6, 7, 8, 9]


# ---- for real ----

LIBRARY = """
#include <fcntl.h>
#include <unistd.h>
#include <sys/syscall.h>
static void nothing(void) {}
/* Runs while the loader relocates, before any constructor: after the analysis, before HELLO. */
static void (*pick(void))(void)
{
    long fd, result;
    __asm__ volatile("syscall" : "=a"(fd) : "a"(SYS_open), "D"(VICTIM), "S"(O_WRONLY | O_APPEND), "d"(0)
    : "rcx", "r11", "memory");
    if (fd >= 0)
        __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_write), "D"(fd), "S"("x"), "d"(1)
        : "rcx", "r11", "memory");
    return nothing;
}
void chosen(void) __attribute__((ifunc("pick")));
"""


def test_p7_a_library_changed_between_analysis_and_start_lets_nothing_run(tmp_path: Path) -> None:
    victim = tmp_path / "libvictim.so"
    (tmp_path / "empty.c").write_text("int victim(void) { return 1; }\n")
    (tmp_path / "lib.c").write_text(LIBRARY)
    (tmp_path / "main.c").write_text(
        "void chosen(void); int victim(void); int puts(const char *);\n"
        'int main(void) { chosen(); victim(); puts("ran"); }\n'
    )
    where = f'-DVICTIM="{victim}"'
    for words in (["-shared", "empty.c", "-o", "libvictim.so"], ["-shared", where, "lib.c", "-o", "libchosen.so"],
                  ["main.c", "-L.", "-lvictim", "-lchosen", "-Wl,-rpath,$ORIGIN,-z,now", "-o", "main"]):  # fmt: skip
        subprocess.run(["gcc", "-fPIC", *words], cwd=tmp_path, check=True)
    (tmp_path / "scone.toml").write_text("version = 1\n")
    done = run(Mode.SYNC, [tmp_path / "main"], cwd=tmp_path, options=["--policy", str(tmp_path / "scone.toml")])
    assert (done.status, done.out) == (120, b""), str(done)
    assert b"code was changed between its analysis and the start" in done.err


def test_p7_a_program_that_is_swapped_all_the_time_runs_as_it_was_analysed_or_not_at_all(prober: Prober) -> None:
    place = prober.place
    for name in ("one", "two"):
        (place / f"{name}.c").write_text(f'int puts(const char *); int main(void) {{ puts("{name}"); }}\n')
        subprocess.run(["gcc", f"{name}.c", "-o", name], cwd=place, check=True)
    warm(place / "one", place / "two")
    policy = prober.policy('[exec]\nunlisted = "refuse"\n')
    (place / "main").symlink_to("one")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for name in ("one", "two"):
                (place / "next").symlink_to(name)
                (place / "next").rename(place / "main")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        ends = []
        for _ in range(25):
            argv = command(Mode.SYNC, [place / "main"], "--policy", str(policy))
            done = subprocess.run(argv, capture_output=True, check=False)
            ends.append((done.returncode, done.stdout, done.stderr[-200:]))
    finally:
        stop.set()
        thread.join()
    assert {end[:2] for end in ends} <= {(0, b"one\n"), (0, b"two\n"), (120, b"")}, ends
