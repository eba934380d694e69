"""P1, P6: Apache httpd, event and prefork: files, CGI, graceful restart, killed children, orderly end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.modes import Mode
from tests.helpers.net import free_port, listens, wait_until
from tests.helpers.processes import all_processes
from tests.helpers.server import gone, run_to_end, wait_gone
from tests.servers.conftest import Start
from tests.servers.web import SIZES, content, fetch, fetch_at_once, fetch_in_turn, make_site, read_pid

APACHE = "/usr/sbin/apache2"
CONFIGURATION = """
ServerRoot {place}
ServerName localhost
DefaultRuntimeDir {place}
PidFile {place}/apache.pid
Listen 127.0.0.1:{port}
LoadModule mpm_{mpm}_module /usr/lib/apache2/modules/mod_mpm_{mpm}.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule {cgi}_module /usr/lib/apache2/modules/mod_{cgi}.so
TypesConfig /etc/mime.types
DocumentRoot {place}/site
ErrorLog {place}/error.log
StartServers 2
KeepAlive On
MaxKeepAliveRequests 0
{extra}
<Directory {place}/site>
    Require all granted
</Directory>
ScriptAlias /cgi/ {place}/cgi/
<Directory {place}/cgi>
    Require all granted
</Directory>
"""
SCRIPT = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
printf 'method %s query %s\\n' "$REQUEST_METHOD" "$QUERY_STRING"
"""


class Apache:
    """One daemonised Apache: its configuration, its master by the pid file, its command line."""

    def __init__(self, mode: Mode, place: Path, user: str | None, mpm: str) -> None:
        self.mode, self.place, self.user, self.mpm, self.port = mode, place, user, mpm, free_port()
        make_site(place, user)
        (place / "cgi").mkdir()
        (place / "cgi" / "show").write_text(SCRIPT)
        (place / "cgi" / "show").chmod(0o755)

    def configure(self, extra: str = "") -> None:
        cgi = "cgid" if self.mpm == "event" else "cgi"
        if cgi == "cgid":
            extra += f"\nScriptSock {self.place}/cgid.sock"
        values = {"place": self.place, "port": self.port, "mpm": self.mpm, "cgi": cgi, "extra": extra}
        (self.place / "apache.conf").write_text(CONFIGURATION.format(**values))

    def command(self, *more: str) -> tuple[int, str]:
        words: list[str | Path] = [APACHE, "-f", self.place / "apache.conf", *more]
        return run_to_end(self.mode, words, place=self.place, user=self.user)

    def start(self) -> None:
        status, output = self.command()
        assert status == 0, output
        wait_until(lambda: listens(self.port), self.log)

    @property
    def master(self) -> int:
        return read_pid(self.place / "apache.pid")

    def children(self) -> set[int]:
        """The living children of the master that have its name: a helper of the wrapper has another."""
        master, table = self.master, all_processes()
        found = {pid for pid, (state, parent, _) in table.items() if parent == master and state != "Z"}
        return {pid for pid in found if Path(f"/proc/{pid}/comm").read_text().startswith("apache2")}

    def log(self) -> str:
        path = self.place / "error.log"
        return path.read_text()[-3000:] if path.exists() else "(no log)"

    def stop(self, number: signal.Signals) -> None:
        master = self.master
        os.kill(master, number)
        wait_gone(master, 30)
        assert not listens(self.port)
        assert not (self.place / "apache.pid").exists()

    def kill_all(self) -> None:
        path = self.place / "apache.pid"
        if path.exists() and not gone(self.master):
            for pid in (*self.children(), self.master):
                if not gone(pid):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture(params=["event", "prefork"])
def apache(request: pytest.FixtureRequest, mode: Mode, place: Path, user: str | None) -> Iterator[Apache]:
    server = Apache(mode, place, user, str(request.param))
    server.configure()
    yield server
    server.kill_all()


def test_p6_files_of_every_size_are_served(apache: Apache) -> None:
    apache.start()
    for name, size in SIZES.items():
        answer = fetch(apache.port, f"/{name}")
        assert (answer.status, len(answer.body)) == (200, size), apache.log()
        assert answer.body == content(size), name
    ranged = fetch(apache.port, "/middle", headers={"Range": "bytes=1000-1999"})
    assert (ranged.status, ranged.body) == (206, content(SIZES["middle"])[1000:2000])
    assert fetch(apache.port, "/absent").status == 404
    assert fetch(apache.port, "/").body == b"<h1>index</h1>\n"
    apache.stop(signal.SIGTERM)


def test_p6_files_are_served_without_sendfile_and_mmap(apache: Apache) -> None:
    apache.configure("EnableSendfile Off\nEnableMMAP Off")
    apache.start()
    for name in ("small", "middle"):
        assert fetch(apache.port, f"/{name}").body == content(SIZES[name])
    apache.stop(signal.SIGTERM)


def test_p6_many_connections_and_kept_alive_ones(apache: Apache) -> None:
    apache.start()
    assert {answer.body for answer in fetch_in_turn(apache.port, "/small", 200)} == {content(1024)}
    assert {answer.body for answer in fetch_at_once(apache.port, "/middle", 40)} == {content(1 << 20)}
    apache.stop(signal.SIGTERM)


def test_p6_a_cgi_script_runs_for_each_request(apache: Apache) -> None:
    apache.start()
    for i in range(10):
        answer = fetch(apache.port, f"/cgi/show?number={i}")
        assert (answer.status, answer.body) == (200, b"method GET query number=%d\n" % i), apache.log()
    apache.stop(signal.SIGTERM)


def test_p6_a_graceful_restart_keeps_the_master_and_takes_the_new_configuration(apache: Apache) -> None:
    apache.start()
    master, before = apache.master, apache.children()
    apache.configure(f"Alias /renamed {apache.place}/site/small")
    status, output = apache.command("-k", "graceful")
    assert status == 0, output
    wait_until(lambda: fetch(apache.port, "/renamed").status == 200, apache.log)
    assert fetch(apache.port, "/renamed").body == content(1024)
    assert apache.master == master
    wait_until(lambda: not before & apache.children(), "the old children are gone")
    apache.stop(signal.SIGWINCH)


def test_p6_a_killed_child_is_replaced(apache: Apache) -> None:
    apache.start()
    wait_until(lambda: len(apache.children()) >= 2, "two children run")
    victim = max(apache.children())
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in apache.children() and len(apache.children()) >= 2, "the child is replaced")
    assert fetch(apache.port, "/small").status == 200
    apache.stop(signal.SIGTERM)


def test_p6_a_wrong_configuration_is_named(apache: Apache) -> None:
    apache.configure("NoSuchDirective on")
    status, output = apache.command("-t")
    assert status == 1
    assert "Invalid command 'NoSuchDirective'" in output


def test_p6_apache_in_the_foreground_ends_by_signal_with_its_status(apache: Apache, start: Start) -> None:
    server = start([APACHE, "-f", f"{apache.place}/apache.conf", "-D", "FOREGROUND"])
    server.wait_for_port(apache.port)
    assert fetch(apache.port, "/small").status == 200
    assert server.stop(signal.SIGTERM) == 0, server.last_words()


def owner(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except FileNotFoundError:
        return -1


@pytest.mark.needs_root
def test_p6_children_of_a_root_master_drop_their_privileges(apache: Apache) -> None:
    apache.configure("User nobody\nGroup nogroup")
    (apache.place / "site" / "secret").write_text("root only")
    (apache.place / "site" / "secret").chmod(0o600)
    apache.start()
    assert fetch(apache.port, "/small").status == 200
    assert fetch(apache.port, "/secret").status == 403
    wait_until(lambda: len([pid for pid in apache.children() if owner(pid) == 65534]) >= 2, apache.log)
    apache.stop(signal.SIGTERM)
