"""The file format: worked bytes of docs/keystore.md, golden files, and everything that a file can have wrong."""

import hashlib
import hmac
import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from scone_preload.errors import AnchorLost, KeystoreDamaged, KeystoreError, KeystoreVersion
from scone_preload.keys import format as layout
from scone_preload.keys import record
from scone_preload.keys.codec import open_entries, open_entry, read_file, write_file
from scone_preload.keys.format import Purpose, SlotKind
from scone_preload.keys.memory import SecretBuffer
from scone_preload.keys.record import State
from scone_preload.keys.unlock import Unlock, open_master
from tests.keys.support import GOLDEN, PASSPHRASE, VOLUME, by_passphrase, fix_randomness, opened, root, with_checksum

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "keystore.md"
PLAIN = (GOLDEN / "keystore-1").read_bytes()


def documented(title: str) -> bytes:
    """The bytes of the dump below a heading of docs/keystore.md."""
    section = DOCUMENT.read_text().split(f"### {title}\n")[1].split("```")[1]
    return bytes.fromhex("".join(re.findall(r"^[0-9a-f]+: ((?:[0-9a-f]{2} ?)+)", section, re.M)))


def hkdf(parent: bytes, salt: bytes, label: bytes) -> bytes:
    inner = hmac.digest(salt, parent, "sha256")
    return hmac.digest(inner, label + b"\x01", "sha256")


def sealed(parent: bytes, salt: bytes, label: bytes, bound: bytes, plain: bytes) -> bytes:
    return AESGCM(hkdf(parent, salt, label)).encrypt(bytes(12), plain, bound)


def worked_keystore() -> bytes:
    """The document's keystore, by its words alone and none of the project's code."""
    master, store_id, anchor_set, created = b"\1" * 32, b"\2" * 16, b"\3" * 8, struct.pack("<Q", 1_700_000_000)
    slot = b"\1\0" + bytes(2) + bytes(12) + created + b"\4" * 32 + bytes(40)
    bound = b"slot".ljust(8, b"\0") + b"\1\0" + store_id + slot
    slot += sealed(b"\4" * 32, b"\4" * 32, b"scone-keys slot 1", bound, master)
    head = b"\1\0" + struct.pack("<HI", 4, 0) + created + struct.pack("<I", 1)
    bound = b"entry".ljust(8, b"\0") + b"\1\0" + store_id + head + b"data"
    value = sealed(master, b"\7" * 32, b"scone-keys entry 1", bound, b"\6" * 32)
    head = b"\1\0" + struct.pack("<HI", 4, len(value)) + created + struct.pack("<I", 1)
    body = struct.pack("<I", 1) + head + b"data" + b"\7" * 32 + value
    start = b"SCONEKEY" + struct.pack("<HHI", 1, 1, len(body) + 16) + store_id + struct.pack("<Q", 2) + anchor_set
    raw = start + slot + b"\x08" * 32 + sealed(master, b"\x08" * 32, b"scone-keys body 1", start + slot, body)
    return raw + hashlib.sha256(raw).digest()


def worked_anchor() -> bytes:
    start = b"SCONEANC\1\0" + bytes(6) + VOLUME + struct.pack("<Q", 7) + b"\x0b" * 32 + bytes(24)
    key = hkdf(b"\1" * 32, b"\3" * 8, b"scone-keys anchor 1 " + VOLUME)
    return start + hmac.digest(key, start, "sha256")


def test_the_documents_keystore_is_what_its_words_say() -> None:
    assert documented("A keystore with one key") == worked_keystore()


def test_the_documents_anchor_is_what_its_words_say() -> None:
    assert documented("An anchor record") == worked_anchor()


def test_the_program_writes_the_documents_keystore(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fix_randomness(monkeypatch)
    with opened(tmp_path / "k") as store:
        store.add("data", Purpose.VOLUME)
    assert (tmp_path / "k" / "keystore").read_bytes() == worked_keystore()


def test_the_program_writes_the_documents_anchor() -> None:
    key = hkdf(b"\1" * 32, b"\3" * 8, b"scone-keys anchor 1 " + VOLUME)
    assert record.build_record(key, VOLUME, State(7, b"\x0b" * 32)) == worked_anchor()


@pytest.mark.parametrize(
    ("name", "unlock"),
    [
        ("keystore-1", Unlock()),
        ("keystore-1-argon2id", by_passphrase()),
        ("keystore-1-scrypt", by_passphrase()),
        ("keystore-1-environment", Unlock(environment={b"SCONE_TEST_KEY": b"5a" * 32})),
        ("backup-1", by_passphrase()),
    ],
)
def test_files_of_every_released_version_still_open(name: str, unlock: Unlock) -> None:
    raw = (GOLDEN / name).read_bytes()
    file = read_file(raw, name)
    with open_master(file, unlock, name) as master:
        entries = {entry.name: entry for entry in open_entries(file, master, name)}
        with open_entry(file.store_id, master, entries["data"], name) as value:
            assert value.reveal() == b"\x06" * 32
        with open_entry(file.store_id, master, entries["db-password"], name) as value:
            assert value.reveal() == b"hunter2"
    assert layout.build_file(file) == raw[:-32]


def test_a_released_anchor_still_opens() -> None:
    key = hkdf(b"\1" * 32, b"\3" * 8, b"scone-keys anchor 1 " + VOLUME)
    reading = record.parse_file(key, VOLUME, (GOLDEN / "anchor-1").read_bytes(), "anchor-1")
    assert (reading.state, reading.torn) == (State(8, root(12)), False)


def open_all(raw: bytes, unlock: Unlock | None = None) -> None:
    file = read_file(raw, "x")
    with open_master(file, unlock or Unlock(), "x") as master:
        for entry in open_entries(file, master, "x"):
            open_entry(file.store_id, master, entry, "x").close()


def test_a_keystore_cut_at_any_length_is_called_truncated() -> None:
    open_all(PLAIN)
    for size in range(len(PLAIN)):
        with pytest.raises(KeystoreDamaged, match=r"truncated.*: x: restore a backup"):
            open_all(PLAIN[:size])


def test_a_keystore_with_more_bytes_is_damaged() -> None:
    with pytest.raises(KeystoreDamaged, match="3 bytes too many"):
        open_all(PLAIN + b"abc")


def flips(raw: bytes) -> list[bytes]:
    return [raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :] for at in range(len(raw)) for bit in range(8)]


def test_every_flipped_bit_is_noticed() -> None:
    for changed in flips(PLAIN):
        with pytest.raises((KeystoreDamaged, KeystoreVersion)):
            open_all(changed)


def test_every_bit_flipped_by_someone_who_mends_the_checksum_is_noticed() -> None:
    for changed in flips(PLAIN)[: -32 * 8]:
        with pytest.raises(KeystoreError):
            open_all(with_checksum(changed))


def test_every_flipped_bit_of_an_anchor_is_noticed() -> None:
    key, raw = b"k" * 32, record.build_file(b"k" * 32, VOLUME, State(3, root(3)))
    for changed in flips(raw[: record.RECORD_SIZE]):
        with pytest.raises((AnchorLost, KeystoreVersion)):
            record.parse_file(key, VOLUME, changed + raw[record.RECORD_SIZE :], "x")
    both = raw[:4096] + record.build_record(key, VOLUME, State(4, root(4)))
    for changed in flips(both[4096:]):
        reading = record.parse_file(key, VOLUME, (both[:4096] + changed).ljust(8192, b"\0"), "x")
        assert (reading.state, reading.torn) == (State(3, root(3)), True)


def test_a_newer_version_is_called_so_whatever_follows() -> None:
    with pytest.raises(KeystoreVersion, match=r"has version 2, this program knows 1.*newer scone-preload"):
        open_all(b"SCONEKEY\2\0 and a layout that we can't know")


def test_a_newer_anchor_is_called_so() -> None:
    raw = (b"SCONEANC\2\0").ljust(8192, b"\0")
    with pytest.raises(KeystoreVersion, match="anchor has version 2"):
        record.parse_file(b"k" * 32, VOLUME, raw, "x")


@pytest.mark.parametrize("raw", [b"#!/bin/sh\nexit\n", bytes(500), b"SCONEKEY\0\0" + bytes(400)])
def test_another_file_is_no_keystore(raw: bytes) -> None:
    with pytest.raises(KeystoreDamaged, match=r"not a keystore|no version 0"):
        open_all(raw)


@given(st.binary(max_size=600))
def test_no_bytes_make_the_parser_fail_otherwise(raw: bytes) -> None:
    for start in (b"", b"SCONEKEY\1\0", b"SCONEKEY\1\0\1\0\x20\0\0\0"):
        try:
            file, checksum = layout.parse_file(start + raw, "x")
        except KeystoreError:
            continue
        assert layout.build_file(file) + checksum == start + raw


@given(st.binary(max_size=300))
def test_no_body_makes_the_parser_fail_otherwise(raw: bytes) -> None:
    try:
        entries = layout.parse_body(raw, "x")
    except KeystoreDamaged:
        return
    assert layout.build_body(entries) == raw


@pytest.mark.parametrize(
    "cost",
    [(1, 2 << 20, 1, 1), (1, 1 << 20, 5, 1), (1, 64, 0, 1), (1, 64, 1, 0), (1, 4, 1, 1), (1, 64, 1, 65),
     (1, 0xFFFFFFFF, 0xFFFFFFFF, 1), (2, 25, 8, 1), (2, 0, 8, 1), (2, 24, 8, 1), (2, 16, 0, 1), (2, 17, 8, 64)],
)  # fmt: skip
def test_a_ruinous_key_derivation_is_refused_before_it_runs(cost: tuple[int, int, int, int]) -> None:
    raw = (GOLDEN / "keystore-1-argon2id").read_bytes()
    changed = raw[:49] + bytes([cost[0]]) + raw[50:52] + struct.pack("<III", *cost[1:]) + raw[64:]
    with pytest.raises(KeystoreDamaged, match="ruinous"):
        open_all(with_checksum(changed), by_passphrase())


def test_an_entry_can_not_pass_for_another() -> None:
    file = read_file(PLAIN, "x")
    with open_master(file, Unlock(), "x") as master:
        (entry,) = [one for one in open_entries(file, master, "x") if one.name == "data"]
        changes = (
            replace(entry, name="date"), replace(entry, purpose=Purpose.CA), replace(entry, generation=2),
            replace(entry, created=entry.created + 1),
        )  # fmt: skip
        for changed in changes:
            with pytest.raises(KeystoreDamaged):
                open_entry(file.store_id, master, changed, "x")
        with pytest.raises(KeystoreDamaged):
            open_entry(bytes(16), master, entry, "x")


def test_each_write_encrypts_under_a_key_of_its_own() -> None:
    file = read_file(PLAIN, "x")
    with open_master(file, Unlock(), "x") as master:
        entries = open_entries(file, master, "x")
        one, two = (read_file(write_file(file, master, entries), "x") for _ in range(2))
    assert one.body_salt != two.body_salt
    assert one.body != two.body


def test_a_plain_slots_flaw_is_damage_and_no_wrong_passphrase() -> None:
    file = read_file(PLAIN, "x")
    slot = replace(file.slots[0], wrapped=bytes(48))
    with pytest.raises(KeystoreDamaged, match="plain slot"):
        open_master(replace(file, slots=(slot,)), by_passphrase(PASSPHRASE), "x")
    assert slot.kind == SlotKind.PLAIN
    assert SecretBuffer(32).reveal() == bytes(32)
