"""The volume key: wrapped by slots, and what is derived from it. The same primitives as the keystore's (keys/seal.py).

A slot is sealed under a key of the keystore, a passphrase's, or a key file's. The superblock is authenticated by the
volume key itself, so who can't open a slot can't make another volume of it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from scone_preload.errors import NotAVolume, VolumeDamaged, VolumeError, VolumeNewer
from scone_preload.keys.format import ID_SIZE, KEY_SIZE, SALT_SIZE, Cost, Kdf
from scone_preload.keys.memory import SecretBuffer
from scone_preload.keys.seal import (
    SCRYPT,
    Bytes,
    InvalidTag,
    check_cost,
    derive,
    has_tag,
    seal,
    stretch,
    tag,
    unseal_into,
)
from scone_preload.volume.format import (
    BLOCK_SIZE,
    COPIES,
    SLOTS_MAX,
    Copy,
    Slot,
    SlotKind,
    Superblock,
    build_block,
    build_signed,
    check_label,
    damaged,
    parse_copy,
    slot_binding,
)

LABEL_SLOT, LABEL_MAC = b"scone-volume slot 1", b"scone-volume superblock 1"
LABEL_DATA = b"scone volume data 1"  # and the volume's id
LABEL_JOIN = b"scone-volume join 1"
NO_COST = Cost(Kdf.NONE)

Opener = Callable[[Slot], SecretBuffer | None]  # what opens a slot of its kind: None where nothing was given


def data_key(volume_key: Bytes, volume_id: bytes) -> bytearray:
    """The only key that the core has; wipe it after use."""
    return derive(volume_key, b"", LABEL_DATA + volume_id)


def join_key(volume_key: Bytes, volume_id: bytes) -> bytearray:
    """What proves to another process that one knows the volume key; wipe it after use."""
    return derive(volume_key, volume_id, LABEL_JOIN)


def signed_block(superblock: Superblock, volume_key: Bytes) -> bytes:
    """The superblock as it stands on the disk."""
    signed = build_signed(superblock)
    return build_block(signed, tag(_mac_key(volume_key, superblock.volume_id), signed))


def is_signed(copy: Copy, volume_key: Bytes) -> bool:
    """Has who knows the volume key written this?"""
    return has_tag(_mac_key(volume_key, copy.superblock.volume_id), copy.signed, copy.mac)


def keystore_slot(volume_id: bytes, volume_key: Bytes, created: int, of: Slot, key: Bytes) -> Slot:
    """A slot that a keystore's key opens; `of` says which one."""
    slot = replace(of, kind=SlotKind.KEYSTORE, cost=NO_COST, created=created, salt=os.urandom(SALT_SIZE))
    return _wrapped(volume_id, volume_key, slot, key)


def passphrase_slot(volume_id: bytes, volume_key: Bytes, created: int, passphrase: bytes, cost: Cost = SCRYPT) -> Slot:
    """A slot that a passphrase opens: by scrypt, which every `cryptography` has. Raises VolumeError on an empty one."""
    if not passphrase:
        raise VolumeError("empty passphrase", "passphrase", "give one of several words")
    slot = Slot(SlotKind.PASSPHRASE, cost, created, os.urandom(SALT_SIZE))
    return _wrapped(volume_id, volume_key, slot, stretch(cost, slot.salt, passphrase))


def key_file_slot(volume_id: bytes, volume_key: Bytes, created: int, name: str, key: Bytes) -> Slot:
    """A slot that the key in a file opens; `name` is what the file is called."""
    slot = Slot(SlotKind.KEY_FILE, NO_COST, created, os.urandom(SALT_SIZE), check_label(name))
    return _wrapped(volume_id, volume_key, slot, key)


def keystore_name(label: str, store_id: bytes, generation: int) -> Slot:
    """Which key of which keystore: for `keystore_slot`."""
    assert len(store_id) == ID_SIZE, "a keystore's"
    return Slot(SlotKind.KEYSTORE, NO_COST, 0, b"", label, store_id, generation)


def stretched(slot: Slot, passphrase: bytes, where: str) -> bytes:
    """The key of a passphrase for this slot; raise KeystoreDamaged where it would cost what nobody asked for."""
    check_cost(slot.cost, where)
    return stretch(slot.cost, slot.salt, passphrase)


def unwrap(volume_id: bytes, slot: Slot, secret: Bytes) -> SecretBuffer | None:
    """The volume key, the caller's to close; None where this secret doesn't open the slot."""
    key = SecretBuffer(KEY_SIZE)
    try:
        unseal_into(secret, slot.salt, LABEL_SLOT, slot_binding(volume_id, slot), slot.wrapped, key.view())
    except InvalidTag:
        key.close()
        return None
    return key


def parse_copies(raw: bytes, where: str) -> list[Copy]:
    """The copies that can be read, the newest first; none is believed yet. Raises VolumeError when none can."""
    found: list[Copy] = []
    problems: list[VolumeError] = []
    for at in range(COPIES):
        part = raw[at * BLOCK_SIZE : (at + 1) * BLOCK_SIZE]
        try:
            found.append(parse_copy(part, where))
        except (NotAVolume, VolumeDamaged, VolumeNewer) as error:
            problems.append(error)
    newer = next((one for one in problems if isinstance(one, VolumeNewer)), None)
    if newer is not None:  # also where the other copy is one of ours: what the newer one means can't be told
        raise newer
    if not found:
        raise problems[0]
    return sorted(found, key=lambda copy: -copy.superblock.generation)


def open_copies(copies: Sequence[Copy], opener: Opener, where: str) -> tuple[Superblock, SecretBuffer] | None:
    """The newest superblock that its own volume key authenticates, and that key; None where nothing opens a slot.

    Raises VolumeDamaged where a slot opens, and what it opens doesn't authenticate the block.
    """
    forged = False
    for copy in copies:
        key = _open_slots(copy.superblock, opener)
        if key is None:
            continue
        if is_signed(copy, key.view()):
            return copy.superblock, key
        key.close()
        forged = True
    if forged:
        raise damaged(where, "its superblock is not what its key authenticates")
    return None


def with_slots(superblock: Superblock, slots: Sequence[Slot]) -> Superblock:
    """The next generation, with these slots; raise VolumeError for none or too many."""
    if not slots:
        raise VolumeError("the last key slot can't be removed", "key slots", "add another first")
    if len(slots) > SLOTS_MAX:
        raise VolumeError(
            "no room for another key slot", f"{SLOTS_MAX} slots", "remove one: scone-volume rekey --remove"
        )
    return replace(superblock, slots=tuple(slots), generation=superblock.generation + 1)


def _open_slots(superblock: Superblock, opener: Opener) -> SecretBuffer | None:
    for slot in sorted(superblock.slots, key=lambda slot: _ORDER.index(slot.kind)):
        secret = opener(slot)
        if secret is None:
            continue
        with secret:
            key = unwrap(superblock.volume_id, slot, secret.view())
        if key is not None:
            return key
    return None


_ORDER = (SlotKind.KEYSTORE, SlotKind.KEY_FILE, SlotKind.PASSPHRASE)


def _wrapped(volume_id: bytes, volume_key: Bytes, slot: Slot, secret: Bytes) -> Slot:
    return replace(slot, wrapped=seal(secret, slot.salt, LABEL_SLOT, slot_binding(volume_id, slot), volume_key))


def _mac_key(volume_key: Bytes, volume_id: bytes) -> bytearray:
    return derive(volume_key, volume_id, LABEL_MAC)
