"""P2, P4, P6: shells, databases and servers keep what they have in a volume, and find it there again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers.modes import WRAPPED, Mode
from tests.volume.inside import environment_of, run_in_volume

SECRET = "a canary that must not be on the host"

SQLITE = """
for journal in delete wal; do
    sqlite3 $journal.db "pragma journal_mode=$journal; create table t(a integer primary key, b text)" >/dev/null
    writer() { i=0; while [ $i -lt 25 ]; do
        sqlite3 $journal.db ".timeout 20000" "insert into t(b) values('$1 $i: CANARY')" || echo failed; i=$((i + 1))
    done; }
    writer one & writer two & wait
    sqlite3 $journal.db "select count(*) from t; pragma integrity_check; pragma mmap_size=100000000"
    sqlite3 $journal.db "pragma mmap_size=100000000; select max(a) from t" | tail -1
done
"""
SQLITE_SAYS = "50\nok\n100000000\n50\n" * 2

REDIS = """
redis-server --unixsocket $SOCKET --port 0 --appendonly yes --save "" >server.log &
server=$!
ask() { redis-cli -s $SOCKET "$@"; }
until ask ping >/dev/null 2>&1; do sleep 0.1; done
[ -z "$WRITE" ] || { ask set key "CANARY"; ask bgsave; }
ask get key
ask bgrewriteaof >/dev/null
sleep 0.5
ask shutdown nosave
wait $server
"""

FILES = """
set -e
mkdir tree; cp -a /etc/alternatives tree/a; cp /etc/services tree/; echo "CANARY" > "tree/CANARY"
tar cf all.tar tree; mkdir copy; tar xf all.tar -C copy; diff -r tree copy/tree
mv copy/tree moved; rm -r tree copy; find moved -type f | xargs cat | wc -c | grep -qv "^0$"
ln -s moved/services link; cmp link /etc/services; sort -u < link > sorted; cat sorted >> sorted.2; cmp sorted sorted.2
printf '#!/bin/sh\\necho script $1\\n' > run; chmod +x run; ./run here
echo fine
"""

KILLED = """
python3 -c "
import fcntl, mmap, os, sys
kept = open('kept', 'a+b'); fcntl.flock(kept, fcntl.LOCK_EX); fcntl.lockf(kept, fcntl.LOCK_EX)
gone = open('gone', 'w+b'); os.unlink('gone'); gone.truncate(1 << 20)
memory = mmap.mmap(gone.fileno(), 0); memory[5000] = 1
os.write(1, b'ready')
os.kill(os.getpid(), 9)" >said
grep -q ready said
flock -n kept echo free
python3 -c "
import fcntl; fcntl.lockf(open('kept', 'a+b'), fcntl.LOCK_EX | fcntl.LOCK_NB); print('free')"
"""


@pytest.fixture(scope="session")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An environment with a keystore of its own."""
    return environment_of(tmp_path_factory.mktemp("home"))


def _shell(mode: Mode, script: str, place: Path, environment: Mapping[str, str]) -> str:
    outcome = run_in_volume(mode, ["/bin/sh", "-c", script.replace("CANARY", SECRET)], place, environment, timeout=120)
    assert outcome.status == 0, str(outcome)
    return outcome.out.decode()


def _assert_hidden(place: Path) -> None:
    assert os.listdir(place / "volume") == ["volume.scone"], "nothing lies beside the container"
    assert SECRET.encode() not in (place / "volume" / "volume.scone").read_bytes()


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_p2_two_sqlites_write_to_a_database_by_rollback_and_by_wal(
    mode: Mode, tmp_path: Path, keystore: Mapping[str, str]
) -> None:
    said = _shell(mode, SQLITE, tmp_path, keystore)
    assert said == SQLITE_SAYS
    again = "for one in delete wal; do sqlite3 $one.db 'select count(*) from t; pragma integrity_check'; done"
    assert _shell(mode, again, tmp_path, keystore) == "50\nok\n50\nok\n"
    _assert_hidden(tmp_path)


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_p4_redis_finds_its_log_again(mode: Mode, tmp_path: Path, keystore: Mapping[str, str]) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    environment = {**keystore, "SOCKET": str(tmp_path / "socket"), "WRITE": "1"}
    said = _shell(mode, REDIS, tmp_path, environment)
    assert said.splitlines() == ["OK", "Background saving started", SECRET]
    assert _shell(mode, REDIS, tmp_path, {**environment, "WRITE": ""}).splitlines() == [SECRET]
    _assert_hidden(tmp_path)


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_p6_the_usual_tools_work_in_a_volume(mode: Mode, tmp_path: Path, keystore: Mapping[str, str]) -> None:
    assert _shell(mode, FILES, tmp_path, keystore) == "script here\nfine\n"
    _assert_hidden(tmp_path)
    listing = "find . | wc -l; ls moved | grep -c canary"
    assert _shell(mode, listing, tmp_path, keystore).splitlines()[1] == "1"


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_a_killed_process_leaves_nothing_locked_and_nothing_open(
    mode: Mode, tmp_path: Path, keystore: Mapping[str, str]
) -> None:
    assert _shell(mode, KILLED, tmp_path, keystore) == "free\nfree\n"


def test_p2_a_link_from_outside_leads_into_the_volume(tmp_path: Path, keystore: Mapping[str, str]) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "volume")
    (tmp_path / "up").symlink_to("volume/../volume/made")
    script = f"cd {tmp_path}; echo CANARY > link/made; cat up; cat link/../volume/made; cd link; pwd -P; cat made"
    said = _shell(WRAPPED[0], script, tmp_path, keystore).splitlines()
    assert said == [SECRET, SECRET, str(tmp_path / "volume"), SECRET]
    _assert_hidden(tmp_path)


def test_p2_the_container_is_no_file_of_the_program(tmp_path: Path, keystore: Mapping[str, str]) -> None:
    script = f"""ls -A; cat volume.scone 2>/dev/null || echo none
    cat {tmp_path}/volume/volume.scone 2>/dev/null || echo none
    ls -l /proc/self/fd | grep -c volume.scone || true"""
    assert _shell(WRAPPED[0], script, tmp_path, keystore).split() == ["none", "none", "0"]
