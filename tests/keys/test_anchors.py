"""Freshness anchors: they only go forward, survive kills, and are missed when they are gone."""

import contextlib
import resource
from pathlib import Path

import pytest

from scone_preload.errors import AnchorLost, KeyExists, KeyMissing, KeystoreError, KeystorePermissions, RolledBack
from scone_preload.keys.anchors import Anchor
from scone_preload.keys.record import State
from scone_preload.keys.store import Keystore
from tests.keys.support import VOLUME, in_child, opened, root, status_of


@pytest.fixture
def store(tmp_path: Path) -> Keystore:
    return opened(tmp_path / "k")


def file_of(store: Keystore) -> Path:
    return Path(store.directory.path) / store.anchor_set.name / VOLUME.hex()


def test_a_keystore_is_an_anchor(store: Keystore) -> None:
    anchor: Anchor = store
    assert anchor.read(VOLUME) is None
    anchor.register(VOLUME, State(1, root(1)))
    anchor.advance(VOLUME, State(5, root(5)))
    assert anchor.read(VOLUME) == State(5, root(5))
    with opened(Path(store.directory.path)) as other:
        assert other.read(VOLUME) == State(5, root(5))


def test_a_counter_never_goes_back(store: Keystore) -> None:
    store.register(VOLUME, State(5, root(5)))
    for state in (State(4, root(4)), State(5, root(6)), State(0, root(0))):
        with pytest.raises(RolledBack, match=f"{state.counter}, not above 5"):
            store.advance(VOLUME, state)
    store.advance(VOLUME, State(5, root(5)))
    assert store.read(VOLUME) == State(5, root(5))


def test_the_largest_counter_is_the_last(store: Keystore) -> None:
    store.register(VOLUME, State(2**64 - 2, root(1)))
    store.advance(VOLUME, State(2**64 - 1, root(2)))
    with pytest.raises(KeystoreError):
        store.advance(VOLUME, State(2**64, root(3)))


@pytest.mark.parametrize(("volume", "size"), [(b"short", 32), (VOLUME, 31), (VOLUME + b"x", 32)])
def test_other_sizes_are_refused(store: Keystore, volume: bytes, size: int) -> None:
    with pytest.raises(KeystoreError, match="not a volume's state"):
        store.register(volume, State(1, bytes(size)))


def test_a_volume_is_registered_once(store: Keystore) -> None:
    store.register(VOLUME, State(5, root(5)))
    with pytest.raises(KeyExists):
        store.register(VOLUME, State(6, root(6)))
    assert store.read(VOLUME) == State(5, root(5))


def test_a_deleted_anchor_is_missed(store: Keystore) -> None:
    store.register(VOLUME, State(5, root(5)))
    file_of(store).unlink()
    for act in (lambda: store.read(VOLUME), lambda: store.advance(VOLUME, State(6, root(6)))):
        with pytest.raises(AnchorLost, match="A lost anchor"):
            act()
    store.reset(VOLUME, State(2, root(2)))
    assert store.read(VOLUME) == State(2, root(2))


def test_an_anchor_of_another_volume_or_keystore_is_refused(store: Keystore, tmp_path: Path) -> None:
    store.register(VOLUME, State(5, root(5)))
    store.register(bytes(16), State(9, root(9)))
    mine = file_of(store)
    original = mine.read_bytes()
    mine.write_bytes(mine.with_name("00" * 16).read_bytes())
    with pytest.raises(AnchorLost, match="another volume's"):
        store.read(VOLUME)
    with opened(tmp_path / "other") as other:
        other.register(VOLUME, State(7, root(7)))
        mine.write_bytes(file_of(other).read_bytes())
    with pytest.raises(AnchorLost, match="or keystore's"):
        store.advance(VOLUME, State(8, root(8)))
    mine.write_bytes(original)
    assert store.read(VOLUME) == State(5, root(5))


def test_an_anchor_cut_short_is_damaged(store: Keystore) -> None:
    store.register(VOLUME, State(5, root(5)))
    raw = file_of(store).read_bytes()
    for size in (0, 1, 127, 128, 4096, 8191):
        file_of(store).write_bytes(raw[:size])
        with pytest.raises(AnchorLost, match=f"{size} of 8192"):
            store.read(VOLUME)


def test_a_write_cut_off_at_any_byte_leaves_the_old(store: Keystore) -> None:
    store.register(VOLUME, State(5, root(5)))
    store.advance(VOLUME, State(6, root(6)))
    before = file_of(store).read_bytes()
    store.advance(VOLUME, State(7, root(7)))
    after = file_of(store).read_bytes()
    assert before[4096:] == after[4096:], "the newer record was not written in place"
    for cut in range(128):
        file_of(store).write_bytes(after[:cut] + before[cut:])
        reading = store.reading(VOLUME)
        assert reading is not None
        assert reading.state in (State(6, root(6)), State(7, root(7)))
        assert not reading.torn or reading.state.counter == 6
        store.advance(VOLUME, State(8, root(8)))


def test_advancing_changes_no_size_and_makes_no_file(store: Keystore) -> None:
    store.register(VOLUME, State(5, root(5)))
    before = file_of(store).stat()
    for counter in range(6, 20):
        store.advance(VOLUME, State(counter, root(counter)))
    after = file_of(store).stat()
    assert (before.st_ino, before.st_size, before.st_blocks) == (after.st_ino, after.st_size, after.st_blocks)


def test_processes_that_advance_at_once_agree_on_the_order(store: Keystore) -> None:
    store.register(VOLUME, State(0, root(0)))
    path = Path(store.directory.path)

    def climb(first: int) -> None:
        with opened(path) as mine:
            for counter in range(first, 400, 4):
                with contextlib.suppress(RolledBack):  # another was faster
                    mine.advance(VOLUME, State(counter, root(counter)))
                state = mine.read(VOLUME)
                assert state is not None
                assert state.counter >= counter
                assert state.root == root(state.counter)

    pids = [in_child(lambda first=first: climb(first)) for first in range(1, 5)]
    assert [status_of(pid) for pid in pids] == [0] * 4
    assert store.read(VOLUME) == State(399, root(399))


def test_a_forgotten_volume_can_be_registered_again(store: Keystore) -> None:
    store.register(VOLUME, State(5, root(5)))
    store.forget(VOLUME)
    assert store.read(VOLUME) is None
    with pytest.raises(KeyMissing):
        store.forget(VOLUME)
    with pytest.raises(KeyMissing):
        store.reset(VOLUME, State(1, root(1)))
    store.register(VOLUME, State(1, root(1)))


def test_an_anchor_that_others_reach_is_refused(store: Keystore) -> None:
    store.register(VOLUME, State(5, root(5)))
    file_of(store).chmod(0o644)
    with pytest.raises(KeystorePermissions, match="chmod 600"):
        store.advance(VOLUME, State(6, root(6)))


def test_a_disk_that_does_not_take_it_is_an_error_and_the_old_stays(store: Keystore) -> None:
    store.register(VOLUME, State(5, root(5)))
    path = Path(store.directory.path)

    def fill() -> None:
        with opened(path) as mine:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            with pytest.raises(KeystoreError, match="anchor can't be written"):
                mine.advance(VOLUME, State(6, root(6)))

    assert status_of(in_child(fill)) == 0
    assert store.read(VOLUME) == State(5, root(5))
    assert file_of(store).stat().st_size == 8192
