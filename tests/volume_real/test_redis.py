"""P4, P6: redis's whole life on a volume: dump, log, rewrite, restart; no acknowledged write is lost by a kill."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.helpers.net import free_port, wait_until
from tests.helpers.processes import descendants, end_session
from tests.helpers.redis import Client, info, shut_down
from tests.helpers.server import Server
from tests.volume_real.conftest import LONG, Home

KEYS = 300


@contextmanager
def redis(home: Home, *options: str) -> Iterator[tuple[Server, int]]:
    port = free_port()
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home.data), *options]
    server = home.start(words, name=f"redis-{time.monotonic_ns()}")
    server.wait_for_port(port)
    with Client(port) as client:
        wait_until(lambda: client.ask("PING") == "PONG", server.last_words, 60)
    yield server, port


def put(port: int, first: int, count: int) -> None:
    """So many keys, each acknowledged."""
    with Client(port) as client:
        for n in range(first, first + count):
            assert client.ask("SET", f"key:{n}", f"value {n} " * 20) == "OK"


def held(port: int, count: int) -> list[int]:
    """Which of so many keys are missing or wrong."""
    with Client(port) as client:
        return [n for n in range(count) if client.ask("GET", f"key:{n}") != f"value {n} " * 20]


LOG = ("--appendonly", "yes", "--appendfsync")


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_p6_redis_dumps_logs_rewrites_and_comes_back(home: Home, fsync: str) -> None:
    with redis(home, *LOG, fsync) as (server, port):
        put(port, 0, KEYS)
        with Client(port) as client:
            client.ask("BGREWRITEAOF")
            wait_until(lambda: info(client, "aof_rewrite_in_progress") == "0", server.last_words)
            assert info(client, "aof_last_bgrewrite_status") == "ok", server.last_words()
            client.ask("BGSAVE")
            wait_until(lambda: info(client, "rdb_bgsave_in_progress") == "0", server.last_words)
            assert info(client, "rdb_last_bgsave_status") == "ok", server.last_words()
        put(port, KEYS, KEYS)
        shut_down(server, port)
    home.verified()
    assert home.cat("dump.rdb").startswith(b"REDIS")
    with redis(home, *LOG, fsync) as (server, port):
        assert held(port, 2 * KEYS) == []
        shut_down(server, port)


@pytest.mark.parametrize("everything", [False, True], ids=["the-server", "everything"])
def test_p4_no_acknowledged_write_is_lost_when_it_is_killed(home: Home, everything: bool) -> None:
    count = 0
    for _ in range(2 * LONG):
        with redis(home, *LOG, "always", "--save", "") as (server, port):
            assert held(port, count) == []
            put(port, count, KEYS)
            count += KEYS
            kill(server, everything)
    with redis(home, *LOG, "always", "--save", "") as (server, port):
        assert held(port, count) == []
        shut_down(server, port)
    home.verified()


def kill(server: Server, everything: bool) -> None:
    """Kill redis-server alone, or all: scone-wrap, its host, the helper."""
    if everything:
        end_session(server.pid)
        server.process.wait(20)
        return
    named = [pid for pid in descendants(server.pid) | {server.pid} if command_of(pid).startswith(b"redis-server")]
    assert named, "no redis-server is left"
    for pid in named:
        os.kill(pid, signal.SIGKILL)
    server.wait()


def command_of(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return b""
