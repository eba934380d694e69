"""P7: a program whose helper was killed stops, closed, wherever its threads wait; one that ends its helper goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

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
    with nothing_left_behind(patience=12):
        with started(WAITS[wait]) as process:
            time.sleep(0.3)
            (helper,) = (pid for pid in descendants(process.pid) if name_of(pid) == HELPER)
            os.kill(helper, signal.SIGKILL)
            status = process.wait(5)
            assert process.stderr is not None
            assert (status, process.stderr.readline()) == (120, STOPPED)


def test_p6_a_program_that_renews_its_helper_goes_on() -> None:
    warm(PYTHON)
    with nothing_left_behind():
        with started(RENEWED) as process:
            assert process.communicate(timeout=60) == (b"end\n", b"")
