"""What scone-wrap itself has to say: lines for people, or one JSON object a line (--log-format json).

One Log for the launcher and, since it is its fork, the runtime host. Every start imports this, so it imports only `os`.
A JSON line has `time` (UTC), `level` (info, warning, error), `kind`, `text`, and what is known of: `pid`, `call`,
`rule`, `object`, `remedy`, `place` (of the policy), `times`, `statistics` (docs/logs.md).
"""

import os

TEXT, JSON = FORMATS = ("text", "json")
PREFIX = "scone-wrap: "
STANDARD_ERROR = 2
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol, TypeAlias

    Fact: TypeAlias = str | int | dict[str, object]

    class Say(Protocol):
        """Something with the parameters of Log.say."""

        def __call__(self, text: str, kind: str = "message", level: str = "info", **facts: Fact) -> None: ...


class Log:
    """Where lines go (`fd`, -1: nowhere), and how they look."""

    __slots__ = ("fd", "format")

    def __init__(self, fd: int = STANDARD_ERROR, style: str = TEXT) -> None:
        self.fd = fd
        self.format = style

    def say(self, text: str, kind: str = "message", level: str = "info", **facts: "Fact") -> None:
        """Write lines, each ended and with "scone-wrap: " before it or not; as JSON, an object for each."""
        for line in text.removesuffix("\n").split("\n") if text else ():
            self.write(line.removeprefix(PREFIX), kind, level, **facts)

    def write(self, text: str, kind: str, level: str = "info", **facts: "Fact") -> None:
        """Write one entry; facts that are "" or 0 are left out."""
        if self.fd < 0:
            return
        line = json_line(text, kind, level, facts) if self.format == JSON else f"{PREFIX}{text}\n"
        write_all(self.fd, line.encode(errors="surrogateescape"))


LOG = Log()


def json_line(text: str, kind: str, level: str, facts: "dict[str, Fact]") -> str:
    """Return one entry as a line of JSON."""
    import json  # lazy: 8 ms that a start without it doesn't pay
    import time

    now = time.time()
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z"
    known = {name: value for name, value in facts.items() if value not in ("", 0)}
    return json.dumps({"time": stamp, "level": level, "kind": kind, **known, "text": text}) + "\n"


def one_line(text: str) -> str:
    """Return text in which nothing that a program named can begin another line, or steer a terminal."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def write_all(fd: int, data: bytes) -> None:
    """Write everything, or nothing more once the reader is gone."""
    try:
        while fd >= 0 and data:
            data = data[os.write(fd, data) :]
    except OSError:
        return
