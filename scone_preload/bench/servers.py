"""The rows of servers: native and by each exit in turn, each start of a server gets the same load."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from scone_preload.bench.loads import Done, Load
from scone_preload.bench.model import Mode, Opener, Probe, Sample, Setting
from scone_preload.bench.processes import cpu_between, free_port, running, tool, tree

ServerCommand = Callable[[Path, int], list[str]]  # (its own folder, port) -> command line, stays in the foreground
IS_ROOT = os.geteuid() == 0
SLICE_S = 0.1
FILES = {"1k": 1024, "64k": 65536}


def redis(place: Path, port: int) -> list[str]:
    """Redis that keeps nothing on disk."""
    words = f"--bind 127.0.0.1 --port {port} --dir {place} --appendonly no --daemonize no --save".split()
    return [tool("redis-server"), *words, ""]


def memcached(_: Path, port: int) -> list[str]:
    """Memcached with its default of four threads."""
    user = ["-u", "nobody"] if IS_ROOT else []
    return [tool("memcached"), "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "4", "-m", "64", *user]


def make_files(place: Path) -> None:
    """The static files that web servers serve."""
    (place / "site").mkdir()
    for name, size in FILES.items():
        (place / "site" / name).write_bytes(b"x" * size)


def nginx(workers: int) -> ServerCommand:
    """Nginx, a master and this many workers, no access log."""

    def command(place: Path, port: int) -> list[str]:
        make_files(place)
        temporary = " ".join(
            f"{n}_temp_path {place}/{n};" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (place / "nginx.conf").write_text(
            f"daemon off; worker_processes {workers}; pid {place}/pid; error_log {place}/error.log;\n"
            f"{'user root;' if IS_ROOT else ''}\n"
            "events { worker_connections 512; }\n"
            f"http {{ {temporary} access_log off; sendfile on; keepalive_requests 1000000000;\n"
            f"  server {{ listen 127.0.0.1:{port}; root {place}/site; }} }}\n"
        )
        return [tool("nginx"), "-e", f"{place}/error.log", "-c", f"{place}/nginx.conf"]

    return command


APACHE_MODULES = "/usr/lib/apache2/modules"
APACHE_USER = "User nobody\nGroup nogroup\n" if IS_ROOT else ""


def apache(place: Path, port: int) -> list[str]:
    """Apache httpd with the event module, two children that stay, no access log.

    It has more threads than connections come: when all are busy it closes kept-alive connections.
    """
    make_files(place)
    (place / "apache.conf").write_text(
        f"ServerRoot {place}\nServerName localhost\nDefaultRuntimeDir {place}\nPidFile {place}/pid\n"
        f"Listen 127.0.0.1:{port}\nErrorLog {place}/error.log\n"
        f"LoadModule mpm_event_module {APACHE_MODULES}/mod_mpm_event.so\n"
        f"LoadModule authz_core_module {APACHE_MODULES}/mod_authz_core.so\n"
        f"{APACHE_USER}"
        f"DocumentRoot {place}/site\nKeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 30\n"
        "StartServers 2\nServerLimit 2\nThreadLimit 64\nThreadsPerChild 64\n"
        "MaxRequestWorkers 128\nMinSpareThreads 1\nMaxSpareThreads 128\n"
        f"<Directory {place}/site>\nRequire all granted\n</Directory>\n"
    )
    return [tool("apache2"), "-f", f"{place}/apache.conf", "-D", "FOREGROUND"]


@dataclass(slots=True)
class Servers:
    """A probe: a server that is started anew in each mode for each round, and a load that they get in turns.

    The machine's speed changes from second to second, so the servers of a round live at the same time and are loaded
    for SLICE_S each, again and again. Two starts of one server differ by several percent for as long as they live
    (where their memory lies): what was measured again and again of one start would be its luck.
    """

    setting: Setting
    server: ServerCommand
    place: Path
    load: Load
    starts: int = 0
    requests: dict[Mode, int] = field(default_factory=dict)
    counted: dict[Mode, dict[str, float]] = field(default_factory=dict)

    def measure(self, modes: Sequence[Mode]) -> Mapping[Mode, Sample]:
        """Start, load and end a server in each mode: requests a second, and its CPU microseconds a request."""
        self.starts += 1
        reports = {mode: self.place / f"{mode.value}-{self.starts}.json" for mode in modes}
        with ExitStack() as stack:
            servers = {mode: start(stack, self.setting, self.server, mode, reports[mode]) for mode in modes}
            warmed = {mode: self.load.warm(port) for mode, (port, _) in servers.items()}
            before = {mode: tree(pid) for mode, (_, pid) in servers.items()}
            done = self._loaded({mode: port for mode, (port, _) in servers.items()})
            cpu = {mode: cpu_between(before[mode], tree(pid)) for mode, (_, pid) in servers.items()}
        for mode in modes:
            if mode.wrapped:
                self._count(mode, warmed[mode] + done[mode].requests, reports[mode])
        return {
            mode: {"rate": one.requests / one.seconds, "cpu": cpu[mode] * 1e6 / one.requests}
            for mode, one in done.items()
        }

    def _loaded(self, ports: Mapping[Mode, int]) -> dict[Mode, Done]:
        """The sums of all slices."""
        slices = max(1, round(self.setting.seconds / SLICE_S))
        done = {mode: Done(0, 0.0) for mode in ports}
        for _ in range(slices):
            for mode, port in ports.items():
                more = self.load.run(port, self.setting.seconds / slices)
                done[mode] = Done(done[mode].requests + more.requests, done[mode].seconds + more.seconds)
        return done

    def _count(self, mode: Mode, requests: int, report: Path) -> None:
        self.requests[mode] = self.requests.get(mode, 0) + requests
        counted = self.counted.setdefault(mode, {})
        for name, value in read_stats(report).items():
            counted[name] = counted.get(name, 0) + value

    def facts(self, mode: Mode) -> Sample:
        """Tell the calls and crossings for each request, from the wrapped servers' own statistics."""
        return {name: value / self.requests[mode] for name, value in self.counted.get(mode, {}).items()}


def start(stack: ExitStack, setting: Setting, server: ServerCommand, mode: Mode, report: Path) -> tuple[int, int]:
    """Start one server, in a folder beside its report; it ends with the stack. Gives its port and pid."""
    own, port = report.with_suffix(""), free_port()
    own.mkdir(mode=0o755)
    argv = setting.command(mode, server(own, port), f"--stats={report}")
    return port, stack.enter_context(running(argv, report.parent, own.name, port))


COUNTERS = ("crossings", "ring_spun", "ring_slept", "ring_writes_behind", "ring_reads_ahead")


def read_stats(path: Path) -> dict[str, float]:
    """What `--stats=FILE` counted: calls, traps, and COUNTERS; empty if none comes (written after the end)."""
    report: dict[str, object] = {}
    end = time.monotonic() + 3
    while not report and time.monotonic() < end:
        with suppress(OSError, ValueError):
            report = json.loads(path.read_text())
        time.sleep(0.02)
    found = {name: float(value) for name in COUNTERS if isinstance(value := report.get(name), int)}
    doors, exits = report.get("calls_by_door"), report.get("calls_by_exit")
    if isinstance(doors, dict) and isinstance(exits, dict):
        found["calls"] = float(sum(doors.values()))
        found["traps"] = float(doors.get("trap", 0))
        found["gate"], found["ring"] = float(exits.get("gate", 0)), float(exits.get("ring", 0))
    return found


def open_servers(server: ServerCommand, load: Load) -> Opener:
    """An opener: prepares the load, which each measurement gives to a server of its own."""

    @contextmanager
    def opener(setting: Setting) -> Iterator[Probe]:
        with TemporaryDirectory(dir=setting.place, prefix="row-") as name:
            place = Path(name)
            place.chmod(0o755)
            yield Servers(setting, server, place, load.prepared(setting))

    return opener
