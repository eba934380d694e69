"""Serves text on a unix socket, to HTTP clients and to plain ones, from within the runtime host's loop.

A client that asks by HTTP (`curl --unix-socket PATH http://scone/metrics`) gets an HTTP/1.0 answer; any other that
sends a line, or ends its side (`nc -NU PATH </dev/null`), gets the bare text. Nobody is waited for: a client that is
slow to ask or to read costs a place among CLIENTS_MAX, and the oldest goes when there is none left.
"""

from __future__ import annotations

import os

from scone_preload.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import selectors
    import socket
    from collections.abc import Callable

CLIENTS_MAX = 16
REQUEST_MAX = 8192
BACKLOG = 128
ENDING_TRIES, ENDING_WAIT_S = 50, 0.02
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
EVENT_READ, EVENT_WRITE = 1, 2


def listen(path: str) -> int:
    """Return a listening socket at an absolute `path`, for its owner alone; raises UserError."""
    import socket  # lazy: only a start with --stats-socket needs it

    try:
        _make_way(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _unusable(path, error) from None
    return listener.detach()


def _unusable(path: str, error: OSError) -> UserError:
    words = error.strerror or str(error)  # "AF_UNIX path too long" has no number
    return UserError("can't serve the statistics", path, f"{words}; name another path")


def _make_way(path: str) -> None:
    """Remove a socket that nobody serves any more; refuse to touch anything else.

    The runtime host of a service that is being restarted may still be about to end: it is given a second.
    """
    import time  # lazy: see above

    for _ in range(ENDING_TRIES):
        if not _is_served(path):
            return
        time.sleep(ENDING_WAIT_S)
    raise UserError("another program serves at this socket", path, "name another path")


def _is_served(path: str) -> bool:
    import socket  # lazy: see above

    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return False
    if info.st_mode & 0o170000 != 0o140000:
        raise UserError("there is a file that is no socket", path, "remove it, or name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return False
        except FileNotFoundError:
            return False
        except OSError:  # busy, or not ours to ask: somebody has it
            return True
    return True


class StatsServer:
    """The clients of one listening socket; `text` is asked anew for each answer. `close` removes the path."""

    def __init__(self, selector: selectors.BaseSelector, fd: int, path: str, text: Callable[[], str]) -> None:
        import socket  # lazy: see above

        self._selector = selector
        self._path = path
        self._text = text
        self._listener = socket.socket(fileno=fd)
        self._listener.setblocking(False)
        info = os.stat(path)
        self._identity = (info.st_dev, info.st_ino)
        self._clients: dict[socket.socket, bytearray] = {}  # asked so far; once it is answered, what is left to send
        selector.register(self._listener, EVENT_READ, self._accept)

    def close(self) -> None:
        """End all connections and remove the socket, if it is still there."""
        for client in tuple(self._clients):
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        try:
            info = os.stat(self._path)
            if (info.st_dev, info.st_ino) == self._identity:
                os.unlink(self._path)
        except OSError:  # somebody has removed it, or its folder
            return

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # gone again, or no descriptor is free
            return
        if len(self._clients) >= CLIENTS_MAX:
            self._drop(next(iter(self._clients)))
        client.setblocking(False)
        self._clients[client] = bytearray()
        self._selector.register(client, EVENT_READ, lambda: self._read(client))

    def _read(self, client: socket.socket) -> None:
        asked = self._clients[client]
        try:
            piece = client.recv(REQUEST_MAX)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        asked += piece
        answer = answer_to(bytes(asked), at_end=not piece or len(asked) >= REQUEST_MAX, text=self._text)
        if answer:
            self._clients[client] = bytearray(answer)
            self._selector.modify(client, EVENT_WRITE, lambda: self._write(client))
            self._write(client)

    def _write(self, client: socket.socket) -> None:
        left = self._clients[client]
        try:
            del left[: client.send(left)]
        except BlockingIOError:
            return
        except OSError:
            left.clear()
        if not left:
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        self._clients.pop(client)
        self._selector.unregister(client)
        client.close()


def answer_to(asked: bytes, *, at_end: bool, text: Callable[[], str]) -> bytes:
    """Return the whole answer, b"" while more of the request must come."""
    method = asked.split(b" ", 1)[0]
    line_end = asked.find(b"\n")
    is_http = b" HTTP/" in asked[: line_end + 1]
    if is_http and b"\n\r\n" not in asked and b"\n\n" not in asked and not at_end:
        return b""
    if not is_http:
        return text().encode() if line_end >= 0 or at_end else b""
    if method not in (b"GET", b"HEAD"):
        return _http("405 Method Not Allowed", "only GET and HEAD are served\n")
    target = asked.split(b" ", 2)[1].split(b"?")[0]
    if target not in (b"/", b"/metrics"):
        return _http("404 Not Found", "ask for /metrics\n")
    return _http("200 OK", text(), only_head=method == b"HEAD")


def _http(status: str, body: str, *, only_head: bool = False) -> bytes:
    raw = body.encode()
    lines = (f"HTTP/1.0 {status}", f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {len(raw)}", "Connection: close")
    return "\r\n".join((*lines, "", "")).encode() + (b"" if only_head else raw)
