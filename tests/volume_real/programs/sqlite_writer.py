"""Commits row after row to a database and tells each on standard output, until it is killed; or checks what is there.

Usage: sqlite_writer.py DATABASE JOURNAL write|check.
"""

import os
import sqlite3
import sys


def main(path: str, journal: str, what: str) -> None:
    base = sqlite3.connect(path, timeout=60, isolation_level=None)
    assert base.execute(f"PRAGMA journal_mode={journal}").fetchone()[0] == journal
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE IF NOT EXISTS told(n INTEGER PRIMARY KEY, text)")
    if what == "check":
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        print(*base.execute("SELECT count(*), coalesce(max(n), 0) FROM told").fetchone())
        return
    n = base.execute("SELECT coalesce(max(n), 0) FROM told").fetchone()[0]
    while True:
        n += 1
        base.execute("INSERT INTO told VALUES(?, ?)", (n, "some text " * 20))
        os.write(1, b"%d\n" % n)


if __name__ == "__main__":
    main(*sys.argv[1:])
