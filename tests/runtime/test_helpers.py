"""P7: a program whose helper was killed stops, closed, wherever its threads wait; one that ends its helper goes on."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time

import pytest

from scone_preload.runtime.helpers import HelperWatch
from tests.helpers.modes import Mode, command, warm
from tests.helpers.processes import descendants, nothing_left_behind

PYTHON = "/usr/bin/python3"
HELPER = "scone-helper\n"
STOPPED = b"scone: stopped: the helper is gone: something killed it\n"

PROLOGUE = """
import os, resource, threading, time
os.read(os.open('/etc/hostname', os.O_RDONLY), 1)
os.write(1, b'ready\\n')
"""
WAITS = {
    "a sleep": "time.sleep(60)",
    "a lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "two threads": "threading.Thread(target=time.sleep, args=(60,)).start(); time.sleep(60)",
    "a wait for a child": "pid = os.posix_spawn('/bin/sleep', ['sleep', '9'], {}); os.waitpid(pid, 0)",
    "a read": "r, w = os.pipe(); os.read(r, 1)",
    "a computation": "while True: pass",
}
RENEWED = """
for count in range(20):
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))
    os.read(os.open('/etc/hostname', os.O_RDONLY), 1)
print('end')
"""


def name_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="ascii") as file:
        return file.read()


def started(code: str) -> subprocess.Popen[bytes]:
    """A wrapped Python that has made a call by the ring, and says so."""
    argv = command(Mode.RING, [PYTHON, "-c", PROLOGUE + code])
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("wait", WAITS)
def test_p7_a_killed_helper_stops_a_program_in(wait: str) -> None:
    warm(PYTHON, "/bin/sleep")
    with nothing_left_behind(patience=12), started(WAITS[wait]) as process:
        time.sleep(0.3)
        (helper,) = (pid for pid in descendants(process.pid) if name_of(pid) == HELPER)
        os.kill(helper, signal.SIGKILL)
        status = process.wait(5)
        assert process.stderr is not None
        assert (status, process.stderr.readline()) == (120, STOPPED)


def test_a_helper_that_was_ended_before_the_host_looked_is_not_missed() -> None:
    told: list[int] = []
    with selectors.DefaultSelector() as selector, subprocess.Popen(["true"]) as gone:
        gone.wait()
        watch = HelperWatch(selector, lambda: watch.take(4000, 0))
        watch._tell = told.append  # type: ignore[method-assign]
        watch.take(4000, gone.pid)
        assert told == []
        watch = HelperWatch(selector, lambda: None)
        watch._tell = told.append  # type: ignore[method-assign]
        watch.take(4000, gone.pid)
        assert told == [4000]


def test_p6_a_program_that_renews_its_helper_goes_on() -> None:
    warm(PYTHON)
    with nothing_left_behind(), started(RENEWED) as process:
        assert process.communicate(timeout=60) == (b"end\n", b"")
