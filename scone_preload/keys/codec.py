"""From a keystore file's bytes to its entries and back, given the master key."""

import os
from dataclasses import replace

from scone_preload.errors import KeystoreDamaged
from scone_preload.keys.format import (
    CHECKSUM_SIZE,
    ENTRIES_MAX,
    FILE_MAX,
    KEY_SIZE,
    REMEDY_DAMAGED,
    SALT_SIZE,
    SECRET_MAX,
    SLOTS_MAX,
    TAG_SIZE,
    Entry,
    Purpose,
    StoreFile,
    build_body,
    build_file,
    build_head,
    checked_part,
    entry_binding,
    parse_body,
    parse_file,
    with_body_size,
)
from scone_preload.keys.memory import SecretBuffer
from scone_preload.keys.record import State
from scone_preload.keys.seal import LABEL_BODY, LABEL_ENTRY, Bytes, InvalidTag, digest, seal, unseal, unseal_into

Entries = tuple[Entry, ...]
PLACE_MAX = 4096  # of a path


def read_file(raw: bytes, where: str) -> StoreFile:
    """Return a file whose checksum is right; that says nothing about who wrote it. Raises KeystoreError."""
    file, checksum = parse_file(raw, where)
    if digest(checked_part(raw)) != checksum:
        raise KeystoreDamaged("keystore is damaged: its checksum is wrong", where, REMEDY_DAMAGED)
    return file


def open_entries(file: StoreFile, master: SecretBuffer, where: str) -> Entries:
    """Return the entries, after the whole file was authenticated; raise KeystoreDamaged."""
    try:
        body = unseal(master.view(), file.body_salt, LABEL_BODY, build_head(file), file.body)
    except InvalidTag:
        rule = "keystore is damaged or forged: its encryption doesn't match"
        raise KeystoreDamaged(rule, where, REMEDY_DAMAGED) from None
    return parse_body(body, where)


def write_file(file: StoreFile, master: SecretBuffer, entries: Entries) -> bytes:
    """Return the bytes of the file with these entries, sealed under fresh salt."""
    assert len(file.slots) <= SLOTS_MAX, "callers check"
    assert len(entries) <= ENTRIES_MAX, "callers check"
    plain = build_body(entries)
    file = with_body_size(replace(file, body_salt=os.urandom(SALT_SIZE)), len(plain))
    body = seal(master.view(), file.body_salt, LABEL_BODY, build_head(file), plain)
    raw = build_file(replace(file, body=body))
    assert len(raw) + CHECKSUM_SIZE <= FILE_MAX, "callers check"
    return raw + digest(raw)


def seal_entry(store_id: bytes, master: SecretBuffer, entry: Entry, value: Bytes) -> Entry:
    """Return the entry with `value` sealed into it, under fresh salt."""
    entry = replace(entry, salt=os.urandom(SALT_SIZE), sealed=b"")
    bound = entry_binding(store_id, entry)
    return replace(entry, sealed=seal(master.view(), entry.salt, LABEL_ENTRY, bound, value))


def open_entry(store_id: bytes, master: SecretBuffer, entry: Entry, where: str) -> SecretBuffer:
    """Return an entry's value; the caller closes it. Raises KeystoreDamaged."""
    value = SecretBuffer(len(entry.sealed) - TAG_SIZE)
    try:
        bound = entry_binding(store_id, entry)
        unseal_into(master.view(), entry.salt, LABEL_ENTRY, bound, entry.sealed, value.view())
    except InvalidTag:
        raise KeystoreDamaged(f"keystore is damaged: entry {entry.name}", where, REMEDY_DAMAGED) from None
    return value


def anchored_state(store_id: bytes, master: SecretBuffer, entry: Entry, where: str) -> State:
    """The state in an entry of purpose ANCHOR."""
    with open_entry(store_id, master, entry, where) as value:
        return State.unpack(value.reveal())


def value_limits(purpose: Purpose) -> tuple[int, int]:
    """Smallest and largest size of a value."""
    return {Purpose.SECRET: (1, SECRET_MAX), Purpose.PLACE: (1, PLACE_MAX)}.get(purpose, (KEY_SIZE, KEY_SIZE))
