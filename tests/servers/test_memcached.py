"""P1, P6: memcached with four threads answers wrapped as it does natively."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.net import free_port, wait_until
from tests.helpers.server import Server
from tests.servers.conftest import Start


class Client:
    """The text protocol, a few commands."""

    def __init__(self, address: int | Path) -> None:
        if isinstance(address, int):
            self.socket = socket.create_connection(("127.0.0.1", address), 30)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(30)
            self.socket.connect(str(address))
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def line(self, command: str) -> str:
        self.socket.sendall(command.encode() + b"\r\n")
        return self.file.readline().decode().rstrip()

    def set(self, key: str, value: bytes) -> str:
        self.socket.sendall(b"set %s 0 0 %d\r\n%s\r\n" % (key.encode(), len(value), value))
        return self.file.readline().decode().rstrip()

    def get(self, key: str) -> bytes | None:
        words = self.line(f"get {key}").split()
        if words == ["END"]:
            return None
        value = self.file.read(int(words[3]) + 2)[:-2]
        assert self.file.readline() == b"END\r\n"
        return value

    def stats(self) -> dict[str, str]:
        self.socket.sendall(b"stats\r\n")
        found: dict[str, str] = {}
        while (words := self.file.readline().decode().split(maxsplit=2)) != ["END"]:
            found[words[1]] = words[2].strip()
        return found


def memcached(start: Start, port: int, *more: str) -> Server:
    server = start(["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "4", "-m", "128", *more])
    server.wait_for_port(port)
    return server


def test_p6_values_are_set_and_read_by_four_threads(start: Start) -> None:
    port = free_port()
    server = memcached(start, port)
    with Client(port) as client:
        assert client.set("key", b"value") == "STORED"
        assert client.get("key") == b"value"
        assert client.get("absent") is None
        assert client.line("incr key 1").startswith("CLIENT_ERROR")
        assert client.line("delete key") == "DELETED"
        assert client.line("no such command") == "ERROR"
        stats = client.stats()
        assert (stats["threads"], int(stats["pid"])) == ("4", server.pid)
    assert server.stop(signal.SIGTERM) == 0, server.last_words()


def test_p6_fifty_connections_at_once_keep_their_values_apart(start: Start) -> None:
    port = free_port()
    server = memcached(start, port)
    done: list[int] = []
    barrier = threading.Barrier(50)

    def work(number: int) -> None:
        with Client(port) as client:
            barrier.wait(60)
            for round_number in range(40):
                value = f"{number}:{round_number}:".encode() * 50
                if client.set(f"key-{number}", value) != "STORED" or client.get(f"key-{number}") != value:
                    return
            done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(50))
    with Client(port) as client:
        assert int(client.stats()["cmd_set"]) == 2000
    assert server.stop(signal.SIGINT) == 0, server.last_words()


def test_p6_large_values_and_pipelines(start: Start) -> None:
    port = free_port()
    server = memcached(start, port)
    value = bytes(range(256)) * 4000
    with Client(port) as client:
        assert client.set("large", value) == "STORED"
        assert client.get("large") == value
        client.socket.sendall(b"".join(b"set k%d 0 0 3\r\nabc\r\n" % i for i in range(5000)))
        assert all(client.file.readline() == b"STORED\r\n" for _ in range(5000))
        too_large = client.set("too-large", b"x" * (2 << 20))
        assert too_large == "SERVER_ERROR object too large for cache"
    assert server.stop() == 0, server.last_words()


def test_p6_connections_come_and_go(start: Start) -> None:
    port = free_port()
    server = memcached(start, port)
    for i in range(300):
        with Client(port) as client:
            assert client.set("turn", b"%d" % i) == "STORED"
    with Client(port) as client:
        assert client.get("turn") == b"299"
        assert int(client.stats()["total_connections"]) > 300
    assert server.stop() == 0, server.last_words()


def test_p6_a_unix_socket_serves_as_well(start: Start, place: Path) -> None:
    path = place / "memcached.sock"
    server = start(["memcached", "-s", str(path), "-t", "4"])
    wait_until(path.exists, server.last_words)
    with Client(path) as client:
        assert client.set("key", b"value") == "STORED"
        assert client.get("key") == b"value"
    assert server.stop() == 0, server.last_words()


def test_p6_a_connection_limit_of_its_own_and_wrong_options(start: Start) -> None:
    port = free_port()
    server = memcached(start, port, "-c", "60")
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(port)) for _ in range(20)]
        assert [client.set(f"k{i}", b"v") for i, client in enumerate(clients)] == ["STORED"] * 20
    assert server.stop() == 0, server.last_words()
    wrong = start(["memcached", "--no-such-option"], name="wrong")
    assert wrong.wait() != 0
    assert b"no-such-option" in wrong.err.read_bytes()


@pytest.mark.needs_root
def test_p6_started_as_root_it_drops_to_another_user(start: Start) -> None:
    port = free_port()
    server = memcached(start, port, "-u", "nobody")
    assert Path(f"/proc/{server.pid}").stat().st_uid == 65534
    with Client(port) as client:
        assert client.set("key", b"value") == "STORED"
        assert client.get("key") == b"value"
    assert server.stop() == 0, server.last_words()
