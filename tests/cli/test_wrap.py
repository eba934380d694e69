"""scone-wrap from outside: refusals, exit statuses, what the program sees of its start."""

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scone_preload import __version__

NO_ENVIRONMENT: dict[str, str] = {}


def run(*argv: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, **more)  # type: ignore[call-overload,no-any-return]


def compiled(tmp_path: Path, *flags: str) -> Path:
    source = tmp_path / "program.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", *flags, "-o", tmp_path / "program", source], check=True)
    return tmp_path / "program"


def refused(scone_wrap: Path, path: str | Path, status: int, *words: str) -> None:
    done = run(scone_wrap, path)
    assert done.returncode == status
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("scone-wrap: ")
    assert not [word for word in words if word not in done.stderr], done.stderr


def test_a_static_program_is_refused(scone_wrap: Path, tmp_path: Path) -> None:
    path = compiled(tmp_path, "-static")
    refused(scone_wrap, path, 126, "static", str(path))


def test_a_static_position_independent_program_is_refused(scone_wrap: Path, tmp_path: Path) -> None:
    refused(scone_wrap, compiled(tmp_path, "-static-pie"), 126, "static")


def test_a_setuid_program_is_refused(scone_wrap: Path, tmp_path: Path) -> None:
    path = compiled(tmp_path)
    path.chmod(0o4755)
    refused(scone_wrap, path, 126, "setuid", str(path))


@pytest.mark.parametrize(("machine", "word"), [(3, "32-bit"), (183, "AArch64"), (243, "RISC-V")])
def test_a_program_of_another_machine_is_refused(scone_wrap: Path, tmp_path: Path, machine: int, word: str) -> None:
    path = compiled(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[18:20] = machine.to_bytes(2, "little")
    path.write_bytes(raw)
    refused(scone_wrap, path, 126, word, str(path))


def test_a_text_without_an_interpreter_line_is_refused(scone_wrap: Path, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("echo hello\n")
    path.chmod(0o755)
    refused(scone_wrap, path, 126, "not an ELF program", str(path))


def test_a_missing_program_is_not_found(scone_wrap: Path) -> None:
    refused(scone_wrap, "no-such-tool", 127, "command not found: no-such-tool: ")
    refused(scone_wrap, "/nowhere/tool", 127, "no such file: /nowhere/tool: ")


def test_a_file_without_execute_permission_is_refused(scone_wrap: Path, tmp_path: Path) -> None:
    path = compiled(tmp_path)
    path.chmod(0o644)
    refused(scone_wrap, path, 126, "permission denied", "chmod")


def test_an_old_kernel_is_refused(scone_wrap: Path) -> None:
    done = run("setarch", "x86_64", "--uname-2.6", scone_wrap, "/bin/true")
    assert done.returncode == 125
    assert done.stderr.startswith("scone-wrap: kernel without Syscall User Dispatch: Linux 2.6")


def test_a_wrong_option_ends_with_125(scone_wrap: Path) -> None:
    assert run(scone_wrap, "--nonsense", "/bin/true").returncode == 125


def test_a_report_that_could_not_be_written_is_refused_at_the_start(scone_wrap: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for option in ("--stats", "--trace"):
        done = run(scone_wrap, f"{option}={tmp_path}/no/file", "/usr/bin/touch", marker)
        assert done.returncode == 125
        assert f"{tmp_path}/no/file" in done.stderr
    assert not marker.exists()


def test_help_and_version_go_to_standard_output(scone_wrap: Path) -> None:
    assert run(scone_wrap, "--help").stdout.startswith("Usage: scone-wrap [options] BINARY [ARGS...]\n")
    assert run(scone_wrap, "--version").stdout == f"scone-wrap {__version__}\n"
    assert run(scone_wrap, "-h").stderr == ""


def test_help_to_a_reader_that_has_gone_is_silent(scone_wrap: Path) -> None:
    done = run("bash", "-c", f"{scone_wrap} --help | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_the_generated_shim_is_shown(scone_wrap: Path) -> None:
    done = run(scone_wrap, "--show-shim", "true")
    assert done.returncode == 0, done.stderr
    assert "struct shim_image shim_image" in done.stdout


def test_variables_for_pythons_do_not_reach_our_own(scone_wrap: Path) -> None:
    done = run(scone_wrap, "--version", env={"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "PYTHONVERBOSE": "1"})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("mode", ["sync", "async"])
class TestTheProgram:
    def test_its_output_and_status_are_its_own(self, scone_wrap: Path, mode: str) -> None:
        done = run(scone_wrap, "--syscalls", mode, "sh", "-c", "echo out; echo err >&2; exit 7")
        assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)

    def test_it_sees_its_arguments_as_given(self, scone_wrap: Path, mode: str) -> None:
        done = run(scone_wrap, "--syscalls", mode, "cat", "/proc/self/cmdline")
        assert done.stdout == "cat\0/proc/self/cmdline\0"

    def test_it_sees_the_environment_as_given(self, scone_wrap: Path, mode: str) -> None:
        given = {"B": "2", "A": "1", "ODD.NAME": "x=y", "PYTHONHOME": "/nowhere"}
        done = run(scone_wrap, "--syscalls", mode, "/usr/bin/env", env=given)
        assert done.stdout == "".join(f"{name}={value}\n" for name, value in given.items())

    def test_it_sees_an_empty_environment(self, scone_wrap: Path, mode: str) -> None:
        assert run(scone_wrap, "--syscalls", mode, "/usr/bin/env", env=NO_ENVIRONMENT).stdout == ""

    def test_it_has_only_the_descriptors_it_was_given(self, scone_wrap: Path, mode: str) -> None:
        done = run(
            scone_wrap,
            "--syscalls",
            mode,
            "sh",
            "-c",
            "cd /proc/self/fd; for x in *; do [ $x -lt 64 ] && echo $x; done",
        )
        assert done.stdout.split()[:3] == ["0", "1", "2"]
        native = run("sh", "-c", "cd /proc/self/fd; for x in *; do [ $x -lt 64 ] && echo $x; done")
        assert done.stdout == native.stdout

    def test_it_has_the_signals_it_was_given(self, scone_wrap: Path, mode: str) -> None:
        show = "grep -E 'Sig(Blk|Ign)' /proc/self/status"
        for setting in ("", "trap '' PIPE XFSZ HUP; "):
            native = run("bash", "-c", f"{setting}{show}", restore_signals=True)
            done = run("bash", "-c", f"{setting}{scone_wrap} --syscalls {mode} {show}", restore_signals=True)
            assert done.stdout == native.stdout

    def test_it_has_the_pid_and_the_parent_of_the_command(self, scone_wrap: Path, mode: str) -> None:
        process = subprocess.Popen(
            [scone_wrap, "--syscalls", mode, "sh", "-c", "echo $$ $PPID"], stdout=subprocess.PIPE, text=True
        )
        assert process.communicate(timeout=120)[0] == f"{process.pid} {os.getpid()}\n"

    def test_it_ends_by_the_signal_that_ended_it(self, scone_wrap: Path, mode: str) -> None:
        assert run(scone_wrap, "--syscalls", mode, "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM

    def test_no_process_is_left_behind(self, scone_wrap: Path, mode: str, tmp_path: Path) -> None:
        marker = f"left-behind-{tmp_path.name}-{mode}"
        assert run(scone_wrap, "--syscalls", mode, "sh", "-c", "exit 0", marker).returncode == 0
        deadline = time.monotonic() + 5
        while left := processes_named(marker):
            assert time.monotonic() < deadline, left
            time.sleep(0.02)

    def test_what_can_not_be_wrapped_is_refused_to_a_child(self, scone_wrap: Path, mode: str, tmp_path: Path) -> None:
        path = compiled(tmp_path, "-static")
        done = run(scone_wrap, "--syscalls", mode, "sh", "-c", f"{path}; echo $?")
        assert done.stdout == "126\n"
        assert "static" in done.stderr

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its user")
    def test_a_child_that_has_given_up_its_user_is_wrapped(self, scone_wrap: Path, mode: str, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)  # a cache that the child can't read
        show = ("sh", "-c", "id -u; grep -c '[.]so$' /proc/self/maps; grep -c scone /proc/self/maps")
        change = ("setpriv", "--reuid", "65534", "--clear-groups")
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
        done = run(scone_wrap, "--syscalls", mode, *change, *show, env=environment)
        user, _, shim_mappings = done.stdout.split()
        assert (user, done.stderr) == ("65534", "")
        assert int(shim_mappings) > 0

    def test_statistics_come_as_a_table_or_as_json(self, scone_wrap: Path, mode: str, tmp_path: Path) -> None:
        done = run(scone_wrap, "--syscalls", mode, "--stats", "cat", "/etc/hostname")
        assert "scone-wrap: syscalls " in done.stderr
        path = tmp_path / "stats.json"
        assert run(scone_wrap, "--syscalls", mode, f"--stats={path}", "cat", "/etc/hostname").stderr == ""
        assert '"read": ' in path.read_text(), "the file is there when the program has ended"

    def test_a_trace_names_the_calls(self, scone_wrap: Path, mode: str, tmp_path: Path) -> None:
        path = tmp_path / "trace"
        run(scone_wrap, "--syscalls", mode, f"--trace={path}", "cat", "/etc/hostname")
        assert '"/etc/hostname"' in path.read_text()
        done = run(scone_wrap, "--syscalls", mode, "--trace-failing", "cat", "/no/such/file")
        assert "ENOENT" in done.stderr
        assert " = 0" not in done.stderr


def processes_named(marker: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if marker.encode() in words:
            found.append(f"{path.parent.name}: {words!r}")
    return found


def on_a_terminal(*argv: str) -> bytes:
    """Run a command with a terminal as its standard error, and return what it wrote there."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(argv, stderr=terminal, stdout=subprocess.DEVNULL)
    os.close(terminal)
    assert process.wait(120) == 0
    text = b""
    try:
        while chunk := os.read(controller, 4096):
            text += chunk
    except OSError:
        pass  # the terminal's way to say end of file
    os.close(controller)
    return text


def test_a_terminal_is_told_which_mode_runs_unless_quiet(scone_wrap: Path) -> None:
    assert on_a_terminal(str(scone_wrap), "true").startswith(b"scone-wrap: ")
    assert on_a_terminal(str(scone_wrap), "-q", "true") == b""


def test_a_process_that_can_have_no_helper_says_so_once_and_takes_the_gate(scone_wrap: Path, tmp_path: Path) -> None:
    report = tmp_path / "stats.json"
    other_user = ("setpriv", "--reuid", "65534", "--clear-groups") if os.geteuid() == 0 else ()
    many_calls = ("dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=3000", "status=none")
    ring = ("--syscalls", "async", "--exit-cost", "4000")
    done = run(scone_wrap, *ring, f"--stats={report}", *other_user, "prlimit", "--nproc=1", *many_calls)
    assert done.returncode == 0
    assert re.fullmatch(r"scone-wrap: note: no helper can be made \(errno 11\), .*\(ulimit -v\)\n", done.stderr), done
    assert json.loads(report.read_text())["events"] == {"notice": 1}
