"""P6: programs on a terminal: vim, less and an interactive shell under tmux; resize, Ctrl-C, Ctrl-Z and fg."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.modes import MODES, Mode, command
from tests.helpers.net import wait_until
from tests.helpers.server import environment_of

# The prompt tells the last exit status.
PROMPT = "status=$?>"


class Terminal:
    """A tmux window with a shell in it; the programs started there are run in one mode."""

    def __init__(self, mode: Mode, place: Path) -> None:
        self.mode, self.place, self.socket = mode, place, place / "tmux"
        environment = environment_of(place, None) | {"TERM": "xterm", "PS1": PROMPT, "SHELL": "/bin/sh"}
        self.environment = environment
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "bash --norc --noprofile")
        self.sees("status=0>")

    def tmux(self, *words: str) -> str:
        argv = ["tmux", "-S", str(self.socket), *words]
        done = subprocess.run(
            argv, cwd=self.place, env=self.environment, capture_output=True, check=True, timeout=20, text=True
        )
        return done.stdout

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def sees(self, text: str, patience: float = 20) -> None:
        """Waits until the screen shows a text (a regular expression)."""
        found = re.compile(text)
        wait_until(lambda: found.search(self.screen()) is not None, lambda: f"{text!r} on:\n{self.screen()}", patience)

    def keys(self, *keys: str) -> None:
        """Presses keys; names as tmux knows them, or text."""
        self.tmux("send-keys", *keys)

    def start(self, *argv: str) -> None:
        """Types a command line that runs `argv` in this mode, and presses Enter."""
        self.tmux("send-keys", "-l", f"clear; {shlex.join(command(self.mode, argv))}")
        self.keys("Enter")

    def resize(self, columns: int, rows: int) -> None:
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def end(self) -> None:
        subprocess.run(["tmux", "-S", str(self.socket), "kill-server"], check=False, capture_output=True, timeout=20)


@pytest.fixture(params=MODES, ids=lambda mode: str(mode.value))
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    mode = request.param
    assert isinstance(mode, Mode)
    window = Terminal(mode, tmp_path)
    yield window
    window.end()


def test_p6_vim_edits_resizes_stops_and_continues(terminal: Terminal) -> None:
    file = terminal.place / "text"
    terminal.start("vim", "-u", "NONE", "-N", "-n", str(file))
    terminal.sees("(?m)^~")
    terminal.keys("ihello from vim", "Escape", ":w", "Enter")
    wait_until(lambda: file.exists() and file.read_text() == "hello from vim\n", "the text is written")
    terminal.resize(100, 30)
    terminal.sees(r"\A(.*\n){25,}")
    terminal.keys(":echo &columns 'by' &lines", "Enter")
    terminal.sees("100 by 30")
    terminal.keys("C-z")
    terminal.sees("Stopped")
    terminal.keys("fg", "Enter")
    terminal.sees(r"(?m)^hello from vim\s*$")
    terminal.keys(":%!tr a-z A-Z", "Enter")
    terminal.sees("HELLO FROM VIM")
    terminal.keys(":cq 3", "Enter")
    terminal.sees("status=3>")
    assert file.read_text() == "hello from vim\n"


def test_p6_vim_is_interrupted_by_ctrl_c_and_goes_on(terminal: Terminal) -> None:
    terminal.start("vim", "-u", "NONE", "-N", "-n")
    terminal.sees("(?m)^~")
    terminal.keys(":sleep 100", "Enter")
    time.sleep(0.3)
    terminal.keys("C-c")
    terminal.keys(":echo 6 * 7", "Enter")
    terminal.sees("(?m)^42")
    terminal.keys(":q!", "Enter")
    terminal.sees("status=0>")


def test_p6_less_shows_searches_follows_and_resizes(terminal: Terminal) -> None:
    file = terminal.place / "lines"
    file.write_text("".join(f"line number {i}\n" for i in range(1, 1001)))
    terminal.start("less", str(file))
    terminal.sees(r"line number 23\n")
    terminal.keys("G")
    terminal.sees("line number 1000")
    terminal.keys("/number 5[0]0", "Enter", "g", "/number 77$", "Enter")
    terminal.sees(r"(?m)\Aline number 77\s*$")
    terminal.resize(90, 12)
    terminal.sees(r"\A(line number \d+\s*\n){11}")
    terminal.keys("F")
    terminal.sees("Waiting for data")
    with file.open("a") as more:
        more.write("appended later\n")
    terminal.sees("appended later")
    terminal.keys("C-c")
    terminal.sees(r"\(END\)")
    terminal.keys("g")
    terminal.sees(r"(?m)\Aline number 1\s*$")
    terminal.keys("C-z")
    terminal.sees("Stopped")
    terminal.keys("fg", "Enter")
    terminal.sees(r"(?m)\Aline number 1\s*$")
    terminal.keys("q")
    terminal.sees("(?m)^status=0>")


def test_p6_less_reads_a_pipe_and_keys_from_the_terminal(terminal: Terminal) -> None:
    terminal.start("bash", "-c", "seq 1 5000 | less")
    terminal.sees(r"(?m)^23$")
    terminal.keys("G")
    terminal.sees(r"(?m)^5000$")
    terminal.keys("q")
    terminal.sees("status=0>")


def test_p6_ctrl_c_ends_a_waiting_program_by_sigint(terminal: Terminal) -> None:
    terminal.start("sh", "-c", "echo started; exec cat")
    terminal.sees("(?m)^started")
    terminal.keys("echoed", "Enter")
    terminal.sees(r"echoed\s+echoed")
    terminal.keys("C-c")
    terminal.sees("status=130>")
    terminal.start("sh", "-c", "echo again; exec cat")
    terminal.sees("(?m)^again")
    terminal.keys("x", "Enter", "C-d")
    terminal.sees(r"x\s+x\s+status=0>")
    terminal.start("sh", "-c", "echo asleep; exec sleep 100")
    terminal.sees("(?m)^asleep")
    terminal.keys("C-\\")
    terminal.sees("status=131>")


def test_p6_a_wrapped_shell_has_job_control_of_its_own(terminal: Terminal) -> None:
    terminal.start("bash", "--norc", "--noprofile", "-i")
    terminal.keys("PS1='inner>'", "Enter")
    terminal.sees("(?m)^inner>")
    terminal.keys("sleep 100", "Enter")
    time.sleep(0.5)
    terminal.keys("C-z")
    terminal.sees("Stopped.*sleep 100")
    terminal.keys("bg; jobs", "Enter")
    terminal.sees("Running.*sleep 100")
    terminal.keys("fg", "Enter")
    time.sleep(0.3)
    terminal.keys("C-c")
    terminal.keys("clear; stty size; tty | cut -c1-8; exit 6", "Enter")
    terminal.sees(r"24 80\s+/dev/pts[\s\S]*status=6>")
