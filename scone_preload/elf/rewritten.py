"""Rewritten programs as bytes: a copy whose PT_INTERP header names our starter, with a record behind it.

Nothing of what is mapped changes: only the header's place and size in the file do, which the kernel reads the starter's
name by; its address still leads to the name of the real loader, for the starter and for the loader itself. So the
original can be had back, to the byte. The format is docs/rewriting.md.

A start of such a file imports this, so it imports nothing but `os` and `binascii`; hashes are taken elsewhere.
"""

import os
from binascii import crc32

MAGIC = b"SCNSTART"
VERSION = 1
HEAD_SIZE = 96
ALIGNMENT = 16
NAME_MAX = 4096  # the kernel's limit of an interpreter's path
RECORD_MAX = 4 << 20
PT_INTERP = 3
# name -> (offset, bytes) in the record's head, little endian
FIELDS = {
    "version": (8, 4),
    "checksum": (12, 4),
    "original_size": (16, 8),
    "header_at": (24, 8),
    "loader_at": (32, 8),
    "loader_size": (40, 8),
    "starter_size": (48, 4),
    "settings_size": (52, 4),
    "policy_size": (56, 4),
    "has_policy": (60, 4),
}
DIGEST_AT, DIGEST_SIZE = 64, 32
CHECKED_AT = 16  # the checksum is that of all that follows it
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Record:
    """What a rewritten file says of itself; `digest` is the SHA-256 of its original, `policy` None if it has none."""

    __slots__ = (
        "digest", "header_at", "loader_at", "loader_size", "objects", "options", "original_size", "policy",
        "policy_digest", "source", "starter", "version",
    )  # fmt: skip

    def __init__(self) -> None:
        self.original_size = self.header_at = self.loader_at = self.loader_size = 0
        self.digest = b""
        self.starter = self.version = self.source = self.policy_digest = ""
        self.options: list[str] = []
        self.objects: list[tuple[str, str]] = []  # SHA-256 in hex, path
        self.policy: bytes | None = None


def read_record(path: str, *, damaged: bool = False) -> Record | None:
    """Return the record of the file at `path`, None if it has none; raises OSError, or ValueError if it is damaged.

    With `damaged`, one of the right form is returned though its checksum is wrong: to say what of it was changed.
    """
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        fd = file.fileno()
        header_at, name_at, _ = _interpreter(os.pread(fd, 4096, 0), fd)
        if name_at < HEAD_SIZE:
            return None
        head = os.pread(fd, HEAD_SIZE, name_at - HEAD_SIZE)
        if len(head) < HEAD_SIZE or not head.startswith(MAGIC):
            return None
        size = os.fstat(fd).st_size - (name_at - HEAD_SIZE)
        if size > RECORD_MAX:
            raise ValueError("something was added to it")
        raw = os.pread(fd, size, name_at - HEAD_SIZE)
    return parse_record(raw, header_at, name_at - HEAD_SIZE, damaged=damaged)


def parse_record(raw: bytes, header_at: int, record_at: int, *, damaged: bool = False) -> Record:
    """Return what the bytes of a record say; raises ValueError, in words, if they are not as compose() made them."""
    head = {name: int.from_bytes(raw[at : at + size], "little") for name, (at, size) in FIELDS.items()}
    if head["version"] != VERSION:
        raise ValueError(f"made by another version (format {head['version']}, not {VERSION})")
    sizes = [head[name] for name in ("starter_size", "settings_size", "policy_size")]
    if len(raw) != HEAD_SIZE + sum(sizes) or (crc32(raw[CHECKED_AT:]) != head["checksum"] and not damaged):
        raise ValueError("its record was changed")
    if head["header_at"] != header_at or _aligned(head["original_size"]) != record_at:
        raise ValueError("its program headers were changed")
    record = Record()
    for name in ("original_size", "header_at", "loader_at", "loader_size"):
        setattr(record, name, head[name])
    record.digest = raw[DIGEST_AT : DIGEST_AT + DIGEST_SIZE]
    at = HEAD_SIZE + sizes[0]
    record.starter = os.fsdecode(raw[HEAD_SIZE : at - 1])
    _read_settings(record, raw[at : at + sizes[1]])
    record.policy = raw[at + sizes[1] :] if head["has_policy"] else None
    return record


def _read_settings(record: Record, settings: bytes) -> None:
    for line in os.fsdecode(settings).splitlines():
        key, _, value = line.partition(" ")
        if key == "option":
            record.options.append(value)
        elif key == "object":
            digest, _, path = value.partition(" ")
            record.objects.append((digest, path))
        elif key in ("version", "source", "policy_digest"):
            setattr(record, key, value)
        else:
            raise ValueError(f"its record holds what this version doesn't know: {key}")


def settings_of(record: Record) -> bytes:
    """Return the settings' text; raises ValueError for a path or option with a line break in it."""
    lines = [("version", record.version), ("source", record.source)]
    if record.policy is not None:
        lines.append(("policy_digest", record.policy_digest))
    lines += [("option", word) for word in record.options]
    lines += [("object", f"{digest} {path}") for digest, path in record.objects]
    for _, value in lines:
        if value.splitlines() != [value]:
            raise ValueError(f"a line break, or nothing, in {value!r}")
    return os.fsencode("".join(f"{key} {value}\n" for key, value in lines))


def compose(original: bytes, record: Record) -> bytes:
    """Return the rewritten file: the original, its header changed, and the record; raises ValueError in words.

    Of the record, `original_size`, `header_at`, `loader_at` and `loader_size` are found here, and set.
    """
    header_at, loader_at, loader_size = _interpreter(original)
    name = os.fsencode(record.starter) + b"\0"
    if not header_at or not _is_in_memory(original, header_at):
        raise ValueError("its PT_INTERP header can't be used")
    if len(name) > NAME_MAX:
        raise ValueError(f"the starter's path is too long: {record.starter}")
    record.original_size, record.header_at = len(original), header_at
    record.loader_at, record.loader_size = loader_at, loader_size
    record_at = _aligned(len(original))
    changed = bytearray(original.ljust(record_at, b"\0"))
    _set_name(changed, header_at, record_at + HEAD_SIZE, len(name))
    return bytes(changed) + _pack(record, name)


def restore(rewritten: bytes, record: Record) -> bytes:
    """Return the original's bytes."""
    original = bytearray(rewritten[: record.original_size])
    _set_name(original, record.header_at, record.loader_at, record.loader_size)
    return bytes(original)


def _pack(record: Record, name: bytes) -> bytes:
    settings, policy = settings_of(record), record.policy or b""
    values = {
        "version": VERSION, "original_size": record.original_size, "header_at": record.header_at,
        "loader_at": record.loader_at, "loader_size": record.loader_size, "starter_size": len(name),
        "settings_size": len(settings), "policy_size": len(policy), "has_policy": int(record.policy is not None),
    }  # fmt: skip
    raw = bytearray(MAGIC.ljust(HEAD_SIZE, b"\0") + name + settings + policy)
    raw[DIGEST_AT : DIGEST_AT + DIGEST_SIZE] = record.digest
    for key, value in values.items():
        _put(raw, *FIELDS[key], value)
    _put(raw, *FIELDS["checksum"], crc32(raw[CHECKED_AT:]))
    return bytes(raw)


def _interpreter(raw: bytes, fd: int = -1) -> tuple[int, int, int]:
    """The PT_INTERP header: where it is, and the name's offset and size in the file; zeros if there is none."""
    for at, header in _headers(raw, fd):
        if _word(header, 0, 4) == PT_INTERP:
            return at, _word(header, 8, 8), _word(header, 32, 8)
    return 0, 0, 0


def _headers(raw: bytes, fd: int = -1) -> "Sequence[tuple[int, bytes]]":
    if not raw.startswith(b"\x7fELF\2\1") or _word(raw, 54, 2) != 56:
        return ()
    table, count = _word(raw, 32, 8), _word(raw, 56, 2)
    end = table + 56 * count
    if end > len(raw) and fd >= 0:
        raw = bytes(table) + os.pread(fd, 56 * count, table) if table < RECORD_MAX else b""
    if end > len(raw):
        return ()
    return [(at, raw[at : at + 56]) for at in range(table, end, 56)]


def _is_in_memory(raw: bytes, header_at: int) -> bool:
    """Is the loader's name mapped where the header says, and are the headers? The starter finds both there."""
    offset, address, size = (_word(raw, header_at + at, 8) for at in (8, 16, 32))
    own = [header for _, header in _headers(raw) if _word(header, 0, 4) == 6]  # PT_PHDR
    loads = [header for _, header in _headers(raw) if _word(header, 0, 4) == 1]  # PT_LOAD
    return bool(own) and any(
        _word(load, 8, 8) <= offset
        and offset + size <= _word(load, 8, 8) + _word(load, 32, 8)
        and address - offset == _word(load, 16, 8) - _word(load, 8, 8)
        for load in loads
    )


def _set_name(raw: bytearray, header_at: int, offset: int, size: int) -> None:
    _put(raw, header_at + 8, 8, offset)
    _put(raw, header_at + 32, 8, size)


def _word(raw: bytes, at: int, size: int) -> int:
    return int.from_bytes(raw[at : at + size], "little")


def _put(raw: bytearray, at: int, size: int, value: int) -> None:
    raw[at : at + size] = value.to_bytes(size, "little")


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
