"""What is answered before the runtime host has imported the rest is what the whole host would have said."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_preload.policy.calls import call_named, call_numbered
from scone_preload.policy.effective import parse
from scone_preload.policy.plan import plan_for
from scone_preload.policy.start import StartPlan
from scone_preload.runtime import first, verdicts, wire
from scone_preload.runtime.calls import CallServer
from scone_preload.runtime.files import Files
from scone_preload.runtime.secrets import Secrets
from tests.policy.samples import POLICIES
from tests.runtime import packets

PID = os.getpid()
PATHS = st.sampled_from(
    ["/etc/nginx/x", "/etc/nginx", "/var/www", "/tmp/a.sock", "/tmp/b", "/a b/c", "/é/1", "/", "/usr/lib",
     "/etc/passwd", "/proc/self/status", "/run/secrets/db", "/etc/../etc/hosts", "/usr/bin/awk", "/dev/null", "/bin/sh"]
)  # fmt: skip
FLAGS = st.sampled_from([0, 1, 0o100, 0o1000, 0o10000000, 0o400000, 0x100])
HEAVY = {"dataclasses", "re", "enum", "typing", "collections", "socket", "pickle", "inspect", "scone_preload.spec",
         "scone_preload.policy.model", "scone_preload.runtime.host"}  # fmt: skip


def call(nr: int, path: str, flags: int = 0) -> wire.Call:
    args = (0, flags, flags, flags, 0, 0)
    found = wire.parse(packets.call(nr, args, {wire.ABOUT_PATH: os.fsencode(path)}, pid=PID))
    assert isinstance(found, wire.Call)
    return found


def whole(policy_text: str, message: wire.Call) -> list[bytes]:
    """What the whole host answers, b"" where it has denied."""
    denied: list[object] = []
    policy = parse(policy_text.encode())
    server = CallServer(policy, Secrets({}, {}), Files(), None, lambda *one: denied.append(one), lambda *_, **__: None)
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine:
        server.take(message, PID, theirs)
        return [] if denied else [mine.recv(4096)]


@settings(max_examples=1500, deadline=None)
@given(POLICIES, st.sampled_from(sorted(first.NAMES)), PATHS, FLAGS)
def test_p7_a_simple_answer_is_the_whole_hosts(text: str, nr: int, path: str, flags: int) -> None:
    message = call(nr, path, flags)
    plan = plan_for(parse(text.encode()), sources=())
    found = first.simple_answer(plan, message, PID)
    if found is not None:
        assert found == whole(text, message)


def plan(text: str) -> StartPlan:
    return plan_for(parse(b"version = 1\n" + text.encode()), sources=())


LISTED = '[files]\nunlisted = "refuse"\nread = ["/etc/host*", "/usr/"]\n'
SECRET = '[[secret]]\npath = "/etc/hosts"\nfrom = "env:A"\n'


@pytest.mark.parametrize(
    ("text", "name", "path", "flags", "is_simple"),
    [
        (LISTED, "openat", "/etc/hostname", 0, True),
        (LISTED, "openat", "/usr/bin/../../etc/hostname", 0, True),
        (LISTED, "openat", "/etc/hostname", 1, False),  # denied: the whole host says why
        (LISTED, "open", "/etc/shadow", 0, False),
        (LISTED + SECRET, "openat", "/etc/hosts", 0, False),
        (LISTED + SECRET, "openat", "/etc/hostname", 0, True),
        (LISTED, "unlink", "/usr/x", 0, False),
        (LISTED + '[calls]\nroute.openat = "runtime"\n', "openat", "/etc/hostname", 0, False),
        ("", "openat", "/etc/hostname", 0, True),
    ],
)
def test_what_is_simple(text: str, name: str, path: str, flags: int, is_simple: bool) -> None:
    row = call_named(name)
    assert row is not None
    found = first.simple_answer(plan(text or '[files]\nunlisted = "pass"\n' + SECRET), call(row.nr, path, flags), PID)
    assert (found is not None) == is_simple


def test_a_directory_that_is_allowed_as_a_whole_is_answered_as_one(tmp_path: Path) -> None:
    text = f'[files]\nunlisted = "refuse"\nread = ["{tmp_path}/"]\n'
    assert first.simple_answer(plan(text), call(257, f"{tmp_path}/a"), PID) == verdicts.go(verdicts.DIRECTORY)


def test_the_names_are_those_of_the_spec() -> None:
    for nr, name in first.NAMES.items():
        row = call_numbered(nr)
        assert row is not None
        assert row.name == name


def test_the_first_answers_import_little() -> None:
    code = "import sys\nimport scone_preload.runtime.first, scone_preload.runtime.governed\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).resolve().parents[2])  # fmt: skip
    assert not HEAVY & set(done.stdout.split())
