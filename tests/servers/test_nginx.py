"""P1, P6: nginx, master and two workers, daemonised: files, reload, log reopen, upgrade, proxying, orderly end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.modes import Mode
from tests.helpers.net import exchange, free_port, listens, wait_until
from tests.helpers.processes import all_processes
from tests.helpers.server import gone, run_to_end, wait_gone
from tests.servers.conftest import Start
from tests.servers.web import SIZES, content, fetch, fetch_at_once, fetch_in_turn, make_site, read_pid

# A binary upgrade execs argv[0], so it is a path.
NGINX = "/usr/sbin/nginx"
CONFIGURATION = """
worker_processes 2;
pid {place}/nginx.pid;
error_log {place}/error.log notice;
{user_line}
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
    access_log {place}/access.log;
    sendfile {sendfile};
    server {{
        listen 127.0.0.1:{port};
        root {place}/site;
        {extra}
    }}
}}
"""


def title(pid: int) -> bytes:
    """What a process calls itself; nothing when it has ended meanwhile, as workers do in a reload."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Nginx:
    """One daemonised nginx: its configuration, its master by the pid file, its command line."""

    def __init__(self, mode: Mode, place: Path, user: str | None) -> None:
        self.mode, self.place, self.user, self.port = mode, place, user, free_port()
        make_site(place, user)

    def configure(self, *, sendfile: str = "on", extra: str = "", user_line: str = "") -> None:
        values = {"place": self.place, "port": self.port, "sendfile": sendfile, "extra": extra, "user_line": user_line}
        (self.place / "nginx.conf").write_text(CONFIGURATION.format(**values))

    def command(self, *more: str) -> tuple[int, str]:
        words: list[str | Path] = [NGINX, "-e", self.place / "error.log", "-c", self.place / "nginx.conf", *more]
        return run_to_end(self.mode, words, place=self.place, user=self.user)

    def start(self) -> None:
        status, output = self.command()
        assert status == 0, output
        wait_until(lambda: listens(self.port), self.story("nginx listens"))

    @property
    def master(self) -> int:
        return read_pid(self.place / "nginx.pid")

    def workers(self, master: int | None = None) -> set[int]:
        """The worker processes of a master, as the log names them: a helper of the wrapper is none."""
        parent = master or self.master
        children = {pid for pid, (state, ppid, _) in all_processes().items() if ppid == parent and state != "Z"}
        return {pid for pid in children if b"worker process" in title(pid)}

    def story(self, what: str) -> Callable[[], str]:
        """What is waited for, and the log's end at the time when waiting was given up."""
        path = self.place / "error.log"
        return lambda: f"{what}\n{path.read_text()[-3000:] if path.exists() else '(no log)'}"

    def signal(self, number: signal.Signals, pid: int | None = None) -> None:
        os.kill(pid or self.master, number)

    def quit(self) -> None:
        master = self.master
        self.signal(signal.SIGQUIT)
        wait_gone(master)
        assert not (self.place / "nginx.pid").exists()
        assert not listens(self.port)

    def kill_all(self) -> None:
        for name in ("nginx.pid", "nginx.pid.oldbin"):
            path = self.place / name
            if path.exists() and path.read_text().strip():
                pid = int(path.read_text())
                for each in (*self.workers(pid), pid):
                    if not gone(each):
                        os.kill(each, signal.SIGKILL)


@pytest.fixture
def nginx(mode: Mode, place: Path, user: str | None) -> Iterator[Nginx]:
    server = Nginx(mode, place, user)
    server.configure()
    yield server
    server.kill_all()


@pytest.mark.parametrize("sendfile", ["on", "off"])
def test_p6_files_of_every_size_are_served(sendfile: str, nginx: Nginx) -> None:
    nginx.configure(sendfile=sendfile)
    nginx.start()
    for name, size in SIZES.items():
        answer = fetch(nginx.port, f"/{name}")
        assert answer.status == 200
        assert answer.headers["content-length"] == str(size)
        assert answer.body == content(size), name
    ranged = fetch(nginx.port, "/middle", headers={"Range": "bytes=1000-1999"})
    assert (ranged.status, ranged.body) == (206, content(SIZES["middle"])[1000:2000])
    assert fetch(nginx.port, "/absent").status == 404
    assert fetch(nginx.port, "/small", method="DELETE").status == 405
    nginx.quit()


def test_p6_many_connections_and_kept_alive_ones(nginx: Nginx) -> None:
    nginx.start()
    assert {answer.body for answer in fetch_in_turn(nginx.port, "/small", 200)} == {content(1024)}
    assert {answer.body for answer in fetch_at_once(nginx.port, "/middle", 60)} == {content(1 << 20)}
    pipelined = exchange(nginx.port, b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n" * 49 + b"GET /small HTTP/1.0\r\n\r\n")
    assert pipelined.count(b"HTTP/1.1 200 OK") == 50
    nginx.quit()
    assert (nginx.place / "access.log").read_text().count("GET /") == 200 + 60 + 50


def test_p6_a_master_with_two_workers_is_daemonised(nginx: Nginx) -> None:
    nginx.start()
    wait_until(lambda: len(nginx.workers()) == 2, "two workers run")
    sessions = {all_processes()[pid][2] for pid in (nginx.master, *nginx.workers())}
    assert sessions != {os.getsid(0)}
    assert len(sessions) == 1
    nginx.quit()


def test_p6_a_killed_worker_is_replaced(nginx: Nginx) -> None:
    nginx.start()
    wait_until(lambda: len(nginx.workers()) == 2, "two workers run")
    victim = min(nginx.workers())
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in nginx.workers() and len(nginx.workers()) == 2, "the worker is replaced")
    assert fetch(nginx.port, "/small").status == 200
    nginx.quit()


def test_p6_a_reload_takes_new_workers_and_configuration(nginx: Nginx) -> None:
    nginx.start()
    master = nginx.master
    wait_until(lambda: len(nginx.workers()) == 2, "two workers run")
    old = nginx.workers()
    nginx.configure(extra="location /new { return 200 'new configuration'; }")
    status, output = nginx.command("-s", "reload")
    assert status == 0, output
    wait_until(lambda: not old & nginx.workers() and len(nginx.workers()) == 2, "both workers are new")
    assert nginx.master == master
    assert fetch(nginx.port, "/new").body == b"new configuration"
    nginx.configure(extra="no_such_directive;")
    status, output = nginx.command("-t")
    assert status == 1
    assert "unknown directive" in output
    nginx.quit()


def test_p6_logs_are_reopened_by_sigusr1(nginx: Nginx) -> None:
    nginx.start()
    fetch(nginx.port, "/small")
    log, old = nginx.place / "access.log", nginx.place / "access.old"
    wait_until(lambda: "GET /small" in log.read_text(), "the request is logged")
    log.rename(old)
    nginx.signal(signal.SIGUSR1)
    wait_until(log.exists, "the log is made anew")
    wait_until(lambda: fetch(nginx.port, "/middle").status == 200 and "/middle" in log.read_text(), "it is written")
    assert "/small" not in log.read_text()
    nginx.quit()


def test_p6_the_binary_is_upgraded_by_sigusr2(nginx: Nginx) -> None:
    nginx.start()
    old = nginx.master
    nginx.signal(signal.SIGUSR2)
    wait_until(lambda: (nginx.place / "nginx.pid.oldbin").exists(), nginx.story("the old pid file moves"))
    new = nginx.master
    assert new != old
    wait_until(lambda: len(nginx.workers(new)) == 2, nginx.story("the new master has workers"))
    nginx.signal(signal.SIGQUIT, old)
    wait_gone(old)
    assert fetch(nginx.port, "/middle").body == content(1 << 20)
    assert nginx.master == new
    nginx.quit()


def test_p6_requests_are_proxied(nginx: Nginx, place: Path) -> None:
    port = free_port()
    words = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(place / "site")]
    with (place / "origin.log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as origin:
        try:
            wait_until(lambda: listens(port), "the origin listens")
            nginx.configure(extra=f"location / {{ proxy_pass http://127.0.0.1:{port}; }}")
            nginx.start()
            assert fetch(nginx.port, "/small").body == content(1024)
            assert fetch(nginx.port, "/middle").body == content(1 << 20)
            assert {answer.status for answer in fetch_at_once(nginx.port, "/small", 20)} == {200}
            assert fetch(nginx.port, "/absent").status == 404
        finally:
            origin.terminate()
    assert fetch(nginx.port, "/small").status == 502
    nginx.quit()


def test_p6_a_graceful_end_finishes_what_is_being_sent(nginx: Nginx) -> None:
    nginx.configure(extra="location /large { limit_rate 60m; }")
    nginx.start()
    master = nginx.master
    words = ["curl", "-s", "-o", str(nginx.place / "got"), f"http://127.0.0.1:{nginx.port}/large"]
    with subprocess.Popen(words) as client:
        wait_until(lambda: (nginx.place / "got").exists() and (nginx.place / "got").stat().st_size > 0, "bytes arrive")
        nginx.signal(signal.SIGQUIT)
        assert client.wait(60) == 0
    wait_gone(master)
    assert (nginx.place / "got").read_bytes() == content(SIZES["large"])


def test_p6_wrong_configurations_and_busy_ports_give_nginxs_own_errors(nginx: Nginx) -> None:
    nginx.start()
    second = Nginx.__new__(Nginx)
    second.mode, second.place, second.user, second.port = nginx.mode, nginx.place, nginx.user, nginx.port
    status, output = second.command("-g", f"pid {nginx.place}/second.pid;")
    assert status == 1
    assert "duplicate" in output or "Address already in use" in output
    assert fetch(nginx.port, "/small").status == 200
    nginx.quit()
    assert nginx.command("-s", "quit")[0] == 1


def test_p6_nginx_in_the_foreground_ends_by_signal_with_its_status(nginx: Nginx, start: Start) -> None:
    words = [NGINX, "-e", f"{nginx.place}/error.log", "-c", f"{nginx.place}/nginx.conf", "-g", "daemon off;"]
    server = start(words)
    server.wait_for_port(nginx.port)
    assert fetch(nginx.port, "/small").status == 200
    assert server.stop(signal.SIGTERM) == 0, server.last_words()


@pytest.mark.needs_root
def test_p6_workers_of_a_root_master_drop_their_privileges(nginx: Nginx) -> None:
    nginx.configure(user_line="user nobody nogroup;")
    secret = nginx.place / "site" / "secret"
    secret.write_text("root only")
    secret.chmod(0o600)
    nginx.start()
    wait_until(lambda: len(nginx.workers()) == 2, "two workers run")
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in nginx.workers()} == {65534}
    assert fetch(nginx.port, "/small").status == 200
    assert fetch(nginx.port, "/secret").status == 403
    nginx.quit()
