"""P1, P6: sqlite3 with rollback journal and WAL; two processes on one database see each other's locks and commits."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.helpers.modes import Mode, command
from tests.helpers.processes import end_session, group_of
from tests.helpers.server import environment_of, run_to_end
from tests.helpers.trees import snapshot

FILL = """
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL);
CREATE INDEX item_name ON item(name);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO item SELECT i, 'name ' || (i * 7919 % 20011), i * 1.5 FROM n;
COMMIT;
DELETE FROM item WHERE id % 3 = 0;
UPDATE item SET name = name || '!' WHERE id % 5 = 0;
SELECT count(*), sum(id) FROM item;
PRAGMA integrity_check;
VACUUM;
SELECT count(*) FROM item WHERE name LIKE 'name 1%';
"""
MANY_ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<50000) INSERT INTO t SELECT i FROM n"


@pytest.fixture(params=["delete", "truncate", "persist", "wal"])
def journal(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def popen(mode: Mode, argv: Sequence[str | Path], place: Path, user: str | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(mode, argv),
        cwd=place,
        env=environment_of(place, user),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        user=user,
        group=group_of(user),
        extra_groups=None if user is None else [],
    )


class Shell:
    """An sqlite3 that takes commands one by one."""

    def __init__(self, mode: Mode, place: Path, user: str | None) -> None:
        self.process = popen(mode, ["sqlite3", "-batch", "shared.db"], place, user)

    def ask(self, statement: str) -> list[str]:
        """The lines that the statements print; errors of sqlite among them."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{statement}\nSELECT 'end of answer';\n")
        self.process.stdin.flush()
        lines: list[str] = []
        while (line := self.process.stdout.readline()) != "end of answer\n":
            assert line, f"the shell ended after {lines}"
            lines.append(line.rstrip("\n"))
        return lines

    def close(self) -> int:
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture
def shells(mode: Mode, place: Path, user: str | None) -> Iterator[tuple[Shell, Shell]]:
    pair = Shell(mode, place, user), Shell(mode, place, user)
    yield pair
    for shell in pair:
        if shell.process.poll() is None:
            end_session(shell.process.pid)
        shell.close()


def sqlite(mode: Mode, place: Path, user: str | None, database: str, statements: str) -> tuple[int, str]:
    script = place / "script.sql"
    script.write_text(statements)
    return run_to_end(mode, ["sqlite3", "-batch", database, f".read {script}"], place=place, user=user, timeout=120)


def test_p6_a_database_is_filled_changed_and_whole(mode: Mode, journal: str, place: Path, user: str | None) -> None:
    statements = f"PRAGMA journal_mode={journal};\n{FILL}"
    status, output = sqlite(mode, place, user, "own.db", statements)
    assert status == 0, output
    lines = output.splitlines()
    assert lines[:3] == [journal, "13334|133346667", "ok"]
    assert (status, output) == sqlite(Mode.NATIVE, place, user, "reference.db", statements)
    tree = snapshot(place)
    assert tree["own.db"] == tree["reference.db"]
    left = {name.removeprefix("own.db") for name in tree if name.startswith("own.db")}
    assert left == {name.removeprefix("reference.db") for name in tree if name.startswith("reference.db")}


def test_p6_a_reader_sees_a_writers_commit_and_not_before(journal: str, shells: tuple[Shell, Shell]) -> None:
    writer, reader = shells
    assert writer.ask(f"PRAGMA journal_mode={journal}; CREATE TABLE t(x);") == [journal]
    assert reader.ask("SELECT count(*) FROM t;") == ["0"]
    assert writer.ask("BEGIN IMMEDIATE; INSERT INTO t VALUES (1), (2);") == []
    assert reader.ask("SELECT count(*) FROM t;") == ["0"]
    assert "database is locked" in "".join(reader.ask("INSERT INTO t VALUES (9);"))
    assert writer.ask("COMMIT;") == []
    assert reader.ask("SELECT count(*) FROM t;") == ["2"]
    assert reader.ask("INSERT INTO t VALUES (3);") == []
    assert writer.ask("SELECT sum(x) FROM t; PRAGMA integrity_check;") == ["6", "ok"]
    assert writer.close() == 0


def test_p6_two_writers_at_once_lose_nothing(mode: Mode, journal: str, place: Path, user: str | None) -> None:
    status, output = sqlite(mode, place, user, "two.db", f"PRAGMA journal_mode={journal}; CREATE TABLE t(who, n);")
    assert status == 0, output
    words = ["sqlite3", "-batch", "-cmd", ".timeout 60000", "two.db"]
    writers = [popen(mode, words, place, user) for _ in range(2)]
    for number, writer in enumerate(writers):
        assert writer.stdin is not None
        writer.stdin.write("".join(f"INSERT INTO t VALUES ({number}, {n});\n" for n in range(1, 61)))
        writer.stdin.flush()
    said = [writer.communicate(timeout=90)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], said
    sums = "SELECT who, count(*), sum(n) FROM t GROUP BY who ORDER BY who; PRAGMA integrity_check;"
    assert sqlite(mode, place, user, "two.db", sums) == (0, "0|60|1830\n1|60|1830\nok\n")


def test_p6_a_transaction_that_is_killed_is_rolled_back(journal: str, shells: tuple[Shell, Shell]) -> None:
    victim, other = shells
    assert victim.ask(f"PRAGMA journal_mode={journal}; CREATE TABLE t(x); INSERT INTO t VALUES (1);") == [journal]
    assert victim.ask("PRAGMA cache_size=5; BEGIN;") == []
    assert victim.ask(f"{MANY_ROWS};") == []
    victim.process.send_signal(signal.SIGKILL)
    assert victim.process.wait(20) == -signal.SIGKILL
    end = time.monotonic() + 2
    while other.ask("SELECT count(*) FROM t;") != ["1"]:
        assert time.monotonic() < end, "the dead writer's lock is still held"
    assert other.ask("PRAGMA integrity_check;") == ["ok"]
    assert other.ask("INSERT INTO t VALUES (2); SELECT count(*) FROM t;") == ["2"]
