"""Slots: the ways to a keystore's master key, and what a user may give to open one.

A plain slot holds what opens it: whoever can read the file has the keys. A passphrase goes through a memory-hard
derivation. A key file and a variable hold 64 hexadecimal digits, which are random and need none, so they cost a start
nothing.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from scone_preload.errors import KeystoreDamaged, KeystoreError, KeystoreLocked
from scone_preload.keys.files import read_private_file
from scone_preload.keys.format import (
    KEY_SIZE,
    REMEDY_DAMAGED,
    SALT_SIZE,
    Cost,
    Kdf,
    Slot,
    SlotKind,
    StoreFile,
    check_label,
    slot_binding,
)
from scone_preload.keys.memory import SecretBuffer, key_of_hex
from scone_preload.keys.seal import LABEL_SLOT, InvalidTag, check_cost, new_cost, seal, stretch, unseal_into

KEY_TEXT_MAX, PASSPHRASE_MAX = 4096, 4096
NO_COST = Cost(Kdf.NONE)


@dataclass(frozen=True, slots=True)
class Unlock:
    """What may be used to open a keystore; `passphrase` is called at most once, only if nothing else opens it."""

    environment: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    key_file: str = ""
    passphrase: Callable[[], bytes] | None = None


def new_slot(master: SecretBuffer, store_id: bytes, slot: Slot, secret: bytes | memoryview) -> Slot:
    """Return the slot with the master key wrapped by `secret`; `slot.salt` must be fresh."""
    sealed = seal(secret, slot.salt, LABEL_SLOT, slot_binding(store_id, slot), master.view())
    return replace(slot, wrapped=sealed)


def plain_slot(master: SecretBuffer, store_id: bytes, created: int) -> Slot:
    """A slot that the file alone opens."""
    slot = Slot(SlotKind.PLAIN, NO_COST, created, os.urandom(SALT_SIZE))
    return new_slot(master, store_id, slot, slot.salt)


def passphrase_slot(
    master: SecretBuffer, store_id: bytes, created: int, passphrase: bytes, cost: Cost | None = None
) -> Slot:
    """A slot that a passphrase opens; raise KeystoreError on an empty one."""
    if not passphrase:
        raise KeystoreError("empty passphrase", "passphrase", "give one of several words")
    slot = Slot(SlotKind.PASSPHRASE, cost or new_cost(), created, os.urandom(SALT_SIZE))
    return new_slot(master, store_id, slot, stretch(slot.cost, slot.salt, passphrase))


def key_file_slot(master: SecretBuffer, store_id: bytes, created: int, path: str) -> Slot:
    """A slot that a file of 64 hexadecimal digits opens."""
    label = check_label(os.path.basename(path))
    slot = Slot(SlotKind.KEY_FILE, NO_COST, created, os.urandom(SALT_SIZE), label)
    with _key_of_file(path) as key:
        return new_slot(master, store_id, slot, key.view())


def environment_slot(
    master: SecretBuffer, store_id: bytes, created: int, name: str, environment: Mapping[bytes, bytes]
) -> Slot:
    """A slot that a variable of the runtime's environment with 64 hexadecimal digits opens."""
    label = check_label(name)
    if not label.isidentifier() or not label.isascii():
        raise KeystoreError("not a variable's name", repr(name), "use letters, digits and _")
    slot = Slot(SlotKind.ENVIRONMENT, NO_COST, created, os.urandom(SALT_SIZE), label)
    value = environment.get(name.encode())
    if value is None:
        raise KeystoreError("variable is not set", name, f'set it first: export {name}="$(openssl rand -hex 32)"')
    with key_of_hex(value, f"variable {name}") as key:
        return new_slot(master, store_id, slot, key.view())


REMEDY_LOCKED = "give what opens it; scone-keys slot list says what does"


def open_master(file: StoreFile, unlock: Unlock, where: str) -> SecretBuffer:
    """Return the master key; raise KeystoreLocked with what was tried, KeystoreDamaged, KeystoreError."""
    tried: list[str] = []
    passphrase: bytes | None = None
    for slot in sorted(file.slots, key=lambda slot: _ORDER.index(slot.kind)):
        if slot.kind == SlotKind.PASSPHRASE and unlock.passphrase is not None:
            check_cost(slot.cost, where)
            passphrase = passphrase if passphrase is not None else unlock.passphrase()[:PASSPHRASE_MAX]
        master = _try(slot, file.store_id, unlock, passphrase)
        if master is not None:
            return master
        if slot.kind == SlotKind.PLAIN:
            raise KeystoreDamaged("keystore is damaged: its plain slot opens nothing", where, REMEDY_DAMAGED)
        tried.append(_FAILED[slot.kind](slot, unlock))
    raise KeystoreLocked("keystore stays locked: " + "; ".join(dict.fromkeys(tried)), where, REMEDY_LOCKED)


def environment_names(file: StoreFile) -> tuple[str, ...]:
    """The variables that open slots: the runtime keeps them from the program."""
    return tuple(slot.label for slot in file.slots if slot.kind == SlotKind.ENVIRONMENT)


_ORDER = (SlotKind.PLAIN, SlotKind.ENVIRONMENT, SlotKind.KEY_FILE, SlotKind.PASSPHRASE)
_FAILED: Mapping[SlotKind, Callable[[Slot, Unlock], str]] = {
    SlotKind.ENVIRONMENT: lambda slot, unlock: (
        f"variable {slot.label} is " + ("wrong" if slot.label.encode() in unlock.environment else "not set")
    ),
    SlotKind.KEY_FILE: lambda slot, unlock: (
        f"key file {unlock.key_file} is wrong" if unlock.key_file else f"no key file given ({slot.label})"
    ),
    SlotKind.PASSPHRASE: lambda slot, unlock: "wrong passphrase" if unlock.passphrase else "no passphrase given",
}


def _try(slot: Slot, store_id: bytes, unlock: Unlock, passphrase: bytes | None) -> SecretBuffer | None:
    with _secret_of(slot, unlock, passphrase) as secret:
        if not secret.size:
            return None
        master = SecretBuffer(KEY_SIZE)
        try:
            binding = slot_binding(store_id, slot)
            unseal_into(secret.view(), slot.salt, LABEL_SLOT, binding, slot.wrapped, master.view())
        except InvalidTag:
            master.close()
            return None
        return master


def _secret_of(slot: Slot, unlock: Unlock, passphrase: bytes | None) -> SecretBuffer:
    """What was given for this slot; empty if nothing."""
    if slot.kind == SlotKind.PLAIN:
        return SecretBuffer.of(slot.salt)
    if slot.kind == SlotKind.PASSPHRASE and passphrase is not None:
        return SecretBuffer.of(stretch(slot.cost, slot.salt, passphrase))
    if slot.kind == SlotKind.KEY_FILE and unlock.key_file:
        return _key_of_file(unlock.key_file)
    value = unlock.environment.get(slot.label.encode()) if slot.kind == SlotKind.ENVIRONMENT else None
    return SecretBuffer(0) if value is None else key_of_hex(value, f"variable {slot.label}")


def _key_of_file(path: str) -> SecretBuffer:
    return key_of_hex(read_private_file(path, "key file", KEY_TEXT_MAX), path)
