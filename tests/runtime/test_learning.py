"""P7: what --learn writes lets the program run as before, with no denial; one more step is refused, and explained."""

from __future__ import annotations

import http.client
import http.server
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.modes import WRAPPED, Mode, command
from tests.helpers.net import exchange, free_port, wait_until
from tests.helpers.processes import group_of, nothing_left_behind
from tests.helpers.server import ORDINARY_USER, Server, environment_of, place_of

DENIED = "scone-wrap: denied by "


@pytest.fixture(params=WRAPPED, ids=lambda mode: mode.value)
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen = request.param
    assert isinstance(chosen, Mode)
    return chosen


@pytest.fixture
def place() -> Iterator[Path]:
    with nothing_left_behind(10), place_of(ORDINARY_USER) as directory:
        yield directory


def once(
    mode: Mode, argv: Sequence[str], place: Path, *options: str, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, as the ordinary user."""
    return subprocess.run(
        command(mode, argv, *options), cwd=place, env=environment_of(place, ORDINARY_USER), input=text, text=True,
        capture_output=True, check=False, timeout=180, user=ORDINARY_USER, group=group_of(ORDINARY_USER),
        extra_groups=None if ORDINARY_USER is None else [],
    )  # fmt: skip


def denials(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(DENIED)]


# ---- programs that end ----


@dataclass(frozen=True, slots=True)
class Command:
    """`argv` is learned and held to; `more` is refused with `words` in its message."""

    argv: tuple[str, ...]
    more: tuple[str, ...]
    words: str
    text: str = ""


def commands(place: Path, port: int) -> dict[str, Command]:
    git = ("git", "-C", str(place / "repository"))
    return {
        "ls": Command(("ls", "-l", "/usr"), ("ls", "-l", "/etc"), "read /etc"),
        "sqlite3": Command(
            ("sqlite3", str(place / "a.db")),
            ("sqlite3", str(place / "a.db")),
            f"look {place}/b.db",
            text="CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1);\nSELECT count(*) > 0 FROM t;\n",
        ),
        "python3": Command(
            ("python3", "-c", "import json, subprocess, os; print(json.dumps(1), os.path.exists('/usr'))"),
            ("python3", "-c", "open('/etc/hostname')"),
            "read /etc/hostname",
        ),
        "git": Command((*git, "log", "--oneline"), (*git, "status"), "call "),
        "curl": Command(
            ("curl", "-s", f"http://127.0.0.1:{port}/"), ("curl", "-s", "http://127.0.0.1:9/"), "tcp 127.0.0.1:9"
        ),
    }


@pytest.fixture
def site() -> Iterator[int]:
    """A web server of this process, that answers anything."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello\n")

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def repository(place: Path) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q", "repository"],
                  ["-C", "repository", *who, "commit", "-q", "--allow-empty", "-m", "one"]):  # fmt: skip
        subprocess.run(["git", *words], cwd=place, env=environment_of(place, ORDINARY_USER), check=True,
                       user=ORDINARY_USER, group=group_of(ORDINARY_USER))  # fmt: skip


@pytest.mark.parametrize("name", ["ls", "sqlite3", "python3", "git", "curl"])
def test_p7_a_learned_policy_lets_a_program_do_the_same_again(
    name: str, mode: Mode, place: Path, site: int, repository: None
) -> None:
    case = commands(place, site)[name]
    policy = str(place / "learned.toml")
    first = once(mode, case.argv, place, "--learn", policy, text=case.text)
    assert (first.returncode, first.stderr) == (0, ""), first.stderr
    for strict in ([], ["--strict"]):
        again = once(mode, case.argv, place, "--policy", policy, *strict, text=case.text)
        assert (again.returncode, again.stdout, again.stderr) == (0, first.stdout, "")
    more = once(
        mode,
        case.more,
        place,
        "--policy",
        policy,
        text=case.text + f"ATTACH '{place}/b.db' AS b; CREATE TABLE b.x (y);",
    )
    assert case.words in more.stderr
    assert "denied by" in more.stderr


def test_p7_the_line_that_a_denial_names_allows_it(place: Path) -> None:
    (place / "p.toml").write_text('version = 1\n[files]\nunlisted = "system"\n')
    refused = once(Mode.SYNC, ["cat", "/etc/hostname", "/etc/debian_version"], place, "--policy", "p.toml")
    told = denials(refused.stderr)
    assert [line.partition("/etc/")[2].partition(":")[0] for line in told] == ["hostname", "debian_version"]
    assert all("p.toml:3: to allow it, write [files] read = [" in line for line in told)
    lines = [line.partition("to allow it, write [files] read = ")[2] for line in told]
    (place / "p.toml").write_text(
        f'version = 1\n[files]\nunlisted = "system"\nread = {lines[0][:-1]}, {lines[1][1:]}\n'
    )
    assert once(Mode.SYNC, ["cat", "/etc/hostname", "/etc/debian_version"], place, "--policy", "p.toml").returncode == 0


def test_p7_denials_that_come_again_are_counted_at_the_end(place: Path) -> None:
    script = "for i in 1 2 3 4 5; do cat /etc/hostname; done; exec cat /etc/debian_version"
    (place / "p.toml").write_text('version = 1\n[files]\nunlisted = "system"\n')
    done = once(Mode.ASYNC, ["sh", "-c", script], place, "--policy", "p.toml")
    assert len(denials(done.stderr)) == 2
    assert done.stderr.count("scone-wrap: 5 times: denied by ") == 1
    assert "times: " not in done.stderr.replace("5 times", "")


def test_p7_explain_says_before_what_the_denial_says(place: Path) -> None:
    (place / "p.toml").write_text('version = 1\n[files]\nunlisted = "system"\n')
    refused = once(Mode.SYNC, ["cat", "/etc/hostname"], place, "--policy", "p.toml")
    asked = once(
        Mode.NATIVE, [command(Mode.SYNC, [])[0], "--policy", "p.toml", "--explain", "read /etc/hostname"], place
    )
    assert denials(refused.stderr) == ["scone-wrap: " + asked.stdout.strip()]
    assert asked.returncode == 1
    asked = once(
        Mode.NATIVE, [command(Mode.SYNC, [])[0], "--policy", "p.toml", "--explain", "read /usr/bin/cat"], place
    )
    assert (asked.returncode, asked.stdout.startswith("allowed, ")) == (0, True)


def test_two_runs_make_one_policy_that_allows_both(place: Path) -> None:
    policy = str(place / "learned.toml")
    for words in (["cat", "/etc/hostname"], ["cat", "/etc/debian_version", "/etc/os-release"]):
        assert once(Mode.SYNC, words, place, "--learn", policy).returncode == 0
    text = (place / "learned.toml").read_text()
    for words in (["cat", "/etc/hostname", "/etc/debian_version"], ["cat", "/etc/os-release"]):
        done = once(Mode.SYNC, words, place, "--policy", policy)
        assert (done.returncode, done.stderr) == (0, "")
    assert once(Mode.SYNC, ["cat", "/etc/hostname"], place, "--learn", policy).returncode == 0
    assert (place / "learned.toml").read_text() == text


def test_what_a_killed_program_did_is_learned_when_its_last_process_is_gone(place: Path) -> None:
    policy = place / "learned.toml"
    code = "import os, time; open('/etc/hostname').read(); os.write(1, b'x'); time.sleep(60)"
    server = Server(
        Mode.ASYNC, ["python3", "-c", code], place=place, user=ORDINARY_USER, options=["--learn", str(policy)]
    )
    wait_until(lambda: server.out.read_text() == "x", server.last_words)
    server.process.send_signal(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    wait_until(policy.exists, "the policy is written")
    assert '"/etc/hostname"' in policy.read_text()


def test_a_policy_that_can_not_be_written_is_said(place: Path) -> None:
    done = once(Mode.SYNC, ["true"], place, "--learn", "/proc/nowhere/p.toml")
    assert "what was learned can't be written: /proc/nowhere/p.toml: No such file or directory\n" in done.stderr
    refused = once(Mode.SYNC, ["true"], place, "--learn", "p.toml", "--strict")
    assert (refused.returncode, "--learn watches without a policy" in refused.stderr) == (125, True)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_is_told_where_the_policy_is(quiet: bool, place: Path) -> None:
    controller, terminal = pty.openpty()
    options = ["--quiet"] if quiet else []
    argv = command(Mode.SYNC, ["true"], *options, "--learn", "p.toml")
    subprocess.run(argv, cwd=place, stdout=terminal, stderr=terminal, check=True, timeout=60)
    os.write(terminal, b"end\n")
    told = ""
    while not told.endswith("end\r\n"):
        told += os.read(controller, 4096).decode()
    os.close(terminal)
    os.close(controller)
    line = f"scone-wrap: what was learned is in {place}/p.toml: use it with --policy {place}/p.toml\r\n"
    assert (line in told) is not quiet


# ---- servers ----

NGINX = """
worker_processes 2; pid {place}/nginx.pid; error_log {place}/error.log notice; daemon off;
events {{ }}
http {{
    client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi; access_log {place}/access.log;
    server {{ listen 127.0.0.1:{port}; root {place}/site; }}
}}
"""


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def prepare_nginx(place: Path, port: int) -> list[str]:
    (place / "site").mkdir()
    for at in range(6):
        (place / "site" / f"{at}.html").write_text("x" * 1000)
    (place / "site" / "out.html").symlink_to("/etc/hostname")
    (place / "nginx.conf").write_text(NGINX.format(place=place, port=port))
    return ["nginx", "-e", str(place / "error.log"), "-c", str(place / "nginx.conf")]


def use_nginx(server: Server, port: int) -> None:
    for at in range(6):
        assert get(port, f"/{at}.html") == 200, server.last_words()
    os.kill(server.pid, signal.SIGHUP)
    log = server.place / "error.log"
    wait_until(lambda: log.read_text().count("exited with code 0") >= 2, server.last_words)
    assert get(port, "/1.html") == 200
    assert get(port, "/nothing.html") == 404


def misuse_nginx(server: Server, port: int) -> str:
    assert get(port, "/out.html") == 403
    return "read /etc/hostname"


def prepare_redis(place: Path, port: int) -> list[str]:
    return ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(place), "--save", "",
            "--enable-protected-configs", "yes"]  # fmt: skip


def redis_cli(port: int, *words: str) -> str:
    return exchange(port, (" ".join(words) + "\r\nQUIT\r\n").encode()).decode()


def use_redis(server: Server, port: int) -> None:
    assert redis_cli(port, "SET", "a", "b").startswith("+OK")
    assert redis_cli(port, "BGSAVE").startswith("+Background")
    wait_until((server.place / "dump.rdb").exists, server.last_words)
    wait_until(lambda: "rdb_bgsave_in_progress:0" in redis_cli(port, "INFO"), server.last_words)
    assert redis_cli(port, "GET", "a").startswith("$1\r\nb")


def misuse_redis(server: Server, port: int) -> str:
    assert "Permission denied" in redis_cli(port, "CONFIG", "SET", "dir", "/home")
    return "look /home"


def prepare_memcached(place: Path, port: int) -> list[str]:
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-t", "2"]


def use_memcached(server: Server, port: int) -> None:
    assert exchange(port, b"set a 0 0 1\r\nb\r\nget a\r\nquit\r\n") == b"STORED\r\nVALUE a 0 1\r\nb\r\nEND\r\n"


def misuse_memcached(server: Server, port: int) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One server: its command line, what its clients do, and what is refused."""

    prepare: Callable[[Path, int], list[str]]
    use: Callable[[Server, int], None]
    misuse: Callable[[Server, int], str]


SERVERS = {
    "nginx": Kind(prepare_nginx, use_nginx, misuse_nginx),
    "redis": Kind(prepare_redis, use_redis, misuse_redis),
    "memcached": Kind(prepare_memcached, use_memcached, misuse_memcached),
}


@pytest.mark.parametrize("name", SERVERS)
def test_p7_a_learned_policy_lets_a_server_serve_again_and_refuses_one_more_step(
    name: str, mode: Mode, place: Path
) -> None:
    kind, port, policy = SERVERS[name], free_port(), place / "learned.toml"
    argv: list[str | Path] = [*kind.prepare(place, port)]
    for options in (["--learn", str(policy)], ["--policy", str(policy)], ["--policy", str(policy), "--strict"]):
        server = Server(mode, argv, place=place, user=ORDINARY_USER, options=options)
        try:
            server.wait_for_port(port)
            kind.use(server, port)
            assert denials(server.err.read_text()) == []
            words = kind.misuse(server, port) if "--policy" in options else ""
            told = denials(server.err.read_text())
            assert len(told) == bool(words), told
            assert words in "".join(told)
            server.stop()
        finally:
            server.end()
        wait_until(policy.exists, server.last_words)
        for made in ("error.log", "dump.rdb"):
            (place / made).unlink(missing_ok=True)
