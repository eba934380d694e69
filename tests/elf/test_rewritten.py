"""Rewritten programs as bytes: there and back, the document's worked bytes, and what is refused."""

import hashlib
import re
import struct
from pathlib import Path

import pytest

from scone_preload.elf.rewritten import HEAD_SIZE, Record, compose, parse_record, read_record, restore

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "rewriting.md"
LOADER = b"/lib64/ld-linux-x86-64.so.2\0"
PT_LOAD, PT_INTERP, PT_PHDR = 1, 3, 6


def program(*, kinds: tuple[int, ...] = (PT_PHDR, PT_INTERP, PT_LOAD), address: int = 0x2E8) -> bytes:
    """An ELF program of nothing but headers and the loader's name, as the document has it."""
    name_at = 64 + 56 * 3
    headers = {
        PT_PHDR: (PT_PHDR, 4, 64, 64, 64, 168, 168, 8),
        PT_INTERP: (PT_INTERP, 4, name_at, address - 0x200, address - 0x200, len(LOADER), len(LOADER), 1),
        PT_LOAD: (PT_LOAD, 4, 0, 0, 0, name_at + len(LOADER), name_at + len(LOADER), 4096),
        0: (0,) * 8,
    }
    head = b"\x7fELF\2\1\1".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    return head + b"".join(struct.pack("<IIQQQQQQ", *headers[kind]) for kind in kinds) + LOADER


def record(original: bytes, policy: bytes | None = b"version = 1\n") -> Record:
    made = Record()
    made.digest = hashlib.sha256(original).digest()
    made.starter, made.version, made.source = "/opt/scone/build/scone-start", "1.2", "/usr/bin/tool"
    made.options = ["--syscalls=sync"]
    made.objects = [("0" * 64, "/lib/x86_64-linux-gnu/libc.so.6")]
    made.policy = policy
    made.policy_digest = hashlib.sha256(policy or b"").hexdigest()
    return made


def written(tmp_path: Path, raw: bytes) -> str:
    path = tmp_path / "file"
    path.write_bytes(raw)
    return str(path)


@pytest.mark.parametrize("policy", [None, b"", b"version = 1\n"])
def test_a_record_is_read_as_it_was_written(tmp_path: Path, policy: bytes | None) -> None:
    original = program()
    found = read_record(written(tmp_path, compose(original, record(original, policy))))
    assert found is not None
    assert (found.starter, found.version, found.source) == ("/opt/scone/build/scone-start", "1.2", "/usr/bin/tool")
    assert (found.options, found.objects) == (record(original).options, record(original).objects)
    assert (found.policy, found.digest) == (policy, hashlib.sha256(original).digest())


def test_the_original_is_had_back_to_the_byte() -> None:
    original = program()
    made = record(original)
    assert restore(compose(original, made), made) == original


def test_only_the_interpreters_place_and_size_change_in_what_was_there() -> None:
    original = program()
    changed = compose(original, record(original))
    different = [at for at, (a, b) in enumerate(zip(original, changed, strict=False)) if a != b]
    place, size = range(120 + 8, 120 + 16), range(120 + 32, 120 + 40)
    assert different
    assert set(different) <= {*place, *size}


def test_a_program_that_was_not_rewritten_has_no_record(tmp_path: Path) -> None:
    assert read_record("/bin/true") is None
    assert read_record(written(tmp_path, program())) is None
    assert read_record(written(tmp_path, b"#!/bin/sh\n")) is None
    assert read_record(written(tmp_path, b"")) is None


def test_every_changed_byte_of_a_record_is_noticed(tmp_path: Path) -> None:
    original = program()
    raw = compose(original, record(original))
    start = -(-len(original) // 16) * 16
    for at in range(start + 8, len(raw)):
        broken = bytearray(raw)
        broken[at] ^= 1
        with pytest.raises(ValueError, match=r"."):
            read_record(written(tmp_path, bytes(broken)))


@pytest.mark.parametrize("tail", [b"x", b"\0" * 4096])
def test_what_was_added_behind_is_noticed(tmp_path: Path, tail: bytes) -> None:
    original = program()
    with pytest.raises(ValueError, match="record was changed"):
        read_record(written(tmp_path, compose(original, record(original)) + tail))


def test_a_file_cut_short_is_noticed(tmp_path: Path) -> None:
    original = program()
    with pytest.raises(ValueError, match="record was changed"):
        read_record(written(tmp_path, compose(original, record(original))[:-1]))


def test_a_record_of_a_later_format_is_refused() -> None:
    original = program()
    raw = bytearray(compose(original, record(original))[-(HEAD_SIZE + 400) :])
    raw = raw[raw.find(b"SCNSTART") :]
    raw[8] = 2
    with pytest.raises(ValueError, match="another version"):
        parse_record(bytes(raw), 120, 272)


def test_a_program_whose_starter_could_not_find_its_loader_is_refused() -> None:
    lacking = (program(kinds=kinds) for kinds in ((0, PT_INTERP, PT_LOAD), (PT_PHDR, 0, PT_LOAD)))
    for broken in (*lacking, program(address=0x300)):
        with pytest.raises(ValueError, match="PT_INTERP"):
            compose(broken, record(broken))


def test_a_name_with_a_line_break_is_refused() -> None:
    made = record(program())
    made.source = "/tmp/a\nb"
    with pytest.raises(ValueError, match="line break"):
        compose(program(), made)


def test_the_documents_bytes_are_these() -> None:
    original = program()
    raw = compose(original, record(original))
    lines = re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)", DOCUMENT.read_text(), re.MULTILINE)
    assert len(lines) >= 8
    for at, text in lines:
        expected = bytes.fromhex(text)
        assert raw[int(at, 16) :][: len(expected)] == expected, at
