"""A keystore file, and a backup, as bytes and as dataclasses. docs/keystore.md has the same with worked bytes.

Nothing here decrypts: a parsed file still holds its slots' wrapped keys and its sealed body, and a parsed body its
sealed values. Sizes are checked before they are believed, and there is one encoding of each state: what parses, builds
to the same bytes.
"""

import re
import struct
from dataclasses import dataclass, replace
from enum import IntEnum

from scone_preload.errors import KeystoreDamaged, KeystoreError, KeystoreVersion

MAGIC_STORE, MAGIC_BACKUP = b"SCONEKEY", b"SCONEBAK"
VERSION = 1
KEY_SIZE, SALT_SIZE, TAG_SIZE, CHECKSUM_SIZE, ID_SIZE, SET_SIZE = 32, 32, 16, 32, 16, 8
SLOTS_MAX, ENTRIES_MAX, NAME_MAX, SECRET_MAX, FILE_MAX = 8, 4096, 128, 64 << 10, 16 << 20
LABEL_MAX = 40

_VERSIONED = struct.Struct("<8sH")
_HEADER = struct.Struct("<8sHHI16sQ8s")
_SLOT = struct.Struct("<BBHIIIQ32s40s48s")
_ENTRY = struct.Struct("<BBHIQI")
_COUNT = struct.Struct("<I")
_WRAPPED_SIZE = KEY_SIZE + TAG_SIZE
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]*")

REMEDY_DAMAGED = "restore a backup: scone-keys restore FILE --replace"


class Purpose(IntEnum):
    """What a value is for; part of what its encryption binds."""

    VOLUME = 1
    CA = 2
    CONSOLE = 3
    SECRET = 4
    ANCHOR = 5  # the volumes that have an anchor; no key
    PLACE = 6  # where each of them belongs: an absolute path; no key


class SlotKind(IntEnum):
    """What opens a slot."""

    PLAIN = 1
    PASSPHRASE = 2
    KEY_FILE = 3
    ENVIRONMENT = 4


class Kdf(IntEnum):
    """How a slot's secret becomes a key."""

    NONE = 0
    ARGON2ID = 1
    SCRYPT = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """What a passphrase costs to try. Argon2id: KiB, passes, lanes. scrypt: log2 of N, r, p. Else zeros."""

    kdf: Kdf
    memory: int = 0
    passes: int = 0
    lanes: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """One way to the master key. `label` names the variable or the key file; `salt` opens a plain slot."""

    kind: SlotKind
    cost: Cost
    created: int
    salt: bytes
    label: str = ""
    wrapped: bytes = bytes(_WRAPPED_SIZE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One sealed value. `created` in seconds since 1970; generations count from 1."""

    purpose: Purpose
    name: str
    generation: int
    created: int
    salt: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class StoreFile:
    """A whole file: its body is still sealed."""

    store_id: bytes
    revision: int
    anchor_set: bytes
    slots: tuple[Slot, ...]
    body_salt: bytes = bytes(SALT_SIZE)
    body: bytes = b""
    is_backup: bool = False


def parse_file(raw: bytes, where: str) -> tuple[StoreFile, bytes]:
    """Return the file without its checksum, and the checksum, which the caller compares with `checked_part(raw)`.

    Raises KeystoreDamaged and KeystoreVersion; `where` names the file in them.
    """
    _check_start(raw, where)
    if len(raw) < _HEADER.size:
        raise _short(where, len(raw))
    magic, _, slot_count, body_size, store_id, revision, anchor_set = _HEADER.unpack_from(raw)
    if not 1 <= slot_count <= SLOTS_MAX or not TAG_SIZE + _COUNT.size <= body_size <= FILE_MAX:
        raise KeystoreDamaged("keystore is damaged: impossible sizes in its header", where, REMEDY_DAMAGED)
    at = _HEADER.size + slot_count * _SLOT.size
    size = at + SALT_SIZE + body_size + CHECKSUM_SIZE
    if len(raw) < size:
        raise _short(where, len(raw), size)
    if len(raw) > size:
        raise KeystoreDamaged(f"keystore is damaged: {len(raw) - size} bytes too many", where, REMEDY_DAMAGED)
    slots = tuple(_parse_slot(raw, _HEADER.size + index * _SLOT.size, where) for index in range(slot_count))
    body_at = at + SALT_SIZE
    body, checksum = raw[body_at : body_at + body_size], raw[body_at + body_size :]
    salt = raw[at:body_at]
    return StoreFile(store_id, revision, anchor_set, slots, salt, body, magic == MAGIC_BACKUP), checksum


def checked_part(raw: bytes) -> bytes:
    """The bytes that the checksum at the end is of."""
    return raw[:-CHECKSUM_SIZE]


def build_head(file: StoreFile) -> bytes:
    """Header and slots: what the body's encryption binds. The size of the body stands in it."""
    magic = MAGIC_BACKUP if file.is_backup else MAGIC_STORE
    sizes = (VERSION, len(file.slots), len(file.body), file.store_id, file.revision, file.anchor_set)
    return _HEADER.pack(magic, *sizes) + b"".join(map(_build_slot, file.slots))


def build_file(file: StoreFile) -> bytes:
    """The file but for its checksum."""
    return build_head(file) + file.body_salt + file.body


def with_body_size(file: StoreFile, plain_size: int) -> StoreFile:
    """The file with a body of zeros, so that `build_head` can be had before the body is sealed."""
    return replace(file, body=bytes(plain_size + TAG_SIZE))


def slot_binding(store_id: bytes, slot: Slot) -> bytes:
    """What the encryption of a slot's wrapped key binds: all of the slot but the wrapped key, and whose it is."""
    return _VERSIONED.pack(b"slot", VERSION) + store_id + _build_slot(slot)[:-_WRAPPED_SIZE]


def entry_binding(store_id: bytes, entry: Entry) -> bytes:
    """What the encryption of a value binds: whose it is, its purpose, name, generation and time."""
    sized = replace(entry, sealed=b"")
    return _VERSIONED.pack(b"entry", VERSION) + store_id + _entry_head(sized) + entry.name.encode()


def build_body(entries: tuple[Entry, ...]) -> bytes:
    """The body before it is sealed."""
    parts = (_entry_head(entry) + entry.name.encode() + entry.salt + entry.sealed for entry in entries)
    return _COUNT.pack(len(entries)) + b"".join(parts)


def parse_body(raw: bytes, where: str) -> tuple[Entry, ...]:
    """The entries of an opened body; raises KeystoreDamaged, though only a bug of ours can seal a wrong one."""
    try:
        (count,) = _COUNT.unpack_from(raw)
        at, entries = _COUNT.size, []
        for _ in range(min(count, ENTRIES_MAX + 1)):
            entry, at = _parse_entry(raw, at)
            entries.append(entry)
    except (struct.error, ValueError) as error:
        raise KeystoreDamaged(f"keystore is damaged: {error}", where, REMEDY_DAMAGED) from None
    if at != len(raw) or count > ENTRIES_MAX:
        raise KeystoreDamaged("keystore is damaged: its entries have a wrong size", where, REMEDY_DAMAGED)
    return tuple(entries)


def check_name(name: str) -> str:
    """Return a name that a key or secret may have; raise KeystoreError."""
    if not _NAME.fullmatch(name) or len(name) > NAME_MAX:
        rule = "not a name for a key or secret"
        raise KeystoreError(rule, repr(name), f"use letters, digits and ._@+- (not first), at most {NAME_MAX}")
    return name


def check_label(label: str) -> str:
    """Return a label that a slot may have; raise KeystoreError."""
    if len(label.encode()) > LABEL_MAX or not label.isprintable():
        raise KeystoreError("name doesn't fit into a slot", repr(label), f"use at most {LABEL_MAX} bytes of text")
    return label


def _check_start(raw: bytes, where: str) -> None:
    if not raw:
        raise KeystoreDamaged("keystore is truncated: it is empty", where, REMEDY_DAMAGED)
    if len(raw) < _VERSIONED.size:
        raise _short(where, len(raw))
    magic, version = _VERSIONED.unpack_from(raw)
    if magic not in (MAGIC_STORE, MAGIC_BACKUP):
        raise KeystoreDamaged("not a keystore, or one that is damaged", where, REMEDY_DAMAGED)
    if version == 0:
        raise KeystoreDamaged("keystore is damaged: there is no version 0", where, REMEDY_DAMAGED)
    if version > VERSION:
        rule = f"keystore has version {version}, this program knows {VERSION}"
        raise KeystoreVersion(rule, where, "use the newer scone-preload that wrote it")


def _short(where: str, size: int, wanted: int = 0) -> KeystoreDamaged:
    of = f" of {wanted}" if wanted else ""
    return KeystoreDamaged(f"keystore is truncated: {size}{of} bytes", where, REMEDY_DAMAGED)


def _build_slot(slot: Slot) -> bytes:
    cost, label = slot.cost, slot.label.encode()
    numbers = (slot.kind, cost.kdf, len(label), cost.memory, cost.passes, cost.lanes, slot.created)
    return _SLOT.pack(*numbers, slot.salt, label, slot.wrapped)


def _parse_slot(raw: bytes, at: int, where: str) -> Slot:
    kind, kdf, size, memory, passes, lanes, created, salt, padded, wrapped = _SLOT.unpack_from(raw, at)
    try:
        label = padded[:size].decode()
        slot = Slot(SlotKind(kind), Cost(Kdf(kdf), memory, passes, lanes), created, salt, label, wrapped)
    except ValueError as error:
        raise KeystoreDamaged(f"keystore is damaged: {error} in a slot", where, REMEDY_DAMAGED) from None
    if size > LABEL_MAX or any(padded[size:]) or (kdf != Kdf.NONE) != (kind == SlotKind.PASSPHRASE):
        raise KeystoreDamaged("keystore is damaged: a slot contradicts itself", where, REMEDY_DAMAGED)
    return slot


def _entry_head(entry: Entry) -> bytes:
    sizes = (len(entry.name.encode()), len(entry.sealed))
    return _ENTRY.pack(entry.purpose, 0, *sizes, entry.created, entry.generation)


def _parse_entry(raw: bytes, at: int) -> tuple[Entry, int]:
    purpose, zero, name_size, sealed_size, created, generation = _ENTRY.unpack_from(raw, at)
    name_at = at + _ENTRY.size
    salt_at = name_at + name_size
    sealed_at = salt_at + SALT_SIZE
    end = sealed_at + sealed_size
    if zero or not 1 <= name_size <= NAME_MAX or not TAG_SIZE <= sealed_size <= SECRET_MAX + TAG_SIZE or end > len(raw):
        raise ValueError("an entry has impossible sizes")
    name = raw[name_at:salt_at].decode("ascii")
    sealed = raw[sealed_at:end]
    return Entry(Purpose(purpose), name, generation, created, raw[salt_at:sealed_at], sealed), end
