"""P1: seen from outside, each of the real programs enters the kernel from the gate and the helper only."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import pytest

from tests.helpers.modes import WRAPPED, Mode, command
from tests.helpers.net import exchange, free_port, listens, wait_until
from tests.helpers.processes import end_session
from tests.helpers.server import environment_of
from tests.witness.witness import Seen, read, strace_command

GET = b"GET / HTTP/1.0\r\n\r\n"
NGINX = """
daemon off; worker_processes 2; pid {place}/pid; error_log {place}/error.log; user root;
events {{}}
http {{ access_log {place}/access.log; client_body_temp_path {place}/b; proxy_temp_path {place}/p;
fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
server {{ listen 127.0.0.1:{port}; root {place}; }} }}
"""
APACHE = """
ServerRoot {place}
ServerName localhost
DefaultRuntimeDir {place}
PidFile {place}/pid
Listen 127.0.0.1:{port}
LoadModule mpm_{mpm}_module /usr/lib/apache2/modules/mod_mpm_{mpm}.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
DocumentRoot {place}
ErrorLog {place}/error.log
StartServers 2
"""


@contextmanager
def witnessed(mode: Mode, argv: Sequence[str | Path], place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server under the witness; the trace is at place/trace."""
    words = strace_command(place / "trace", command(mode, argv))
    with (place / "output").open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=place,
            env=environment_of(place, None),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            end_session(process.pid)
            process.wait(20)


def judge(place: Path, mode: Mode, images: int = 1) -> Seen:
    seen = read(place / "trace")
    assert not seen.violations, f"{seen}\n{(place / 'output').read_text()[-2000:]}"
    assert len(seen.wrapped_images) >= images, str(seen)
    assert seen.by_origin["gate"] > 0, str(seen)
    if mode is Mode.RING:
        assert seen.by_origin["helper"] > 0, f"no helper worked: {seen}"
    return seen


def until_it_listens(port: int, process: subprocess.Popen[bytes], place: Path) -> None:
    def there() -> bool:
        assert process.poll() is None, (place / "output").read_text()
        return listens(port)

    wait_until(there, lambda: (place / "output").read_text(), 60)


def wrapped_pid(place: Path, name: str) -> int:
    """The pid of the program under strace: the process that made the first wrapped image of that name."""
    wanted = f'/{name}", '
    line = next(line for line in (place / "trace").read_text().splitlines() if "execve(" in line and wanted in line)
    return int(line.split()[0])


@pytest.fixture(params=WRAPPED, ids=lambda mode: str(mode.value))
def mode(request: pytest.FixtureRequest) -> Mode:
    assert isinstance(request.param, Mode)
    return request.param


def ask_redis(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 30) as client, client.makefile("rb") as lines:
        client.sendall(b"SET k v\r\nGET k\r\nBGSAVE\r\n")
        assert [lines.readline() for _ in range(4)][:3] == [b"+OK\r\n", b"$1\r\n", b"v\r\n"]
        wait_until(lambda: info(client, lines)["rdb_bgsave_in_progress"] == "0", "the background save ended", 60)
        client.sendall(b"SHUTDOWN NOSAVE\r\n")
        lines.read()


def info(client: socket.socket, lines: BufferedReader) -> dict[str, str]:
    client.sendall(b"INFO persistence\r\n")
    size, text = int(lines.readline()[1:]), b""
    while len(text) < size + 2:
        text += lines.readline()
    return dict(line.split(":", 1) for line in text.decode().split("\r\n") if ":" in line)


def test_p1_redis_and_its_saving_child(mode: Mode, tmp_path: Path) -> None:
    port = free_port()
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
    with witnessed(mode, words, tmp_path) as server:
        until_it_listens(port, server, tmp_path)
        ask_redis(port)
        assert server.wait(60) == 0
    judge(tmp_path, mode)


def test_p1_nginx_master_and_workers(mode: Mode, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "nginx.conf").write_text(NGINX.format(place=tmp_path, port=port))
    with witnessed(mode, ["/usr/sbin/nginx", "-c", tmp_path / "nginx.conf"], tmp_path) as server:
        until_it_listens(port, server, tmp_path)
        assert all(exchange(port, GET).endswith(b"page") for _ in range(20))
        pid = int((tmp_path / "pid").read_text())
        subprocess.run(["kill", "-QUIT", str(pid)], check=True)
        assert server.wait(60) == 0
    judge(tmp_path, mode)


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_p1_apache(mode: Mode, mpm: str, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "apache.conf").write_text(APACHE.format(place=tmp_path, port=port, mpm=mpm))
    words = ["/usr/sbin/apache2", "-f", str(tmp_path / "apache.conf"), "-D", "FOREGROUND"]
    with witnessed(mode, words, tmp_path) as server:
        until_it_listens(port, server, tmp_path)
        assert all(exchange(port, GET).endswith(b"page") for _ in range(10))
        subprocess.run(["kill", "-TERM", (tmp_path / "pid").read_text().strip()], check=True)
        assert server.wait(60) == 0
    judge(tmp_path, mode)


def test_p1_memcached(mode: Mode, tmp_path: Path) -> None:
    port = free_port()
    words = ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "4", "-u", "root"]
    with witnessed(mode, words, tmp_path) as server:
        until_it_listens(port, server, tmp_path)
        assert exchange(port, b"set k 0 0 1\r\nv\r\nget k\r\nquit\r\n").endswith(b"END\r\n")
        subprocess.run(["kill", "-TERM", str(wrapped_pid(tmp_path, "memcached"))], check=True)
        assert server.wait(60) in (0, -signal.SIGTERM)
    judge(tmp_path, mode)


SCRIPTS = {
    "sqlite3": "sqlite3 db 'PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT * FROM t;'",
    "bash, coreutils, find, tar, gzip": "seq 500 | sort -rn | tail -1; tar cz * | tar tz; find . -exec ls {} + | wc -l",
    "git": "git init -q r && cd r && echo x > x && git add x && git -c user.name=a -c user.email=a@b commit -qm m",
    "gcc": "echo 'int main(void) { return 0; }' > a.c && gcc a.c -o a && ./a",
    "perl": "perl -e 'print `echo inner`; fork or exit; wait'",
    "python3": "python3 -c 'import subprocess, threading; t = threading.Thread(target=print); t.start(); t.join(); "
    'subprocess.run(["true"]); import ctypes; ctypes.CDLL(None).syscall(39)\'',
    "curl": "curl -s file:///etc/hostname >/dev/null; curl -s http://127.0.0.1:1/; test $? = 7",
    "an empty environment": "env -i /bin/sh -c 'exec /usr/bin/env -i /bin/ls /' >/dev/null",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_p1_tools(mode: Mode, script: str, tmp_path: Path) -> None:
    with witnessed(mode, ["bash", "-c", script], tmp_path) as process:
        assert process.wait(200) == 0, (tmp_path / "output").read_text()
    judge(tmp_path, mode, images=2)
