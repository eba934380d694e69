"""The keystore's directory and its changes: permissions, kills, concurrency, a full disk."""

import os
import random
import resource
import shutil
import time
from pathlib import Path

import pytest

from scone_preload.errors import (
    KeyExists,
    KeyMissing,
    KeystoreDamaged,
    KeystoreError,
    KeystoreLocked,
    KeystorePermissions,
)
from scone_preload.keys import files
from scone_preload.keys import store as store_module
from scone_preload.keys.files import Directory, keystore_directory
from scone_preload.keys.format import Purpose, SlotKind
from scone_preload.keys.rebuild import rekey
from scone_preload.keys.record import State
from scone_preload.keys.store import Keystore, open_keystore
from scone_preload.keys.unlock import Unlock, environment_slot, key_file_slot, passphrase_slot, plain_slot
from tests.keys.support import (
    CHEAP,
    PASSPHRASE,
    VOLUME,
    Killed,
    Killer,
    by_passphrase,
    in_child,
    kill,
    opened,
    root,
    status_of,
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keystore"


def with_passphrase(store: Keystore, passphrase: bytes = PASSPHRASE) -> None:
    rekey(store, lambda master, store_id, at: passphrase_slot(master, store_id, at, passphrase, CHEAP))


# ---- keys and secrets ----


def test_the_first_use_makes_it_private_and_says_so_once(place: Path) -> None:
    with opened(place) as store:
        assert str(place) in store.told
        assert "scone-keys backup" in store.told
    with opened(place) as store:
        assert store.told == ""
    assert place.stat().st_mode & 0o777 == 0o700
    assert {one.name: one.stat().st_mode & 0o777 for one in place.iterdir()} == {"keystore": 0o600, "lock": 0o600}


def test_it_is_private_whatever_the_umask(place: Path) -> None:
    before = os.umask(0o277)
    try:
        place.parent.mkdir(mode=0o700)
        place.parent.chmod(0o700)
        with opened(place) as store:
            store.add("data", Purpose.VOLUME)
    finally:
        os.umask(before)
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / "keystore").stat().st_mode & 0o777 == 0o600


def test_keys_and_secrets_come_back(place: Path) -> None:
    with opened(place) as store:
        store.add("data", Purpose.VOLUME)
        store.add("db-password", Purpose.SECRET, b"hunter2")
        first = store.key("data", Purpose.VOLUME).reveal()
    with opened(place) as store:
        assert store.key("data", Purpose.VOLUME).reveal() == first
        assert store.key("db-password", Purpose.SECRET).reveal() == b"hunter2"
    assert len(set(first)) > 8


def test_rotation_keeps_old_generations_readable(place: Path) -> None:
    with opened(place) as store:
        store.add("data", Purpose.VOLUME)
        first = store.key("data", Purpose.VOLUME).reveal()
        assert store.rotate("data") == 2
        assert store.key("data", Purpose.VOLUME, 1).reveal() == first
        assert store.key("data", Purpose.VOLUME).reveal() == store.key("data", Purpose.VOLUME, 2).reveal() != first
        with pytest.raises(KeyMissing, match="data, generation 3"):
            store.key("data", Purpose.VOLUME, 3)


def test_a_key_is_not_found_for_another_purpose(place: Path) -> None:
    with opened(place) as store:
        store.add("data", Purpose.VOLUME)
        with pytest.raises(KeyMissing, match="no such console"):
            store.key("data", Purpose.CONSOLE)


def test_names_are_unique_and_plain(place: Path) -> None:
    with opened(place) as store:
        store.add("a", Purpose.CA)
        with pytest.raises(KeyExists):
            store.add("a", Purpose.SECRET, b"x")
        for name in ("", "../x", "a/b", "-x", ".x", "a b", "é", "x" * 129, "a\n"):
            with pytest.raises(KeystoreError, match="not a name"):
                store.add(name, Purpose.CA)


def test_values_have_the_size_of_their_purpose(place: Path) -> None:
    with opened(place) as store:
        for purpose, value in ((Purpose.CA, b"short"), (Purpose.SECRET, b""), (Purpose.SECRET, bytes(65537))):
            with pytest.raises(KeystoreError, match="bytes for a"):
                store.add("a", purpose, value)
        store.add("largest", Purpose.SECRET, bytes(65536))


def test_what_was_removed_is_gone(place: Path) -> None:
    with opened(place) as store:
        store.add("data", Purpose.VOLUME)
        store.rotate("data")
        store.remove("data")
        with pytest.raises(KeyMissing):
            store.key("data", Purpose.VOLUME)
        with pytest.raises(KeyMissing):
            store.remove("data")


def test_a_full_keystore_refuses_more(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "ENTRIES_MAX", 3)
    with opened(place) as store:
        for name in "abc":
            store.add(name, Purpose.CA)
        with pytest.raises(KeystoreError, match="keystore is full"):
            store.add("d", Purpose.CA)


def test_no_value_is_readable_in_the_file(place: Path) -> None:
    with opened(place) as store:
        store.add("db-password", Purpose.SECRET, b"a canary in the keystore")
    raw = (place / "keystore").read_bytes()
    assert b"canary" not in raw
    assert b"db-password" not in raw


# ---- slots ----


def test_a_passphrase_opens_it_and_another_does_not(place: Path) -> None:
    with opened(place) as store:
        store.add("data", Purpose.VOLUME)
        with_passphrase(store)
    opened(place, by_passphrase()).close()
    with pytest.raises(KeystoreLocked, match="wrong passphrase"):
        opened(place, by_passphrase(b"wrong"))
    with pytest.raises(KeystoreLocked, match="no passphrase given"):
        opened(place)


def test_each_slot_opens_it(place: Path, tmp_path: Path) -> None:
    key_file = tmp_path / "usb.key"
    key_file.write_text("ab" * 32 + "\n")
    key_file.chmod(0o600)
    variables = {b"SCONE_TEST_KEY": b"cd" * 32}
    with opened(place) as store:
        store.add_slot(lambda master, store_id, at: passphrase_slot(master, store_id, at, PASSPHRASE, CHEAP))
        store.add_slot(lambda master, store_id, at: key_file_slot(master, store_id, at, str(key_file)))
        store.add_slot(lambda master, store_id, at: environment_slot(master, store_id, at, "SCONE_TEST_KEY", variables))
        store.remove_slot(1)
        assert [slot.kind for slot in store.file.slots] == [2, 3, 4]
        assert store.environment_names() == ("SCONE_TEST_KEY",)
    for unlock in (by_passphrase(), Unlock(key_file=str(key_file)), Unlock(environment=variables)):
        opened(place, unlock).close()
    with pytest.raises(KeystoreLocked, match=r"SCONE_TEST_KEY is wrong; no key file given \(usb.key\)"):
        opened(place, Unlock(environment={b"SCONE_TEST_KEY": b"ce" * 32}))
    with pytest.raises(KeystoreError, match="openssl rand"):
        opened(place, Unlock(environment={b"SCONE_TEST_KEY": b"password"}))


def test_the_passphrase_is_not_asked_for_where_something_else_opens(place: Path) -> None:
    def ask() -> bytes:
        raise AssertionError("asked")

    with opened(place) as store:
        store.add_slot(lambda master, store_id, at: passphrase_slot(master, store_id, at, PASSPHRASE, CHEAP))
    opened(place, Unlock(passphrase=ask)).close()


def test_a_key_file_that_others_can_read_is_refused(place: Path, tmp_path: Path) -> None:
    key_file = tmp_path / "usb.key"
    key_file.write_text("ab" * 32)
    key_file.chmod(0o644)
    with opened(place) as store, pytest.raises(KeystorePermissions, match=f"chmod 600 {key_file}"):
        store.add_slot(lambda master, store_id, at: key_file_slot(master, store_id, at, str(key_file)))


def test_the_last_slot_and_absent_ones_can_not_be_removed(place: Path) -> None:
    with opened(place) as store:
        for number, error in ((1, KeystoreError), (2, KeyMissing), (0, KeyMissing)):
            with pytest.raises(error):
                store.remove_slot(number)


def test_an_old_copy_of_a_rekeyed_keystore_does_not_open_what_came_later(place: Path, tmp_path: Path) -> None:
    with opened(place) as store:
        old = store.master.reveal()
        store.add("data", Purpose.VOLUME)
        value = store.key("data", Purpose.VOLUME).reveal()
        store.register(VOLUME, State(1, root(1)))
        with_passphrase(store)
        assert store.master.reveal() != old
        assert store.key("data", Purpose.VOLUME).reveal() == value
        assert store.read(VOLUME) == State(1, root(1))
        assert [slot.kind for slot in store.file.slots] == [SlotKind.PASSPHRASE]


def test_one_that_was_replaced_meanwhile_is_not_written_to(place: Path) -> None:
    with opened(place) as mine:
        with opened(place) as other:
            with_passphrase(other)
        with pytest.raises(KeystoreError, match="replaced meanwhile"):
            mine.add("data", Purpose.VOLUME)


# ---- permissions ----


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777, 0o2770])
def test_a_directory_that_others_reach_is_refused_with_the_remedy(place: Path, mode: int) -> None:
    opened(place).close()
    place.chmod(mode)
    with pytest.raises(KeystorePermissions, match=f"{mode:04o}: others could .* {place}: run: chmod 700 {place}"):
        opened(place)


@pytest.mark.parametrize("name", ["keystore", "lock"])
def test_a_file_that_others_reach_is_refused_with_the_remedy(place: Path, name: str) -> None:
    opened(place).close()
    (place / name).chmod(0o640)
    with pytest.raises(KeystorePermissions, match=f"run: chmod 600 {place}/{name}"), opened(place) as store:
        store.add("data", Purpose.VOLUME)


@pytest.mark.parametrize("name", ["keystore", "lock"])
def test_a_link_in_the_place_of_a_file_is_refused(place: Path, tmp_path: Path, name: str) -> None:
    opened(place).close()
    (place / name).rename(tmp_path / name)
    (place / name).symlink_to(tmp_path / name)
    with pytest.raises(KeystorePermissions, match="symbolic link"), opened(place) as store:
        store.add("data", Purpose.VOLUME)


def test_a_link_to_a_directory_is_refused(place: Path, tmp_path: Path) -> None:
    opened(place).close()
    (tmp_path / "link").symlink_to(place)
    with pytest.raises(KeystorePermissions, match="symbolic link"):
        opened(tmp_path / "link")


def test_a_fifo_or_directory_in_the_place_of_the_file_is_refused_without_waiting(place: Path) -> None:
    place.mkdir(parents=True, mode=0o700)
    os.mkfifo(place / "keystore", 0o600)
    with pytest.raises(KeystorePermissions, match="no regular file"):
        opened(place)
    (place / "keystore").unlink()
    (place / "keystore").mkdir(0o700)
    with pytest.raises(KeystorePermissions, match="no regular file"):
        opened(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("name", ["", "keystore"])
def test_another_users_keystore_is_refused(place: Path, name: str) -> None:
    opened(place).close()
    os.chown(place / name, 65534, 65534)
    with pytest.raises(KeystorePermissions, match=r"belongs to user 65534.*run as user 65534"):
        opened(place)


def test_a_lost_keystore_file_is_not_made_anew_beside_its_anchors(place: Path) -> None:
    with opened(place) as store:
        store.register(VOLUME, State(1, root(1)))
    (place / "keystore").unlink()
    with pytest.raises(KeystoreDamaged, match=r"its anchors are there.*restore"):
        opened(place)


def test_a_file_larger_than_any_keystore_is_refused(place: Path) -> None:
    opened(place).close()
    with (place / "keystore").open("ab") as file:
        file.truncate(1 << 30)
    with pytest.raises(KeystoreDamaged, match="too large"):
        opened(place)


def test_where_it_is() -> None:
    assert keystore_directory({b"HOME": b"/h"}) == "/h/.local/share/scone-preload/keystore"
    assert keystore_directory({b"HOME": b"/h", b"XDG_DATA_HOME": b"/d"}) == "/d/scone-preload/keystore"
    assert keystore_directory({b"HOME": b"/h", b"XDG_DATA_HOME": b"d"}) == "/h/.local/share/scone-preload/keystore"
    assert keystore_directory({b"SCONE_KEYSTORE": b"/k", b"HOME": b"/h"}) == "/k"
    assert keystore_directory({b"SCONE_KEYSTORE": b"/k"}, "/named") == "/named"
    with pytest.raises(KeystoreError, match="HOME"):
        keystore_directory({})


# ---- kills, other processes, a full disk ----


def state(place: Path, unlock: Unlock) -> tuple[list[tuple[str, int, bytes]], State | None]:
    """All that it holds, opened; raises if any of it isn't whole."""
    with open_keystore(str(place), unlock, create=False) as store:
        found = [
            (one.name, one.generation, store.key(one.name, one.purpose, one.generation).reveal())
            for one in store.entries
            if one.purpose != Purpose.ANCHOR
        ]
        return found, store.read(VOLUME)


CHANGES = {
    "add": lambda store: store.add("new", Purpose.SECRET, b"value"),
    "remove": lambda store: store.remove("data"),
    "register": lambda store: store.register(bytes(16), State(1, root(1))),
    "advance": lambda store: store.advance(VOLUME, State(9, root(9))),
    "rekey": with_passphrase,
    "slot": lambda store: store.add_slot(plain_slot) if len(store.file.slots) > 1 else with_passphrase(store),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_before_any_step_of_a_change_leaves_the_old_or_the_new(change: str, tmp_path: Path) -> None:
    unlock = by_passphrase()
    with opened(tmp_path / "before") as store:
        store.add("data", Purpose.VOLUME)
        store.register(VOLUME, State(3, root(3)))
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    with opened(tmp_path / "after") as store:
        CHANGES[change](store)
    old, new = state(tmp_path / "before", unlock), state(tmp_path / "after", unlock)
    for steps in range(100):
        place = tmp_path / f"killed-{steps}"
        shutil.copytree(tmp_path / "before", place)
        killer = Killer(steps)
        with opened(place) as store, pytest.MonkeyPatch.context() as patch:
            killer.install(patch)
            try:
                CHANGES[change](store)
                killed = False
            except Killed:
                killed = True
        assert state(place, unlock) in ((old, new) if killed else (new,))
        if not killed:
            assert steps > 1
            return
    pytest.fail("more than 100 steps")


def test_a_kill_before_any_step_of_the_first_use_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    for steps in range(100):
        place, killer = tmp_path / f"killed-{steps}", Killer(steps)
        with pytest.MonkeyPatch.context() as patch:
            killer.install(patch)
            try:
                opened(place).close()
            except Killed:
                patch.undo()
                with opened(place) as store:
                    store.add("data", Purpose.VOLUME)
                continue
        return
    pytest.fail("more than 100 steps")


def test_a_change_is_synced_before_it_is_renamed_and_its_directory_after(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    with opened(place) as store:
        for name in ("write", "fsync", "rename"):
            real = getattr(os, name)
            monkeypatch.setattr(os, name, lambda *a, name=name, real=real, **k: (steps.append(name), real(*a, **k))[1])
        store.add("data", Purpose.VOLUME)
    assert steps == ["write", "fsync", "rename", "fsync"]


def change_for_ever(place: Path) -> None:
    with opened(place) as store:
        for number in range(4, 1 << 30):
            store.rotate("data")
            store.advance(VOLUME, State(number, root(number)))
            if number % 4 == 0:
                store.add("more", Purpose.SECRET, os.urandom(20000))
                store.remove("more")


def test_processes_killed_while_they_change_it_never_break_it(place: Path) -> None:
    with opened(place) as store:
        store.add("data", Purpose.VOLUME)
        store.register(VOLUME, State(3, root(3)))
    most, chance = 0, random.Random(7)
    for _ in range(40):
        pid = in_child(lambda: change_for_ever(place))
        time.sleep(chance.uniform(0.005, 0.05))
        kill(pid)
        found, anchor = state(place, Unlock())
        generations = [generation for name, generation, _ in found if name == "data"]
        assert generations == list(range(1, len(generations) + 1))
        assert anchor is not None
        assert anchor.root == root(anchor.counter)
        most = max(most, len(generations))
        with opened(place) as store:
            for name in {name for name, *_ in found}:
                store.remove(name)
            store.add("data", Purpose.VOLUME)
            store.reset(VOLUME, State(3, root(3)))
    assert most > 3, "no change was made before the kills"


def test_two_processes_that_make_it_at_once_get_the_same(place: Path) -> None:
    place.parent.mkdir()
    for round_ in range(8):
        where = place / str(round_)
        pids = [in_child(lambda where=where, name=name: opened(where).add(name, Purpose.CA)) for name in "abcd"]
        assert [status_of(pid) for pid in pids] == [0] * 4
        with opened(where) as store:
            assert sorted(entry.name for entry in store.entries) == list("abcd")


def test_writers_at_once_lose_no_change(place: Path) -> None:
    opened(place).close()

    def write(who: str) -> None:
        with opened(place) as store:
            for number in range(15):
                store.add(f"{who}{number}", Purpose.CA)

    pids = [in_child(lambda who=who: write(who)) for who in "abcd"]
    assert [status_of(pid) for pid in pids] == [0] * 4
    with opened(place) as store:
        assert len(store.entries) == 60


def test_a_lock_held_too_long_says_who_to_look_for(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_WAIT_S", 0.05)
    with opened(place) as store:
        other = Directory.open(str(place))
        assert other is not None
        with other, other.lock(), pytest.raises(KeystoreError, match=f"in use.*fuser {place}/lock"):
            store.add("data", Purpose.VOLUME)


def test_a_disk_that_is_full_at_any_byte_leaves_the_old(place: Path) -> None:
    with opened(place) as store:
        store.add("data", Purpose.VOLUME)
    old = (place / "keystore").read_bytes()

    def fill(limit: int) -> None:
        with opened(place) as store:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with pytest.raises(KeystoreError, match=r"can't be written \(File too large\).*nothing was changed"):
                store.add("new", Purpose.SECRET, bytes(500))

    for limit in (0, 1, 47, 48, 300, len(old), len(old) + 400):
        assert status_of(in_child(lambda limit=limit: fill(limit))) == 0
        assert (place / "keystore").read_bytes() == old
        assert sorted(one.name for one in place.iterdir()) == ["keystore", "lock"]
