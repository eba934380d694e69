"""P4, P6: SQLite's whole life on a volume: filled, vacuumed, shared, killed in the middle, alone and with all."""

from __future__ import annotations

import random
import subprocess
import time

import pytest

from tests.helpers.modes import command
from tests.helpers.processes import end_session
from tests.volume_real.conftest import LONG, PROGRAMS, Home

KILLS = 4


@pytest.fixture(params=["delete", "wal"])
def journal(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_p6_a_database_lives_and_its_writers_are_killed(home: Home, journal: str) -> None:
    words = ["python3", PROGRAMS / "sqlite_life.py", home.data, journal, str(KILLS * LONG), "1"]
    assert home.done(*words, timeout=280) == b"whole\n"
    home.verified()
    for name in ("filled", "killed"):
        (home.place / name).write_bytes(home.cat(name))
        wal = home.owner("cat", home.data / f"{name}-wal")
        if wal.returncode == 0:
            (home.place / f"{name}-wal").write_bytes(wal.stdout)
        check = ["sqlite3", home.place / name, "PRAGMA integrity_check"]
        assert subprocess.run(check, capture_output=True, check=True).stdout == b"ok\n"


def test_p4_what_was_committed_survives_the_end_of_everything(home: Home, journal: str) -> None:
    chance = random.Random(7)
    words = ["python3", str(PROGRAMS / "sqlite_writer.py"), str(home.data / "base"), journal]
    for _ in range(2 * LONG):
        process = subprocess.Popen(
            command(home.mode, [*words, "write"], *home.options),
            cwd=home.place,
            env=home.environment,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, "the writer ended"
        time.sleep(chance.uniform(0.05, 0.5))
        end_session(process.pid)
        told = int((first + process.communicate()[0]).split(b"\n")[-2])
        count, last = home.done(*words, "check").split()
        assert count == last
        assert told <= int(last), "a commit is lost"
    home.verified()
