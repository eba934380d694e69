"""P6: with every call asked of Python, real programs work as they do natively; slowly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.modes import WRAPPED, Mode
from tests.helpers.net import exchange, free_port
from tests.helpers.processes import nothing_left_behind, run
from tests.helpers.server import ORDINARY_USER, Server, place_of

ALL = ("--route-all", "runtime")
SQL = "create table t (a); insert into t values (5); begin; insert into t values (6); commit; select sum(a) from t;"
CODE = """
import os, threading
t = threading.Thread(target=print, args=(1,)); t.start(); t.join()
pid = os.fork()
print(os.waitpid(pid, 0)[1] if pid else 'child', flush=True)
"""
PROGRAMS = {
    "ls": ["ls", "-l", "/usr"],
    "sqlite3": ["sqlite3", "a.db", SQL],
    "sh": ["sh", "-c", "echo one two | tr a-z A-Z | cat; (exit 3); echo $?; kill -9 $$"],
    "python3": ["/usr/bin/python3", "-c", CODE],
}


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", PROGRAMS)
def test_p6_a_program_does_the_same_when_python_is_asked_about_each_call(name: str, mode: Mode, tmp_path: Path) -> None:
    for folder in ("native", "wrapped"):
        (tmp_path / folder).mkdir()
    native = run(Mode.NATIVE, PROGRAMS[name], cwd=tmp_path / "native")
    wrapped = run(mode, PROGRAMS[name], cwd=tmp_path / "wrapped", options=ALL)
    assert (wrapped.status, wrapped.out, wrapped.err) == (native.status, native.out, native.err)


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_p6_a_server_serves_when_python_is_asked_about_each_call(mode: Mode) -> None:
    port = free_port()
    with nothing_left_behind(10), place_of(ORDINARY_USER) as place:
        argv: list[str | Path] = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(place),
                                  "--save", ""]  # fmt: skip
        server = Server(mode, argv, place=place, user=ORDINARY_USER, options=ALL)
        try:
            server.wait_for_port(port)
            assert exchange(port, b"SET a b\r\nGET a\r\nBGSAVE\r\nQUIT\r\n").startswith(
                b"+OK\r\n$1\r\nb\r\n+Background"
            )
            assert server.stop() == 0, server.last_words()
        finally:
            server.end()


def test_variables_and_arguments_are_what_the_policy_gives(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        'version = 1\n[environment]\nunlisted = "drop"\npass = ["KEEP_*"]\ndrop = ["KEEP_NOT"]\nset.FIXED = "1"\n'
        '[arguments]\nunlisted = "refuse"\nallow = ["-0"]\n'
    )
    given = {"PATH": "/usr/bin:/bin", "KEEP_A": "a", "KEEP_NOT": "b", "OTHER": "c", "LANG": "C"}
    policy = ("--policy", str(tmp_path / "p.toml"))
    done = run(Mode.SYNC, ["env", "-0"], cwd=tmp_path, options=policy, environment=given)
    assert sorted(done.out.split(b"\0")) == [b"", b"FIXED=1", b"KEEP_A=a"]
    refused = run(Mode.SYNC, ["env", "-i"], cwd=tmp_path, options=policy, environment=given)
    assert (refused.status, refused.out) == (126, b"")
    assert b'denied by arguments.unlisted = "refuse": argument -i: ' in refused.err
    assert b': to allow it, write [arguments] allow = ["-i"]\n' in refused.err
    more = run(Mode.SYNC, ["env", "-0"], cwd=tmp_path, options=(*policy, "--env", "OTHER", "--env", "NEW=2"),
               environment=given)  # fmt: skip
    assert sorted(more.out.split(b"\0")) == [b"", b"FIXED=1", b"KEEP_A=a", b"NEW=2", b"OTHER=c"]
