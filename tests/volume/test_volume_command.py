"""scone-volume create, rekey, import and bench, as a user meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scone_preload.cli.command_completion import SHELLS, completion
from scone_preload.cli.volume import LINE
from tests.helpers.modes import SCONE_WRAP, warm

VOLUME = SCONE_WRAP.parent / "scone-volume"
PASSPHRASE = b"correct horse battery staple"


class User:
    """Somebody with a keystore and a directory for volumes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "SCONE_KEYSTORE": str(folder / "keystore")}

    def run(self, *argv: str | Path, env: dict[str, str] | None = None) -> tuple[int, str, str]:
        given = {**self.environment, **(env or {})}
        done = subprocess.run([VOLUME, *argv], capture_output=True, env=given, check=False, timeout=120)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def ok(self, *argv: str | Path, env: dict[str, str] | None = None) -> tuple[str, str]:
        status, out, err = self.run(*argv, env=env)
        assert status == 0, err
        return out, err

    def refused(self, words: str, *argv: str | Path, status: int = 125) -> None:
        found, _, err = self.run(*argv)
        assert found == status, err
        assert words in err
        assert err.splitlines()[-1].count(": ") >= 2, "what, which, remedy"

    def wrapped(self, volume: Path, script: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
        argv = [SCONE_WRAP, "--data", volume, "/bin/sh", "-c", script]
        given = {**self.environment, **(env or {})}
        done = subprocess.run(argv, capture_output=True, env=given, check=False, timeout=60)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def _warmed() -> None:
    warm("/bin/sh")


def test_a_volume_is_made_once(user: User) -> None:
    out, _ = user.ok("create", user.folder / "v", "--mode", "authenticate", "--json")
    row = json.loads(out)
    assert (row["mode"], row["freshness"]) == ("authenticate", "rollback_protected")
    user.refused("a volume is already there", "create", user.folder / "v")


def test_a_volume_that_is_gone_is_begun_anew_only_when_told(user: User) -> None:
    user.ok("create", user.folder / "v")
    (user.folder / "v" / "volume.scone").unlink()
    user.refused("the volume that belongs here is gone", "create", user.folder / "v", status=124)
    user.ok("create", "--anew", user.folder / "v")
    assert user.wrapped(user.folder / "v", "true")[0] == 0


def test_slots_are_added_and_removed_and_only_the_present_ones_open(user: User) -> None:
    volume, passphrase, key = user.folder / "v", user.file("pw", PASSPHRASE + b"\n"), user.folder / "key"
    user.ok("create", volume)
    assert user.wrapped(volume, f"echo kept > {volume}/f")[0] == 0
    user.ok("rekey", volume, "--passphrase", "--new-passphrase-file", passphrase)
    user.ok("rekey", volume, "--key-file", key)
    rows = json.loads(user.ok("rekey", "--list", volume, "--json")[0])
    assert [row["kind"] for row in rows] == ["keystore", "passphrase", "key file"]
    _, err = user.ok("rekey", volume, "--remove", "1")
    assert "old copies" in err
    by_passphrase = {"SCONE_VOLUME_PASSPHRASE": PASSPHRASE.decode()}
    by_file = {"SCONE_VOLUME_KEY_FILE": str(key)}
    for opens in (by_passphrase, by_file):
        assert user.wrapped(volume, f"cat {volume}/f", opens)[:2] == (0, "kept\n")
    status, _, err = user.wrapped(volume, "true", {"SCONE_VOLUME_PASSPHRASE": "wrong"})
    assert status == 125
    assert "volume stays locked: no key file given (key); wrong passphrase" in err
    user.ok("rekey", volume, "--key", "other", "--only", "--unlock-with", key)
    assert user.wrapped(volume, "true", by_file)[0] == 125
    assert "key other of the keystore opens it, but key default is asked for" in user.wrapped(volume, "true")[2]


def test_a_passphrase_alone_opens_a_volume_without_a_keystore(user: User) -> None:
    volume, passphrase = user.folder / "v", user.file("pw", PASSPHRASE)
    given = ("--passphrase", "--new-passphrase-file", passphrase, "--freshness", "no_rollback_protection")
    user.ok("create", volume, *given)
    assert not (user.folder / "keystore").exists()
    user.ok("rekey", "--key-file", user.folder / "key", "--passphrase-file", passphrase, volume)
    assert not (user.folder / "keystore").exists()


def test_a_volume_of_another_machine_is_adopted(user: User) -> None:
    volume, passphrase = user.folder / "v", user.file("pw", PASSPHRASE)
    user.ok("create", volume, "--passphrase", "--new-passphrase-file", passphrase)
    other = {"SCONE_KEYSTORE": str(user.folder / "other"), "SCONE_VOLUME_PASSPHRASE": PASSPHRASE.decode()}
    subprocess.run([VOLUME.parent / "scone-keys", "init"], env={**user.environment, **other}, check=True)
    status, _, err = user.wrapped(volume, "true", other)
    assert (status, "has no freshness anchor in this keystore" in err) == (125, True)
    user.ok("rekey", "--adopt", volume, env=other)
    assert user.wrapped(volume, "true", other)[0] == 0


def tree(folder: Path) -> Path:
    source = folder / "source"
    (source / "d" / "e").mkdir(parents=True)
    (source / "d" / "big").write_bytes(os.urandom(3 << 20))
    (source / "d" / "small").write_bytes(b"x")
    (source / "d" / "hard").hardlink_to(source / "d" / "small")
    (source / "d" / "link").symlink_to("nowhere")
    with (source / "sparse").open("wb") as file:
        file.truncate(8 << 20)
        file.seek(4 << 20)
        file.write(b"middle")
    (source / "sparse").chmod(0o640)
    os.utime(source / "sparse", ns=(1_500_000_000_123_456_789, 1_500_000_001_987_654_321))
    os.utime(source / "d" / "e", ns=(1_500_000_000_000_000_000, 1_500_000_002_000_000_000))
    return source


LOOK = """cd {0} && find . -mindepth 1 -printf '%p %y %m %s %n %T@ %l\\n' | sort
find . -type f -exec md5sum {{}} + | sort"""


def looked(text: str) -> list[str]:
    """Without the sizes of directories, which are each file system's own."""
    return [line for line in text.splitlines() if " d " not in line]


def test_a_tree_is_imported_as_it_is_and_again_changes_nothing(user: User) -> None:
    source, volume = tree(user.folder), user.folder / "v"
    out, _ = user.ok("import", source, volume, "--json")
    assert json.loads(out)["directory"] == str(volume)
    script = LOOK.format(source)
    native = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True, env=user.environment)
    status, inside, err = user.wrapped(volume, LOOK.format(volume))
    assert status == 0, err
    assert looked(inside) == looked(native.stdout.decode())
    user.ok("import", source, volume)
    assert user.wrapped(volume, LOOK.format(volume))[1] == inside


def test_an_import_overwrites_nothing(user: User) -> None:
    source, volume = tree(user.folder), user.folder / "v"
    user.ok("import", source, volume)
    assert user.wrapped(volume, f"echo mine > {volume}/d/big")[0] == 0
    user.refused(f"import stopped: {volume}/d/big is there already and differs", "import", source, volume)
    assert user.wrapped(volume, f"cat {volume}/d/big")[1] == "mine\n"


def test_an_import_that_was_killed_goes_on(user: User) -> None:
    source, volume = user.folder / "source", user.folder / "v"
    source.mkdir()
    for at in range(40):
        (source / str(at)).write_bytes(os.urandom(1 << 20))
    for delay in (0.5, 0.8, 1.2):
        process = subprocess.Popen([VOLUME, "import", source, volume], env=user.environment, start_new_session=True,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    user.ok("import", source, volume)
    script = "cd {}; ls -A | wc -l; cat $(ls) | md5sum"
    native = subprocess.run(["/bin/sh", "-c", script.format(source)], capture_output=True, check=True)
    assert user.wrapped(volume, script.format(volume))[1] == native.stdout.decode()


def test_what_can_not_be_imported_is_said(user: User) -> None:
    source = tree(user.folder)
    user.refused("not a directory", "import", source / "sparse", user.folder / "v")
    user.refused("one of the two is inside of the other", "import", source, source / "v")
    (user.folder / "other").mkdir()
    (user.folder / "other" / "file").write_text("plain")
    user.refused("holds plain files", "import", source, user.folder / "other")
    assert not (user.folder / "v").exists()


def test_bench_measures_and_leaves_nothing(user: User) -> None:
    out, _ = user.ok("bench", user.folder / "b", "--size", "4", "--json")
    rows = json.loads(out)
    assert {row["what"] for row in rows} >= {"sequential write", "4 KiB and fdatasync", "create and unlink"}
    assert all(row["plain"] > 0 and row["volume"] > 0 for row in rows)
    assert sorted(os.listdir(user.folder)) == ["keystore"]
    user.refused("directory is there already", "bench", user.folder)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("rekey", "/nowhere/v", "--list"), "no volume: /nowhere/v/volume.scone"),
        (("rekey", "/v"), "nothing to change: rekey: give one of"),
        (("rekey", "/v", "--remove", "x"), "not a slot's number: x"),
        (("create", "/v", "--passphrase", "--key", "a"), "options contradict each other: --key --passphrase"),
        (("create", "/v", "--mode", "ephemeral"), "unknown value: --mode ephemeral: use one of: encrypt"),
        (("create",), "argument is missing: DIR: write scone-volume create DIR"),
        (("import", "/a"), "argument is missing: DIR: write scone-volume import SOURCE DIR"),
        (("creat", "/v"), "unknown command: creat /v"),
        (("bench", "/v", "--size", "0"), "not a size in MiB: 0"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(user: User, argv: tuple[str, ...], words: str) -> None:
    user.refused(words, *argv)


def test_help_and_completion_name_everything(user: User) -> None:
    text, _ = user.ok("--help")
    for command in LINE.commands:
        assert f"  {command.words}" in text
        for option in command.options:
            assert option.name in text
    for shell in SHELLS:
        script = completion(LINE, shell)
        for command in LINE.commands:
            assert command.words in script
        assert "scone-keys" not in script
    done = subprocess.run(["bash", "-n"], input=completion(LINE, "bash").encode(), capture_output=True, check=False)
    assert done.stderr == b""
