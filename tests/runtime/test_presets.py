"""P7: each preset lets its program work with no denial; what the test's own place and port need is added by a file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scone_preload.policy.presets import PRESETS
from tests.helpers.modes import Mode
from tests.helpers.net import exchange, free_port, wait_until
from tests.helpers.processes import group_of, nothing_left_behind
from tests.helpers.server import ORDINARY_USER, Server, environment_of, place_of
from tests.runtime.test_learning import (
    denials,
    get,
    once,
    prepare_memcached,
    prepare_nginx,
    prepare_redis,
    use_memcached,
    use_nginx,
    use_redis,
)

POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"))
ADDED = """version = 1
[files]
write = ["{place}/"]
[[network.listen]]
port = {port}
shield = "pass"
"""
APACHE = """
ServerRoot {place}
ServerName localhost
DefaultRuntimeDir {place}
PidFile {place}/apache.pid
Listen 127.0.0.1:{port}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
TypesConfig /etc/mime.types
DocumentRoot {place}/site
ErrorLog {place}/error.log
<Directory />
    AllowOverride None
</Directory>
<Directory {place}/site>
    Require all granted
</Directory>
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with nothing_left_behind(10), place_of(ORDINARY_USER) as directory:
        yield directory


def prepare_apache(place: Path, port: int) -> list[str]:
    (place / "site").mkdir()
    (place / "site" / "1.html").write_text("hello\n")
    (place / "apache.conf").write_text(APACHE.format(place=place, port=port))
    return ["apache2", "-f", str(place / "apache.conf"), "-D", "FOREGROUND"]


def use_apache(server: Server, port: int) -> None:
    assert get(port, "/1.html") == 200, server.last_words() + (server.place / "error.log").read_text()
    assert get(port, "/2.html") == 404


def prepare_postgresql(place: Path, port: int) -> list[str]:
    subprocess.run([POSTGRES / "initdb", "-D", place / "data", "-A", "trust", "-U", "me"], check=True,
                   stdout=subprocess.DEVNULL, env=environment_of(place, ORDINARY_USER), user=ORDINARY_USER,
                   group=group_of(ORDINARY_USER))  # fmt: skip
    return [str(POSTGRES / "postgres"), "-D", str(place / "data"), "-p", str(port), "-k", ""]


def use_postgresql(server: Server, port: int) -> None:
    words = ["-h", "127.0.0.1", "-p", str(port), "-U", "me", "postgres", "-Atc"]
    sql = "CREATE TABLE t (x int); INSERT INTO t SELECT generate_series(1, 1000); SELECT sum(x) FROM t; CHECKPOINT"
    ready = [POSTGRES / "pg_isready", "-q", *words[:4]]
    wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, "PostgreSQL takes connections")
    done = subprocess.run([POSTGRES / "psql", *words, sql], capture_output=True, text=True, check=False)
    assert "500500" in done.stdout, done.stderr + server.last_words()


@dataclass(frozen=True, slots=True)
class Kind:
    """A server's command line, and what its clients do."""

    prepare: Callable[[Path, int], list[str]]
    use: Callable[[Server, int], None]


SERVERS = {
    "apache": Kind(prepare_apache, use_apache),
    "memcached": Kind(prepare_memcached, use_memcached),
    "nginx": Kind(prepare_nginx, use_nginx),
    "postgresql": Kind(prepare_postgresql, use_postgresql),
    "redis": Kind(prepare_redis, use_redis),
}
PROGRAM = """
import json, sqlite3, socket, subprocess, pwd
print(pwd.getpwuid(0).pw_name, json.dumps(subprocess.run(['echo', 'x'], capture_output=True, text=True).stdout))
"""
COMMANDS = {
    "sqlite": (["sqlite3", "{place}/a.db", "CREATE TABLE t (x); INSERT INTO t VALUES (1); SELECT * FROM t;"], "1\n"),
    "python": (["python3", "-c", PROGRAM], 'root "x\\n"\n'),
}


def test_every_preset_is_run() -> None:
    assert {*SERVERS, *COMMANDS} == set(PRESETS)


@pytest.mark.parametrize("mode", [Mode.SYNC, Mode.ASYNC], ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", SERVERS)
def test_p7_a_preset_lets_its_server_serve_without_a_denial(name: str, mode: Mode, place: Path) -> None:
    kind, port = SERVERS[name], free_port()
    argv: list[str | Path] = [*kind.prepare(place, port)]
    (place / "added.toml").write_text(ADDED.format(place=place, port=port))
    options = ["--preset", name, "--policy", str(place / "added.toml")]
    server = Server(mode, argv, place=place, user=ORDINARY_USER, options=options)
    try:
        server.wait_for_port(port)
        kind.use(server, port)
        server.stop()
    finally:
        server.end()
    assert denials(server.err.read_text()) == []


@pytest.mark.parametrize("mode", [Mode.SYNC, Mode.ASYNC], ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", COMMANDS)
def test_p7_a_preset_lets_its_program_run_without_a_denial(name: str, mode: Mode, place: Path) -> None:
    argv, out = COMMANDS[name]
    done = once(mode, [word.replace("{place}", str(place)) for word in argv], place, "--preset", name)
    assert (done.returncode, done.stdout, done.stderr) == (0, out, "")


def test_p7_a_preset_still_refuses_what_its_program_does_not_need(place: Path) -> None:
    port = free_port()
    (place / "added.toml").write_text(ADDED.format(place=place, port=port))
    options = ["--preset", "redis", "--policy", str(place / "added.toml")]
    argv: list[str | Path] = [*prepare_redis(place, port)]
    server = Server(Mode.ASYNC, argv, place=place, user=ORDINARY_USER, options=options)
    try:
        server.wait_for_port(port)
        exchange(port, b"REPLICAOF 127.0.0.1 9\r\nQUIT\r\n")
        assert exchange(port, b"CONFIG SET dir /home\r\nQUIT\r\n").startswith(b"-ERR")
    finally:
        server.end()
    assert 'denied by files.unlisted = "system": look /home' in server.err.read_text()


def test_p7_what_libc_asks_for_and_does_without_is_refused_without_a_word(place: Path) -> None:
    code = (
        "import socket\ns = socket.socket(socket.AF_UNIX)\n"
        "for name in ('/var/run/nscd/socket', '/run/other/socket'):\n"
        "  try: s.connect(name)\n"
        "  except OSError as e: print(e.errno)\n"
    )
    (place / "p.toml").write_text('version = 1\n[network]\nunlisted = "refuse"\n')
    done = once(Mode.SYNC, ["python3", "-c", code], place, "--policy", "p.toml")
    assert done.stdout == "2\n13\n"
    assert [line.partition(": ")[2].partition(": ")[0] for line in done.stderr.splitlines()] == [
        'denied by network.unlisted = "refuse"'
    ]
    once(Mode.SYNC, ["python3", "-c", code], place, "--learn", str(place / "l.toml"))
    text = (place / "l.toml").read_text()
    assert "nscd" not in text.replace(text[text.index("[arguments]") : text.index("[calls]")], "")
