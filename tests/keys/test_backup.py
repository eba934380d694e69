"""Backup and restore: everything comes back, nothing is overwritten or rolled back unasked."""

import shutil
from pathlib import Path

import pytest

from scone_preload.errors import KeyExists, KeystoreDamaged, KeystoreError, KeystoreLocked, RolledBack
from scone_preload.keys.backup import Anchors, Restored, make_backup, restore
from scone_preload.keys.format import Purpose
from scone_preload.keys.rebuild import rekey
from scone_preload.keys.record import State
from scone_preload.keys.store import Keystore, open_keystore
from scone_preload.keys.unlock import passphrase_slot
from tests.keys.support import CHEAP, PASSPHRASE, VOLUME, Killed, Killer, by_passphrase, opened, root, with_checksum

OTHER = bytes(16)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "k"


@pytest.fixture
def saved(place: Path) -> bytes:
    """A backup of a keystore in `place` with a key, a secret and an anchor at 5."""
    with opened(place) as store:
        store.add("data", Purpose.VOLUME)
        store.rotate("data")
        store.add("db-password", Purpose.SECRET, b"hunter2")
        store.register(VOLUME, State(4, root(4)))
        store.advance(VOLUME, State(5, root(5)))
        return make_backup(store, PASSPHRASE, CHEAP)


def content(store: Keystore) -> dict[tuple[str, int], bytes]:
    keys = [entry for entry in store.entries if entry.purpose != Purpose.ANCHOR]
    return {(one.name, one.generation): store.key(one.name, one.purpose, one.generation).reveal() for one in keys}


def test_everything_comes_back_elsewhere(place: Path, saved: bytes, tmp_path: Path) -> None:
    assert restore(str(tmp_path / "new"), saved, by_passphrase()) == Restored(3, 1, False)
    with opened(place) as old, opened(tmp_path / "new", by_passphrase()) as new:
        assert content(new) == content(old)
        assert new.read(VOLUME) == State(5, root(5))
        new.advance(VOLUME, State(6, root(6)))
    with pytest.raises(KeystoreLocked):
        opened(tmp_path / "new")


def test_a_plain_keystore_comes_back_where_asked_for(saved: bytes, tmp_path: Path) -> None:
    restore(str(tmp_path / "new"), saved, by_passphrase(), plain=True)
    with opened(tmp_path / "new") as new:
        assert new.key("db-password", Purpose.SECRET).reveal() == b"hunter2"


def test_a_wrong_passphrase_or_a_keystore_for_a_backup_is_told(place: Path, saved: bytes, tmp_path: Path) -> None:
    with pytest.raises(KeystoreLocked, match="wrong passphrase"):
        restore(str(tmp_path / "new"), saved, by_passphrase(b"no"))
    with pytest.raises(KeystoreError, match="not a backup but a keystore"):
        restore(str(tmp_path / "new"), (place / "keystore").read_bytes(), by_passphrase())
    shutil.copytree(place, tmp_path / "other")
    (tmp_path / "other" / "keystore").write_bytes(saved)
    with pytest.raises(KeystoreDamaged, match="a backup in the place of the keystore"):
        opened(tmp_path / "other", by_passphrase())


def test_a_damaged_backup_changes_nothing(saved: bytes, tmp_path: Path) -> None:
    for at in range(0, len(saved), 7):
        changed = saved[:at] + bytes([saved[at] ^ 16]) + saved[at + 1 :]
        for raw in (changed, changed if at >= len(saved) - 32 else with_checksum(changed)):
            with pytest.raises(KeystoreError):
                restore(str(tmp_path / "new"), raw, by_passphrase())
    assert not (tmp_path / "new").exists()


def test_a_keystore_is_not_replaced_unasked(place: Path, saved: bytes) -> None:
    before = (place / "keystore").read_bytes()
    with pytest.raises(KeyExists, match="--replace"):
        restore(str(place), saved, by_passphrase())
    assert (place / "keystore").read_bytes() == before
    restore(str(place), saved, by_passphrase(), replace_it=True)
    opened(place, by_passphrase()).close()


def test_an_anchor_goes_back_only_where_told(place: Path, saved: bytes) -> None:
    with opened(place) as store:
        store.advance(VOLUME, State(9, root(9)))
    with pytest.raises(RolledBack, match=r"5 in the backup, 9 here.*--keep-anchors.*--older-anchors"):
        restore(str(place), saved, by_passphrase(), replace_it=True)
    restore(str(place), saved, by_passphrase(), replace_it=True, anchors=Anchors.KEEP)
    with opened(place, by_passphrase()) as store:
        assert store.read(VOLUME) == State(9, root(9))
    restore(str(place), saved, by_passphrase(), replace_it=True, anchors=Anchors.OLDER)
    with opened(place, by_passphrase()) as store:
        assert store.read(VOLUME) == State(5, root(5))


def test_anchors_beside_a_damaged_or_lost_keystore_count_too(place: Path, saved: bytes) -> None:
    with opened(place) as store:
        store.advance(VOLUME, State(9, root(9)))
    (place / "keystore").write_bytes(b"damaged")
    with pytest.raises(RolledBack, match="9 here"):
        restore(str(place), saved, by_passphrase(), replace_it=True)
    (place / "keystore").unlink()
    with pytest.raises(RolledBack, match="9 here"):
        restore(str(place), saved, by_passphrase())
    restore(str(place), saved, by_passphrase(), anchors=Anchors.KEEP)
    with opened(place, by_passphrase()) as store:
        assert store.read(VOLUME) == State(9, root(9))


@pytest.mark.parametrize("anchors", [Anchors.REFUSE, Anchors.KEEP])
def test_anchors_that_can_not_be_compared_are_not_dropped_unasked(place: Path, saved: bytes, anchors: Anchors) -> None:
    with opened(place) as store:
        rekey(store, lambda master, store_id, at: passphrase_slot(master, store_id, at, b"other", CHEAP))
    with pytest.raises(RolledBack, match="1 freshness anchors here can't be compared"):
        restore(str(place), saved, by_passphrase(), replace_it=True, anchors=anchors)
    restore(str(place), saved, by_passphrase(), replace_it=True, anchors=Anchors.OLDER)
    with opened(place, by_passphrase()) as store:
        assert store.read(VOLUME) == State(5, root(5))


def test_old_anchor_directories_go(place: Path, saved: bytes) -> None:
    restore(str(place), saved, by_passphrase(), replace_it=True)
    assert len([one for one in place.iterdir() if one.name.startswith("anchors-")]) == 1


def whole(place: Path) -> tuple[bool, object]:
    """Whether it is the restored one, and its content; None where there is no keystore yet."""
    if not (place / "keystore").exists():
        return False, None
    with open_keystore(str(place), by_passphrase(), create=False) as store:
        return store.file.slots[0].kind == 2, (content(store), store.read(VOLUME))


@pytest.mark.parametrize("over", ["nothing", "another"])
def test_a_kill_before_any_step_of_a_restore_leaves_the_old_or_the_new(over: str, saved: bytes, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir(mode=0o700)
    if over == "another":
        with opened(before) as store:
            store.add("mine", Purpose.CA)
    restore(str(tmp_path / "after"), saved, by_passphrase())
    allowed = (whole(before), whole(tmp_path / "after"))
    for steps in range(200):
        place = tmp_path / str(steps)
        shutil.copytree(before, place)
        with pytest.MonkeyPatch.context() as patch:
            Killer(steps).install(patch)
            try:
                restore(str(place), saved, by_passphrase(), replace_it=True)
                killed = False
            except Killed:
                killed = True
        assert whole(place) in allowed
        if not (place / "keystore").exists():
            shutil.copytree(place, tmp_path / f"{steps}-used")
            opened(tmp_path / f"{steps}-used").close()
        restore(str(place), saved, by_passphrase(), replace_it=True, anchors=Anchors.KEEP)
        assert whole(place) == allowed[1]
        assert not (place / "restoring").exists()
        if not killed:
            return
    pytest.fail("more than 200 steps")
