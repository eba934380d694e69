"""Loads for servers: redis-benchmark, and our own clients for HTTP and memcached; each tells requests and seconds."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from scone_preload.bench.model import Setting
from scone_preload.bench.native import compiled
from scone_preload.bench.processes import output_of, tool
from scone_preload.errors import UserError

CONNECTIONS = 50
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Done:
    """What a load did."""

    requests: int
    seconds: float


class Load(Protocol):
    """A client program."""

    def prepared(self, setting: Setting) -> "Load":
        """This load with what it needs built."""

    def warm(self, port: int) -> int:
        """Bring the server into the state in which it is measured; how many requests that took."""

    def run(self, port: int, seconds: float) -> Done:
        """Load the server for about so many seconds."""


@dataclass(slots=True)
class RedisBenchmark:
    """One command of redis-benchmark; as many requests as the server first warmed (the native one) answers in time."""

    command: str
    pipeline: int
    rate: float = 0.0

    def prepared(self, setting: Setting) -> "RedisBenchmark":
        return RedisBenchmark(self.command, self.pipeline)

    def warm(self, port: int) -> int:
        done = self._run(port, 5000 * self.pipeline)
        self.rate = self.rate or done.requests / done.seconds
        return done.requests

    def run(self, port: int, seconds: float) -> Done:
        return self._run(port, max(1000, int(self.rate * seconds)))

    def _run(self, port: int, requests: int) -> Done:
        words = f"-h 127.0.0.1 -p {port} -t {self.command} -c {CONNECTIONS} -P {self.pipeline} -n {requests} --csv"
        text = output_of([tool("redis-benchmark"), *words.split()], PATIENCE_S, Path("/"))
        rates = [float(number) for number in re.findall(r'^"[A-Z][^"]*","([0-9.]+)"', text, re.M)]
        if len(rates) != 1:
            raise UserError("redis-benchmark's answer is not understood", text[:500], "use Debian 12's redis-tools")
        return Done(requests, requests / rates[0])


@dataclass(frozen=True, slots=True)
class HttpLoad:
    """Our own client (http_load.c): one file over kept-alive connections. Wrk runs for whole seconds at least, and the
    machine's speed changes from one to the next."""

    file: str
    client: str = ""

    def prepared(self, setting: Setting) -> "HttpLoad":
        return replace(self, client=str(compiled(setting, "http_load")))

    def warm(self, port: int) -> int:
        return self.run(port, 0.3).requests

    def run(self, port: int, seconds: float) -> Done:
        return _counted([self.client, str(port), str(CONNECTIONS), str(seconds), f"/{self.file}"])


def _counted(words: list[str]) -> Done:
    """What one of our own clients prints."""
    requests, seconds = output_of(words, PATIENCE_S, Path("/")).split()
    return Done(int(requests), float(seconds))


@dataclass(frozen=True, slots=True)
class MemcachedLoad:
    """Our own client (memcached_load.c): nine gets to a set, 100-byte values."""

    client: str = ""

    def prepared(self, setting: Setting) -> "MemcachedLoad":
        return replace(self, client=str(compiled(setting, "memcached_load")))

    def warm(self, port: int) -> int:
        return self.run(port, 0.1).requests

    def run(self, port: int, seconds: float) -> Done:
        return _counted([self.client, str(port), str(CONNECTIONS), str(seconds)])
