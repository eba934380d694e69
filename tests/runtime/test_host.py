"""The runtime host, asked as shims ask it."""

import errno
import json
import os
import socket
import stat
import struct
import subprocess
import time
from pathlib import Path

import pytest

from scone_preload.build.warm import pin
from tests.runtime import packets
from tests.runtime.host_process import HostProcess


def exec_answer(answer: bytes) -> tuple[int, str, str]:
    """Return errno, shim and message."""
    (error, _, _), (shim, message, rest) = struct.unpack_from("<iIQ", answer), answer[16:].split(b"\0")
    assert rest == b""
    return error, shim.decode(), message.decode()


def ask_exec(path: Path | str, **more: str) -> tuple[int, str, str]:
    with HostProcess() as host:
        return exec_answer(host.ask(packets.exec_(os.fsencode(path), **{k: os.fsencode(v) for k, v in more.items()})))


@pytest.fixture
def static_program(tmp_path: Path) -> Path:
    source = tmp_path / "static.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-static", "-o", tmp_path / "static", source], check=True)
    return tmp_path / "static"


def test_the_host_ends_with_status_0_when_no_wrapped_process_is_left() -> None:
    with HostProcess() as host:
        host.tell(packets.hello())
        assert host.end() == ""


def test_the_host_outlives_the_first_process_and_serves_those_that_are_left() -> None:
    with HostProcess() as host:
        host.end_program()
        time.sleep(0.2)
        assert exec_answer(host.ask(packets.exec_(b"/bin/true")))[0] == 0


def test_the_host_lets_go_of_standard_error_when_the_first_process_ends() -> None:
    with HostProcess() as host:
        host.end_program()
        assert host.process.stderr
        assert host.process.stderr.read() == b""  # end of file, though the host lives
        assert host.process.poll() is None


def test_signals_of_a_terminal_do_not_end_the_host() -> None:
    with HostProcess() as host:
        exec_answer(host.ask(packets.exec_(b"/bin/true")))  # it is up
        for number in (1, 2, 3, 10, 15, 20):
            host.process.send_signal(number)
        assert exec_answer(host.ask(packets.exec_(b"/bin/true")))[0] == 0


def test_the_host_keeps_nothing_of_its_starter_open() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    with HostProcess() as host:
        os.close(writing)
        host.ask(packets.exec_(b"/bin/true"))
        names = [os.readlink(f"/proc/{host.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{host.process.pid}/fd")]
        assert not [name for name in names if name.startswith("/") and name != "/dev/null"]
        assert os.readlink(f"/proc/{host.process.pid}/cwd") == "/"
    os.close(reading)


def test_a_dynamic_program_may_be_executed_under_a_shim() -> None:
    error, shim, message = ask_exec("/bin/true")
    assert error == 0
    assert pin(shim) == f"{message} {shim}", "the asker can see that it opens the same file"


def test_a_script_may_be_executed_when_its_interpreter_may(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    assert ask_exec(script)[0] == 0


def test_a_static_program_is_refused_with_the_rule_and_the_remedy(static_program: Path) -> None:
    error, shim, message = ask_exec(static_program)
    assert (error, shim) == (errno.EACCES, "")
    assert "static" in message
    assert str(static_program) in message


def test_a_script_of_a_static_interpreter_is_refused(tmp_path: Path, static_program: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!{static_program}\n")
    script.chmod(0o755)
    assert ask_exec(script)[0] == errno.EACCES


def test_a_setuid_program_is_not_permitted(tmp_path: Path) -> None:
    program = tmp_path / "setuid"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755 | stat.S_ISUID)
    error, _, message = ask_exec(program)
    assert error == errno.EPERM
    assert "setuid" in message


@pytest.mark.parametrize("kind", ["missing", "not executable", "folder", "below a file"])
def test_what_the_kernel_refuses_is_left_to_the_kernel(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("hello\n")
        path.chmod(0o644 if kind == "not executable" else 0o755)
    assert ask_exec(path / "x" if kind == "below a file" else path)[0] == 0


def test_what_has_no_format_gets_its_error_without_asking_a_kernel_that_may_know_more(tmp_path: Path) -> None:
    path = tmp_path / "thing"
    path.write_text("hello\n")
    path.chmod(0o755)
    assert ask_exec(path) == (errno.ENOEXEC, "", "")


def test_a_relative_interpreter_is_of_the_askers_folder(static_program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = static_program.parent / "script-of-static"
    script.write_text("#!./static\n")
    script.chmod(0o755)
    monkeypatch.chdir(static_program.parent)
    assert ask_exec(script, cwd="/")[0] == errno.EACCES


def test_a_relative_path_means_the_askers_folder_not_the_hosts(
    static_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(static_program.parent)
    assert ask_exec("./static", cwd="/")[0] == errno.EACCES


def test_a_path_below_a_descriptor_means_the_askers_descriptor(static_program: Path) -> None:
    folder = os.open(static_program.parent, os.O_RDONLY)
    with HostProcess() as host:
        assert exec_answer(host.ask(packets.exec_(b"static", dirfd=folder)))[0] == errno.EACCES
    os.close(folder)


def test_the_program_of_a_descriptor_itself_is_checked(static_program: Path) -> None:
    program = os.open(static_program, os.O_RDONLY)
    with HostProcess() as host:
        assert exec_answer(host.ask(packets.exec_(b"", dirfd=program)))[0] == errno.EACCES
    os.close(program)


def test_a_message_that_is_not_understood_gets_no_answer_and_is_told_once() -> None:
    with HostProcess() as host:
        assert host.ask(b"nonsense") == b""
        assert exec_answer(host.ask(packets.exec_(b"/bin/true")))[0] == 0
        assert "control message not understood" in host.end()


def test_a_packet_that_is_too_long_gets_no_answer() -> None:
    with HostProcess() as host:
        host.control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        assert host.ask(packets.exec_(b"x" * 70_000)) == b""
        assert exec_answer(host.ask(packets.exec_(b"/bin/true")))[0] == 0


def test_surplus_descriptors_of_a_message_are_closed() -> None:
    with HostProcess() as host:
        host.ask(packets.exec_(b"/bin/true"))
        before = len(os.listdir(f"/proc/{host.process.pid}/fd"))
        for _ in range(20):
            socket.send_fds(host.control, [packets.hello()], [0, 1, 2])
        host.ask(packets.exec_(b"/bin/true"))
        assert len(os.listdir(f"/proc/{host.process.pid}/fd")) <= before


def test_the_sites_of_libc_are_told() -> None:
    libc = Path("/lib/x86_64-linux-gnu/libc.so.6").resolve()
    with HostProcess() as host:
        answer = host.ask(packets.sites(os.fsencode(libc), offset=0, length=libc.stat().st_size))
    count = int.from_bytes(answer[:4], "little")
    assert count > 300
    assert len(answer) == 8 + 24 * count
    raw = libc.read_bytes()
    for at in range(8, len(answer), 24):
        _, size, syscall_at = struct.unpack_from("<IBB", answer, at)
        code = answer[at + 6 : at + 6 + size]
        assert code[syscall_at : syscall_at + 2] == b"\x0f\x05"
        assert code in raw


def test_a_library_that_is_no_elf_file_has_no_sites(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_text("no library")
    with HostProcess() as host:
        assert host.ask(packets.sites(os.fsencode(tmp_path / "x.so"), offset=0, length=10)) == bytes(8)
        assert host.ask(packets.sites(b"/nowhere.so", offset=0, length=10)) == bytes(8)


def test_the_table_of_all_processes_is_told_when_the_first_one_ends_before_it_is_answered() -> None:
    with HostProcess(stats="table") as host:
        host.tell(packets.stats(processes=1, bytes_out=100, calls={0: 7}))
        assert host.ask(
            packets.stats(first=True, processes=1, bytes_out=11, turns=2, crossings=3, calls={0: 1})
        ) == bytes(4)
        host.tell(packets.stats(processes=1, calls={0: 1000}))
        text = host.end()
        assert text.count("syscalls") == 1
        assert "read 8" in text
        assert "bytes out                   111" in text
        assert "1.50 for each of 2 event-loop turns" in text


def test_the_table_is_told_by_the_host_when_the_first_process_was_killed() -> None:
    with HostProcess(stats="table") as host:
        host.tell(packets.stats(processes=1, calls={0: 7}))
        host.end_program()
        text = host.end()
        assert "read 7" in text
        assert "ended without reporting" in text


def test_without_wanting_statistics_the_first_process_is_answered_nothing() -> None:
    with HostProcess(trace="stderr") as host:
        assert host.ask(packets.stats(first=True)) == bytes(4)


def test_the_json_report_is_there_when_the_first_process_ends_and_whole_when_the_last_has(tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    with HostProcess(stats=str(path)) as host:
        host.ask(packets.stats(first=True, processes=1, denied=1, turns=4, crossings=4, calls={1: 2}))
        assert json.loads(path.read_text())["calls"] == {"write": 2}
        host.tell(packets.event(1, packets.NR_IO_URING_SETUP, b""))
        host.end_program()
        host.tell(packets.stats(processes=1, calls={1: 3}))
        host.end()
    report = json.loads(path.read_text())
    assert report["calls"] == {"write": 5}
    assert (report["processes"], report["denied"], report["crossings_per_turn"]) == (2, 1, 1.0)
    assert report["events"] == {"denied": 1}
    assert report["complete"] is True
    assert os.listdir(tmp_path) == ["stats.json"]


def test_a_trace_goes_to_its_file_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    with HostProcess(trace=str(path)) as host:
        host.tell(packets.trace(packets.NR_OPENAT, (0xFFFFFFFFFFFFFF9C, 0x7000, 0), 3, ((1, 0, b"/etc/passwd\0"),)))
        host.tell(packets.trace(packets.NR_READ, (3, 0x7000, 10), -errno.EBADF))
        host.end()
    opened, read = path.read_text().splitlines()
    assert "openat(" in opened
    assert '"/etc/passwd"' in opened
    assert "= 3" in opened
    assert "EBADF" in read


def test_a_denied_call_is_told_once_and_counted_each_time() -> None:
    with HostProcess(stats="table") as host:
        for _ in range(3):
            host.tell(packets.event(1, packets.NR_IO_URING_SETUP, b"use the ring"))
        host.ask(packets.stats(first=True))
        text = host.end()
        assert text.startswith("scone-wrap: syscall denied: io_uring_setup: use the ring\nscone-wrap: syscalls ")
        assert text.count("io_uring_setup") == 1
        assert "event denied                  3" in text
