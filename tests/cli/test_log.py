"""--log-format and --log: every line of scone-wrap's own is one object, wherever it comes from."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.helpers.modes import OPTIONS, SCONE_WRAP
from tests.helpers.processes import descendants

DENIED = "import ctypes; [ctypes.CDLL(None).syscall(425, 1, 0) for _ in range(3)]"
Entry = dict[str, object]


def run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCONE_WRAP, *argv], capture_output=True, text=True, check=False, timeout=120)


def entries(text: str) -> list[Entry]:
    found = [json.loads(line) for line in text.splitlines()]
    for entry in found:
        assert {"time", "level", "kind", "text"} <= set(entry)
        assert entry["level"] in ("info", "warning", "error")
        assert abs(datetime.fromisoformat(entry["time"]).timestamp() - time.time()) < 300
        assert not str(entry["text"]).startswith("scone")
    return found


@pytest.mark.parametrize("mode", OPTIONS)
def test_a_denial_names_process_and_call(mode: str) -> None:
    done = run(*OPTIONS[mode], "--log-format", "json", sys.executable, "-c", f"{DENIED}; import os; print(os.getpid())")
    (entry,) = [entry for entry in entries(done.stderr) if entry["kind"] == "denied"]
    assert (entry["level"], entry["call"], entry["pid"]) == ("warning", "io_uring_setup", int(done.stdout))


def test_a_refused_exec_is_an_entry_too() -> None:
    done = run("--log-format=json", "sh", "-c", "/usr/bin/su; true")
    (line,) = re.findall(r'\{"time".*\}\n', done.stderr)  # maybe amid a line that the shell writes in pieces
    (entry,) = entries(line)
    assert (entry["kind"], entry["level"]) == ("notice", "warning")
    assert "setuid program: /usr/bin/su" in str(entry["text"])


ERRORS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "not found": (("--log-format", "json", "no-such-tool"), "command not found", "no-such-tool"),
    "unknown option": (("--log-format=json", "--nonsense", "x"), "unknown option", "--nonsense"),
    "before the format": (("--nonsense", "--log-format=json", "x"), "unknown option", "--nonsense"),
    "unknown format": (("--log-format", "xml", "x"), "unknown value", "--log-format xml"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_at_the_start_are_entries_with_their_parts(case: str) -> None:
    argv, rule, thing = ERRORS[case]
    done = run(*argv)
    if case == "unknown format":
        assert done.stderr == f"scone-wrap: {rule}: {thing}: use one of: text, json\n"
        return
    (entry,) = entries(done.stderr)
    assert (entry["kind"], entry["level"], entry["rule"], entry["object"]) == ("error", "error", rule, thing)
    assert entry["remedy"]


def test_the_programs_own_words_stay_as_they_are() -> None:
    done = run("--log-format=json", "sh", "-c", "echo out; echo '--log-format' json >&2")
    assert (done.stdout, done.stderr) == ("out\n", "--log-format json\n")
    assert run("sh", "-c", "exit 3", "--log-format", "json").stderr == ""


def test_a_file_gets_the_lines_and_grows(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for expected in (1, 2):
        done = run(f"--log={log}", "--log-format=json", sys.executable, "-c", DENIED)
        assert (done.returncode, done.stderr) == (0, "")
        assert len([entry for entry in entries(log.read_text()) if entry["kind"] == "denied"]) == expected
    text = tmp_path / "text"
    run(f"--log={text}", sys.executable, "-c", DENIED)
    assert "scone-wrap: syscall denied: io_uring_setup: " in text.read_text()


def test_errors_at_the_start_are_seen_and_logged(tmp_path: Path) -> None:
    done = run(f"--log={tmp_path}/log", "no-such-tool")
    assert done.stderr.startswith("scone-wrap: command not found: ")
    assert (tmp_path / "log").read_text() == done.stderr
    refused = run(f"--log={tmp_path}/no/log", "true")
    assert (refused.returncode, refused.stderr.count("\n")) == (125, 1)
    assert "can't write the log" in refused.stderr


def test_statistics_are_one_entry(tmp_path: Path) -> None:
    done = run("--log-format=json", "--stats", "cat", "/etc/hostname")
    (entry,) = [entry for entry in entries(done.stderr) if entry["kind"] == "statistics"]
    report = entry["statistics"]
    assert isinstance(report, dict)
    assert report["calls"]["read"] >= 1


def test_a_terminal_is_told_the_mode_as_an_entry() -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen([SCONE_WRAP, "--log-format=json", "true"], stderr=terminal)
    os.close(terminal)
    assert process.wait(60) == 0
    assert entries(os.read(controller, 4096).decode())[0]["kind"] == "mode"
    os.close(controller)


def test_an_enclave_that_stops_is_an_entry() -> None:
    code = "import os, time; open('/etc/hostname').read(); print('ready', flush=True); time.sleep(100)"
    command = [SCONE_WRAP, *OPTIONS["ring"], "--log-format=json", sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        names = {Path(f"/proc/{pid}/comm").read_text(): pid for pid in descendants(process.pid)}
        os.kill(names["scone-helper\n"], signal.SIGKILL)
        assert process.wait(60) == 120
        assert process.stderr
        (entry,) = [entry for entry in entries(process.stderr.read()) if entry["kind"] == "stopped"]
    assert (entry["level"], entry["pid"]) == ("error", process.pid)
    assert "helper" in str(entry["text"])


POLICY = 'version = 1\n[files]\nunlisted = "system"\n[calls]\ndeny.uname = "EPERM"\n[exec]\nunlisted = "refuse"\n'


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(POLICY)
    return path


def denials(done: subprocess.CompletedProcess[str], thing: str) -> list[Entry]:
    """What was told of denials of something, by its name."""
    lines = [line for line in done.stderr.splitlines() if '"kind": "denied"' in line]
    found = [json.loads(line[line.index("{") :]) for line in lines]  # the program's own words may stand before it
    return [entry for entry in found if thing in entry["object"]]


@pytest.mark.parametrize("mode", OPTIONS)
def test_a_policys_denial_has_its_rule_object_place_and_remedy_apart(mode: str, policy: Path) -> None:
    script = "for i in 1 2 3; do read x </etc/hostname; done; echo $$"
    done = run(*OPTIONS[mode], "--log-format=json", "--policy", policy, "bash", "-c", script)
    first, last = denials(done, "hostname")
    facts = {
        "rule": 'files.unlisted = "system"',
        "object": "read /etc/hostname",
        "place": f"{policy}:3",
        "remedy": 'to allow it, write [files] read = ["/etc/hostname"]',
    }
    for entry in (first, last):
        assert {name: entry[name] for name in facts} == facts
        assert entry["level"] == "warning"
        assert str(entry["text"]).endswith(": ".join(("denied by " + facts["rule"], *list(facts.values())[1:])))
    assert (first["pid"], first["call"], "times" in first) == (int(done.stdout), "openat", False)
    assert (last["times"], "pid" in last) == (3, False)


def test_a_denied_call_and_a_denied_program_name_their_lines(policy: Path) -> None:
    called = denials(run("--log-format=json", "--policy", policy, "uname"), "uname")
    assert [(entry["call"], entry["object"], entry["place"]) for entry in called] == [
        ("uname", "call uname", f"{policy}:5")
    ]
    assert called[0]["pid"]
    (executed,) = denials(run("--log-format=json", "--policy", policy, "sh", "-c", "/bin/ls; true"), "bin/ls")
    assert (executed["call"], executed["rule"], executed["place"]) == (
        "execve", 'exec.unlisted = "refuse"', f"{policy}:7",
    )  # fmt: skip


def test_an_argument_that_the_policy_forbids_has_its_parts_too() -> None:
    (entry,) = entries(run("--log-format=json", "--strict", "ls", "-l").stderr)
    assert (entry["kind"], entry["rule"], entry["object"]) == ("error", 'arguments.unlisted = "refuse"', "argument -l")
    assert (entry["place"], entry["remedy"]) == ("--strict", 'to allow it, write [arguments] allow = ["-l"]')


def test_what_a_program_names_makes_no_line_of_its_own(policy: Path) -> None:
    path = "/etc/a\nscone-wrap: all is well\x1b[2J"
    text = run("--policy", policy, "head", "-c", "1", path).stderr
    assert [line[:22] for line in text.splitlines() if line.startswith("scone-wrap: ")] == ["scone-wrap: denied by "]
    assert "read /etc/a\\nscone-wrap: all is well\\x1b[2J: " in text
    (entry,) = denials(run("--log-format=json", "--policy", policy, "head", "-c", "1", path), "/etc/a")
    assert entry["object"] == f"read {path}"


UNPROTECTED = "left unprotected: "


@pytest.mark.parametrize("mode", OPTIONS)
def test_what_left_unprotected_is_summed_up_in_one_line(mode: str, tmp_path: Path) -> None:
    written = run(*OPTIONS[mode], "--stats", "sh", "-c", "echo 12345; /bin/echo 123")
    (line,) = [line for line in written.stderr.splitlines() if UNPROTECTED in line]
    assert "2 calls wrote or sent data to files, sockets or terminal, at least 10 bytes: " in line
    assert "--data shields files" in line
    assert UNPROTECTED not in run(*OPTIONS[mode], "--stats", "true").stderr


def test_what_went_into_a_volume_is_not_called_unprotected(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    written = run("--stats", "--volume", f"{volume}:ephemeral", "sh", "-c", f"echo 12345 > {volume}/file")
    (line,) = [line for line in written.stderr.splitlines() if UNPROTECTED in line]
    assert "at least 0 bytes, all but what went into volumes" in line


def test_under_a_policy_it_is_an_entry_and_in_a_log_at_the_very_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "echo 12345; (while kill -0 $$; do sleep 0.01; done; echo 123 >later) >/dev/null 2>&1 &"
    done = subprocess.run(
        [SCONE_WRAP, "--deny", "mount", f"--log={log}", "--log-format=json", "sh", "-c", script],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("12345\n", "")
    deadline = time.monotonic() + 60
    while UNPROTECTED not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    (entry,) = [entry for entry in entries(log.read_text()) if entry["kind"] == "unprotected"]
    assert isinstance(entry["bytes_out"], int)
    assert entry["bytes_out"] >= 10


def test_a_terminal_is_told_it_and_nobody_else(tmp_path: Path) -> None:
    told = {}
    for quiet in ([], ["--quiet"]):
        controller, terminal = pty.openpty()
        process = subprocess.Popen(
            [SCONE_WRAP, *quiet, "--deny", "mount", "echo", "x"], stderr=terminal, stdout=terminal
        )
        os.close(terminal)
        assert process.wait(60) == 0
        told[bool(quiet)] = os.read(controller, 4096).decode()
        os.close(controller)
    assert [line[:32] for line in told[False].splitlines()[1:]] == ["x", "scone-wrap: left unprotected: 1 "]
    assert told[True] == "x\r\n"
    assert run("--deny", "mount", "echo", "x").stderr == ""
    assert run("echo", "x").stderr == ""
