"""The rows of servers: native and by each exit in turn, each start of a server gets the same load."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from scone_preload.bench.homes import Home, new_home
from scone_preload.bench.loads import Done, Load
from scone_preload.bench.model import Mode, Opener, Probe, Sample, Setting
from scone_preload.bench.processes import cpu_between, free_port, running, tool, tree
from scone_preload.bench.tally import Tally

ServerCommand = Callable[[Path, int], list[str]]  # (its own folder, port) -> command line, stays in the foreground
Fill = Callable[[Home], None]
DATA = "data"  # in a server's own folder: what it keeps
IS_ROOT = os.geteuid() == 0
SLICE_S = 0.1
FILES = {"1k": 1024, "64k": 65536}


def redis(place: Path, port: int) -> list[str]:
    """Redis that keeps nothing on disk."""
    words = f"--bind 127.0.0.1 --port {port} --dir {place} --appendonly no --daemonize no --save".split()
    return [tool("redis-server"), *words, ""]


def redis_aof(fsync: str) -> ServerCommand:
    """Redis that appends each command to a log, synced `always` or `everysec`."""

    def command(place: Path, port: int) -> list[str]:
        words = f"--bind 127.0.0.1 --port {port} --dir {place / DATA} --appendonly yes --daemonize no"
        return [tool("redis-server"), *words.split(), "--appendfsync", fsync, "--save", ""]

    return command


def memcached(_: Path, port: int) -> list[str]:
    """Memcached with its default of four threads."""
    user = ["-u", "nobody"] if IS_ROOT else []
    return [tool("memcached"), "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "4", "-m", "64", *user]


def empty(_: Home) -> None:
    """Fills a home for a server that makes its files itself."""


def with_site(home: Home) -> None:
    """Fills a home with the static files that the server's folder has."""
    home.run([tool("cp"), "-r", str(home.folder.parent / "site"), str(home.folder / "site")])


def make_files(place: Path) -> None:
    """The static files that web servers serve."""
    (place / "site").mkdir()
    for name, size in FILES.items():
        (place / "site" / name).write_bytes(b"x" * size)


def nginx(workers: int, site: str = "site", more: str = "") -> ServerCommand:
    """Nginx, a master and this many workers, no access log; `more` goes to its configuration."""

    def command(place: Path, port: int) -> list[str]:
        make_files(place)
        temporary = " ".join(
            f"{n}_temp_path {place}/{n};" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (place / "nginx.conf").write_text(
            f"daemon off; worker_processes {workers}; pid {place}/pid; error_log {place}/error.log;\n"
            f"{'user root;' if IS_ROOT else ''}\n"
            "events { worker_connections 512; }\n"
            f"http {{ {temporary} access_log off; sendfile on; keepalive_requests 1000000000; {more}\n"
            f"  server {{ listen 127.0.0.1:{port}; root {place}/{site}; }} }}\n"
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
    fill: Fill | None = None
    starts: int = 0
    tally: Tally = field(default_factory=Tally)

    def measure(self, modes: Sequence[Mode]) -> Mapping[Mode, Sample]:
        """Start, load and end a server in each mode: requests a second, and its CPU microseconds a request."""
        self.starts += 1
        reports = {mode: self.place / f"{mode.value}-{self.starts}.json" for mode in modes}
        with ExitStack() as stack:
            servers = {mode: self._start(stack, mode, reports[mode]) for mode in modes}
            warmed = {mode: self.load.warm(port) for mode, (port, _) in servers.items()}
            before = {mode: tree(pid) for mode, (_, pid) in servers.items()}
            done = self._loaded({mode: port for mode, (port, _) in servers.items()})
            cpu = {mode: cpu_between(before[mode], tree(pid)) for mode, (_, pid) in servers.items()}
        for mode in modes:
            if mode.wrapped:
                self.tally.add(mode, warmed[mode] + done[mode].requests, reports[mode])
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

    def _start(self, stack: ExitStack, mode: Mode, report: Path) -> tuple[int, int]:
        return start(stack, self.setting, self.server, mode, report, self.fill)

    def facts(self, mode: Mode) -> Sample:
        """Tell the calls and crossings for each request, from the wrapped servers' own statistics."""
        return self.tally.facts(mode)


def start(
    stack: ExitStack, setting: Setting, server: ServerCommand, mode: Mode, report: Path, fill: Fill | None = None
) -> tuple[int, int]:
    """Start one server, in a folder beside its report, its data in a home of its own if that is filled; all ends with
    the stack. Gives its port and pid."""
    own, port = report.with_suffix(""), free_port()
    own.mkdir(mode=0o755)
    words = server(own, port)
    argv = setting.command(mode, words, f"--stats={report}")
    if fill is not None:
        home = new_home(setting, mode, own / DATA)
        stack.enter_context(home.attached())
        fill(home)
        argv = home.command(words, f"--stats={report}")
    return port, stack.enter_context(running(argv, report.parent, own.name, port))


def open_servers(server: ServerCommand, load: Load, fill: Fill | None = None) -> Opener:
    """An opener: prepares the load, which each measurement gives to a server of its own; with `fill`, one with a home
    for its data."""

    @contextmanager
    def opener(setting: Setting) -> Iterator[Probe]:
        with TemporaryDirectory(dir=setting.place, prefix="row-") as name:
            place = Path(name)
            place.chmod(0o755)
            yield Servers(setting, server, place, load.prepared(setting), fill)

    return opener
