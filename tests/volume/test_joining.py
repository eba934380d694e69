"""Several scone-wraps on one volume: coherent, closed when one is killed, and nobody joins who shouldn't."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import pytest

from scone_preload.volume.joining import socket_name
from scone_preload.volume.place import Container, open_container
from tests.helpers.modes import SCONE_WRAP, warm
from tests.helpers.net import wait_until
from tests.runtime.test_alive import host_of
from tests.volume.test_start import PYTHON, TOOLS, User, wait_closed

GONE = 120
APPEND = """
import os, sys
fd = os.open(sys.argv[1] + "/log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
for at in range(500):
    os.write(fd, f"{sys.argv[2]} {at} {'x' * (at % 97)}\\n".encode())
    if at % 100 == 0:
        os.fsync(fd)
"""
INSERT = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1] + "/base", timeout=60, isolation_level=None)
base.execute("PRAGMA journal_mode=WAL")
base.execute("CREATE TABLE IF NOT EXISTS t (who TEXT, at INTEGER, PRIMARY KEY (who, at))")
for at in range(100):
    base.execute("INSERT INTO t VALUES (?, ?)", (sys.argv[2], at))
"""
CHECK = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1] + "/base")
print(base.execute("PRAGMA integrity_check").fetchone()[0], base.execute("SELECT count(*) FROM t").fetchone()[0])
"""
LOCK = """
import fcntl, os, sys
for lock in (fcntl.flock, fcntl.lockf):
    fd = os.open(sys.argv[1] + "/lock", os.O_CREAT | os.O_RDWR)
    try:
        lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print("mine")
    except OSError as error:
        print(error.strerror)
"""


@pytest.fixture(scope="module", autouse=True)
def _warmed() -> None:
    warm(*TOOLS)


@pytest.fixture
def me(tmp_path: Path) -> User:
    return User(tmp_path)


@pytest.fixture
def nobody() -> Iterator[User]:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp(prefix="scone-volume-", dir="/var/tmp"))
    shutil.chown(folder, "nobody")
    yield User(folder, "nobody")
    shutil.rmtree(folder)


class Running:
    """A wrapped shell that runs the lines that it is given; `host` is its runtime host."""

    def __init__(self, user: User, name: str, *, options: tuple[str, ...] = ()) -> None:
        self.mark = mark = f"{name}-{user.folder.name}"
        given = options or ("--data", str(user.volume))
        argv = user.argv(given, "/bin/sh", "-c", 'while read -r line; do eval "$line"; echo "=$?"; done', mark)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=user.folder)
        with ExitStack() as undo:
            undo.callback(self.clear)
            assert self.do("true") == ""
            undo.pop_all()

    @cached_property
    def host(self) -> int:
        return host_of(self.mark)

    def do(self, line: str) -> str:
        """What it writes; its status is 0."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        out = b""
        while True:
            got = self.process.stdout.readline()
            assert got, self.process.stderr and self.process.stderr.read()
            if got.startswith(b"="):
                assert got == b"=0\n", out
                return out.decode()
            out += got

    def stopped(self) -> tuple[int, str]:
        """The same of one that is being stopped."""
        self.process.wait(timeout=60)
        assert self.process.stderr is not None
        err = self.process.stderr.read()
        self.process.communicate()
        return self.process.returncode, err.decode()

    def clear(self) -> None:
        """Whatever became of it, it is over."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()

    def end(self) -> tuple[int, str]:
        """Its status, and what it said on standard error."""
        err = self.process.communicate(timeout=60)[1]
        return self.process.returncode, err.decode()


@contextmanager
def running(user: User, *names: str) -> Iterator[list[Running]]:
    """Some at once, the first of which has the volume."""
    with ExitStack() as undo:
        started = []
        for name in names:
            started.append(Running(user, name))
            undo.callback(started[-1].clear)
        yield started


def at_once(user: User, *argvs: tuple[str, ...]) -> list[tuple[int, str, str]]:
    """Several starts at the same time; status, output and errors of each."""
    options = ("--data", str(user.volume))
    pipe = subprocess.PIPE
    started = [subprocess.Popen(user.argv(options, *argv), stdout=pipe, stderr=pipe, cwd=user.folder) for argv in argvs]
    ended = [one.communicate(timeout=120) for one in started]
    return [(one.returncode, out.decode(), err.decode()) for one, (out, err) in zip(started, ended, strict=True)]


def test_two_that_append_lose_nothing_and_tear_nothing(me: User) -> None:
    for status, _, err in at_once(me, *((PYTHON, "-c", APPEND, str(me.volume), name) for name in "ab")):
        assert status == 0, err
    lines = me.ok(f"cat {me.volume}/log").splitlines()
    for name in "ab":
        assert [line for line in lines if line[0] == name] == [f"{name} {at} {'x' * (at % 97)}" for at in range(500)]
    assert len(lines) == 1000


def test_two_have_one_sqlite_in_wal_mode(me: User) -> None:
    with running(me, "holder"):
        for status, _, err in at_once(me, *((PYTHON, "-c", INSERT, str(me.volume), name) for name in "ab")):
            assert status == 0, err
    assert me.run(PYTHON, "-c", CHECK, str(me.volume))[:2] == (0, "ok 200\n")


def test_locks_hold_between_them_and_end_with_who_is_killed(me: User) -> None:
    code = LOCK + "sys.stdout.flush(); sys.stdin.read()"
    me.ok("true")
    argv = me.argv(("--data", str(me.volume)), PYTHON, "-c", code, str(me.volume))
    pipe = subprocess.PIPE
    with running(me, "holder"):
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, cwd=me.folder) as process:
            assert process.stdout is not None
            assert process.stdout.readline() + process.stdout.readline() == b"mine\nmine\n"
            refused = me.run(PYTHON, "-c", LOCK, str(me.volume))[1]
            assert refused == "Resource temporarily unavailable\n" * 2
            process.kill()
        assert me.run(PYTHON, "-c", LOCK, str(me.volume))[1] == "mine\nmine\n"


def test_the_first_may_end_first_and_others_join_its_host(me: User) -> None:
    f = f"{me.volume}/f"
    with running(me, "one", "two") as (one, two):
        one.do(f"echo 1 >> {f}")
        assert two.do(f"cat {f}; echo 2 >> {f}") == "1\n"
        host = one.host
        assert one.end()[0] == 0
        assert Path("/proc", str(host), "comm").read_text() == "scone-runtime\n"
        assert two.do(f"cat {f}") == "1\n2\n"
        with running(me, "three") as (three,):
            assert three.do(f"echo 3 >> {f}; cat {f}") == "1\n2\n3\n"
            assert two.do(f"cat {f}; rm {f}") == "1\n2\n3\n"
            assert three.do(f"ls {me.volume}; echo 4 > {f}") == ""
        assert two.end() == (0, ""), "nothing is said of it"
    wait_closed(me)
    wait_until(lambda: not Path("/proc", str(one.host), "exe").exists(), "the first one's host to end")
    assert me.ok(f"cat {f}") == "4\n"


def test_p4_p7_if_the_holder_is_killed_the_others_stop_closed_and_the_next_start_recovers(me: User) -> None:
    with running(me, "one", "two") as (one, two):
        two.do(f"echo kept > {me.volume}/f; sync")
        os.kill(one.host, signal.SIGKILL)
        for program in (one, two):
            status, err = program.stopped()
            assert status == GONE, err
        assert f"process {one.host}, which kept it for all, is gone" in err
    assert me.ok(f"cat {me.volume}/f") == "kept\n"


def test_p4_if_one_that_joined_is_killed_the_others_go_on(me: User) -> None:
    with running(me, "one", "two") as (one, two):
        two.do(f"echo kept > {me.volume}/f")
        os.kill(two.host, signal.SIGKILL)
        assert two.stopped()[0] == GONE
        assert one.do(f"cat {me.volume}/f; echo more >> {me.volume}/f") == "kept\n"
        assert one.end()[0] == 0
    assert me.ok(f"cat {me.volume}/f") == "kept\nmore\n"


def test_a_killed_program_that_joined_leaves_what_it_wrote(me: User) -> None:
    with running(me, "one") as (one,):
        assert me.run("/bin/sh", "-c", f"echo 1 > {me.volume}/f; kill -9 $$")[0] == -signal.SIGKILL
        assert one.do(f"cat {me.volume}/f") == "1\n"


def test_ten_at_once_on_a_new_volume_make_one_and_all_have_it(me: User) -> None:
    for directory in ("data", "again"):
        me.volume = me.folder / directory
        script = f"echo $0 >> {me.volume}/log; cat {me.volume}/log > /dev/null"
        done = at_once(me, *(("/bin/sh", "-c", script, str(at)) for at in range(10)))
        assert [status for status, _, _ in done] == [0] * 10, done
        assert sum(err.count("made a volume") for _, _, err in done) == 1
        assert sorted(map(int, me.ok(f"cat {me.volume}/log").split())) == list(range(10))


def test_starts_one_behind_the_other_join_or_wait(me: User) -> None:
    """Each one may find the one before starting, running, or closing."""
    argv = ("/bin/sh", "-c", f"echo x >> {me.volume}/log")
    for _ in range(4):
        assert [status for status, _, _ in at_once(me, argv, argv, argv)] == [0] * 3
    assert me.ok(f"wc -l < {me.volume}/log").strip() == "12"


def test_starts_with_the_same_volumes_in_another_order_do_not_wait_for_one_another(me: User) -> None:
    names = [str(me.folder / name) for name in "abc"]
    script = "; ".join(f"echo x >> {name}/log" for name in names)
    pipe = subprocess.PIPE
    started = []
    for first in range(3):
        order = tuple(word for name in names[first:] + names[:first] for word in ("--data", name))
        argv = me.argv(order, "/bin/sh", "-c", script)
        started.append(subprocess.Popen(argv, stdout=pipe, stderr=pipe, cwd=me.folder))
    for process in started:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    for name in names:
        assert me.ok(f"wc -l < {name}/log", options=("--data", name)).strip() == "3"


def test_a_tool_is_refused_while_any_program_has_it(me: User) -> None:
    with running(me, "one", "two") as (one, two):
        host = one.host
        one.end()
        argv = [str(SCONE_WRAP.parent / "scone-volume"), "verify", str(me.volume)]
        done = subprocess.run(argv, env=me.environment, capture_output=True, check=False, timeout=60)
        assert done.returncode == 125
        assert f"volume is in use by process {host} (scone-runtime)" in done.stderr.decode()
        two.do("true")


def test_another_user_is_refused_with_the_holders_pid(nobody: User) -> None:
    with running(nobody, "one"):
        User(nobody.folder).refused(
            r"volume is in use by process \d+ \(.*\): .*: wait until its programs have ended, or "
            "end them; only scone-wrap of the same user can join it"
        )


def test_who_can_only_read_it_is_refused_while_others_write(nobody: User) -> None:
    with running(nobody, "one"):
        nobody.container().chmod(0o400)
        nobody.refused(r"volume is open for writing by process \d+, and can only be read from here")


def test_another_key_is_refused(me: User) -> None:
    with running(me, "one") as (one,):
        stranger = User(me.folder)
        stranger.environment["SCONE_KEYSTORE"] = str(me.folder / "other")
        stranger.refused("volume stays locked: key default of keystore .* opens it")
        one.do(f"echo 1 > {me.volume}/f")


def test_another_mode_is_refused(me: User) -> None:
    policy = me.folder / "scone.toml"
    policy.write_text(f'version = 1\n[[volume]]\npath = "{me.volume}"\nmode = "authenticate"\n')
    with running(me, "one"):
        me.refused("volume was made in mode encrypt, and authenticate is asked for", options=("--policy", str(policy)))


def test_another_path_of_it_is_refused(me: User) -> None:
    (me.folder / "other").mkdir()
    with running(me, "one") as (one,):
        bound = subprocess.run(["mount", "--bind", me.volume, me.folder / "other"], capture_output=True, check=False)
        if bound.returncode != 0:
            pytest.skip(f"no mount here: {bound.stderr.decode().strip()}")
        try:
            other = User(me.folder)
            other.volume = me.folder / "other"
            other.refused(f"volume is open as {me.volume} by process {one.host}, and asked for by another path")
        finally:
            subprocess.run(["umount", me.folder / "other"], check=True)


def test_another_pid_namespace_is_refused(me: User) -> None:
    with running(me, "one"):
        argv = me.argv(("--data", str(me.volume)), "/bin/true")
        unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
        if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
            pytest.skip("no namespaces here")
        done = subprocess.run([*unshare, *argv], capture_output=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (125, b"")
        assert b"volume is in use in another pid namespace" in done.stderr


@contextmanager
def faked(user: User) -> Iterator[socket.socket]:
    """Somebody who has the container locked and listens for who wants to join, but doesn't have its key."""
    container = open_container(str(user.volume))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(socket_name(container))
        listener.listen()
        yield listener
    container.close()


def test_p3_a_holder_without_the_key_gets_nobody(me: User) -> None:
    me.ok(f"echo 1 > {me.volume}/f")
    wait_closed(me)
    with faked(me) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.send(connection.recv(8192) + bytes(32))
                connection.recv(8192)

        thread = threading.Thread(target=answer)
        thread.start()
        me.refused(f"process {os.getpid()} says that it has the volume open, but can't prove that it knows its key")
        thread.join()


def connected(user: User) -> socket.socket:
    fd = os.open(user.container(), os.O_RDONLY)
    name = socket_name(Container(str(user.volume), "volume.scone", fd, is_readonly=True))
    os.close(fd)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(20)
    connection.connect(name)
    return connection


def greeting(nonce: bytes) -> bytes:
    return struct.pack("<8s32sQ", b"SCONEJN1", nonce, os.stat("/proc/self/ns/pid").st_ino)


@pytest.mark.parametrize("words", ["garbage", "no proof", "its own proof", "nothing"])
def test_p3_a_joiner_without_the_key_gets_nothing(me: User, words: str) -> None:
    with running(me, "one", "two") as (one, two), connected(me) as connection:
        if words == "nothing":
            pass
        elif words == "garbage":
            connection.send(os.urandom(500))
        else:
            connection.send(greeting(bytes(32)))
            proof = connection.recv(8192)[48:]
            assert len(proof) == 32
            wrong = proof if words == "its own proof" else bytes(32)
            connection.send(wrong + bytes(32) + os.fsencode(me.volume))
        if words != "nothing":
            assert connection.recv(8192) == b""
        one.do(f"echo 1 > {me.volume}/f")
        assert two.do(f"cat {me.volume}/f") == "1\n"
        for program in (two, one):  # who has only connected keeps nothing open
            assert program.end()[0] == 0
        wait_closed(me)


def test_p3_who_stands_between_gets_nothing(me: User) -> None:
    """All that both say is passed on, truly: their proofs name the pids of who they really talk to."""
    with running(me, "one") as (one,):
        fd = os.open(me.container(), os.O_RDONLY)
        name = socket_name(Container(str(me.volume), "volume.scone", fd, is_readonly=True))
        os.close(fd)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(name + b"-between")
            listener.listen()
            got: list[bytes] = []

            def between() -> None:
                joiner, _ = listener.accept()
                with joiner, connected(me) as holder:
                    holder.send(joiner.recv(8192))
                    got.append(holder.recv(8192))
                    joiner.send(got[-1])
                    holder.send(joiner.recv(8192) or b"-")
                    packet, fds, _, _ = holder.recvmsg(8192, 100)
                    got.extend([packet, *map(bytes, (data for _, _, data in fds))])

            thread = threading.Thread(target=between)
            thread.start()
            code = (
                "import sys, scone_preload.volume.joining as joining\n"
                "real = joining.socket_name\n"
                "joining.socket_name = lambda container: real(container) + b'-between'\n"
                "from scone_preload.cli.wrap import main\n"
                "sys.exit(main())"
            )
            python = SCONE_WRAP.parent / "python"
            argv = [str(python), "-c", code, "--data", str(me.volume), "/bin/cat", f"{me.volume}/f"]
            done = subprocess.run(argv, env=me.environment, capture_output=True, check=False, timeout=60)
            thread.join()
        assert re.search(b"can't prove that it knows its key", done.stderr), done.stderr
        assert [len(one) for one in got] == [80, 0]
        one.do("true")
