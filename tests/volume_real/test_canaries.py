"""P2: 10 MB of canaries through redis, SQLite, nginx and Python: no host file and no helper's memory ever has one.

What comes or goes by a connection in the clear crosses in the clear: redis makes its canaries itself, by a script;
nginx's come from a client, so of nginx only files are searched. Where there is no volume the same search finds them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.helpers.memory import HELPER, holds, name_of
from tests.helpers.modes import Mode, command
from tests.helpers.net import free_port, wait_until
from tests.helpers.processes import descendants, end_session
from tests.helpers.redis import Client, info, shut_down
from tests.servers.web import fetch
from tests.volume_real.conftest import PROGRAMS, Home
from tests.volume_real.test_redis import redis

MARKER = b"cAnA" + b"rY-+"
MIB = 1 << 20
# 64 bytes each, 1 MiB by one call; made of two parts, and of numbers that no compression takes away.
SCRIPT = """
local lines = {}
math.randomseed(tonumber(ARGV[1]))
for key = 1, 16 do
  for line = 1, 1024 do
    local text = 'cAnA' .. 'rY-+'
    for part = 1, 7 do text = text .. string.format('%08x', math.random(0, 2147483647)) end
    lines[line] = text
  end
  redis.call('SET', 'key:' .. ARGV[1] .. ':' .. key, table.concat(lines))
end
return 'made'
"""


def kept_files(place: Path) -> list[str]:
    """The files below the test's directory and in shared memory that have a marker."""
    found = []
    for root in (place, Path("/dev/shm")):
        for path in root.rglob("*"):
            if path.is_file() and not path.is_symlink() and MARKER in path.read_bytes():
                found.append(str(path.relative_to(root)))
    return sorted(found)


def kept_open(pids: set[int]) -> list[str]:
    """The same of files without a name that processes have open. A memfd is memory: a helper's is searched as such."""
    found = []
    for pid in pids:
        with suppress(OSError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                target = str(entry.readlink())
                if target.endswith(" (deleted)") and "/memfd:" not in target and MARKER in entry.read_bytes():
                    found.append(target)
    return found


def helpers(pids: set[int]) -> set[int]:
    """Those that are helpers."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            if name_of(pid) == HELPER:
                found.add(pid)
    return found


def search(home: Home, pid: int) -> list[str]:
    """Where a marker is, outside of the programs' own memory."""
    below = descendants(pid) | {pid}
    own_helpers = helpers(below)
    assert bool(own_helpers) == (home.mode is Mode.RING), "helpers are where they belong"
    in_memory = [f"helper {one}" for one in own_helpers if holds(one, [MARKER])]
    return [*kept_files(home.place), *kept_open(below), *in_memory]


@contextmanager
def waiting(home: Home, *argv: str | Path) -> Iterator[int]:
    """A program that has said "ready" and waits; then its end, which must be a good one."""
    process = subprocess.Popen(
        command(home.mode, argv, *home.options),
        cwd=home.place,
        env=home.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.communicate(b"go\n", 60)
        assert process.returncode == 0
    finally:
        end_session(process.pid)
        process.communicate()


@pytest.fixture(params=[Mode.SYNC, Mode.RING], ids=lambda mode: str(mode.value))
def home(request: pytest.FixtureRequest, home_of: Callable[[Mode], Home]) -> Home:
    """Without a helper, and with all calls that can crossing by the ring."""
    return home_of(request.param)


def by_python(home: Home) -> list[str]:
    with waiting(home, "python3", PROGRAMS / "canary_python.py", home.data, "3", str(MIB // 2)) as pid:
        found = search(home, pid)
    return found + kept_files(home.place)


def test_p2_python_s_files_mappings_and_temporary_files(home: Home) -> None:
    assert by_python(home) == []
    assert home.cat("written") == home.cat("mapped")
    assert home.cat("copied").count(MARKER) == MIB // 2 // 64


def by_sqlite(home: Home, journal: str) -> list[str]:
    words = ["python3", PROGRAMS / "canary_sqlite.py", home.data / "base", journal, "10000"]
    with waiting(home, *words) as pid:
        found = search(home, pid)
    return found + kept_files(home.place)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_p2_sqlite_s_database_journal_and_temporary_files(home: Home, journal: str) -> None:
    assert by_sqlite(home, journal) == []
    assert home.cat("base").count(MARKER) >= 10000


def by_redis(home: Home) -> list[str]:
    words = ["--appendonly", "yes", "--appendfsync", "always", "--rdbcompression", "no", "--save", ""]
    with redis(home, *words) as (server, port):
        with Client(port) as client:
            for seed in range(2):
                assert client.ask("EVAL", SCRIPT, 0, seed) == "made"
            client.ask("BGSAVE")
            wait_until(lambda: info(client, "rdb_bgsave_in_progress") == "0", server.last_words, 60)
        found = search(home, server.pid)
        shut_down(server, port)
    return found + kept_files(home.place)


def test_p2_redis_s_dump_and_log(home: Home) -> None:
    assert by_redis(home) == []
    assert home.cat("dump.rdb").count(MARKER) >= 2 * MIB // 64


CONFIGURATION = """
daemon off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
{user}
events {{ worker_connections 64; }}
http {{
    client_body_temp_path {data}/body; proxy_temp_path {data}/proxy; fastcgi_temp_path {data}/fastcgi;
    uwsgi_temp_path {data}/uwsgi; scgi_temp_path {data}/scgi;
    log_format whole escape=none '$request_uri $request_body_file';
    access_log {data}/access.log whole;
    proxy_cache_path {data}/cache keys_zone=one:1m;
    client_max_body_size 10m; client_body_in_file_only on; client_body_buffer_size 8k;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_cache one; proxy_cache_valid 200 1h;
        }}
    }}
}}
"""
TEXT = (MARKER + b"0123456789abcdef" * 3 + b"01234567") * (MIB // 64)


class Upstream(BaseHTTPRequestHandler):
    """Answers every request with canaries."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(TEXT)))
        self.end_headers()
        self.wfile.write(TEXT)

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def upstream() -> Iterator[int]:
    """A server behind nginx; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield int(server.server_address[1])
    server.shutdown()
    thread.join()
    server.server_close()


def by_nginx(home: Home) -> list[str]:
    port = free_port()
    with upstream() as behind:
        user = "user root;" if os.geteuid() == 0 else ""
        values = {"place": home.place, "data": home.data, "port": port, "upstream": behind, "user": user}
        (home.place / "nginx.conf").write_text(CONFIGURATION.format(**values))
        words = ["/usr/sbin/nginx", "-e", f"{home.place}/error.log", "-c", f"{home.place}/nginx.conf"]
        server = home.start(words, "nginx")
        server.wait_for_port(port)
        for at in range(2):
            answer = fetch(port, f"/{MARKER.decode()}/{at}")
            assert (answer.status, answer.body) == (200, TEXT), server.last_words()
        body = subprocess.run(
            ["curl", "-sf", "--data-binary", "@-", f"http://127.0.0.1:{port}/post"],
            input=TEXT, capture_output=True, check=True, timeout=30,
        ).stdout  # fmt: skip
        assert body == TEXT
        found = [*kept_files(home.place), *kept_open(descendants(server.pid))]
        assert server.stop(signal.SIGQUIT) == 0, server.last_words()
    return found + kept_files(home.place)


def test_p2_nginx_s_log_client_bodies_and_cache(home: Home) -> None:
    assert by_nginx(home) == []
    assert home.cat("access.log").count(MARKER) == 2
    names = home.owner("ls", "-R", home.data).stdout.decode()
    stored = re.findall(r"(?:^|/)((?:body|cache)/\S*\w{8,})$", names, re.M)
    assert any(name.startswith("body/") for name in stored), names
    assert len([name for name in stored if home.cat(name).count(MARKER) >= MIB // 64]) >= 3


def test_p2_without_a_volume_the_same_search_finds_all_of_them(plain: Home) -> None:
    found = by_python(plain)
    assert {"data/written", "data/mapped", "data/copied"} <= set(found)
    assert any(name.endswith(" (deleted)") for name in found)
    found = [*by_sqlite(plain, "delete"), *by_redis(plain), *by_nginx(plain)]
    assert {"data/base", "data/base-journal", "data/dump.rdb", "data/access.log"} <= set(found)
    for start in ("data/appendonlydir/", "data/body/", "data/cache/"):
        assert any(name.startswith(start) for name in found), (start, found)
