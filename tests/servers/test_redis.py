"""P1, P6: redis-server answers wrapped as it does natively: commands, persistence, many and large clients."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.net import free_port, wait_until
from tests.helpers.redis import Client, info, shut_down
from tests.helpers.server import Server
from tests.servers.conftest import Start


def redis(start: Start, place: Path, port: int, *options: str) -> Server:
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(place), "--save", "", *options]
    server = start(words, name=f"redis-{port}-{time.monotonic_ns()}")
    server.wait_for_port(port)
    with Client(port) as client:
        wait_until(lambda: client.ask("PING") == "PONG", "the data is loaded")
    return server


def test_p6_commands_values_and_the_command_line_client_work(start: Start, place: Path) -> None:
    port = free_port()
    server = redis(start, place, port)
    with Client(port) as client:
        assert client.ask("PING") == "PONG"
        assert client.ask("SET", "key", "value") == "OK"
        assert client.ask("GET", "key") == "value"
        assert client.ask("GET", "absent") is None
        assert client.ask("INCR", "counter") == 1
        assert client.ask("LPUSH", "list", "a", "b", "c") == 3
        assert client.ask("LRANGE", "list", 0, -1) == ["c", "b", "a"]
        assert str(client.ask("NO-SUCH-COMMAND")).startswith("ERR unknown command")
        assert int(info(client, "process_id")) == server.pid
    done = subprocess.run(["redis-cli", "-p", str(port), "get", "key"], capture_output=True, check=True, timeout=20)
    assert done.stdout == b"value\n"
    shut_down(server, port, "NOSAVE")


def test_p6_the_wrapped_command_line_client_works(start: Start, place: Path) -> None:
    port = free_port()
    server = redis(start, place, port)
    client = start(["redis-cli", "-p", str(port), "set", "by", "client"], name="client")
    assert client.wait() == 0, client.last_words()
    assert client.out.read_bytes() == b"OK\n"
    shut_down(server, port, "NOSAVE")


def test_p6_a_pipeline_of_ten_thousand_is_answered_in_order(start: Start, place: Path) -> None:
    port = free_port()
    server = redis(start, place, port)
    with Client(port) as client:
        client.socket.sendall(b"".join(Client.encode("SET", f"k{i}", i) for i in range(10_000)))
        assert all(client.reply() == "OK" for _ in range(10_000))
        client.socket.sendall(b"".join(Client.encode("GET", f"k{i}") for i in range(10_000)))
        assert [client.reply() for _ in range(10_000)] == [str(i) for i in range(10_000)]
    shut_down(server, port, "NOSAVE")


def test_p6_subscribers_hear_what_is_published(start: Start, place: Path) -> None:
    port = free_port()
    server = redis(start, place, port)
    with Client(port) as first, Client(port) as second, Client(port) as publisher:
        for client in (first, second):
            assert client.ask("SUBSCRIBE", "news") == ["subscribe", "news", 1]
        for i in range(500):
            assert publisher.ask("PUBLISH", "news", f"item {i}") == 2
        for client in (first, second):
            assert [client.reply() for _ in range(500)] == [["message", "news", f"item {i}"] for i in range(500)]
    shut_down(server, port, "NOSAVE")


def test_p6_a_hundred_clients_and_large_values(start: Start, place: Path) -> None:
    port = free_port()
    server = redis(start, place, port)
    large = bytes(range(256)) * 40_960
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(port)) for _ in range(100)]
        for number, client in enumerate(clients):
            client.send("SET", f"client-{number}", "x" * 1000)
        assert [client.reply() for client in clients] == ["OK"] * 100
        assert clients[0].ask("SET", "large", large) == "OK"
        assert clients[1].ask("STRLEN", "large") == len(large)
        assert clients[2].ask("GET", "large") == large.decode("latin-1")
        assert clients[3].ask("DBSIZE") == 101
    shut_down(server, port, "NOSAVE")


def test_p6_a_background_save_can_be_loaded_again(start: Start, place: Path) -> None:
    port = free_port()
    server = redis(start, place, port)
    with Client(port) as client:
        client.socket.sendall(b"".join(Client.encode("SET", f"k{i}", "v" * (i % 500)) for i in range(5000)))
        assert all(client.reply() == "OK" for _ in range(5000))
        assert client.ask("BGSAVE") == "Background saving started"
        wait_until(lambda: info(client, "rdb_bgsave_in_progress") == "0", "the background save ended")
        assert info(client, "rdb_last_bgsave_status") == "ok"
    shut_down(server, port, "NOSAVE")
    done = subprocess.run(["redis-check-rdb", place / "dump.rdb"], capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout.decode()
    server = redis(start, place, port)
    with Client(port) as client:
        assert client.ask("DBSIZE") == 5000
        assert client.ask("GET", "k4499") == "v" * 499
    shut_down(server, port, "SAVE")


@pytest.mark.parametrize("policy", ["everysec", "always"])
def test_p6_the_append_only_file_survives_rewrite_and_restart(policy: str, start: Start, place: Path) -> None:
    port = free_port()
    options = ("--appendonly", "yes", "--appendfsync", policy)
    server = redis(start, place, port, *options)
    with Client(port) as client:
        for i in range(300):
            assert client.ask("SET", f"k{i}", i) == "OK"
        assert "rewriting started" in str(client.ask("BGREWRITEAOF"))
        for i in range(300, 600):
            assert client.ask("INCRBY", f"k{i}", i) == i
        wait_until(lambda: info(client, "aof_rewrite_in_progress") == "0", "the rewrite ended")
        assert info(client, "aof_last_bgrewrite_status") == "ok"
        assert client.ask("SET", "last", "after the rewrite") == "OK"
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0, server.last_words()
    server = redis(start, place, port, *options)
    with Client(port) as client:
        assert client.ask("DBSIZE") == 601
        assert [client.ask("GET", f"k{i}") for i in range(600)] == [str(i) for i in range(600)]
        assert client.ask("GET", "last") == "after the rewrite"
    shut_down(server, port)


def test_p6_what_always_acknowledged_survives_sigkill(start: Start, place: Path) -> None:
    port = free_port()
    options = ("--appendonly", "yes", "--appendfsync", "always")
    server = redis(start, place, port, *options)
    with Client(port) as client:
        for i in range(200):
            assert client.ask("SET", f"k{i}", i) == "OK"
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    server = redis(start, place, port, *options)
    with Client(port) as client:
        assert client.ask("DBSIZE") == 200
    shut_down(server, port)


def test_p6_the_benchmark_runs(start: Start, place: Path) -> None:
    port = free_port()
    server = redis(start, place, port)
    words = ["redis-benchmark", "-p", str(port), "-n", "5000", "-c", "20", "-P", "4", "-q", "-t", "set,get,lpush,mset"]
    done = subprocess.run(words, capture_output=True, check=True, timeout=120)
    assert done.stdout.count(b"requests per second") == 4, done.stdout.decode()
    shut_down(server, port, "NOSAVE")


def test_p6_a_unix_socket_and_a_daemon_with_pid_file(start: Start, place: Path) -> None:
    port = free_port()
    pid_file, path = place / "redis.pid", place / "redis.sock"
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(place), "--save", ""]
    words += ["--daemonize", "yes", "--pidfile", str(pid_file), "--unixsocket", str(path), "--logfile", "log"]
    starter = start(words)
    assert starter.wait() == 0, starter.last_words()
    wait_until(pid_file.exists, "the pid file is there")
    wait_until(path.exists, "the socket is there")
    with Client(port) as client:
        assert int(info(client, "process_id")) == int(pid_file.read_text())
    with socket.socket(socket.AF_UNIX) as unix:
        unix.settimeout(20)
        unix.connect(str(path))
        unix.sendall(b"PING\r\n")
        assert unix.recv(100) == b"+PONG\r\n"
    with Client(port) as client:
        client.send("SHUTDOWN", "NOSAVE")
        assert client.file.read() == b""
    wait_until(lambda: not pid_file.exists(), "the pid file is gone")


@pytest.mark.needs_root
def test_p6_redis_works_as_root(start: Start, place: Path) -> None:
    port = free_port()
    server = redis(start, place, port)
    with Client(port) as client:
        assert client.ask("SET", "key", "value") == "OK"
        assert client.ask("BGSAVE") == "Background saving started"
        wait_until(lambda: info(client, "rdb_bgsave_in_progress") == "0", "the background save ended")
        assert info(client, "rdb_last_bgsave_status") == "ok"
    shut_down(server, port)
