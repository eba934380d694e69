"""A volume's superblock as bytes and as dataclasses. docs/volume.md has the same with worked bytes.

It says whose the container is and how its key is wrapped, and nothing of what the volume holds. Sizes are checked
before they are believed, and there is one encoding of each state: what parses, builds to the same bytes. Nothing here
decrypts: whether the volume key authenticates the block is for slots.py to say.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from scone_preload.errors import KeystoreError, NotAVolume, VolumeDamaged, VolumeError, VolumeNewer
from scone_preload.keys.format import ID_SIZE, KEY_SIZE, TAG_SIZE, Cost, Kdf, check_name

MAGIC = b"SCONEVOL"
VERSION = 1
BLOCK_SIZE, COPIES, SLOTS_MAX, LABEL_MAX = 4096, 2, 8, 128
MAC_SIZE = 32
LOG_BLOCK = 4  # the first of the log's; data stand behind it
LOG_BLOCKS, LOG_BLOCKS_MIN, LOG_BLOCKS_MAX = 1024, 16, 1 << 20

_VERSIONED = struct.Struct("<8sH")
_HEAD = struct.Struct("<8sHBBHH16sQQI12x")
_SLOT = struct.Struct("<BBHIIIIIQ16s32s128s48s")
_SLOTS_AT, _MAC_AT = _HEAD.size, BLOCK_SIZE - MAC_SIZE
_WRAPPED_SIZE = KEY_SIZE + TAG_SIZE

REMEDY_DAMAGED = "restore a copy of the volume from a backup"


class Mode(IntEnum):
    """What is done with the chunks of files."""

    ENCRYPT = 1
    AUTHENTICATE = 2


class Freshness(IntEnum):
    """Whether an older copy is noticed; EPHEMERAL volumes are gone before there can be one."""

    ROLLBACK_PROTECTED = 1
    ROLLBACK_PROTECTED_REINITIALIZABLE = 2
    NO_ROLLBACK_PROTECTION = 3
    EPHEMERAL = 4

    @property
    def word(self) -> str:
        """As policies write it."""
        return self.name.lower()

    @property
    def is_anchored(self) -> bool:
        return self in (Freshness.ROLLBACK_PROTECTED, Freshness.ROLLBACK_PROTECTED_REINITIALIZABLE)


class SlotKind(IntEnum):
    """What opens a slot."""

    KEYSTORE = 1
    PASSPHRASE = 2
    KEY_FILE = 3


@dataclass(frozen=True, slots=True)
class Slot:
    """One way to the volume key. `label` names the keystore's key or the key file; `store_id` and `generation` say
    which keystore's, and which of its values."""

    kind: SlotKind
    cost: Cost
    created: int
    salt: bytes
    label: str = ""
    store_id: bytes = bytes(ID_SIZE)
    generation: int = 0
    wrapped: bytes = bytes(_WRAPPED_SIZE)


@dataclass(frozen=True, slots=True)
class Superblock:
    """Block 0 or 1 of a container; the copy with the higher generation counts."""

    volume_id: bytes
    mode: Mode
    freshness: Freshness
    generation: int
    created: int
    log_blocks: int
    slots: tuple[Slot, ...]

    @property
    def is_plain(self) -> bool:
        """Do chunks of files stand in the clear?"""
        return self.mode == Mode.AUTHENTICATE


@dataclass(frozen=True, slots=True)
class Copy:
    """A superblock as it was found: not yet believed. `signed` is what its `mac` is of."""

    superblock: Superblock
    signed: bytes
    mac: bytes


def build_signed(superblock: Superblock) -> bytes:
    """The block but for the MAC at its end."""
    slots = b"".join(map(_build_slot, superblock.slots))
    numbers = (VERSION, superblock.mode, superblock.freshness, len(superblock.slots), 0)
    times = (superblock.generation, superblock.created, superblock.log_blocks)
    head = _HEAD.pack(MAGIC, *numbers, superblock.volume_id, *times)
    return (head + slots).ljust(_MAC_AT, b"\0")


def parse_copy(raw: bytes, where: str) -> Copy:
    """Return what one block holds; raise NotAVolume, VolumeNewer and VolumeDamaged, `where` in them."""
    _check_start(raw, where)
    if len(raw) != BLOCK_SIZE:
        raise damaged(where, f"its superblock has {len(raw)} of {BLOCK_SIZE} bytes")
    _, _, mode, freshness, count, zero, volume_id, generation, created, log_blocks = _HEAD.unpack_from(raw)
    if zero or not 1 <= count <= SLOTS_MAX or not LOG_BLOCKS_MIN <= log_blocks <= LOG_BLOCKS_MAX:
        raise damaged(where, "its superblock has impossible sizes")
    try:
        slots = tuple(_parse_slot(raw, _SLOTS_AT + index * _SLOT.size) for index in range(count))
        found = Superblock(volume_id, Mode(mode), Freshness(freshness), generation, created, log_blocks, slots)
    except (ValueError, KeystoreError) as error:
        raise damaged(where, f"its superblock says what none does ({error})") from None
    if build_signed(found) != raw[:_MAC_AT]:
        raise damaged(where, "its superblock has bytes where zeros belong")
    return Copy(found, raw[:_MAC_AT], raw[_MAC_AT:])


def build_block(signed: bytes, mac: bytes) -> bytes:
    """The whole block."""
    assert len(signed) == _MAC_AT, "of build_signed"
    assert len(mac) == MAC_SIZE, "HMAC-SHA256"
    return signed + mac


def slot_binding(volume_id: bytes, slot: Slot) -> bytes:
    """What the encryption of a slot's wrapped key binds: all of the slot but the wrapped key, and whose it is."""
    return _VERSIONED.pack(b"volslot", VERSION) + volume_id + _build_slot(slot)[:-_WRAPPED_SIZE]


def damaged(where: str, what: str) -> VolumeDamaged:
    """The error for what no scone-preload has written."""
    return VolumeDamaged(f"volume is damaged or was tampered with: {what}", where, REMEDY_DAMAGED)


def check_label(label: str) -> str:
    """Return a label that a slot may have; raise VolumeError."""
    if len(label.encode(errors="surrogateescape")) > LABEL_MAX or not label.isprintable():
        raise VolumeError("name doesn't fit into a key slot", repr(label), f"use at most {LABEL_MAX} bytes of text")
    return label


def _check_start(raw: bytes, where: str) -> None:
    if len(raw) < _VERSIONED.size:
        raise damaged(where, f"it ends after {len(raw)} bytes")
    magic, version = _VERSIONED.unpack_from(raw)
    if magic != MAGIC:
        raise NotAVolume("not a volume, or its beginning is damaged", where, REMEDY_DAMAGED)
    if version == 0:
        raise damaged(where, "there is no version 0")
    if version > VERSION:
        rule = f"volume has version {version}, this program knows {VERSION}"
        raise VolumeNewer(rule, where, "use the newer scone-preload that wrote it")


def _build_slot(slot: Slot) -> bytes:
    cost, label = slot.cost, slot.label.encode()
    numbers = (slot.kind, cost.kdf, len(label), cost.memory, cost.passes, cost.lanes, slot.generation, 0, slot.created)
    return _SLOT.pack(*numbers, slot.store_id, slot.salt, label, slot.wrapped)


def _parse_slot(raw: bytes, at: int) -> Slot:
    kind, kdf, size, memory, passes, lanes, generation, _, created, *texts = _SLOT.unpack_from(raw, at)
    store_id, salt, padded, wrapped = texts
    cost = Cost(Kdf(kdf), memory, passes, lanes)
    slot = Slot(SlotKind(kind), cost, created, salt, padded[:size].decode(), store_id, generation, wrapped)
    if size > LABEL_MAX or (cost.kdf != Kdf.NONE) != (slot.kind == SlotKind.PASSPHRASE):
        raise ValueError("a slot contradicts itself")
    if slot.kind == SlotKind.KEYSTORE:
        check_name(slot.label)
    elif any(store_id) or generation:
        raise ValueError("a slot contradicts itself")
    return slot
