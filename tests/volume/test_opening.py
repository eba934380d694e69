"""P5: a volume is opened only as its anchor knows it, where it belongs, with its key, and by one at a time."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scone_preload.errors import (
    AnchorLost,
    KeystoreError,
    NotAVolume,
    RolledBack,
    VolumeBusy,
    VolumeDamaged,
    VolumeError,
    VolumeMissing,
    VolumeWrongKey,
)
from scone_preload.keys.store import Keystore, open_keystore
from scone_preload.keys.unlock import Unlock
from scone_preload.volume import opening, place
from scone_preload.volume.format import BLOCK_SIZE, Freshness, Mode
from scone_preload.volume.keys import Keys
from scone_preload.volume.opening import Asked, Opened, open_volume
from scone_preload.volume.place import CONTAINER, NEW
from scone_preload.volume.rekeying import adopt
from tests.keys.support import in_child, kill, status_of

PROTECTED, ANEW, NONE = (
    Freshness.ROLLBACK_PROTECTED,
    Freshness.ROLLBACK_PROTECTED_REINITIALIZABLE,
    Freshness.NO_ROLLBACK_PROTECTION,
)


class Access:
    """A keystore that its file alone opens."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.store: Keystore | None = None

    def open(self, *, create: bool = False) -> Keystore:
        if self.store is None:
            self.store = open_keystore(self.path, Unlock(), create=create)
        return self.store


class Owner:
    """Somebody with a keystore, and volumes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.access = Access(folder / "keystore")
        self.told: list[str] = []

    def open(
        self, name: str = "v", *, freshness: Freshness = PROTECTED, create: bool = True, mode: Mode = Mode.ENCRYPT
    ) -> Opened:
        asked = Asked(str(self.folder / name), mode, freshness, create=create)
        return open_volume(asked, Keys(self.access), self.told.append)

    def run(self, name: str = "v", *, freshness: Freshness = PROTECTED) -> None:
        """A whole life of a program."""
        self.open(name, freshness=freshness).close()

    def container(self, name: str = "v") -> Path:
        return self.folder / name / CONTAINER


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    one = Owner(tmp_path)
    yield one
    if one.access.store is not None:
        one.access.store.close()


def test_an_empty_or_missing_directory_becomes_a_volume_which_is_told_once(owner: Owner) -> None:
    (owner.folder / "empty").mkdir()
    for name in ("empty", "missing"):
        owner.run(name)
        assert os.listdir(owner.folder / name) == [CONTAINER]
        owner.run(name)
    assert owner.told == [
        f"made a volume in {owner.folder}/{name}: mode encrypt, rollback_protected" for name in ("empty", "missing")
    ]


def test_after_a_clean_end_the_anchor_is_what_is_on_the_disk(owner: Owner) -> None:
    for _ in range(3):
        opened = owner.open()
        opened.close()
        state = owner.access.open().read(opened.superblock.volume_id)
        again = owner.open()
        assert state is not None
        assert again.core.durable().version > state.counter
        again.close()


def test_plain_files_are_refused_by_name_and_stay_as_they_are(owner: Owner) -> None:
    (owner.folder / "v").mkdir()
    (owner.folder / "v" / "a").write_text("plain")
    with pytest.raises(NotAVolume, match=f"holds plain files: {owner.folder}/v/a: import it into a new volume"):
        owner.open()
    assert os.listdir(owner.folder / "v") == ["a"]


def test_a_file_dropped_beside_the_container_is_refused_by_name(owner: Owner) -> None:
    owner.run()
    (owner.folder / "v" / "lost+found").mkdir()
    owner.run()
    (owner.folder / "v" / "dump.rdb").write_text("plain")
    with pytest.raises(NotAVolume, match=r"beside the volume, in the clear, .*: .*/v/dump.rdb: move it away"):
        owner.open()


def test_a_file_a_link_and_a_directory_in_its_place_are_no_volumes(owner: Owner) -> None:
    (owner.folder / "file").write_text("")
    with pytest.raises(NotAVolume, match="not a directory"):
        owner.open("file")
    for name, make in (("link", lambda path: path.symlink_to("/etc/passwd")), ("directory", Path.mkdir)):
        (owner.folder / name).mkdir()
        make(owner.folder / name / CONTAINER)
        with pytest.raises(NotAVolume, match=r"not a volume|Is a directory"):
            owner.open(name)


def test_no_volume_is_made_where_none_is_asked_for(owner: Owner) -> None:
    with pytest.raises(VolumeMissing, match="no volume"):
        owner.open(create=False)
    assert not (owner.folder / "v").exists()


def test_another_keystore_and_none_open_nothing(owner: Owner) -> None:
    owner.run(freshness=NONE)
    name = owner.access.open().file.store_id.hex()[:8]
    stranger = Owner(owner.folder)
    stranger.access = Access(owner.folder / "other")
    with pytest.raises(VolumeWrongKey, match=f"key default of keystore {name}, not of any here, opens it"):
        stranger.open(freshness=NONE)
    stranger.access.open(create=True)
    with pytest.raises(VolumeWrongKey, match=f"key default of keystore {name}, not of .{{8}}, opens it"):
        stranger.open(freshness=NONE)


def test_a_key_that_was_removed_is_named(owner: Owner) -> None:
    owner.run()
    owner.access.open().remove("default")
    with pytest.raises(VolumeWrongKey, match="key default of the keystore is gone"):
        owner.open()


def test_a_key_that_was_rotated_still_opens_what_it_wrapped(owner: Owner) -> None:
    owner.run()
    owner.access.open().rotate("default")
    owner.run()


@pytest.mark.parametrize("freshness", [PROTECTED, ANEW])
def test_p5_an_old_copy_is_refused_however_often_it_is_tried(owner: Owner, freshness: Freshness) -> None:
    owner.run(freshness=freshness)
    old = owner.container().read_bytes()
    owner.run(freshness=freshness)
    owner.container().write_bytes(old)
    for _ in range(20):
        with pytest.raises(RolledBack, match="volume is older than its freshness anchor: version"):
            owner.open(freshness=freshness)
    assert owner.container().read_bytes() == old, "nothing was written"


def test_p5_another_end_of_the_same_version_is_refused(owner: Owner) -> None:
    owner.run()
    before = owner.container().read_bytes()
    owner.run()
    one_end = owner.container().read_bytes()
    owner.container().write_bytes(before)
    adopt(str(owner.folder / "v"), Keys(owner.access))
    owner.run()
    assert owner.container().read_bytes() != one_end
    owner.container().write_bytes(one_end)
    with pytest.raises(RolledBack, match="not the one that its freshness anchor knows"):
        owner.open()


def test_p5_what_is_newer_than_its_anchor_is_opened_and_anchored(owner: Owner) -> None:
    opened = owner.open()
    opened.core.checkpoint(is_last=True)
    durable = opened.core.durable()
    opened.close(is_clean=False)  # as if the host had been killed before it told the anchor
    again = owner.open()
    state = owner.access.open().read(again.superblock.volume_id)
    assert state is not None
    assert state.counter > durable.version
    again.close()


def test_p5_a_state_that_an_earlier_run_held_back_is_older_than_the_next_run(owner: Owner) -> None:
    owner.run()
    before = owner.container().read_bytes()
    opened = owner.open()
    for _ in range(50):
        opened.core.checkpoint()
    opened.close(is_clean=False)
    held_back = owner.container().read_bytes()
    adopted = Keys(owner.access)
    owner.container().write_bytes(before)
    adopt(str(owner.folder / "v"), adopted)  # the anchor as it was before that run
    owner.open().close(is_clean=False)
    owner.container().write_bytes(held_back)
    with pytest.raises(RolledBack):
        owner.open()


def test_p5_a_lost_anchor_keeps_it_closed_until_the_owner_says_so(owner: Owner) -> None:
    owner.run()
    (anchor,) = owner.folder.glob("keystore/anchors-*/*")
    anchor.unlink()
    with pytest.raises(AnchorLost, match="freshness anchor is gone"):
        owner.open()
    adopt(str(owner.folder / "v"), Keys(owner.access))
    owner.run()


def test_p5_a_moved_volume_and_a_copy_are_told_until_the_owner_says_so(owner: Owner) -> None:
    owner.run()
    shutil.copytree(owner.folder / "v", owner.folder / "w")
    with pytest.raises(RolledBack, match=f"volume belongs to {owner.folder}/v: it was moved, or is a copy"):
        owner.open("w")
    adopt(str(owner.folder / "w"), Keys(owner.access))
    owner.run("w")
    with pytest.raises(RolledBack, match=f"volume belongs to {owner.folder}/w"):
        owner.open("v")


def test_p5_volumes_that_were_swapped_are_told(owner: Owner) -> None:
    owner.run("v")
    owner.run("w")
    owner.container("v").rename(owner.folder / "x")
    owner.container("w").rename(owner.container("v"))
    (owner.folder / "x").rename(owner.container("w"))
    for name in ("v", "w"):
        with pytest.raises(RolledBack, match="another volume was put in the place of"):
            owner.open(name)


def test_p5_an_unanchored_volume_can_not_take_the_place_of_an_anchored_one(owner: Owner) -> None:
    owner.run("v")
    owner.run("w", freshness=NONE)
    shutil.copy(owner.container("w"), owner.container("v"))
    for freshness in (PROTECTED, NONE):
        with pytest.raises((RolledBack, VolumeError), match=r"another volume, which has no anchor|and rollback_protec"):
            owner.open("v", freshness=freshness)
    with (
        pytest.raises(RolledBack, match="another volume, which has no anchor"),
        opening.readable(str(owner.folder / "v"), Keys(owner.access)),
    ):
        pytest.fail("opened")


def test_many_makers_at_once_make_one_volume(owner: Owner) -> None:
    owner.access.open(create=True)

    def make() -> None:
        owner.access.store = None
        try:
            owner.open()
        except VolumeBusy:
            return
        time.sleep(1.5)

    pids = [in_child(make) for _ in range(6)]
    assert [status_of(pid) for pid in pids] == [0] * 6
    owner.access.open().reload()
    assert len(owner.access.open().places()) == 1
    owner.run()


def test_p5_a_volume_that_is_gone_is_no_new_one(owner: Owner) -> None:
    owner.run()
    owner.container().unlink()
    with pytest.raises(RolledBack, match=r"the volume that belongs here is gone: .*scone-volume create --anew"):
        owner.open()
    assert os.listdir(owner.folder / "v") == []


def test_a_reinitializable_volume_that_is_gone_is_made_anew_and_loudly(owner: Owner) -> None:
    owner.run(freshness=ANEW)
    shutil.rmtree(owner.folder / "v")
    owner.run(freshness=ANEW)
    assert f"THE VOLUME OF {owner.folder}/v IS GONE" in owner.told[1]
    owner.run(freshness=ANEW)
    assert len(owner.access.open().places()) == 1


def test_what_is_asked_for_must_be_what_it_was_made_as(owner: Owner) -> None:
    owner.run()
    with pytest.raises(VolumeError, match="made in mode encrypt, and authenticate is asked for"):
        owner.open(mode=Mode.AUTHENTICATE)
    with pytest.raises(VolumeError, match="made with freshness rollback_protected, and no_rollback_protection"):
        owner.open(freshness=NONE)


def test_a_second_one_is_refused_with_the_holders_pid(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "BUSY_WAIT_S", 0.05)
    owner.run()
    ready, tell = os.pipe()

    def hold() -> None:
        owner.access.store = None  # its keys are zeros in a child
        owner.open()
        os.write(tell, b"x")
        signal.pause()

    pid = in_child(hold)
    os.close(tell)
    os.read(ready, 1)
    with pytest.raises(VolumeBusy, match=rf"volume is in use by process {pid} \("):
        owner.open()
    kill(pid)
    owner.run()


def test_a_holder_that_is_closing_is_waited_for(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "BUSY_WAIT_S", 0.0)
    owner.run()
    ready, tell = os.pipe()

    def close_slowly() -> None:
        owner.access.store = None
        opened = owner.open()
        opened.container.mark_closing()
        os.write(tell, b"x")
        signal.sigtimedwait([], 0.3)
        opened.close()

    pid = in_child(close_slowly)
    os.close(tell)
    os.read(ready, 1)
    owner.run()
    assert status_of(pid) == 0


@pytest.mark.parametrize("size", [0, 9, 4000, 4096, 8191, 8192, 12288, 16384, 100_000])
def test_a_truncated_container_is_damaged_and_left_alone(owner: Owner, size: int) -> None:
    owner.run()
    whole = owner.container().read_bytes()
    owner.container().write_bytes(whole[:size])
    with pytest.raises((VolumeDamaged, RolledBack)) as caught:
        owner.open()
    assert str(owner.container()) in str(caught.value)
    assert owner.container().read_bytes() == whole[:size]


@pytest.mark.parametrize("block", [2, 3])
def test_a_damaged_checkpoint_is_damage_or_an_older_state(owner: Owner, block: int) -> None:
    owner.run()
    with owner.container().open("r+b") as file:
        file.seek(block * BLOCK_SIZE + 60)
        file.write(b"\xff" * 8)
    try:
        owner.open().close()
    except (RolledBack, VolumeDamaged):
        return
    assert block == 2 or block == 3, "the one that doesn't count"


def test_a_container_of_zeros_is_no_volume(owner: Owner) -> None:
    owner.run()
    owner.container().write_bytes(bytes(1 << 20))
    with pytest.raises(NotAVolume, match="not a volume, or its beginning is damaged"):
        owner.open()


STAGES = ("write_first", "Core.format", "Core.mount", "Core.checkpoint", "Keystore.register", "Container.settle")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_maker_that_is_killed_leaves_nothing_or_a_volume(
    owner: Owner, stage: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.access.open(create=True)

    def killed() -> None:
        owner.access.store = None
        target, name = _found(stage)
        real: Callable[..., object] = getattr(target, name)

        def step(*arguments: object, **named: object) -> object:
            if when == "after":
                real(*arguments, **named)
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        monkeypatch.setattr(target, name, step)
        owner.open()

    assert status_of(in_child(killed)) == -signal.SIGKILL
    assert set(os.listdir(owner.folder / "v")) <= {NEW, CONTAINER}
    owner.access.open().reload()
    owner.run()
    assert os.listdir(owner.folder / "v") == [CONTAINER]
    owner.run()


def _found(stage: str) -> tuple[object, str]:
    first, _, name = stage.partition(".")
    if not name:
        return opening, first
    return {"Core": opening.Core, "Keystore": Keystore, "Container": place.Container}[first], name


def test_an_error_while_it_is_made_leaves_nothing(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opening, "write_first", full)
    with pytest.raises(VolumeError, match=r"volume can't be made .No space left on device.*: make room on the disk"):
        owner.open()
    assert os.listdir(owner.folder / "v") == []


def test_one_that_can_not_be_written_is_read_only(owner: Owner) -> None:
    owner.run()
    before = owner.container().read_bytes()
    asked = Asked(str(owner.folder / "v"), None, None, readonly=True)
    with_it = [open_volume(asked, Keys(owner.access), owner.told.append) for _ in range(2)]
    assert "can't be written: it is read-only" in owner.told[-1]
    for one in with_it:
        assert one.container.is_readonly
        one.close()
    assert owner.container().read_bytes() == before
    owner.run()


def test_an_ephemeral_volume_has_no_name_and_needs_no_keystore(owner: Owner) -> None:
    opened = owner.open("", freshness=Freshness.EPHEMERAL)
    opened.core.checkpoint()
    assert os.listdir(owner.folder) == []
    opened.close()
    with pytest.raises(VolumeError, match="no such directory for an ephemeral volume"):
        owner.open("missing", freshness=Freshness.EPHEMERAL)


def test_a_locked_or_missing_keystore_is_an_error_of_its_own(owner: Owner) -> None:
    owner.run()
    shutil.rmtree(owner.folder / "keystore")
    owner.access.store = None
    with pytest.raises(VolumeWrongKey, match="not of any here"):
        owner.open()
    with pytest.raises(KeystoreError):
        adopt_with_damaged(owner)


def adopt_with_damaged(owner: Owner) -> None:
    (owner.folder / "keystore").mkdir(0o700)
    (owner.folder / "keystore" / "keystore").write_bytes(b"x" * 100)
    (owner.folder / "keystore" / "keystore").chmod(0o600)
    owner.open()


def test_an_open_volume_has_no_descriptor_but_those_that_the_runtime_host_keeps(owner: Owner) -> None:
    """It closes all others by number: an object that closed one later would close another's."""
    owner.run()
    before = set(os.listdir("/proc/self/fd"))
    opened = owner.open()
    found = set(os.listdir("/proc/self/fd")) - before
    opened.close()
    assert len(found) == 2
    assert set(os.listdir("/proc/self/fd")) == before
