"""scone-keys as a user meets it, root and ordinary users; and a start that needs no keys loads none of it."""

import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scone_preload.cli.command_completion import SHELLS, completion
from scone_preload.cli.keys_table import COMMANDS, EVERYWHERE, LINE
from scone_preload.keys.format import Purpose
from tests.conftest import COMMANDS as BIN
from tests.keys.support import PASSPHRASE, opened

KEYS = BIN / "scone-keys"
SECRET = b"a canary for the command line"


class User:
    """Runs scone-keys with a keystore and passphrase files of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "keystore"
        self.environment = {"SCONE_KEYSTORE": str(self.store), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def run(self, *argv: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None) -> tuple[int, str, str]:
        environment = {**self.environment, **(env or {})}
        done = subprocess.run([KEYS, *argv], input=stdin, capture_output=True, env=environment, check=False, timeout=60)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def ok(self, *argv: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None) -> tuple[str, str]:
        status, out, err = self.run(*argv, stdin=stdin, env=env)
        assert status == 0, err
        return out, err


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


def test_from_nothing_to_a_protected_and_saved_keystore(user: User) -> None:
    passphrase = user.file("pw", PASSPHRASE + b"\n")
    _, told = user.ok("add-secret", "db-password", stdin=SECRET + b"\n")
    assert told.count("\n") == 1
    assert "made a keystore in" in told
    assert "scone-keys backup FILE" in told
    _, told = user.ok("slot", "add", "--passphrase", "--only", "--new-passphrase-file", passphrase)
    assert told == ""
    opening = ("--passphrase-file", passphrase)
    user.ok("backup", user.folder / "saved", "--backup-passphrase-file", passphrase, *opening)
    shutil.rmtree(user.store)
    _, told = user.ok("restore", user.folder / "saved", "--backup-passphrase-file", passphrase)
    assert "has 1 keys and secrets and 0 anchors now; the backup's passphrase opens it" in told
    listed = json.loads(user.ok("list", "--json", *opening)[0])
    assert listed["keys"][0]["name"] == "db-password"
    assert set(listed["keys"][0]) == {"name", "purpose", "generation", "created"}
    assert listed["keystore"] == str(user.store)


def test_secrets_keep_their_bytes(user: User) -> None:
    exact = user.file("exact", b"line\n\n")
    user.ok("add-secret", "a", stdin=b"line\n\n")
    user.ok("add-secret", "b", "--from", exact)
    user.ok("rotate", "a", stdin=b"\0new")
    with opened(user.store) as store:
        assert store.key("a", Purpose.SECRET, 1).reveal() == b"line\n"
        assert store.key("a", Purpose.SECRET).reveal() == b"\0new"
        assert store.key("b", Purpose.SECRET).reveal() == b"line\n\n"
    assert "a                                secret   generation 2" in user.ok("list")[0]
    user.ok("remove", "a")
    assert "generation 2" not in user.ok("list")[0]


def test_a_passphrase_may_come_from_the_tools_environment(user: User) -> None:
    env = {"SCONE_KEYS_NEW_PASSPHRASE": PASSPHRASE.decode()}
    user.ok("init", "--passphrase", env=env)
    assert user.run("list")[0] == 125
    user.ok("list", env={"SCONE_KEYS_PASSPHRASE": PASSPHRASE.decode()})
    status, _, err = user.run("list", env={"SCONE_KEYS_PASSPHRASE": "wrong"})
    assert status == 125
    assert "wrong passphrase" in err


def test_a_new_passphrase_that_is_easy_to_guess_is_told_of(user: User) -> None:
    _, told = user.ok("init", "--passphrase", env={"SCONE_KEYS_NEW_PASSPHRASE": "hunter2"})
    assert "a passphrase of 7 bytes can be guessed" in told
    _, told = user.ok("list", env={"SCONE_KEYS_PASSPHRASE": "hunter2"})
    assert "guessed" not in told


def test_a_key_file_is_made_and_opens(user: User) -> None:
    path = user.folder / "usb.key"
    _, told = user.ok("slot", "add", "--key-file", path, "--only")
    assert f"made key file {path}" in told
    assert path.stat().st_mode & 0o777 == 0o600
    assert "key file" in user.ok("slot", "list", "--open-with", path)[0]
    assert "no key file given (usb.key)" in user.run("list")[2]


def test_a_variable_opens(user: User) -> None:
    env = {"MY_KEY": "5a" * 32}
    user.ok("slot", "add", "--environment", "MY_KEY", "--only", env=env)
    user.ok("list", env=env)
    assert "variable MY_KEY is not set" in user.run("list")[2]
    assert "variable is not set" in user.run("slot", "add", "--environment", "OTHER", env=env)[2]


def test_a_passphrase_is_asked_for_twice_on_a_terminal_and_not_shown(user: User) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [KEYS, "init", "--passphrase"], stdin=theirs, stdout=theirs, stderr=theirs, env=user.environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        for prompt in (b"New passphrase: ", b"The same again: "):
            while prompt not in shown:
                shown += os.read(ours, 4096)
            time.sleep(0.1)  # getpass drops what was typed before it turned the echo off
            os.write(ours, PASSPHRASE + b"\n")
        while b"only the passphrase opens it" not in shown:
            shown += os.read(ours, 4096)
    finally:
        process.wait(30)
        os.close(ours)
    assert PASSPHRASE not in shown
    user.ok("list", env={"SCONE_KEYS_PASSPHRASE": PASSPHRASE.decode()})


def test_while_it_waits_nothing_secret_is_in_its_command_line_or_environment(user: User) -> None:
    user.ok("init", "--passphrase", env={"SCONE_KEYS_NEW_PASSPHRASE": PASSPHRASE.decode()})
    process = subprocess.Popen(
        [KEYS, "add-secret", "x"],
        stdin=subprocess.PIPE,
        env={**user.environment, "SCONE_KEYS_PASSPHRASE": PASSPHRASE.decode()},
    )
    assert process.stdin is not None
    try:
        deadline = time.monotonic() + 20
        dumpable = f"/proc/{process.pid}/environ"
        while PASSPHRASE in Path(dumpable).read_bytes():
            assert time.monotonic() < deadline, "the passphrase stays in its environment"
            time.sleep(0.01)
        assert PASSPHRASE not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    except PermissionError:
        assert os.geteuid() != 0  # PR_SET_DUMPABLE 0: not even its own user may look
    finally:
        process.communicate(SECRET, timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "no command given: COMMAND: see scone-keys --help"),
        (["slot"], "unknown command: slot: use: slot list, slot add, slot remove"),
        (["frob"], "unknown command: frob: see scone-keys --help"),
        (["add-secret"], "argument is missing: NAME: write scone-keys add-secret NAME"),
        (["add-secret", "x", "hunter2"], "too many arguments: add-secret x ...: give the value on standard input"),
        (["list", "x"], "too many arguments: list x: see scone-keys --help"),
        (["list", "--plain"], "option is of another command: list --plain: see scone-keys --help"),
        (["list", "--xyzzy"], "unknown option: --xyzzy: see scone-keys --help"),
        (["list", "--keystor", "x"], 'unknown option: --keystor: did you mean "--keystore"?'),
        (["list", "--json=1"], "option takes no value: --json: leave out =1"),
        (["list", "--keystore"], "option needs a value: --keystore: write --keystore DIR"),
        (["list"], "no keystore: {store}: make one: scone-keys init"),
        (["backup", "x"], "no keystore: {store}: make one: scone-keys init"),
        (["slot", "add"], "one kind of slot is needed: slot add: give one: --passphrase, --key-file"),
        (["slot", "remove", "x"], "not a slot's number: x: see: scone-keys slot list"),
        (["restore", "/nowhere"], "backup can't be read (No such file or directory): /nowhere: "),
        (["--print-completion", "csh"], "unknown shell: csh: use one of: bash, zsh, fish"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(user: User, argv: list[str], says: str) -> None:
    status, out, err = user.run(*argv)
    assert status == 125
    assert err.startswith("scone-keys: " + says.format(store=user.store)), err
    assert "hunter2" not in err
    assert out == ""
    assert not user.store.exists()


def test_a_backup_overwrites_no_file(user: User) -> None:
    target = user.file("saved", b"precious")
    user.ok("init")
    passphrase = user.file("pw", PASSPHRASE)
    status, _, err = user.run("backup", target, "--backup-passphrase-file", passphrase)
    assert status == 125
    assert "file is already there" in err
    assert target.read_bytes() == b"precious"


def test_the_help_names_every_command_and_option() -> None:
    text = LINE.help_text()
    assert not [command.words for command in COMMANDS if f"  {command.words}" not in text]
    options = [option for command in COMMANDS for option in command.options] + list(EVERYWHERE)
    assert not [option.name for option in options if option.name not in text]
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_its_completion_which_names_every_option(shell: str) -> None:
    text = completion(LINE, shell)
    options = [option for command in COMMANDS for option in command.options] + list(EVERYWHERE)
    assert not [option.name for option in options if option.name.removeprefix("--") not in text]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n"], input=text, text=True, check=True)


def completed(*words: str) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"""source <({KEYS} --print-completion bash)
COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMPREPLY=(); _scone_keys; printf '%s\\n' "${{COMPREPLY[@]}}" """
    return subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout.split()


def test_bash_completes_commands_their_options_and_files(tmp_path: Path) -> None:
    (tmp_path / "saved").touch()
    assert sorted(completed("scone-keys", "re")) == ["remove", "restore"]
    assert completed("scone-keys", "slot", "a") == ["add"]
    assert completed("scone-keys", "slot", "add", "--pl") == ["--plain"]
    assert completed("scone-keys", "list", "--pl") == []
    assert completed("scone-keys", "--keystore", "x", "restore", f"{tmp_path}/s") == [f"{tmp_path}/saved"]


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder that nobody can use: pytest's own are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="scone-keys-"))
    os.chown(folder, 65534, 65534)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_an_ordinary_user_has_a_keystore_of_their_own(nobodys: Path) -> None:
    def run(*argv: str, home: str = str(nobodys), stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = ["runuser", "-u", "nobody", "--", "env", "-i", f"HOME={home}", sys.executable, KEYS, *argv]
        return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)

    if run("--version").returncode != 0:
        pytest.skip("nobody can't reach this checkout")
    done = run("add-secret", "x", stdin=SECRET)
    assert done.returncode == 0, done.stderr
    place = nobodys / ".local/share/scone-preload/keystore"
    assert place.stat().st_mode & 0o777 == 0o700
    assert place.stat().st_uid == 65534
    assert b"x " in run("list").stdout
    refused = subprocess.run([KEYS, "list", "--keystore", place], capture_output=True, check=False)
    assert refused.returncode == 125
    assert b"belongs to user 65534" in refused.stderr
    away = run("init", home="/nonexistent")
    assert away.returncode == 125
    assert b"can't be opened (Permission denied)" in away.stderr or b"can't be made" in away.stderr


def test_a_start_that_needs_no_keys_loads_none_of_this(scone_wrap: Path) -> None:
    code = "import sys; import scone_preload.cli.wrap, scone_preload.runtime.launch; print(*sys.modules)"
    python = scone_wrap.parent / "python"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert "scone_preload.runtime.launch" in done.stdout
    assert "scone_preload.keys" not in done.stdout
    assert "cryptography" not in done.stdout
