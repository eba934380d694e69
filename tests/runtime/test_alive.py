"""P7: a runtime host that was killed stops every wrapped process, closed; a stopped one answers later."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers.modes import WRAPPED, Mode, command, warm
from tests.helpers.net import wait_until
from tests.helpers.processes import descendants, nothing_left_behind

PYTHON = "/usr/bin/python3"
GONE = b"scone: stopped: the runtime host is gone: something killed it\n"
WAITS = {
    "a sleep": "import time; time.sleep(60)",
    "a lock": "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "a read": "import os; r, w = os.pipe(); os.read(r, 1)",
    "a poll": "import select, os; r, w = os.pipe(); p = select.epoll(); p.register(r); p.poll()",
    "a wait for a signal": "import signal; signal.pause()",
    "a computation": "while True: pass",
    "threads": "import threading, time\nfor _ in range(8): threading.Thread(target=time.sleep, args=(60,)).start()",
    "children": "import os, time\nfor _ in range(4): os.fork()\ntime.sleep(60)",
    "a child that was executed": "import subprocess; subprocess.run(['/bin/sleep', '60'])",
    "a shell that waits": "import os; os.execv('/bin/sh', ['sh', '-c', 'sleep 60 & sleep 61 & wait'])",
    "a daemon": "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork(): os._exit(0)\ntime.sleep(60)",
}


def host_of(mark: str) -> int:
    """The runtime host of the wrapped program whose command line has this mark."""
    found: list[int] = []

    def look() -> bool:
        for name in os.listdir("/proc"):
            try:
                folder = Path("/proc", name)
                is_host = name.isdigit() and (folder / "comm").read_text() == "scone-runtime\n"
                if is_host and mark in (folder / "cmdline").read_text():
                    found.append(int(name))
            except OSError:
                continue
        return bool(found)

    wait_until(look, f"a runtime host of {mark}")
    return found[0]


def started(mode: Mode, code: str, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    """A wrapped Python that has said that it runs, and its runtime host."""
    mark = f"mark-{os.getpid()}-{random.random()}"
    prologue = "import os; os.write(1, b'ready\\n')\n"
    argv = command(mode, [PYTHON, "-c", prologue + code, mark], *options)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process, host_of(mark)


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
@pytest.mark.parametrize("wait", WAITS)
def test_p7_a_killed_runtime_stops_a_program_in(wait: str, mode: Mode) -> None:
    warm(PYTHON, "/bin/sleep", "/bin/sh")
    with nothing_left_behind(patience=10):
        process, host = started(mode, WAITS[wait])
        with process:
            time.sleep(0.4)
            os.kill(host, signal.SIGKILL)
            _, err = process.communicate(timeout=20)
            assert process.returncode == 120, err
            assert err.startswith(GONE)


@pytest.mark.parametrize("seed", range(12))
def test_p7_a_runtime_killed_at_any_moment_leaves_no_process_running(seed: int) -> None:
    warm("/bin/sh", "/bin/true")
    dice = random.Random(seed)
    mark = f"mark-{os.getpid()}-{seed}"
    code = f"echo ready {mark}; while :; do /bin/true; (/bin/true | /bin/true); done"
    with nothing_left_behind(patience=10):
        argv = command(dice.choice(WRAPPED), ["/bin/sh", "-c", code])
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            host = host_of(mark)
            time.sleep(dice.random() * 0.2)
            os.kill(host, signal.SIGKILL)
            process.communicate(timeout=20)
            assert process.returncode != 0


def test_p7_while_the_runtime_is_stopped_nothing_that_it_decides_goes_through(tmp_path: Path) -> None:
    warm(PYTHON)
    policy = tmp_path / "p.toml"
    policy.write_text('version = 1\n[files]\nunlisted = "system"\nwrite = ["' + str(tmp_path) + '/"]\n')
    code = f"import os, time; time.sleep(1); open({str(tmp_path / 'made')!r}, 'w'); os.write(1, b'end')"
    with nothing_left_behind(patience=10):
        process, host = started(Mode.ASYNC, code, "--policy", str(policy))
        with process:
            os.kill(host, signal.SIGSTOP)
            time.sleep(2)
            assert not (tmp_path / "made").exists()
            assert process.poll() is None
            os.kill(host, signal.SIGCONT)
            assert process.communicate(timeout=20)[0] == b"end"
        assert (tmp_path / "made").exists()


def test_p1_a_program_that_runs_unwrapped_gets_nothing_of_the_shim(tmp_path: Path) -> None:
    warm("/bin/sh")
    policy = tmp_path / "p.toml"
    policy.write_text('version = 1\n[exec]\nunwrapped = ["/usr/bin/ls"]\n')
    argv = command(Mode.SYNC, ["/bin/sh", "-c", "ls -l /proc/self/fd; :"], "--policy", str(policy))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "the policy lets /usr/bin/ls run unwrapped" in done.stderr
    assert len([line for line in done.stdout.splitlines() if "->" in line]) == 4, done.stdout


def test_p6_the_shims_descriptors_are_not_seen_and_not_reached() -> None:
    code = (
        "import os, resource\n"
        "own = set(os.listdir('/proc/self/fd'))\n"
        "assert own == {'0', '1', '2', '3'}, own\n"
        "for fd in range(3, 1100):\n"
        "  try: os.close(fd)\n"
        "  except OSError: pass\n"
        "os.dup2(1, 1023); os.dup2(1, 1022); os.closerange(3, 1 << 20)\n"
        "assert os.fork() or os.system('true') == 0\n"
    )
    warm(PYTHON)
    process, host = started(Mode.SYNC, code + "import time; time.sleep(60)")
    with process:
        wait_until(lambda: bool(descendants(process.pid)), "a child")
        os.kill(host, signal.SIGKILL)
        assert process.wait(20) == 120
