"""P3: a helper that lies about the words of the ring itself: wrapped programs of many threads get errnos, or stop."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hostile.build import EXIT_DEAR, HERE, Victim, build_ring_liar, build_ring_victim, listen, started

LIES = dict(re.findall(r"^\tLIE\((\w+), (\w+)\)", (HERE / "ring_lie.h").read_text(), re.MULTILINE))
STOPPED = re.compile(r"scone: stopped: [^\n]+\n")
STOP = 120
ENDINGS = {
    "GOES_ON": {0},
    "STOPS": {STOP},
    "EITHER": {0, STOP},
    "WAITS": {-signal.SIGTERM},
    "ANY": {0, STOP, -signal.SIGTERM},
}
WAIT_S = 12.0  # after this, a signal must end it; a wait for what the helper never tells ends after some 3 s


@dataclass(frozen=True, slots=True)
class Ending:
    """How a victim ended."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def liar(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The shim with the lying helper, and its victim."""
    folder = tmp_path_factory.mktemp("ring-liar")
    return build_ring_liar(folder), build_ring_victim(folder)


def start(liar: tuple[Path, Path], lie: str, cwd: Path) -> Victim:
    """The victim, started as scone-wrap would, in a session of its own, with a runtime that only listens."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv: list[Path | str] = [liar[1], "victim", lie]
    process = started(argv, liar[0], theirs, cwd, mode="async", cost=EXIT_DEAR)
    threading.Thread(target=listen, args=(ours, []), daemon=True).start()
    return process


def finish(process: Victim) -> Ending:
    """Waits, ends what still waits by SIGTERM, and what is left of its helper."""
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(WAIT_S)
        process.terminate()
        process.wait(10)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate(timeout=10)
    return Ending(process.returncode, out, err)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.replace("_", " "))
def test_p3_of_a_helper_that_lies_by(lie: str, liar: tuple[Path, Path], tmp_path: Path) -> None:
    ending = finish(start(liar, lie, tmp_path))
    assert ending.status in ENDINGS[LIES[lie]], ending
    if ending.status == STOP:
        assert STOPPED.fullmatch(ending.err), ending
        return
    assert ending.err == "", ending
    if ending.status == 0:
        told = re.fullmatch(r"told (\d+)\nok victim\n", ending.out)
        assert told, ending
        assert int(told[1]) > 0, "nobody lied"


def test_without_a_lie_the_victim_ends_well(liar: tuple[Path, Path], tmp_path: Path) -> None:
    assert finish(start(liar, "none", tmp_path)) == Ending(0, "told 0\nok victim\n", "")


def test_p3_a_program_that_waits_for_a_completion_notices_that_its_helper_dies(
    liar: tuple[Path, Path], tmp_path: Path
) -> None:
    process = start(liar, "no_completion", tmp_path)
    time.sleep(1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    tasks = [int(child) for child in children]
    assert len(tasks) == 1, "the helper is the victim's only child"
    os.kill(tasks[0], signal.SIGKILL)
    ending = finish(process)
    assert ending.status == STOP, ending
    assert STOPPED.fullmatch(ending.err), ending
