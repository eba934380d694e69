"""The helper's two backends, io_uring and plain calls, give a wrapped server's clients the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from scone_preload.runtime.machine import io_uring
from tests.helpers.modes import Mode, command, warm
from tests.helpers.net import free_port, wait_for_port, wait_until
from tests.helpers.redis import Client, Reply

CLIENTS, ROUNDS = 50, 40
OPTIONS = {"io_uring": (), "plain calls": ("--no-io-uring",)}


def converse(port: int, server: int) -> list[Reply]:
    """The answers to many clients that asked while the server stood still: it finds all of them in one turn."""
    replies: list[Reply] = []
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(port)) for _ in range(CLIENTS)]
        for turn in range(ROUNDS):
            os.kill(server, signal.SIGSTOP)
            for number, client in enumerate(clients):
                client.send("SET", f"key {number}", f"{turn} " * (1 + 40 * number))
                client.send("GET", f"key {number}")
            os.kill(server, signal.SIGCONT)
            replies += [client.reply() for client in clients for _ in range(2)]
    return replies


def counted(place: Path, backend: str) -> tuple[list[Reply], int]:
    """The replies of a server whose helper has that backend, and how many calls it gave to io_uring."""
    port, report = free_port(), place / "stats.json"
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(place), "--save", ""]
    options = (*OPTIONS[backend], f"--stats={report}")
    with subprocess.Popen(command(Mode.RING, words, *options), stdout=subprocess.DEVNULL) as server:
        try:
            wait_for_port(port, lambda: None if server.poll() is None else "it has ended")
            replies = converse(port, server.pid)
        finally:
            server.terminate()
        assert server.wait(20) == 0
    wait_until(report.exists, "the statistics")
    found = json.loads(report.read_text())["ring_by_uring"]
    assert isinstance(found, int)
    return replies, found


@pytest.mark.parametrize("backend", OPTIONS)
def test_p6_a_server_answers_by_either_backend_of_the_helper(tmp_path: Path, backend: str) -> None:
    warm("/usr/bin/redis-server")
    replies, by_uring = counted(tmp_path, backend)
    expected: list[Reply] = []
    for turn in range(ROUNDS):
        for number in range(CLIENTS):
            expected += ["OK", f"{turn} " * (1 + 40 * number)]
    assert replies == expected
    assert (by_uring > 0) == (backend == "io_uring" and not io_uring())
