"""What the web server tests share: files to serve, requests, reading pid files."""

from __future__ import annotations

import http.client
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.net import wait_until
from tests.helpers.processes import group_of

KIB, MIB = 1 << 10, 1 << 20
SIZES = {"small": KIB, "middle": MIB, "large": 100 * MIB}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers in lower case and body of one response."""

    status: int
    headers: dict[str, str]
    body: bytes


def content(size: int) -> bytes:
    """`size` bytes that differ from page to page."""
    block = b"".join(i.to_bytes(4, "little") for i in range(16_384))
    return (block * (size // len(block) + 1))[:size]


def make_site(place: Path, user: str | None) -> Path:
    """A directory with small, middle and large."""
    site = place / "site"
    site.mkdir()
    for name, size in SIZES.items():
        (site / name).write_bytes(content(size))
    (site / "index.html").write_text("<h1>index</h1>\n")
    if user is not None:
        for path in (site, *site.iterdir()):
            shutil.chown(path, user, group_of(user))
    return site


def fetch(port: int, path: str, *, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, headers=headers or {})
        return _answer(connection)
    finally:
        connection.close()


def _answer(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def fetch_in_turn(port: int, path: str, count: int) -> list[Answer]:
    """`count` requests on one kept-alive connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    answers = []
    for _ in range(count):
        connection.request("GET", path)
        answers.append(_answer(connection))
    connection.close()
    return answers


def fetch_at_once(port: int, path: str, connections: int) -> list[Answer]:
    """One request on each of many connections that are open together."""
    barrier = threading.Barrier(connections)

    def one(_: int) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.connect()
        barrier.wait(60)
        connection.request("GET", path)
        answer = _answer(connection)
        connection.close()
        return answer

    with ThreadPoolExecutor(connections) as pool:
        return list(pool.map(one, range(connections)))


def read_pid(path: Path) -> int:
    """The number in a pid file, once it is there."""
    wait_until(lambda: path.exists() and path.read_text().strip().isdigit(), f"{path.name} holds a pid")
    return int(path.read_text())
