"""Live statistics from outside: what programs that still run have counted, by each exit, for any client."""

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.modes import OPTIONS, SCONE_WRAP

Samples = dict[tuple[str, ...], float]
SOURCE = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int own;

static void reads(int count)
{
	char bytes[8];

	while (count--)
		if (pread(own, bytes, sizeof bytes, 0) != sizeof bytes)
			abort();
}

static void *thread(void *count)
{
	reads((int)(long)count);
	return NULL;
}

int main(int argument_count, char **arguments)
{
	pthread_t other;
	char byte;

	own = open("/proc/self/exe", 0);
	if (argument_count > 1) {			/* the program executed at the end */
		reads(10000);
		printf("executed\n");
		fflush(stdout);
		return read(0, &byte, 1) != 0;
	}
	reads(1000);
	pthread_create(&other, NULL, thread, (void *)2000);
	pthread_join(other, NULL);
	if (fork() == 0) {
		reads(4000);
		_exit(0);
	}
	wait(NULL);
	if (vfork() == 0)
		_exit(0);
	for (int i = 0; i < 7; i++)
		syscall(SYS_io_uring_setup, 1, NULL);
	printf("counted\n");
	fflush(stdout);
	read(0, &byte, 1);
	execl("/proc/self/exe", arguments[0], "executed", NULL);
	return 1;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    (folder / "program.c").write_text("#include <fcntl.h>\n" + SOURCE)
    subprocess.run(["gcc", "-pthread", "-o", folder / "program", folder / "program.c"], check=True)
    return folder / "program"


@contextmanager
def running(program: Path, path: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    command = [SCONE_WRAP, f"--stats-socket={path}", *options, program]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    with process:
        yield process
        process.kill()


def scrape(path: Path) -> Samples:
    """By HTTP; keys are the name and the values of the labels."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        connection = http.client.HTTPConnection("scone", timeout=60)
        connection.sock = client
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline()


@pytest.mark.parametrize("mode", OPTIONS)
def test_what_runs_is_counted_while_it_runs(program: Path, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "stats"
    with running(program, path, *OPTIONS[mode]) as process:
        assert line(process) == "counted\n"
        first = scrape(path)
        assert 7000 <= first["scone_calls_total", "pread64"] <= 7100
        assert first["scone_denied_total",] == 7
        assert first["scone_events_total", "denied"] == 1
        assert (first["scone_processes",], first["scone_processes_started_total",]) == (1, 2)
        assert first["scone_execs_total",] == 0
        assert first["scone_bytes_total", "in"] >= 0
        assert sum(value for key, value in first.items() if key[0] == "scone_calls_by_door_total") == sum(
            value for key, value in first.items() if key[0] == "scone_calls_total"
        )
        assert not [key for key in first if "duration" in key[0]]
        if mode == "ring":
            assert first["scone_ring_lanes_in_use",] >= 1
            assert first["scone_crossings_total",] >= 7000
        assert process.stdin
        process.stdin.write("x")
        process.stdin.flush()
        assert line(process) == "executed\n"
        second = scrape(path)
        assert 17000 <= second["scone_calls_total", "pread64"] <= 17200, "what was counted before the exec stays"
        assert (second["scone_processes",], second["scone_execs_total",]) == (1, 1)
        decreased = [key for key, value in first.items() if key[0].endswith("_total") and second.get(key, 0) < value]
        assert not decreased
        process.stdin.close()
        assert process.wait(60) == 0
    gone(path)


def gone(path: Path) -> None:
    deadline = time.monotonic() + 30
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("mode", OPTIONS)
def test_calls_are_timed_on_request(program: Path, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "stats"
    with running(program, path, "--stats-latency", *OPTIONS[mode]) as process:
        assert line(process) == "counted\n"
        found = scrape(path)
        count = found["scone_call_duration_seconds_count", "pread64"]
        assert 7000 <= count <= 7100
        assert found["scone_call_duration_seconds_bucket", "pread64", "+Inf"] == count
        assert 0 < found["scone_call_duration_seconds_sum", "pread64"] < 60


def test_what_a_killed_process_counted_stays(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "stats"
    with running(Path("/bin/sh"), path) as process:
        assert process.stdin
        killed = f"mkfifo {tmp_path}/f; {program} <{tmp_path}/f >{tmp_path}/out & exec 9>{tmp_path}/f"
        wait = f"until grep -q counted {tmp_path}/out; do sleep 0.05; done; kill -9 $!"
        process.stdin.write(f"{killed}; {wait}; {program} < /dev/null; echo ready\n")
        process.stdin.flush()
        while line(process) != "ready\n":
            pass
        found = scrape(path)
        assert found["scone_calls_total", "pread64"] >= 7000 + 17000
        assert found["scone_processes",] == 1


def test_a_daemon_that_outlives_the_first_process_is_still_served(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    daemon = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"
    command = [SCONE_WRAP, f"--stats-socket={path}", "sh", "-c", daemon]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    deadline = time.monotonic() + 30
    while scrape(path)["scone_processes",] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(int(done.stdout), 9)
    gone(path)


def test_statistics_at_the_end_are_the_same_with_it(program: Path, tmp_path: Path) -> None:
    counts = []
    for options in ((), (f"--stats-socket={tmp_path}/s",)):
        command = [SCONE_WRAP, f"--stats={tmp_path}/json", *options, program]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=120)
        counts.append(json.loads((tmp_path / "json").read_text())["calls"]["pread64"])
    assert counts[0] == counts[1] >= 17000


def test_a_path_that_is_taken_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    command = [SCONE_WRAP, f"--stats-socket={tmp_path}/taken", "/usr/bin/touch", tmp_path / "ran"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 125
    assert done.stderr.startswith("scone-wrap: there is a file that is no socket: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "ran").exists()


def test_times_without_a_socket_are_refused() -> None:
    command = [SCONE_WRAP, "--stats-latency", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (125, 1)
    assert "add --stats-socket" in done.stderr


def test_a_start_without_it_imports_none_of_it() -> None:
    code = "import sys; import scone_preload.cli.wrap, scone_preload.runtime.launch, scone_preload.runtime.host;"
    code += "print(*sys.modules)"
    python = SCONE_WRAP.with_name("python")
    out = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    own = ("live", "watched", "stats_socket", "exposition")
    assert not {f"scone_preload.runtime.{name}" for name in own} & set(out)
