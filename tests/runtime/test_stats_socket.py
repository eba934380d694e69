"""The statistics' socket: HTTP and plain clients, clients that dawdle, and paths that are taken."""

import os
import selectors
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scone_preload.errors import UserError
from scone_preload.runtime.stats_socket import CLIENTS_MAX, REQUEST_MAX, StatsServer, answer_to, listen

TEXT = "scone_x 1\n"


def answer(asked: bytes, *, at_end: bool = False) -> str:
    return answer_to(asked, at_end=at_end, text=lambda: TEXT).decode()


def test_http_clients_get_a_whole_answer() -> None:
    get = b"GET /metrics"
    for request in (get + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", get + b"?x=1 HTTP/1.0\n\n"):
        head, _, body = answer(request).partition("\r\n\r\n")
        assert head.startswith("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4")
        assert f"Content-Length: {len(TEXT)}" in head
        assert body == TEXT
    assert answer(b"HEAD /metrics HTTP/1.0\r\n\r\n").endswith("\r\n\r\n")


def test_plain_clients_get_the_bare_text() -> None:
    assert answer(b"\n") == answer(b"", at_end=True) == answer(b"anything", at_end=True) == TEXT


def test_a_request_is_waited_for() -> None:
    for part in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"):
        assert answer(part) == ""


def test_other_requests_are_refused() -> None:
    assert answer(b"POST /metrics HTTP/1.0\r\n\r\n").startswith("HTTP/1.0 405 ")
    assert answer(b"GET /secrets HTTP/1.0\r\n\r\n").startswith("HTTP/1.0 404 ")
    assert answer(b"GET HTTP/1.0\r\n\r\n").startswith("HTTP/1.0 404 ")


class Serving:
    """A server with its loop in a thread; `text` may be set."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = TEXT
        self.selector = selectors.DefaultSelector()
        self.server = StatsServer(self.selector, listen(path), path, lambda: self.text)
        self.wake, other = socket.socketpair()
        self.selector.register(other, selectors.EVENT_READ, lambda: None)
        self.other = other
        self.ends = False
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()

    def loop(self) -> None:
        while not self.ends:
            for key, _ in self.selector.select():
                if key.fd in self.selector.get_map():
                    key.data()

    def close(self) -> None:
        self.ends = True
        self.wake.send(b"x")
        self.thread.join(30)
        self.server.close()
        self.selector.close()
        self.wake.close()
        self.other.close()

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(30)
        client.connect(self.path)
        return client

    def ask(self, request: bytes) -> bytes:
        with self.connect() as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            return read_all(client)


def read_all(client: socket.socket) -> bytes:
    found = b""
    while piece := client.recv(1 << 20):
        found += piece
    return found


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    made = Serving(str(tmp_path / "s"))
    yield made
    made.close()


def test_the_socket_is_its_owners_and_goes_at_the_end(tmp_path: Path) -> None:
    made = Serving(str(tmp_path / "s"))
    assert stat.S_IMODE(os.stat(made.path).st_mode) == 0o600
    assert made.ask(b"") == TEXT.encode()
    made.close()
    assert not os.path.exists(made.path)


def test_the_socket_of_another_stays_at_the_end(tmp_path: Path) -> None:
    made = Serving(str(tmp_path / "s"))
    os.unlink(made.path)
    Path(made.path).write_text("mine")
    made.close()
    assert Path(made.path).read_text() == "mine"


def test_a_large_answer_comes_whole_to_a_slow_reader(serving: Serving) -> None:
    serving.text = "x" * 5_000_000
    with serving.connect() as slow:
        slow.sendall(b"\n")
        assert serving.ask(b"\n") == serving.text.encode()
        assert read_all(slow) == serving.text.encode()


def test_clients_that_say_nothing_make_way(serving: Serving) -> None:
    idle = [serving.connect() for _ in range(CLIENTS_MAX + 3)]
    assert serving.ask(b"\n") == TEXT.encode()
    assert idle[0].recv(1) == b""
    for client in idle:
        client.close()


def test_an_endless_request_is_answered(serving: Serving) -> None:
    with serving.connect() as client:
        client.sendall(b"GET / HTTP/1.0\r\nX: " + b"x" * REQUEST_MAX)
        assert client.recv(12) == b"HTTP/1.0 200"


def test_a_client_that_resets_does_no_harm(serving: Serving) -> None:
    serving.text = "x" * 5_000_000
    with serving.connect() as client:
        client.sendall(b"\n")
    assert serving.ask(b"\n") == serving.text.encode()


def refused(path: Path | str, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        listen(str(path))
    assert not [word for word in words if word not in str(caught.value)], str(caught.value)


def test_taken_paths_are_refused_with_the_remedy(serving: Serving, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    refused(serving.path, "another program serves at this socket", "name another path")
    refused(tmp_path / "file", "no socket", "remove it")
    refused(tmp_path / "link", "no socket", "remove it")
    refused(tmp_path, "no socket")
    refused(tmp_path / "no" / "s", "can't serve the statistics", "No such file or directory")
    refused(tmp_path / ("x" * 120), "can't serve the statistics", "path too long")
    assert (tmp_path / "file").read_text() == "x"
    assert serving.ask(b"\n") == TEXT.encode()


def test_a_socket_that_nobody_serves_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    os.close(listen(str(tmp_path / "s")))


def test_a_server_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    made = Serving(str(tmp_path / "s"))
    ender = threading.Timer(0.2, made.close)
    ender.start()
    os.close(listen(made.path))
    ender.join()
