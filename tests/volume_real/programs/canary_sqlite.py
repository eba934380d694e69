"""Puts canaries into a database, into its journal and its temporary files, tells "ready" and waits.

Usage: canary_sqlite.py DATABASE JOURNAL ROWS. SQLite makes the marker: no source has it whole.
"""

import sqlite3
import sys


def main(path: str, journal: str, rows: int) -> None:
    base = sqlite3.connect(path, isolation_level=None)
    base.execute(f"PRAGMA journal_mode={journal}")
    base.execute("PRAGMA temp_store=FILE")
    base.execute("PRAGMA cache_size=20")
    base.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, v TEXT)")
    base.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO t SELECT i, 'cAnA' || 'rY-+' || lower(hex(randomblob(28))) FROM n",
        (rows,),
    )
    base.execute("CREATE TEMP TABLE sorted AS SELECT v FROM t ORDER BY v")
    base.execute("BEGIN")
    base.execute("UPDATE t SET v = v || v WHERE n % 2")  # the journal has what was, the file what may be
    print("ready", flush=True)
    sys.stdin.readline()
    base.execute("COMMIT")
    assert base.execute("SELECT count(*) FROM t JOIN sorted USING(v)").fetchone()[0] == rows // 2
    assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    base.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
