"""The superblock: docs/volume.md shows what is written, and nothing damaged, cut, newer or forged is believed."""

import contextlib
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_preload.errors import NotAVolume, VolumeDamaged, VolumeError, VolumeNewer, VolumeWrongKey
from scone_preload.keys.format import Cost, Kdf
from scone_preload.keys.memory import SecretBuffer
from scone_preload.volume import slots
from scone_preload.volume.format import (
    BLOCK_SIZE,
    MAGIC,
    Freshness,
    Mode,
    Slot,
    SlotKind,
    Superblock,
    build_signed,
    parse_copy,
)
from scone_preload.volume.superblock import change, open_superblock, write_first

KEY, ID, OPENS = bytes([1]) * 32, bytes([2]) * 16, bytes([4]) * 32
TIME = 1_700_000_000
CHEAP = Cost(Kdf.SCRYPT, 4, 1, 1)
DOC = Path(__file__).parents[2] / "docs" / "volume.md"


def superblock(*given: Slot, generation: int = 1) -> Superblock:
    return Superblock(ID, Mode.ENCRYPT, Freshness.ROLLBACK_PROTECTED, generation, TIME, 1024, given or (slot(),))


def slot(opens: bytes = OPENS, name: str = "default") -> Slot:
    return slots.keystore_slot(ID, KEY, TIME, slots.keystore_name(name, bytes([3]) * 16, 1), opens)


def opener(secret: bytes) -> slots.Opener:
    return lambda slot: SecretBuffer.of(secret)


def opened(raw: bytes, secret: bytes = OPENS) -> Superblock | None:
    found = slots.open_copies(slots.parse_copies(raw, "V"), opener(secret), "V")
    if found is None:
        return None
    with found[1] as key:
        assert key.reveal() == KEY
    return found[0]


def test_the_worked_bytes_are_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: bytes([5]) * size)
    raw = slots.signed_block(superblock(), KEY)
    text = DOC.read_text().partition("### A superblock with one slot")[2]
    shown = re.findall(r"^([0-9a-f]{3}): ((?:[0-9a-f]{2} ?){16})$", text.partition("\n## ")[0], re.M)
    assert shown
    left = bytearray(raw)
    for at, line in shown:
        assert raw[int(at, 16) :][:16].hex(" ") == line, at
        left[int(at, 16) : int(at, 16) + 16] = bytes(16)
    assert not any(left), "only zeros are left out"
    assert f"`{slots.data_key(KEY, ID).hex()}`" in text


SLOTS = st.builds(
    Slot,
    kind=st.just(SlotKind.KEY_FILE),
    cost=st.just(Cost(Kdf.NONE)),
    created=st.integers(0, (1 << 64) - 1),
    salt=st.binary(min_size=32, max_size=32),
    label=st.text(max_size=30),
    wrapped=st.binary(min_size=48, max_size=48),
)
SUPERBLOCKS = st.builds(
    Superblock,
    volume_id=st.binary(min_size=16, max_size=16),
    mode=st.sampled_from(Mode),
    freshness=st.sampled_from(Freshness),
    generation=st.integers(0, (1 << 64) - 1),
    created=st.integers(0, (1 << 64) - 1),
    log_blocks=st.integers(16, 1 << 20),
    slots=st.lists(SLOTS, min_size=1, max_size=8).map(tuple),
)


@given(SUPERBLOCKS, st.binary(min_size=32, max_size=32))
def test_what_is_built_parses_to_the_same(one: Superblock, mac: bytes) -> None:
    copy = parse_copy(build_signed(one) + mac, "V")
    assert (copy.superblock, copy.mac) == (one, mac)


@given(st.binary(max_size=5000))
def test_no_bytes_crash_the_parser(raw: bytes) -> None:
    with pytest.raises((VolumeDamaged, NotAVolume, VolumeNewer)):
        parse_copy(MAGIC[: len(raw) % 9] + raw, "V")


def test_no_flipped_bit_is_believed() -> None:
    block = slots.signed_block(superblock(), KEY)
    for bit in range(0, BLOCK_SIZE * 8, 7):
        raw = bytearray(block)
        raw[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(VolumeDamaged, NotAVolume, VolumeNewer):
            assert opened(bytes(raw)) is None, f"bit {bit}: a slot was changed, and opens"


@pytest.mark.parametrize("size", [0, 1, 9, 10, 63, 64, 320, BLOCK_SIZE - 1])
def test_a_truncated_one_is_damaged(size: int) -> None:
    raw = slots.signed_block(superblock(), KEY)[:size]
    with pytest.raises(VolumeDamaged, match="damaged"):
        opened(raw)


def test_either_copy_is_enough_and_the_newer_counts() -> None:
    old, new = slots.signed_block(superblock(), KEY), slots.signed_block(superblock(generation=2), KEY)
    for raw in (old + new, new + old, bytes(BLOCK_SIZE) + new, new + os.urandom(BLOCK_SIZE), new):
        found = opened(raw)
        assert found is not None
        assert found.generation == 2


def test_a_forged_newer_copy_does_not_hide_the_right_one() -> None:
    forged = build_signed(replace(superblock(), generation=9, mode=Mode.AUTHENTICATE)) + bytes(32)
    found = opened(forged + slots.signed_block(superblock(), KEY))
    assert found is not None
    assert found.mode == Mode.ENCRYPT


def test_a_newer_version_names_both_versions() -> None:
    raw = bytearray(slots.signed_block(superblock(), KEY))
    raw[8] = 7
    for both in (bytes(raw) * 2, bytes(raw) + slots.signed_block(superblock(), KEY)):
        with pytest.raises(VolumeNewer, match="volume has version 7, this program knows 1: V: use the newer"):
            opened(both)


def test_a_slot_of_another_volume_opens_nothing() -> None:
    other = slots.keystore_slot(bytes(16), KEY, TIME, slots.keystore_name("default", bytes([3]) * 16, 1), OPENS)
    assert opened(slots.signed_block(superblock(other), KEY)) is None


def test_a_wrong_key_opens_nothing() -> None:
    assert opened(slots.signed_block(superblock(), KEY), bytes(32)) is None


def test_a_passphrase_and_a_key_file_open_their_slots() -> None:
    passphrase = slots.passphrase_slot(ID, KEY, TIME, b"open sesame", CHEAP)
    by_file = slots.key_file_slot(ID, KEY, TIME, "file", OPENS)
    for one, secret in ((passphrase, slots.stretched(passphrase, b"open sesame", "V")), (by_file, OPENS)):
        with slots.unwrap(ID, one, secret) or pytest.fail("stays locked") as key:
            assert key.reveal() == KEY
    assert slots.unwrap(ID, passphrase, slots.stretched(passphrase, b"open sesam", "V")) is None


def test_an_empty_passphrase_is_refused() -> None:
    with pytest.raises(VolumeError, match="empty passphrase"):
        slots.passphrase_slot(ID, KEY, TIME, b"")


def test_the_last_slot_stays_and_the_ninth_has_no_room() -> None:
    with pytest.raises(VolumeError, match="last key slot"):
        slots.with_slots(superblock(), ())
    with pytest.raises(VolumeError, match="no room for another"):
        slots.with_slots(superblock(), [slot()] * 9)


def container(path: Path, *, generation: int = 1) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    with SecretBuffer.of(KEY) as key:
        write_first(fd, superblock(generation=generation), key)
    return fd


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_a_change_that_is_killed_leaves_the_old_or_the_new_slots(
    killed_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = container(tmp_path / "v")
    new = slots.with_slots(superblock(), [slot(bytes([9]) * 32)])
    syncs = iter([None] * killed_after)

    def sync(_: int) -> None:
        if next(syncs, "killed") == "killed":
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", sync)
    with SecretBuffer.of(KEY) as key:
        if killed_after < 2:
            with pytest.raises(VolumeError, match="key slots can't be written"):
                change(fd, new, key, "V")
        else:
            change(fd, new, key, "V")
    raw = os.pread(fd, 2 * BLOCK_SIZE, 0)
    opens = [opened(raw, secret) is not None for secret in (OPENS, bytes([9]) * 32)]
    assert any(opens)
    if killed_after == 2:
        assert opens == [False, True], "no copy keeps the removed slot"
    os.close(fd)


def test_what_was_tried_is_said(tmp_path: Path) -> None:
    fd = container(tmp_path / "v")
    with pytest.raises(VolumeWrongKey, match="volume stays locked: no key: V: give what opens it"):
        open_superblock(fd, lambda slot: None, "V", lambda: "no key")
    os.close(fd)
