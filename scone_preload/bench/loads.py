"""Loads for servers: redis-benchmark, wrk, and our own client for memcached; each tells requests and seconds."""

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
class Wrk:
    """Wrk asks for one file over kept-alive connections."""

    file: str

    def prepared(self, setting: Setting) -> "Wrk":
        return self

    def warm(self, port: int) -> int:
        return self.run(port, 0.2).requests

    def run(self, port: int, seconds: float) -> Done:
        time = f"{max(1, round(seconds))}s"
        words = ["-t", "1", "-c", str(CONNECTIONS), "-d", time, f"http://127.0.0.1:{port}/{self.file}"]
        text = output_of([tool("wrk"), *words], PATIENCE_S, Path("/"))
        found = re.search(r"(\d+) requests in ([0-9.]+)(m?)s", text)
        if found is None or "Non-2xx" in text or "Socket errors" in text:
            raise UserError("wrk reports errors", text[:1000], "look at the server's log")
        scale = 1000.0 if found.group(3) else 1.0
        return Done(int(found.group(1)), float(found.group(2)) / scale)


@dataclass(frozen=True, slots=True)
class MemcachedLoad:
    """Our own client (memcached_load.c): nine gets to a set, 100-byte values."""

    client: str = ""

    def prepared(self, setting: Setting) -> "MemcachedLoad":
        return replace(self, client=str(compiled(setting, "memcached_load")))

    def warm(self, port: int) -> int:
        return self.run(port, 0.1).requests

    def run(self, port: int, seconds: float) -> Done:
        words = output_of([self.client, str(port), str(CONNECTIONS), str(seconds)], PATIENCE_S, Path("/")).split()
        return Done(int(words[0]), float(words[1]))
