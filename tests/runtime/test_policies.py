"""What a policy says holds for an unmodified program, by every exit: files, links, sockets, programs, calls."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.helpers.modes import WRAPPED, Mode, warm
from tests.runtime.probing import Prober

REFUSE = '[files]\nunlisted = "refuse"\nread = ["{place}/open/"]\n'
WRITE = '[files]\nunlisted = "refuse"\nwrite = ["{place}/open/"]\n'
P = "{place}"

# name: policy, then (call, what it gives)
FILES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "reading": (
        REFUSE,
        [
            (f"open {P}/open/file r", "0"),
            (f"open {P}/shut/file r", "EACCES"),
            (f"open {P}/open/sub/file r", "0"),
            (f"open {P}/open/file w", "EACCES"),
            (f"open {P}/open/new wc", "EACCES"),
            (f"open {P}/open t", "EACCES"),
            (f"open {P}/open/file rc", "EACCES"),
            (f"creat {P}/open/file", "EACCES"),
            (f"openat2 {P}/open/file r", "0"),
            (f"openat2 {P}/open/file w", "EACCES"),
            (f"openat2 {P}/shut/file r", "EACCES"),
            (f"open {P}/open/nothing r", "ENOENT"),
            (f"open {P}/shut/nothing r", "EACCES"),
        ],
    ),
    "looking": (
        REFUSE,
        [
            (f"stat {P}/open/file", "0"),
            (f"stat {P}/shut/file", "EACCES"),
            (f"lstat {P}/shut/file", "EACCES"),
            (f"statx {P}/shut/file", "EACCES"),
            (f"access {P}/shut/file", "EACCES"),
            (f"readlink {P}/shut/link", "EACCES"),
            (f"open {P}/shut/file p", "EACCES"),
            (f"open {P}/open/file p", "0"),
            (f"stat {P}", "0"),
            (f"open {P} rd", "EACCES"),
            (f"chdir {P}/shut", "EACCES"),
            (f"getxattr {P}/shut/file", "EACCES"),
            (f"watch {P}/shut", "EACCES"),
        ],
    ),
    "writing": (
        WRITE,
        [
            (f"open {P}/open/new wc", "0"),
            (f"open {P}/open/file r", "0"),
            (f"truncate {P}/open/file", "0"),
            (f"truncate {P}/shut/file", "EACCES"),
            (f"chmod {P}/shut/file", "EACCES"),
            (f"mkdir {P}/open/d", "0"),
            (f"mkdir {P}/shut/d", "EACCES"),
            (f"rmdir {P}/open/d", "0"),
            (f"unlink {P}/open/new", "0"),
            (f"unlink {P}/shut/file", "EACCES"),
            (f"unlink {P}/open/link", "0"),
        ],
    ),
    "both paths of a call": (
        WRITE,
        [
            (f"rename {P}/open/file {P}/shut/file", "EACCES"),
            (f"rename {P}/shut/file {P}/open/file", "EACCES"),
            (f"renameat2 {P}/open/file {P}/shut/file", "EACCES"),
            (f"link {P}/shut/file {P}/open/hard", "EACCES"),
            (f"link {P}/open/file {P}/shut/hard", "EACCES"),
            (f"linkat {P}/open/link {P}/open/hard", "EACCES"),
            (f"symlink {P}/shut/file {P}/shut/soft", "EACCES"),
            (f"symlinkat {P}/shut/file {P}/shut/soft", "EACCES"),
            (f"rename {P}/open/file {P}/open/moved", "0"),
            (f"link {P}/open/moved {P}/open/file", "0"),
            (f"symlink file {P}/open/soft", "0"),
            (f"open {P}/open/soft r", "0"),
        ],
    ),
    "links": (
        REFUSE,
        [
            (f"open {P}/open/link r", "EACCES"),
            (f"stat {P}/open/link", "EACCES"),
            (f"lstat {P}/open/link", "0"),
            (f"readlink {P}/open/link", "0"),
            (f"open {P}/open/link rn", "ELOOP"),
            (f"open {P}/open/sub/up/file r", "EACCES"),
            (f"stat {P}/open/sub/up/", "EACCES"),
            (f"lstat {P}/open/sub/up/", "EACCES"),
            (f"lstat {P}/open/sub/up/.", "EACCES"),
            (f"lstat {P}/open/sub/up", "0"),
            (f"open {P}/open/sub/up/../shut/file r", "EACCES"),
            # where the kernel goes: from shut/ up, not from open/sub/
            (f"open {P}/open/sub/up/../open/file r", "0"),
            (f"open {P}/open/sub/../file r", "0"),
            (f"open {P}/open/../shut/file r", "EACCES"),
            (f"open {P}/open/./sub//file r", "0"),
        ],
    ),
    "relative paths": (
        REFUSE,
        [
            ("open open/file r", "0"),
            ("open shut/file r", "EACCES"),
            (f"chdir {P}/open", "0"),
            ("open file r", "0"),
            ("open ../shut/file r", "EACCES"),
            ("open sub/../../shut/file r", "EACCES"),
            (f"openat {P}/open file r", "0"),
            (f"openat {P}/open ../shut/file r", "EACCES"),
            (f"openat {P}/open {P}/shut/file r", "EACCES"),
            ("watch sub", "0"),
            ("watch ../shut", "EACCES"),
            (f"openlong {P}/open file", "0"),
            (f"openlong {P}/open ../shut/file", "EACCES"),
        ],
    ),
    "the descriptor itself": (
        REFUSE,
        [(f"fstat_empty {P}/open/file", "0"), (f"fsetxattr {P}/open/file", "0")],
    ),
    "past the paths": (
        REFUSE,
        [(f"handle {P}/open/file", "EPERM"), (f"handle {P}/shut/file", "EACCES")],
    ),
}


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", FILES)
def test_p7_files_are_decided_for(name: str, mode: Mode, prober: Prober) -> None:
    policy, rows = FILES[name]
    probed = prober.ask(mode, policy, *(call for call, _ in rows))
    assert list(zip([call for call, _ in rows], probed.results, strict=True)) == rows, probed.err


def test_a_relative_path_that_is_too_long_to_be_made_out_is_refused(prober: Prober) -> None:
    deep = prober.place / "open" / "/".join(["d" * 200] * 12)
    deep.mkdir(parents=True)
    probed = prober.ask(Mode.SYNC, REFUSE, f"openlong {deep} file", f"openlong {deep} ../" + "x" * 20)
    assert probed.results == ["ENAMETOOLONG", "ENAMETOOLONG"]


SELF = '[files]\nunlisted = "refuse"\nread = ["/proc/self/", "{place}/open/"]\n'


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_a_process_is_self_to_the_policy_and_what_its_descriptors_lead_to_is_not(mode: Mode, prober: Prober) -> None:
    rows = [
        ("open /proc/self/status r", "0"),
        ("open /proc/thread-self/status r", "EACCES"),
        ("open /proc/self/task r", "0"),
        ("stat /proc/mounts", "0"),
        ("open /proc/1/status r", "EACCES"),
        (f"open /proc/self/root{P}/open/file r", "0"),
        (f"open /proc/self/root{P}/shut/file r", "EACCES"),
        ("open /proc/self/cwd/open/file r", "0"),
        ("open /proc/self/cwd/shut/file r", "EACCES"),
        ("open /proc/self/exe r", "EACCES"),
        ("readlink /proc/self/exe", "0"),
    ]
    probed = prober.ask(mode, SELF, *(call for call, _ in rows))
    assert list(zip([call for call, _ in rows], probed.results, strict=True)) == rows, probed.err


# ---- answers that are kept ----


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_an_answer_about_a_directory_covers_what_lies_in_it_for_that_access_only(mode: Mode, prober: Prober) -> None:
    (prober.place / "open" / "link").unlink()
    rows = [
        (f"open {P}/open/file r", "0"),
        (f"open {P}/open/other r", "ENOENT"),
        (f"open {P}/open/file w", "EACCES"),
        (f"unlink {P}/open/file", "EACCES"),
        (f"open {P}/open/sub/up/file r", "EACCES"),
        (f"open {P}/open/../shut/file r", "EACCES"),
        (f"open {P}/openly r", "EACCES"),
        (f"open {P}/open/file r", "0"),
    ]
    probed = prober.ask(mode, REFUSE, *(call for call, _ in rows))
    assert list(zip([call for call, _ in rows], probed.results, strict=True)) == rows, probed.err


def test_an_answer_about_a_directory_never_covers_a_link_that_was_there_or_that_the_program_makes(
    prober: Prober,
) -> None:
    calls = [f"open {P}/open/file r", f"open {P}/open/link r"]
    assert prober.ask(Mode.SYNC, WRITE, *calls).results == ["0", "EACCES"]
    (prober.place / "open" / "link").unlink()
    calls = [f"open {P}/open/file r", f"symlink {P}/shut/file {P}/open/made", f"open {P}/open/made r"]
    assert prober.ask(Mode.SYNC, WRITE, *calls).results == ["0", "0", "EACCES"]


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_an_answer_about_a_directory_never_covers_a_secret(mode: Mode, prober: Prober) -> None:
    (prober.place / "open" / "secret").write_text("of the host")
    (prober.place / "way").symlink_to("open")
    policy = '[[secret]]\npath = "{place}/open/secret"\nfrom = "env:TOPSECRET"\n'
    calls = [f"open {P}/open/file r", f"print {P}/open/secret", f"open {P}/way/file r", f"print {P}/way/secret",
             f"open {P}/way/../open/file r", f"print {P}/way/../open/secret", f"open {P}/open/secret w"]  # fmt: skip
    probed = prober.ask(mode, policy, *calls, TOPSECRET="xyzzy")
    assert probed.results == ["0", "0", "0", "0", "0", "0", "EACCES"], probed.err
    assert probed.err.count("denied by") == 1


def test_far_more_paths_than_answers_are_kept_for_are_decided_rightly(prober: Prober) -> None:
    for at in range(300):
        (prober.place / "open" / str(at)).mkdir()
        (prober.place / "open" / str(at) / "file").write_text("")
    calls = [f"open {P}/open/{at}/file r" for at in range(300)] + [f"open {P}/shut/{at}/file r" for at in range(300)]
    probed = prober.ask(Mode.SYNC, REFUSE, *calls, *calls)
    assert probed.results == (["0"] * 300 + ["EACCES"] * 300) * 2


# ---- sockets ----

LISTED = """[network]
unlisted = "refuse"
[[network.connect]]
address = "127.0.0.1"
port = "4000-4999"
shield = "pass"
[[network.connect]]
protocol = "udp"
address = "127.0.0.1"
port = 5001
shield = "pass"
[[network.connect]]
address = "::1"
port = 4001
shield = "pass"
[[network.connect]]
address = "unix:{place}/open/socket"
shield = "pass"
[[network.connect]]
address = "unix:@known"
shield = "pass"
[[network.listen]]
port = 4002
shield = "pass"
[[network.listen]]
address = "unix:{place}/open/"
shield = "pass"
"""
SOCKETS = [
    ("connect 127.0.0.1:4001", "ECONNREFUSED"),
    ("connect 127.0.0.1:5001", "EACCES"),
    ("connect 127.0.0.1:5001 udp", "0"),
    ("connect 127.0.0.1:4001 udp", "EACCES"),
    ("connect 127.0.0.1:4001", "ECONNREFUSED"),
    ("connect 127.0.0.1:5001", "EACCES"),
    ("connect 127.0.0.2:4001", "EACCES"),
    ("connect [::1]:4001", "ECONNREFUSED"),
    ("connect [::1]:4002", "EACCES"),
    ("connect [::ffff:127.0.0.1]:4001", "ECONNREFUSED"),
    ("connect [::ffff:127.0.0.1]:9", "EACCES"),
    ("connect 0", "0"),
    ("netlink", "0"),
    ("connect 40", "EACCES"),
    ("bind 127.0.0.1:4002", "0"),
    ("bind 0.0.0.0:4003", "EACCES"),
    ("bind 127.0.0.1:4002 udp", "EACCES"),
    ("sendto 127.0.0.1:5001", "0"),
    ("sendto 127.0.0.1:5002", "EACCES"),
    ("sendto 127.0.0.1:5001 unspec", "0"),
    ("sendto 127.0.0.1:5002 unspec", "EACCES"),
    ("sendmsg 127.0.0.1:5001", "0"),
    ("sendmsg 127.0.0.1:5002", "EACCES"),
    ("sendmsg 127.0.0.1:5002 long", "EACCES"),
    ("sendmmsg 127.0.0.1:5001 127.0.0.1:5001", "some"),
    ("sendmmsg 127.0.0.1:5001 127.0.0.1:5002", "EACCES"),
    ("connect unix:{place}/open/socket", "0"),
    ("connect unix:open/socket", "0"),
    ("connect unix:open/alias", "0"),
    ("connect unix:shut/socket", "EACCES"),
    ("connect unix:open/way", "EACCES"),
    ("connect unix:@known", "ECONNREFUSED"),
    ("connect unix:@other", "EACCES"),
    ("bind unix:{place}/open/new", "0"),
    ("bind unix:shut/new", "EACCES"),
]


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_p7_sockets_are_decided_by_where_they_lead(mode: Mode, prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prober.place)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as good, socket.socket(socket.AF_UNIX) as bad:
        for server, name in ((good, "open/socket"), (bad, "shut/socket")):
            server.bind(name)
            server.listen(50)
        os.symlink("socket", "open/alias")
        os.symlink("../shut/socket", "open/way")
        probed = prober.ask(mode, LISTED, *(call for call, _ in SOCKETS))
    assert list(zip([call for call, _ in SOCKETS], probed.results, strict=True)) == SOCKETS, probed.err


# ---- calls ----

GETPPID, URING = 110, 425
CALLS = {
    "a denied call": ('[calls]\ndeny.kill = "EPERM"\n', ["kill"], ["EPERM"]),
    "a denied call with its errno": ('[calls]\ndeny.kill = "ESRCH"\n', ["kill"], ["ESRCH"]),
    "an unlisted call": (
        '[calls]\nallow = ["write", "newfstatat", "getrandom", "brk", "mmap"]\nunlisted = "EPERM"\n',
        ["kill", f"call {GETPPID}"],
        ["EPERM", "EPERM"],
    ),
    "a call that does not exist": ('[calls]\nunlisted = "EPERM"\n', ["call 400", "call 9000"], ["EPERM", "EPERM"]),
    "a call that the spec denies": ('[calls]\nunlisted = "EPERM"\n', [f"call {URING}"], ["ENOSYS"]),
    "a call that is allowed": ('[calls]\ndeny.mkdir = "EPERM"\n', ["kill", f"call {GETPPID}"], ["0", "0"]),
    "a call that python is asked about": ('[calls]\nroute.kill = "runtime"\n', ["kill"], ["0"]),
    "all calls": ('[calls]\nroute."*" = "runtime"\n', ["kill", "open /etc/passwd r", "stat /nowhere"],
                  ["0", "0", "ENOENT"]),
}  # fmt: skip


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", CALLS)
def test_p7_calls_are_decided_for(name: str, mode: Mode, prober: Prober) -> None:
    policy, calls, results = CALLS[name]
    probed = prober.ask(mode, policy, *calls)
    assert probed.results == results, probed.err


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_p7_a_call_that_the_policy_stops_ends_the_program_closed(mode: Mode, prober: Prober) -> None:
    probed = prober.ask(mode, '[calls]\ndeny.kill = "stop"\n', "stat /", "kill", "stat /")
    assert (probed.results, probed.status) == (["0"], 120)
    assert 'denied by calls.deny "kill": call kill:' in probed.err
    assert "scone: stopped: the policy stops a program that makes this call" in probed.err


# ---- programs ----

SYSTEM = '[exec]\nunlisted = "refuse"\nprograms = ["/usr/bin/true", "{place}/open/*"]\n'


@pytest.fixture
def programs(prober: Prober) -> Prober:
    for name in ("open", "shut"):
        for file, text in (("script", "#!/bin/true\n"), ("shell", "#!/bin/sh\nexit 0\n"), ("gone", "#!/nowhere\n")):
            path = prober.place / name / file
            path.write_text(text)
            path.chmod(0o755)
    warm("/bin/true", "/bin/sh")
    return prober


EXECS = [
    ("{} /bin/true", "0"),
    ("{} /usr/bin/true", "0"),
    ("{} /usr/bin/env", "EACCES"),
    ("{} {place}/shut/script", "EACCES"),
    ("{} {place}/open/script", "0"),
    ("{} {place}/open/shell", "EACCES"),  # its interpreter is not listed
    ("{} {place}/open/nothing", "ENOENT"),
    ("{} {place}/open/gone", "ENOENT"),
    ("{} open/script", "0"),
    ("{} shut/script", "EACCES"),
]


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
@pytest.mark.parametrize("verb", ["exec", "vfork", "spawn"])
def test_p7_programs_are_decided_for(verb: str, mode: Mode, programs: Prober) -> None:
    calls = [call.replace("{}", verb, 1) for call, _ in EXECS]
    probed = programs.ask(mode, SYSTEM, *calls)
    assert probed.results == [result for _, result in EXECS], probed.err


def test_by_default_a_program_executes_what_the_system_has_and_nothing_else(programs: Prober) -> None:
    calls = ["exec /bin/true", "exec {place}/open/script", "exec /proc/self/exe stat /"]
    probed = programs.ask(Mode.SYNC, '[files]\nunlisted = "pass"\n', *calls)
    assert probed.results == ["0", "EACCES", "EACCES"], probed.err


def test_a_program_executes_itself_by_proc(prober: Prober) -> None:
    probed = prober.ask(Mode.SYNC, f'[exec]\nprograms = ["{prober.binary}"]\n', "exec /proc/self/exe", "stat /")
    assert probed.results == ["0", "0"], probed.err


def test_a_listed_program_that_was_never_analysed_runs_where_only_listed_ones_may(
    programs: Prober, tmp_path: Path
) -> None:
    copy = programs.place / "open" / "copy"
    copy.write_bytes(Path("/bin/true").read_bytes())
    copy.chmod(0o755)
    probed = programs.ask(Mode.SYNC, SYSTEM, "exec {place}/open/copy")
    assert probed.results == ["0"], probed.err
