"""Loopback ports and waiting for servers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until(true: Callable[[], bool], what: str | Callable[[], str], patience: float = 20.0) -> None:
    """Polls a condition; AssertionError with `what` (its text then) if it isn't true within `patience` seconds."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"after {patience} s still not: {what if isinstance(what, str) else what()}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether something accepts connections on that port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for_port(port: int, alive: Callable[[], str | None], patience: float = 30.0) -> None:
    """Waits for a server on `port`; `alive()` gives None, or why waiting is in vain."""
    end = time.monotonic() + patience
    while not listens(port):
        reason = alive()
        assert reason is None, reason
        assert time.monotonic() < end, f"nothing listens on port {port} after {patience} s"
        time.sleep(0.03)


def exchange(port: int, request: bytes, *, end: bool = False, timeout: float = 20.0) -> bytes:
    """Sends a request and gives all bytes until the server closes; `end` half-closes after sending."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(request)
        if end:
            connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(1 << 20):
            parts.append(part)
        return b"".join(parts)


def unread_lines(connection: socket.socket, count: int) -> list[bytes]:
    """The next `count` lines of a connection, without their line ends."""
    data = b""
    while data.count(b"\n") < count:
        part = connection.recv(65536)
        assert part, f"the connection ended after {data!r}"
        data += part
    return data.replace(b"\r", b"").split(b"\n")[:count]
