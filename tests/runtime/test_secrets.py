"""P2: a secret is a file to the program that it is for, and nothing anywhere else."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from scone_preload.handlers import Deny, Result
from scone_preload.policy.calls import call_named
from scone_preload.policy.effective import parse
from scone_preload.runtime import wire
from scone_preload.runtime.secrets import NOBODY, Identity, Secrets, identity, may
from scone_preload.runtime.sources import owner_of
from tests.helpers.modes import WRAPPED, Mode, command, warm
from tests.helpers.net import wait_until
from tests.helpers.processes import group_of, run
from tests.helpers.server import cache_of, place_of
from tests.runtime.probing import Prober
from tests.runtime.test_alive import host_of

SECRET = "xyzzy-plugh-0451"
SHELL = "/bin/sh"
TOOLS = ("/bin/sh", "/bin/cat", "/bin/ls", "/usr/bin/tr", "/usr/bin/id")


@pytest.fixture(scope="module", autouse=True)
def _warmed() -> None:
    warm(*TOOLS)


def wrapped(mode: Mode, script: str, tmp_path: Path, *options: str, **environment: str) -> tuple[str, str]:
    """What a shell script gives under `options`, with the secret in scone-wrap's environment."""
    given = {"PATH": "/usr/bin:/bin", "LANG": "C", "TOPSECRET": SECRET, **environment}
    done = run(mode, [SHELL, "-c", script], cwd=tmp_path, options=options, environment=given)
    return done.out.decode(), done.err.decode()


A = ("--secret", "/run/secrets/a=env:TOPSECRET")


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_p2_a_secret_is_read_like_a_file_and_is_in_no_environment(mode: Mode, tmp_path: Path) -> None:
    script = (
        "cat /run/secrets/a; echo; cat </run/secrets/a; echo; tr a-z A-Z </run/secrets/a; echo; "
        "(exec cat /var/run/secrets/a); echo; echo \"[$TOPSECRET]\"; tr '\\0' '\\n' </proc/self/environ"
    )
    out, err = wrapped(mode, script, tmp_path, *A)
    lines = out.splitlines()
    assert lines[:5] == [SECRET, SECRET, SECRET.upper(), SECRET, "[]"], err
    assert lines[5:]
    assert not [line for line in lines[5:] if SECRET in line]
    assert err == ""


def test_p2_a_secret_is_on_no_disk_and_in_no_process_that_is_not_the_programs(tmp_path: Path) -> None:
    mark = f"mark-{os.getpid()}"
    code = f"import os, time; os.write(1, open('/run/secrets/a','rb').read()); time.sleep(60) or '{mark}'"
    environment = {"PATH": "/usr/bin:/bin", "TOPSECRET": SECRET}
    argv = command(Mode.RING, ["/usr/bin/python3", "-c", code], *A)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.read(len(SECRET)) == SECRET.encode()
        host = host_of(mark)
        found = [pid for pid in os.listdir("/proc") if pid.isdigit() and holds(Path("/proc", pid, "environ"), SECRET)]
        status = Path(f"/proc/{host}/status").read_text()
        dumpable = os.stat(f"/proc/{host}").st_uid == 0
        process.kill()
    assert found == []
    assert dumpable
    assert status
    assert not os.path.lexists("/run/secrets/a")


def holds(path: Path, text: str) -> bool:
    try:
        return text.encode() in path.read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("where", ["name", "folder"])
def test_p2_a_link_that_the_host_puts_in_a_secrets_place_is_not_followed(where: str, tmp_path: Path) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "a").write_text("the host's")
    if where == "name":
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "a").symlink_to(tmp_path / "evil" / "a")
    else:
        (tmp_path / "own").symlink_to(tmp_path / "evil")
    place = f"{tmp_path}/own/a"
    script = f"cat {place}; echo; stat -L -c %s {place}; cat ./own/../own//a; echo; cat {tmp_path}/evil/../own/a"
    out, err = wrapped(Mode.ASYNC, script, tmp_path, "--secret", f"{place}=env:TOPSECRET")
    assert out.split("\n") == [SECRET, str(len(SECRET)), SECRET, SECRET], err


def test_status_of_a_secret_says_what_the_policy_says(prober: Prober) -> None:
    policy = '[[secret]]\npath = "/run/secrets/a"\nfrom = "env:TOPSECRET"\nmode = "0440"\nowner = "nobody:0"\n'
    (prober.place / "scone.toml").write_text("version = 1\n" + policy + '[exec]\nunlisted = "system"\n')
    out, err = wrapped(Mode.SYNC, "ls -ln /run/secrets/a", prober.place, "--policy", str(prober.place / "scone.toml"))
    assert out.split()[:5] == ["-r--r-----", "1", "65534", "0", str(len(SECRET))], err


CALLS = [
    ("stat /run/secrets/a", "0"),
    ("lstat /run/secrets/a", "0"),
    ("statx /run/secrets/a", "0"),
    ("access /run/secrets/a", "0"),
    ("open /run/secrets/a r", "0"),
    ("openat2 /run/secrets/a r", "0"),
    ("open /run/secrets/a rd", "ENOTDIR"),
    ("open /run/secrets/a w", "EACCES"),
    ("open /run/secrets/a wc", "EACCES"),
    ("unlink /run/secrets/a", "EACCES"),
    ("rename /run/secrets/a {place}/a", "EACCES"),
    ("rename {place}/open/file /run/secrets/a", "EACCES"),
    ("link /run/secrets/a {place}/a", "EACCES"),
    ("chmod /run/secrets/a", "EACCES"),
    ("readlink /run/secrets/a", "EINVAL"),
    ("chdir /run/secrets/a", "ENOTDIR"),
    ("getxattr /run/secrets/a", "ENODATA"),
    ("print /run/secrets/a", "0"),
    ("spawnin /run/secrets/a /bin/cat", "0"),
    ("exec /run/secrets/a", "EACCES"),
]


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_every_call_on_a_secrets_path_gives_what_a_file_would(mode: Mode, prober: Prober) -> None:
    policy = '[[secret]]\npath = "/run/secrets/a"\nfrom = "env:TOPSECRET"\n'
    probed = prober.ask(mode, policy, *(call for call, _ in CALLS), TOPSECRET=SECRET)
    assert len(probed.results) == len(CALLS), probed.err
    # what cat prints stands before what its caller gave
    assert list(zip([call for call, _ in CALLS], probed.results, strict=True)) == CALLS, probed.err


def test_p2_a_program_that_has_dropped_its_identity_reads_only_what_is_still_its_own(prober: Prober) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can change its identity")
    policy = (
        '[[secret]]\npath = "/run/secrets/root"\nfrom = "env:TOPSECRET"\nowner = "root"\n'
        '[[secret]]\npath = "/run/secrets/group"\nfrom = "env:TOPSECRET"\nowner = "root:nogroup"\nmode = "0440"\n'
        '[[secret]]\npath = "/run/secrets/own"\nfrom = "env:TOPSECRET"\nowner = "nobody"\n'
    )
    code = (
        "import os\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for name in ('root', 'group', 'own'):\n"
        "  try: print(name, open('/run/secrets/' + name).read())\n"
        "  except OSError as e: print(name, e.errno)\n"
    )
    path = prober.policy(policy + '[environment]\nunlisted = "pass"\n')
    done = run(Mode.SYNC, ["/usr/bin/python3", "-c", code], cwd=prober.place, options=["--policy", str(path)],
               environment={"PATH": "/usr/bin:/bin", "TOPSECRET": SECRET})  # fmt: skip
    assert done.out.decode().splitlines() == ["root 13", f"group {SECRET}", f"own {SECRET}"], str(done)


def test_a_secret_that_is_not_given_lets_nothing_run(prober: Prober) -> None:
    probed = prober.ask(Mode.SYNC, '[[secret]]\npath = "/run/a"\nfrom = "env:NOT_THERE"\n', "kill")
    assert (probed.results, probed.status) == ([], 125)
    assert probed.err == "scone-wrap: secret not given: /run/a: env:NOT_THERE: set NOT_THERE for scone-wrap\n"


def test_a_secret_whose_file_can_not_be_read_lets_nothing_run(prober: Prober) -> None:
    probed = prober.ask(Mode.SYNC, '[[secret]]\npath = "/run/a"\nfrom = "file:/nowhere/a"\n', "kill")
    assert (probed.results, probed.status) == ([], 125)
    remedy = "No such file or directory; name a file that scone-wrap can read"
    assert probed.err == f"scone-wrap: secret can't be read: /run/a: /nowhere/a: {remedy}\n"


def test_a_secret_from_a_file_is_read_at_each_open(prober: Prober) -> None:
    source = prober.place / "source"
    source.write_text("one")
    policy = f'[[secret]]\npath = "/run/a"\nfrom = "file:{source}"\n'
    path = prober.policy(policy)
    argv = command(Mode.SYNC, [SHELL, "-c", "cat /run/a; read x; cat /run/a"], "--policy", str(path))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.read(3) == "one"
        source.write_text("second")
        process.stdin.write("\n")
        process.stdin.close()
        assert process.stdout.read() == "second"


def test_p2_an_ordinary_users_secrets_are_served_as_well(tmp_path: Path) -> None:
    user = "nobody" if os.geteuid() == 0 else None
    with place_of(user) as place:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(place), "XDG_CACHE_HOME": str(cache_of(user))}
        argv = command(Mode.ASYNC, [SHELL, "-c", "cat /run/secrets/a; id -u"], *A)
        done = subprocess.run(argv, cwd=place, env={**environment, "TOPSECRET": SECRET}, capture_output=True, text=True,
                              check=False, user=user, group=group_of(user), extra_groups=[] if user else None,
                              timeout=120)  # fmt: skip
    assert done.stdout == f"{SECRET}{65534 if user else os.getuid()}\n", done.stderr


def test_p2_a_secret_of_the_keystore_is_opened_once(tmp_path: Path) -> None:
    tool = shutil.which("scone-keys") or str(Path(command(Mode.SYNC, [])[0]).parent / "scone-keys")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    made = subprocess.run([tool, "add-secret", "pw"], input=SECRET, env=environment, text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert made.returncode == 0, made.stderr
    out, err = wrapped(Mode.SYNC, "for i in 1 2 3 4 5 6 7 8; do cat /run/pw; done", tmp_path,
                       "--secret", "/run/pw=keystore:pw", **environment)  # fmt: skip
    assert out == SECRET * 8, err


# ---- one by one ----

POLICY = parse(b'version = 1\n[[secret]]\npath = "/run/a"\nfrom = "env:A"\nmode = "0640"\n')
NONE: frozenset[int] = frozenset()
ROOT, USER, OTHER = Identity(0, 0, NONE), Identity(5, 6, NONE), Identity(9, 9, NONE)
MEMBER = Identity(9, 9, frozenset({6}))


@pytest.mark.parametrize(
    ("who", "wanted", "allowed"),
    [
        (ROOT, 6, True), (ROOT, 1, False), (USER, 6, True), (USER, 1, False), (MEMBER, 4, True), (MEMBER, 2, False),
        (OTHER, 4, False), (OTHER, 0, True),
    ],
)  # fmt: skip
def test_permissions_are_the_kernels(who: Identity, wanted: int, allowed: bool) -> None:
    assert may(wanted, 0o640, (5, 6), who) == allowed


def test_an_owner_may_be_names_or_numbers() -> None:
    owners = {
        "": (3, 4),
        "7": (7, 7),
        "7:8": (7, 8),
        "root": (0, 0),
        "root:nogroup": (0, 65534),
        "nobody:0": (65534, 0),
    }
    for text, expected in owners.items():
        owner = f'owner = "{text}"\n' if text else ""
        policy = parse(f'version = 1\n[[secret]]\npath = "/a"\nfrom = "env:A"\n{owner}'.encode())
        assert owner_of(policy.secrets[0].owner, (3, 4)) == expected


def test_a_process_that_is_gone_is_nobody() -> None:
    assert identity(os.getpid()).uid == os.geteuid()
    assert identity(4194304) == NOBODY


def test_a_status_is_packed_as_the_kernel_packs_it() -> None:
    secrets = Secrets({b"A": b"12345"}, {})
    row = call_named("stat")
    assert row is not None
    message = wire.Call(header=wire.Header(type=8, first=False, pid=1, tid=1), nr=4, args=(0,) * 6, strings={},
                        is_cut=False, is_datagram=False)  # fmt: skip
    given = secrets.serve(POLICY.secrets[0], row, message, USER)
    assert isinstance(given, Result)
    raw = given.outputs["st"]
    assert len(raw) == 144
    assert int.from_bytes(raw[24:28], "little") == 0o100640
    assert [int.from_bytes(raw[at : at + 4], "little") for at in (28, 32)] == [5, 6]
    assert int.from_bytes(raw[48:56], "little") == 5
    assert abs(int.from_bytes(raw[88:96], "little") - time.time()) < 100_000
    assert secrets.serve(POLICY.secrets[0], call_named("readlink") or row, message, USER) == Deny(22)


# ---- a keystore that something has to open ----

WORDS = "correct horse battery"
KEY = "5c" * 32


class Kept:
    """A keystore with one secret, `pw`, and how to start programs that get it."""

    def __init__(self, place: Path) -> None:
        self.tool = str(Path(command(Mode.SYNC, [])[0]).parent / "scone-keys")
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": str(place), "XDG_DATA_HOME": str(place / "data")}
        self.place = place
        self.keys("add-secret", "pw", text=SECRET)

    def keys(self, *words: str, text: str = "", **more: str) -> None:
        done = subprocess.run([self.tool, *words], input=text, env=self.environment | more, text=True, cwd=self.place,
                              capture_output=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr

    def argv(self, script: str, mode: Mode = Mode.SYNC) -> list[str]:
        return [str(word) for word in command(mode, [SHELL, "-c", script], "--secret", "/run/pw=keystore:pw")]

    def run(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Start it where there is no terminal."""
        return subprocess.run(self.argv(script), env=self.environment | more, cwd=self.place, text=True, timeout=120,
                              capture_output=True, check=False, start_new_session=True)  # fmt: skip

    def typed(self, script: str, *lines: str, mode: Mode = Mode.SYNC) -> tuple[int, str]:
        """Start it on a terminal and type these lines, each when it asks; its status, and all that was shown."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.place)
            os.execve(self.argv("")[0], self.argv(script, mode), self.environment)
        shown, asked = b"", 0
        while True:
            try:
                shown += os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
            if shown.count(b"Passphrase of the keystore: ") > asked:
                wait_until(lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO, "echo is off")
                os.write(terminal, lines[asked].encode())
                asked += 1
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


@pytest.fixture
def locked(kept: Kept) -> Kept:
    kept.keys("slot", "add", "--passphrase", "--only", SCONE_KEYS_NEW_PASSPHRASE=WORDS)
    return kept


SHOW = 'cat /run/pw; echo; tr "\\0" "\\n" </proc/self/environ; tr "\\0" "\\n" </proc/self/cmdline'


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_the_passphrase_is_asked_for_at_the_terminal_before_anything_runs(locked: Kept, mode: Mode) -> None:
    status, shown = locked.typed(f"{SHOW}; test -t 0 && stty -a", f"{WORDS}\n", mode=mode)
    assert status == 0, shown
    assert SECRET in shown
    assert WORDS not in shown
    assert " echo " in shown, "the terminal is as it was"


def test_a_wrong_passphrase_is_asked_again_and_then_refused(locked: Kept) -> None:
    status, shown = locked.typed("cat /run/pw", "no\n", f"{WORDS}\n")
    assert (status, SECRET in shown, shown.count("wrong passphrase: try again")) == (0, True, 1)
    status, shown = locked.typed("echo ran; cat /run/pw", "no\n", "no\n", "no\n")
    assert (status, "ran" in shown, "keystore stays locked: wrong passphrase" in shown) == (125, False, True)


def test_ctrl_c_at_the_question_ends_it_as_it_would_end_the_program(locked: Kept) -> None:
    status, shown = locked.typed("echo ran", "\x03")
    assert (status, "ran" in shown, "Traceback" in shown) == (-signal.SIGINT, False, False)


def test_without_a_terminal_it_is_an_error_of_the_start_with_the_remedy(locked: Kept) -> None:
    done = locked.run("echo ran")
    assert (done.returncode, done.stdout) == (125, "")
    assert "passphrase of the keystore needed, and no terminal to ask" in done.stderr
    assert "SCONE_KEYS_OPEN_WITH" in done.stderr


def test_p2_the_variable_that_opens_it_is_the_runtimes_alone(locked: Kept) -> None:
    mark = f"mark-{os.getpid()}"
    script = f"{SHOW}; echo ready; read x; : {mark}"
    with subprocess.Popen(locked.argv(script), env=locked.environment | {"SCONE_KEYS_PASSPHRASE": WORDS}, text=True,
                          cwd=locked.place, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        shown = list(iter(process.stdout.readline, "ready\n"))
        found = [pid for pid in os.listdir("/proc") if pid.isdigit() and holds(Path("/proc", pid, "environ"), WORDS)]
        process.kill()
    assert shown[0] == f"{SECRET}\n"
    assert not [line for line in shown if "SCONE_KEYS" in line or WORDS in line]
    assert found == []
    wrong = locked.run("echo ran", SCONE_KEYS_PASSPHRASE="no")
    assert (wrong.returncode, wrong.stdout, "wrong passphrase" in wrong.stderr) == (125, "", True)


def test_p2_without_a_policy_the_program_does_not_get_it_either(kept: Kept) -> None:
    argv = command(Mode.SYNC, ["/usr/bin/env"])
    done = subprocess.run(argv, env=kept.environment | {"SCONE_KEYS_PASSPHRASE": WORDS}, text=True, check=True,
                          capture_output=True)  # fmt: skip
    assert "HOME=" in done.stdout
    assert "SCONE_KEYS" not in done.stdout


def test_a_key_file_or_a_variable_of_a_slot_opens_it_and_neither_reaches_the_program(kept: Kept) -> None:
    (kept.place / "key").write_text(KEY)
    (kept.place / "key").chmod(0o600)
    kept.keys("slot", "add", "--key-file", "key", "--only")
    done = kept.run(SHOW, SCONE_KEYS_OPEN_WITH="key")
    assert (done.stdout.splitlines()[0], "OPEN_WITH" in done.stdout, done.stderr) == (SECRET, False, "")
    assert kept.run("echo ran").returncode == 125
    kept.keys("slot", "add", "--environment", "OWN_KEY", "--only", SCONE_KEYS_OPEN_WITH="key", OWN_KEY=KEY)
    done = kept.run(SHOW, OWN_KEY=KEY)
    assert (done.stdout.splitlines()[0], "OWN_KEY" in done.stdout, done.stderr) == (SECRET, False, "")


def test_a_secret_that_the_keystore_lacks_is_an_error_of_the_start(kept: Kept) -> None:
    kept.keys("remove", "pw")
    done = kept.run("echo ran")
    assert (done.returncode, done.stdout, "pw" in done.stderr) == (125, "", True)
