"""The container's layout: worked bytes of docs/volume.md, the C header, and what can't be."""

import re
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from scone_preload.volume import layout
from scone_preload.volume.layout import Checkpoint, ChunkItem, CutItem, Entry, InodeItem, Name, Record, Seal, Time

ROOT = Path(__file__).resolve().parents[2]
KEY, BEFORE = bytes(range(32)), b"\x0c" * 16
HELLO = b"hello\n".ljust(4096, b"\0")


def documented() -> list[bytes]:
    """The dumps of the document's examples, in order."""
    examples = (ROOT / "docs" / "volume.md").read_text().split("### Examples\n")[1].split("```")[1::2]
    return [bytes.fromhex("".join(re.findall(r"^[0-9a-f]+: ((?:[0-9a-f]{2} ?)+)", one, re.M))) for one in examples]


def nonce(number: int) -> bytes:
    return number.to_bytes(12, "little")


def worked() -> list[bytes]:
    """The same by the document's words alone and none of the project's code."""
    place = struct.pack("<QQ", 2, 0 << 56 | 0)
    sealed = AESGCM(KEY).encrypt(nonce(1), HELLO, place)
    entry = struct.pack("<I", 20) + nonce(1) + sealed[4096:]
    clear = AESGCM(KEY).encrypt(nonce(1), b"", place + HELLO)
    times = struct.pack("<qII", 1_700_000_000, 5, 0) * 4
    known = struct.pack("<IIIIQQ", 0o100644, 1, 1000, 1000, 6, 1) + times + struct.pack("<IIQB7xQ", 0, 0, 0, 0, 0)
    record = known + entry + bytes(96)
    name = struct.pack("<QHBBI", 2, 24, 5, 8, 0) + b"hello\0\0\0"
    cut = struct.pack("<IIQ", 3, 24, 2) + struct.pack("<Q", 1)
    chunk = struct.pack("<IIQ", 1, 56, 2) + struct.pack("<Q", 0) + entry
    inode = struct.pack("<IIQ", 2, 272, 2) + known + bytes(128)
    body = struct.pack("<II", 1, 3) + cut + chunk + inode
    head = b"SLOG" + struct.pack("<IQ", len(body), 8)
    batch = AESGCM(KEY).encrypt(nonce(2), body, head + BEFORE)
    seal = head + nonce(2) + batch[-16:] + bytes(4)
    return [place, sealed[:32], entry, clear, record, name, body, seal + batch[:16]]


def test_the_documents_bytes_are_what_its_words_say() -> None:
    assert documented() == worked()


def test_the_program_knows_the_documents_bytes() -> None:
    place, _, raw_entry, _, raw_record, raw_name, raw_body, raw_seal = documented()
    assert layout.place(2, 0, 0) == place
    entry = layout.parse_entry(raw_entry)
    time = Time(1_700_000_000, 5)
    record = Record(0o100644, 1, 1000, 1000, 6, 1, time, time, time, time, entries=(entry, None, None, None))
    assert layout.parse_record(raw_record) == record
    assert layout.build_record(record) == raw_record
    name = Name(2, 8, b"hello")
    assert layout.build_name(name) == raw_name
    assert list(layout.parse_names(layout.build_name(name, 4096))) == [name]
    items = (CutItem(2, 1), ChunkItem(2, 0, entry), InodeItem(2, layout.without_tree(record)))
    assert layout.parse_batch(raw_body) == (True, items)
    assert layout.build_batch(items, is_last=True) == raw_body
    seal = layout.parse_seal(raw_seal)
    assert layout.build_seal(seal) == raw_seal[:48]
    whole = AESGCM(KEY).encrypt(seal.nonce, raw_body, seal.bound(BEFORE))
    assert (whole[-16:], whole[:16]) == (seal.tag, raw_seal[48:])


RECORD_FIELDS = (
    "mode nlink uid gid size chunks accessed modified changed born device generation parent height reserved"
    " reserved_2 entry"
)
STRUCTS = {
    "volume_entry": (layout.ENTRY, ("block", "nonce", "tag")),
    "volume_place": (layout.PLACE, ("ino", "index")),
    "volume_time": (layout.TIME, ("seconds", "nanoseconds", "reserved")),
    "volume_record": (
        layout.RECORD,
        tuple(RECORD_FIELDS.split()),
    ),
    "volume_name": (layout.NAME, ("ino", "size", "name_size", "type", "reserved")),
    "volume_seal": (layout.SEAL, ("magic", "size", "version", "nonce", "tag", "reserved")),
    "volume_checkpoint": (
        layout.CHECKPOINT,
        ("sequence", "log_at", "block_count", "seconds", "is_clean", "reserved", "table"),
    ),
    "volume_batch": (layout.BATCH, ("flags", "count")),
    "volume_item": (layout.ITEM, ("kind", "size", "ino")),
}
CONSTANTS = {
    "VOLUME_BLOCK": layout.BLOCK,
    "VOLUME_FAN": layout.FAN,
    "VOLUME_DIRECT": layout.DIRECT,
    "VOLUME_HEIGHT_MAX": layout.HEIGHT_MAX,
    "VOLUME_NAME_MAX": layout.NAME_MAX,
    "VOLUME_TABLE_INO": layout.TABLE_INO,
    "VOLUME_ROOT_INO": layout.ROOT_INO,
    "VOLUME_CHECKPOINT_BLOCK": layout.CHECKPOINT_BLOCK,
    "VOLUME_LOG_BLOCK": layout.LOG_BLOCK,
    "VOLUME_MAGIC_CHECKPOINT": layout.MAGIC_CHECKPOINT,
    "VOLUME_MAGIC_LOG": layout.MAGIC_LOG,
    "BATCH_LAST": layout.BATCH_LAST,
    "ITEM_CHUNK": layout.ITEM_CHUNK,
    "ITEM_INODE": layout.ITEM_INODE,
    "ITEM_CUT": layout.ITEM_CUT,
}


def offsets(form: struct.Struct) -> list[int]:
    """Where each of a struct's fields begins, and where the last one ends."""
    fields = re.findall(r"\d*s|[a-zA-Z]", form.format.lstrip("<"))
    return [struct.calcsize("<" + "".join(fields[:count])) for count in range(len(fields) + 1)]


def test_python_and_the_header_of_the_core_have_one_layout(tmp_path: Path) -> None:
    rows = [f'"{name}", (long){name}' for name in CONSTANTS]
    for name, (_, fields) in STRUCTS.items():
        rows += [f'"{name}.{field}", (long)offsetof(struct {name}, {field})' for field in fields]
        rows += [f'"{name}", (long)sizeof(struct {name})']
    source = tmp_path / "show.c"
    source.write_text(
        f'#include <stddef.h>\n#include <stdio.h>\n#include "{ROOT}/libshim/wire/volume.h"\n'
        "int main(void)\n{\n" + "".join(f'\tprintf("%s %ld\\n", {row});\n' for row in rows) + "\treturn 0;\n}\n"
    )
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", tmp_path / "show", source], check=True)
    shown = subprocess.run([tmp_path / "show"], check=True, capture_output=True, text=True).stdout.split("\n")[:-1]
    expected = [f"{name} {value}" for name, value in CONSTANTS.items()]
    for name, (form, fields) in STRUCTS.items():
        places = offsets(form)
        expected += [f"{name}.{field} {place}" for field, place in zip(fields, places[:-1], strict=True)]
        expected += [f"{name} {places[-1]}"]
    assert shown == expected


@pytest.mark.parametrize(
    ("form", "raw"),
    [
        ("a batch without a head", b"\1\0\0\0"),
        ("unknown flags", struct.pack("<II", 2, 0)),
        ("that says 1", struct.pack("<II", 1, 1)),
        ("ends early", struct.pack("<II", 1, 1) + bytes(8)),
        ("of kind 9", struct.pack("<IIIIQ", 1, 1, 9, 16, 2)),
        ("of kind 3 and 16 bytes", struct.pack("<IIIIQ", 1, 1, 3, 16, 2)),
        ("of kind 3 and 24 bytes", struct.pack("<IIIIQI", 1, 1, 3, 24, 2, 0)),
        ("for the inode table", struct.pack("<IIIIQQ", 1, 1, 3, 24, 0, 0)),
        ("an impossible chunk", struct.pack("<IIIIQQ", 1, 1, 3, 24, 2, (1 << 35) + 1)),
    ],
)
def test_batches_that_contradict_themselves_are_refused(form: str, raw: bytes) -> None:
    with pytest.raises(ValueError, match=form):
        layout.parse_batch(raw)


@pytest.mark.parametrize(
    ("ino", "size", "name"),
    [(2, 20, b"abc"), (2, 8, b""), (2, 16, b"abc"), (2, 24, b""), (2, 24, b".."), (2, 24, b"a/b"), (2, 24, b"a\0b"),
     (2, 8192, b"abc"), (0, 8, b"")],
)  # fmt: skip
def test_names_that_contradict_themselves_are_refused(ino: int, size: int, name: bytes) -> None:
    raw = struct.pack("<QHBBI", ino, size, len(name), 8, 0) + name
    with pytest.raises(ValueError, match="name"):
        list(layout.parse_names(raw.ljust(4096, b"\0")))


def test_records_that_contradict_themselves_are_refused() -> None:
    entry = Entry(20, bytes(12), bytes(16))
    for bad in (Record(1, height=6), Record(1, height=1, entries=(entry, entry, None, None)), Record(1, size=1 << 63)):
        with pytest.raises(ValueError, match="an inode"):
            layout.parse_record(layout.build_record(bad))
    with pytest.raises(ValueError, match="without a block"):
        layout.parse_entry(b"\0" * 31 + b"\1")
    good = Checkpoint(1, 2, 3, 4, True, Record(0o100644))
    assert layout.parse_checkpoint(layout.build_checkpoint(good)) == good
    raw = bytearray(layout.build_checkpoint(good))
    raw[32] = 2
    with pytest.raises(ValueError, match="neither clean nor not"):
        layout.parse_checkpoint(bytes(raw))
    with pytest.raises(ValueError, match="of 295 bytes"):
        layout.parse_checkpoint(bytes(raw[:-1]))


@given(st.binary(max_size=700))
def test_nothing_makes_the_parsers_fail_in_another_way(raw: bytes) -> None:
    padded = raw.ljust(4096, b"\0")
    for parse in (
        lambda: layout.parse_batch(raw),
        lambda: list(layout.parse_names(padded)),
        lambda: layout.parse_record(padded[:256]),
        lambda: layout.parse_checkpoint(padded[:296]),
        lambda: layout.parse_entries(padded),
    ):
        try:
            parse()
        except ValueError:
            continue


@given(st.integers(0, 1 << 32), st.integers(0, (1 << 64) - 1))
def test_a_seal_is_what_was_built(size: int, version: int) -> None:
    seal = Seal(layout.MAGIC_LOG, size % (1 << 32), version, b"n" * 12, b"t" * 16)
    assert layout.parse_seal(layout.build_seal(seal)) == seal
    assert seal.bound() == layout.build_seal(replace(seal, nonce=bytes(12), tag=bytes(16)))[:16]
