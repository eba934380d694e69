"""scone-wrap on volumes, as a user meets it: kept over runs, clear when something is wrong, closed when all end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.modes import SCONE_WRAP, WRAPPED, Mode, command, warm
from tests.helpers.net import wait_until
from tests.keys.support import opened
from tests.runtime.test_alive import host_of

PYTHON = "/usr/bin/python3"
CANARY = b"xyzzy-plugh-canary-0451"
TOOLS = ("/bin/sh", "/bin/cat", "/bin/true", PYTHON)


@pytest.fixture(scope="module", autouse=True)
def _warmed() -> None:
    warm(*TOOLS)


class User:
    """Somebody with a directory of volumes and a keystore; `name` is "" for who runs the tests."""

    def __init__(self, folder: Path, name: str = "") -> None:
        self.folder = folder
        self.name = name
        self.volume = folder / "data"
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "SCONE_KEYSTORE": str(folder / "keystore"),
        }

    def argv(self, options: tuple[str, ...], *words: str, mode: Mode = Mode.ASYNC) -> list[str]:
        runner = ["runuser", "-u", self.name, "--", "env", "-i"] if self.name else ["env", "-i"]
        given = [f"{name}={value}" for name, value in self.environment.items()]
        return [*runner, *given, *command(mode, words, *options)]

    def run(self, *words: str, options: tuple[str, ...] = (), mode: Mode = Mode.ASYNC) -> tuple[int, str, str]:
        argv = self.argv(options or ("--data", str(self.volume)), *words, mode=mode)
        done = subprocess.run(argv, capture_output=True, check=False, timeout=60, cwd=self.folder)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def ok(self, script: str, *, options: tuple[str, ...] = (), mode: Mode = Mode.ASYNC) -> str:
        status, out, err = self.run("/bin/sh", "-c", script, options=options, mode=mode)
        assert status == 0, err
        return out

    def refused(self, text: str, *, status: int = 125, options: tuple[str, ...] = ()) -> str:
        found, out, err = self.run("/bin/cat", f"{self.volume}/f", options=options)
        assert (found, out) == (status, ""), err
        assert re.search(text, err), err
        assert err.count("\n") == 1, err
        return err

    def container(self) -> Path:
        return self.volume / "volume.scone"


@pytest.fixture(params=["", "nobody"], ids=["me", "nobody"])
def user(request: pytest.FixtureRequest) -> Iterator[User]:
    name = str(request.param)
    if name and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp(prefix="scone-volume-", dir="/var/tmp"))
    if name:
        shutil.chown(folder, name)
    yield User(folder, name)
    shutil.rmtree(folder)


@pytest.fixture
def me(tmp_path: Path) -> User:
    return User(tmp_path)


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_p2_what_is_written_is_there_at_the_next_start_and_not_in_the_clear(user: User, mode: Mode) -> None:
    text = CANARY.decode()
    script = f"mkdir -p $v/{text}-d; echo {text} > $v/f; ln -s {text} $v/l; cat $v/f"
    assert user.ok(f"v={user.volume}; {script}", mode=mode) == f"{text}\n"
    out = user.ok(f"cat {user.volume}/f; ls {user.volume}; readlink {user.volume}/l", mode=mode)
    assert out == f"{text}\nf\nl\n{text}-d\n{text}\n"
    assert os.listdir(user.volume) == ["volume.scone"]
    assert CANARY not in user.container().read_bytes()


def test_a_new_volume_is_told_once(user: User) -> None:
    told = [user.run("/bin/true")[2] for _ in range(2)]
    assert told[0].splitlines()[-1] == f"scone-wrap: made a volume in {user.volume}: mode encrypt, rollback_protected"
    assert told[1] == ""


def test_starts_that_follow_one_another_at_once_wait_for_the_close(me: User) -> None:
    for at in range(8):
        assert me.ok(f"echo {at} >> {me.volume}/f; wc -l < {me.volume}/f").strip() == str(at + 1)


def test_p5_an_older_container_is_refused(user: User) -> None:
    user.ok(f"echo 1 > {user.volume}/f")
    wait_closed(user)
    old = user.container().read_bytes()
    user.ok(f"echo 2 > {user.volume}/f")
    wait_closed(user)
    user.container().write_bytes(old)
    user.refused("volume is older than its freshness anchor", status=124)
    assert user.container().read_bytes() == old


def test_p5_a_lost_anchor_is_refused(user: User) -> None:
    user.ok("true")
    wait_closed(user)
    shutil.rmtree(next(user.folder.glob("keystore/anchors-*")))
    user.refused("freshness anchor is gone: .*: see docs/keystore.md, 'A lost anchor'")


def test_bad_input_is_one_clear_line_and_nothing_has_run(user: User) -> None:
    user.ok(f"echo 1 > {user.volume}/f")
    wait_closed(user)
    whole = user.container().read_bytes()
    user.container().write_bytes(whole[:8] + b"\x09" + whole[9:])
    user.refused("volume has version 9, this program knows 1: .*volume.scone: use the newer")
    user.container().write_bytes(whole[:100_000])
    user.refused("volume is damaged or was tampered with: it ends after 100000 bytes")
    user.container().write_bytes(b"plain" * 1000)
    user.refused("not a volume, or its beginning is damaged")
    user.container().write_bytes(whole)
    (user.volume / "dropped").write_text("plain")
    user.refused("a file lies beside the volume, in the clear.*data/dropped")
    (user.volume / "dropped").unlink()
    (user.folder / "keystore").rename(user.folder / "elsewhere")
    user.refused("volume stays locked: key default of keystore .* opens it")
    (user.folder / "elsewhere").rename(user.folder / "keystore")
    assert user.ok(f"cat {user.volume}/f") == "1\n"


def test_plain_files_are_never_mixed_in(user: User) -> None:
    user.volume.mkdir()
    (user.volume / "old.db").write_text("plain")
    user.refused(r"holds plain files: .*data/old.db: import it into a new volume: scone-volume import")
    assert os.listdir(user.volume) == ["old.db"]


def test_a_container_that_can_not_be_written_is_read_only_to_the_program(me: User) -> None:
    me.ok(f"echo 1 > {me.volume}/f")
    wait_closed(me)
    before = me.container().read_bytes()
    mounted = subprocess.run(["mount", "--bind", "-o", "ro", me.volume, me.volume], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no mount here: {mounted.stderr.decode().strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", me.volume], check=True)
        status, out, err = me.run("/bin/sh", "-c", f"cat {me.volume}/f; echo 2 > {me.volume}/f")
    finally:
        subprocess.run(["umount", me.volume], check=True)
    assert (out, status) == ("1\n", 2)
    assert "can't be written: it is read-only" in err
    assert "Read-only file system" in err
    assert me.container().read_bytes() == before
    me.ok(f"echo 3 > {me.volume}/f")


SYNCED = """
import os, sys, time
fd = os.open(sys.argv[1] + "/log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
for at in range(100000):
    os.write(fd, b"%d\\n" % at)
    os.fsync(fd)
    os.write(1, b"%d\\n" % at)
"""


@pytest.mark.parametrize("victim", ["the program", "the host", "both"])
def test_p4_what_was_synced_is_there_whoever_is_killed(me: User, victim: str) -> None:
    told = -1
    for _ in range(4):
        me.ok(f"rm -f {me.volume}/log")
        argv = me.argv(("--data", str(me.volume)), PYTHON, "-c", SYNCED, str(me.volume))
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=me.folder) as process:
            assert process.stdout is not None
            process.stdout.readline()
            host = host_of(me.folder.name)
            time.sleep(0.1)
            for pid in {"the program": [process.pid], "the host": [host], "both": [host, process.pid]}[victim]:
                os.kill(pid, signal.SIGKILL)
            told = int(process.stdout.read().split()[-1])
            process.wait()
        found = me.ok(f"cat {me.volume}/log").split()
        assert found == [str(at) for at in range(len(found))]
        assert len(found) > told, "what was synced is there"


def test_what_a_killed_program_wrote_is_kept_as_a_kernel_would(me: User) -> None:
    me.run("/bin/sh", "-c", f"echo 1 > {me.volume}/f; kill -9 $$")
    assert me.ok(f"cat {me.volume}/f") == "1\n"


def test_a_daemon_keeps_its_volume_after_the_first_process_has_ended(me: User) -> None:
    me.ok(f"(sleep 0.5; echo late > {me.volume}/f) </dev/null >/dev/null 2>&1 & echo first > {me.volume}/g")
    wait_closed(me)
    assert me.ok(f"cat {me.volume}/g {me.volume}/f") == "first\nlate\n"


def test_an_ephemeral_volume_leaves_nothing_and_needs_no_keystore(user: User) -> None:
    policy = user.folder / "scone.toml"
    host = user.folder / "host"
    host.mkdir()
    if user.name:
        shutil.chown(host, user.name)
    policy.write_text(
        f'version = 1\n[[volume]]\npath = "{user.folder}/scratch"\nmode = "ephemeral"\nhost_path = "{host}"\n'
    )
    script = f"echo {CANARY.decode()} > {user.folder}/scratch/f; cat {user.folder}/scratch/f"
    out = user.ok(script, options=("--policy", str(policy)))
    assert out == f"{CANARY.decode()}\n"
    assert os.listdir(host) == []
    assert not (user.folder / "keystore").exists()
    assert not (user.folder / "scratch").exists()
    again = user.run("/bin/cat", f"{user.folder}/scratch/f", options=("--policy", str(policy)))
    assert again[0] == 1
    assert "No such file" in again[2]


def test_host_path_says_where_the_host_keeps_it(me: User) -> None:
    policy = me.folder / "scone.toml"
    policy.write_text(
        f'version = 1\n[[volume]]\npath = "{me.folder}/seen"\nmode = "authenticate"\nhost_path = "{me.volume}"\n'
    )
    options = ("--policy", str(policy))
    assert me.ok(f"echo {CANARY.decode()} > {me.folder}/seen/f; ls {me.folder}/seen", options=options) == "f\n"
    assert me.ok(f"cat {me.folder}/seen/f", options=options) == f"{CANARY.decode()}\n"
    wait_closed(me)
    assert not (me.folder / "seen").exists()
    assert CANARY in me.container().read_bytes(), "authenticate: the host may read it"


def test_several_volumes_at_once(me: User) -> None:
    names = [me.folder / name for name in ("a", "b", "c")]
    options = tuple(word for name in names for word in ("--data", str(name)))
    script = "; ".join(f"echo {at} > {name}/f" for at, name in enumerate(names))
    me.ok(script, options=options)
    assert me.ok(" ".join(("cat", *(f"{name}/f" for name in names))), options=options) == "0\n1\n2\n"


def test_a_secret_in_a_volume_is_refused(me: User) -> None:
    options = ("--data", str(me.volume), "--secret", f"{me.volume}/s=env:HOME")
    status, _, err = me.run("/bin/true", options=options)
    assert status == 125
    assert "is in volume" in err


def test_the_anchor_follows_while_the_program_runs(me: User) -> None:
    me.ok("true")
    wait_closed(me)
    with held(me, f"i=0; while :; do i=$((i+1)); echo $i > {me.volume}/f; sync; sleep 0.2; done"):
        seen = set()
        deadline = time.monotonic() + 30
        while len(seen) < 3 and time.monotonic() < deadline:
            with opened(me.folder / "keystore") as store:
                (volume,) = store.places()
                state = store.read(volume)
                assert state is not None
                seen.add(state.counter)
            time.sleep(0.1)
    assert len(seen) >= 3


def test_passphrases_and_key_files_of_volumes_are_kept_from_the_program(me: User) -> None:
    key = me.folder / "key"
    create = [SCONE_WRAP.parent / "scone-volume", "create", me.volume, "--key-file", key]
    done = subprocess.run(create, env=me.environment, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    me.environment |= {"SCONE_VOLUME_KEY_FILE": str(key), "SCONE_VOLUME_PASSPHRASE": "xyzzy"}
    out = me.ok(f"echo 1 > {me.volume}/f; env; tr '\\0' '\\n' < /proc/self/environ")
    assert "SCONE_VOLUME" not in out
    del me.environment["SCONE_VOLUME_KEY_FILE"], me.environment["SCONE_VOLUME_PASSPHRASE"]
    me.refused("passphrase of volume|no key file given")


class held:
    """A wrapped shell that has a volume open until it is left."""

    def __init__(self, user: User, script: str = "read -r line") -> None:
        argv = user.argv(("--data", str(user.volume)), "/bin/sh", "-c", f"echo ready; {script}")
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=user.folder)

    def __enter__(self) -> subprocess.Popen[bytes]:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def wait_closed(user: User) -> None:
    """Nobody has the volume any more: the last run's host has closed it."""
    lock = ["flock", "-n", str(user.container()), "true"]
    wait_until(lambda: subprocess.run(lock, check=False).returncode == 0, "the volume to be closed")


def test_a_full_disk_is_told_and_loses_nothing_that_was_synced(me: User) -> None:
    me.volume.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", me.volume], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no mount here: {mounted.stderr.decode().strip()}")
    try:
        me.ok(f"echo kept > {me.volume}/f; sync")
        status, _, err = me.run("/bin/sh", "-c", f"head -c 20000000 /dev/zero | tr '\\0' x > {me.volume}/g")
        assert status != 0
        assert "No space left on device" in err
        assert me.ok(f"cat {me.volume}/f") == "kept\n"
        wait_closed(me)
    finally:
        wait_until(lambda: subprocess.run(["umount", me.volume], check=False).returncode == 0, "the host's end")
