"""The file of one freshness anchor: two records in different blocks, written in turns, the higher counter counts.

A change overwrites the older record in place and needs one fdatasync, no rename and no journal commit. Cut off at any
moment it leaves the newer record as it was, so the file always reads as the old or the new state. Records carry an
HMAC with a key of their volume's, which, unlike a cipher, has no bound on how many it may protect.
"""

import struct
from dataclasses import dataclass

from scone_preload.errors import AnchorLost, KeystoreVersion
from scone_preload.keys.seal import Bytes, has_tag, tag

MAGIC = b"SCONEANC"
VERSION = 1
VOLUME_SIZE, ROOT_SIZE, COUNTER_MAX = 16, 32, (1 << 64) - 1
RECORD_SIZE, SLOT_OFFSETS, FILE_SIZE = 128, (0, 4096), 8192
REMEDY_LOST = "see docs/keystore.md, 'A lost anchor'"
_RECORD = struct.Struct("<8sH6x16sQ32s24x")
_STATE = struct.Struct("<Q32s")


@dataclass(frozen=True, slots=True)
class State:
    """What a volume was last: a counter that only grows, and the root of its tree of tags."""

    counter: int
    root: bytes

    def pack(self) -> bytes:
        """40 bytes, as a backup holds it."""
        return _STATE.pack(self.counter, self.root)

    @classmethod
    def unpack(cls, raw: bytes) -> "State":
        """The reverse; `raw` was authenticated, so a wrong size is a bug and raises struct.error."""
        return cls(*_STATE.unpack(raw))


@dataclass(frozen=True, slots=True)
class Reading:
    """A state, the slot (0 or 1) it stands in, and whether the other slot is damaged or half written."""

    state: State
    slot: int
    torn: bool


def build_record(key: Bytes, volume: bytes, state: State) -> bytes:
    """One record of 128 bytes."""
    start = _RECORD.pack(MAGIC, VERSION, volume, state.counter, state.root)
    return start + tag(key, start)


def build_file(key: Bytes, volume: bytes, state: State) -> bytes:
    """A new file: one record, and an empty slot. All of its bytes are written, so later changes stay in place."""
    return build_record(key, volume, state).ljust(FILE_SIZE, b"\0")


def parse_file(key: Bytes, volume: bytes, raw: bytes, where: str) -> Reading:
    """Return the state that counts; raise AnchorLost and KeystoreVersion."""
    if len(raw) != FILE_SIZE:
        raise AnchorLost(f"freshness anchor is damaged: {len(raw)} of {FILE_SIZE} bytes", where, REMEDY_LOST)
    parts = [raw[at : at + RECORD_SIZE] for at in SLOT_OFFSETS]
    found = [(state, slot) for slot, part in enumerate(parts) if (state := _parse(key, volume, part))]
    if not found:
        _check_version(parts, where)
        raise AnchorLost("freshness anchor is damaged, or another volume's or keystore's", where, REMEDY_LOST)
    state, slot = max(found, key=lambda one: one[0].counter)
    torn = len(found) == 1 and any(parts[1 - slot])
    return Reading(state, slot, torn)


def _parse(key: Bytes, volume: bytes, raw: bytes) -> State | None:
    start, found = raw[: _RECORD.size], raw[_RECORD.size :]
    if not has_tag(key, start, found):
        return None
    magic, version, whose, counter, root = _RECORD.unpack(start)
    if (magic, version, whose) != (MAGIC, VERSION, volume):
        return None
    return State(counter, root)


def _check_version(parts: list[bytes], where: str) -> None:
    for part in parts:
        magic, version, *_ = _RECORD.unpack_from(part)
        if magic == MAGIC and version > VERSION:
            rule = f"freshness anchor has version {version}, this program knows {VERSION}"
            raise KeystoreVersion(rule, where, "use the newer scone-preload that wrote it")
