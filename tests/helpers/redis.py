"""A redis client, and what several tests ask a server."""

from __future__ import annotations

import socket

from tests.helpers.server import Server

Reply = str | int | list["Reply"] | None


class Client:
    """A redis client of a few lines, so that every byte of the exchange is this test's."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    @staticmethod
    def encode(*words: str | int | bytes) -> bytes:
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)

    def send(self, *words: str | int | bytes) -> None:
        self.socket.sendall(self.encode(*words))

    def ask(self, *words: str | int | bytes) -> Reply:
        self.send(*words)
        return self.reply()

    def reply(self) -> Reply:
        line = self.file.readline()
        assert line.endswith(b"\r\n"), f"the server hung up: {line!r}"
        kind, rest = line[:1], line[1:-2]
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2].decode("latin-1")
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        return rest.decode()


def shut_down(server: Server, port: int, *how: str) -> None:
    with Client(port) as client:
        client.send("SHUTDOWN", *how)
        assert client.file.read() == b"", server.last_words()
    assert server.wait() == 0, server.last_words()


def info(client: Client, key: str) -> str:
    text = client.ask("INFO")
    assert isinstance(text, str)
    return next(line.partition(":")[2] for line in text.splitlines() if line.startswith(key + ":"))
