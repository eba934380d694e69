"""A database's life in a directory: filled, vacuumed, shared by two processes, its writers killed again and again.

Usage: sqlite_life.py DIRECTORY JOURNAL KILLS SEED. Prints "whole" at the end; an assertion otherwise.
"""

import os
import random
import signal
import sqlite3
import struct
import sys
import time

TEXT = "a value of some length " * 4


def opened(path: str, journal: str) -> sqlite3.Connection:
    """A connection whose commits are synced."""
    base = sqlite3.connect(path, timeout=60, isolation_level=None)
    assert base.execute(f"PRAGMA journal_mode={journal}").fetchone()[0] == journal
    base.execute("PRAGMA synchronous=FULL")
    return base


def whole(base: sqlite3.Connection) -> None:
    assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def fill(path: str, journal: str) -> None:
    """Insert, change, delete, sort in files, vacuum."""
    base = opened(path, journal)
    base.execute("PRAGMA temp_store=FILE")
    base.execute("PRAGMA cache_size=50")
    base.execute("CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL)")
    base.execute("BEGIN")
    base.executemany("INSERT INTO item VALUES(?,?,?)", ((n, f"{n * 7919 % 20011} {TEXT}", n / 2) for n in range(20000)))
    base.execute("COMMIT")
    base.execute("CREATE INDEX by_name ON item(name)")
    base.execute("DELETE FROM item WHERE id % 3 = 0")
    base.execute("UPDATE item SET name = name || '!' WHERE id % 5 = 0")
    base.execute("VACUUM")
    whole(base)
    assert base.execute("SELECT count(*), sum(id) FROM item").fetchone() == (13333, 133326667)
    names = [row[0] for row in base.execute("SELECT name FROM item ORDER BY name DESC, price")]
    assert names == sorted(names, reverse=True)
    base.execute("BEGIN")
    base.execute("DELETE FROM item")
    base.execute("ROLLBACK")
    whole(base)
    base.close()


def share(path: str, journal: str, count: int) -> None:
    """Two processes write at the same time; nothing is lost."""
    opened(path, journal).execute("CREATE TABLE shared(who, n)")
    children = []
    for who in (1, 2):
        pid = os.fork()
        if pid == 0:
            base = opened(path, journal)
            for n in range(count):
                base.execute("INSERT INTO shared VALUES(?,?)", (who, n))
            base.close()
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    base = opened(path, journal)
    rows = base.execute("SELECT who, count(*), sum(n) FROM shared GROUP BY who ORDER BY who").fetchall()
    assert rows == [(1, count, count * (count - 1) / 2), (2, count, count * (count - 1) / 2)], rows
    whole(base)


def write(path: str, journal: str, out: int) -> None:
    """Commit row after row, and tell each; for ever."""
    base = opened(path, journal)
    n = base.execute("SELECT coalesce(max(n), 0) FROM told").fetchone()[0]
    while True:
        n += 1
        base.execute("INSERT INTO told VALUES(?,?)", (n, TEXT))
        os.write(out, struct.pack("q", n))


def kill(path: str, journal: str, times: int, seed: int) -> None:
    """A writer is killed; what it told is there, and nothing is between."""
    chance = random.Random(seed)
    opened(path, journal).execute("CREATE TABLE told(n INTEGER PRIMARY KEY, text)")
    for _ in range(times):
        back, out = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(back)
            write(path, journal, out)
        os.close(out)
        time.sleep(chance.uniform(0.01, 0.15))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        told = 0
        while one := os.read(back, 8):
            told = struct.unpack("q", one)[0]
        os.close(back)
        base = opened(path, journal)
        whole(base)
        count, last = base.execute("SELECT count(*), coalesce(max(n), 0) FROM told").fetchone()
        assert count == last, (count, last)
        assert told <= last <= told + 1 or told == 0, (told, last)
        base.close()


def main(folder: str, journal: str, times: int, seed: int) -> None:
    fill(f"{folder}/filled", journal)
    share(f"{folder}/shared", journal, 100)
    kill(f"{folder}/killed", journal, times, seed)
    print("whole")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
