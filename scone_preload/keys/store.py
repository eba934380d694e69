"""The keystore as the runtime uses it: opened once, after the process's last fork; changed by anyone, at any time.

A change takes the lock, reads the file anew, edits it, and replaces it. A reader needs no lock: it sees the old file
or the new one. What is open keeps its snapshot until `reload`.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from scone_preload.errors import KeyExists, KeyMissing, KeystoreDamaged, KeystoreError
from scone_preload.keys.anchors import AnchorSet, HeldAnchor
from scone_preload.keys.codec import Entries, open_entries, open_entry, read_file, seal_entry, value_limits, write_file
from scone_preload.keys.files import ANCHORS_PREFIX, STORE, Directory
from scone_preload.keys.format import (
    ENTRIES_MAX,
    FILE_MAX,
    ID_SIZE,
    KEY_SIZE,
    REMEDY_DAMAGED,
    SET_SIZE,
    SLOTS_MAX,
    Entry,
    Purpose,
    Slot,
    SlotKind,
    StoreFile,
    build_body,
    check_name,
)
from scone_preload.keys.memory import SecretBuffer
from scone_preload.keys.record import Reading, State
from scone_preload.keys.unlock import Unlock, environment_names, open_master, plain_slot

RESTORING = "restoring"  # a file that is there while a restore fills an empty directory
_BYTES_MAX = FILE_MAX // 2


class Keystore:
    """An open keystore. `told` is what to say to the user once: that it was made, and how to keep it."""

    def __init__(
        self, directory: Directory, file: StoreFile, master: SecretBuffer, entries: Entries, told: str
    ) -> None:
        self.directory = directory
        self.file = file
        self.master = master
        self.entries = entries
        self.told = told

    def close(self) -> None:
        """Wipe the master key. Keys that were handed out are their holders' to close."""
        self.master.close()
        self.directory.close()

    def __enter__(self) -> "Keystore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def where(self) -> str:
        return self.directory.where(STORE)

    def reload(self) -> None:
        """See what others changed meanwhile; raise KeystoreError if the keystore was replaced by another."""
        raw = self.directory.read(STORE)
        if raw is None:
            raise _missing(self.where)
        file = read_file(raw, self.where)
        if (file.store_id, file.anchor_set) != (self.file.store_id, self.file.anchor_set):
            raise KeystoreError("keystore was replaced meanwhile", self.where, "start again")
        self.entries = open_entries(file, self.master, self.where)
        self.file = file

    # ---- keys and secrets ----

    def key(self, name: str, purpose: Purpose, generation: int | None = None) -> SecretBuffer:
        """Return a key or secret, by default its last generation; the caller closes it. Raises KeyMissing."""
        found = [one for one in self.entries if (one.name, one.purpose) == (name, purpose)]
        chosen = [one for one in found if generation in (None, one.generation)]
        if not chosen:
            which = name if generation is None or not found else f"{name}, generation {generation}"
            raise KeyMissing(f"no such {purpose.name.lower()} in the keystore", which, "see: scone-keys list")
        entry = max(chosen, key=lambda one: one.generation)
        return open_entry(self.file.store_id, self.master, entry, self.where)

    def add(self, name: str, purpose: Purpose, value: bytes | bytearray | memoryview | None = None) -> None:
        """Add a secret, or a key (random unless given); raise KeyExists, KeystoreError."""
        check_name(name)

        def edit(slots: tuple[Slot, ...], entries: Entries) -> tuple[tuple[Slot, ...], Entries]:
            if any(entry.name == name for entry in entries):
                raise KeyExists("name is taken in the keystore", name, f"give another, or: scone-keys rotate {name}")
            return slots, (*entries, self._sealed(name, purpose, 1, value))

        self._change(edit)

    def rotate(self, name: str, value: bytes | bytearray | memoryview | None = None) -> int:
        """Add a generation, random unless given; the old ones stay readable. Return its number; raise KeyMissing."""

        def edit(slots: tuple[Slot, ...], entries: Entries) -> tuple[tuple[Slot, ...], Entries]:
            last = self._last(entries, name)
            if last.purpose == Purpose.SECRET and value is None:
                raise KeystoreError("a secret has no random value", name, "give its new value on standard input")
            return slots, (*entries, self._sealed(name, last.purpose, last.generation + 1, value))

        self._change(edit)
        return self._last(self.entries, name).generation

    def remove(self, name: str) -> None:
        """Remove a key or secret with all its generations; raise KeyMissing."""

        def edit(slots: tuple[Slot, ...], entries: Entries) -> tuple[tuple[Slot, ...], Entries]:
            self._last(entries, name)
            return slots, tuple(entry for entry in entries if entry.name != name)

        self._change(edit)

    # ---- slots ----

    def add_slot(self, make: Callable[[SecretBuffer, bytes, int], Slot]) -> None:
        """Add what `make` (of unlock.py) makes of the master key, the keystore's id and the time."""
        slot = make(self.master, self.file.store_id, now())

        def edit(slots: tuple[Slot, ...], entries: Entries) -> tuple[tuple[Slot, ...], Entries]:
            if len(slots) >= SLOTS_MAX:
                raise KeystoreError("keystore is full", f"{SLOTS_MAX} slots", "remove one: scone-keys slot remove N")
            if slot.kind == SlotKind.PLAIN and any(one.kind == SlotKind.PLAIN for one in slots):
                raise KeyExists("keystore has a plain slot already", self.where, "nothing to do")
            return (*slots, slot), entries

        self._change(edit)

    def remove_slot(self, number: int) -> None:
        """Remove a slot, counted from 1; raise KeyMissing, and KeystoreError for the last one."""

        def edit(slots: tuple[Slot, ...], entries: Entries) -> tuple[tuple[Slot, ...], Entries]:
            if not 1 <= number <= len(slots):
                raise KeyMissing("no such slot", str(number), "see: scone-keys slot list")
            if len(slots) == 1:
                raise KeystoreError("the last slot can't be removed", str(number), "add another first")
            return slots[: number - 1] + slots[number:], entries

        self._change(edit)

    def environment_names(self) -> tuple[str, ...]:
        """The variables that open slots: the runtime keeps them from the program."""
        return environment_names(self.file)

    # ---- freshness anchors: the interface of anchors.Anchor ----

    def read(self, volume: bytes) -> State | None:
        """See anchors.Anchor."""
        reading = self.reading(volume)
        return reading.state if reading else None

    def reading(self, volume: bytes) -> Reading | None:
        """The state, and whether the file's other record is damaged."""
        reading = self.anchor_set.read(volume)
        if reading is None and self._is_anchored(volume):
            raise self.anchor_set.lost(volume)
        return reading

    def register(self, volume: bytes, state: State, place: str = "") -> None:
        """See anchors.Anchor; with the path where the volume belongs, both or neither."""

        def edit(slots: tuple[Slot, ...], entries: Entries) -> tuple[tuple[Slot, ...], Entries]:
            if self._is_anchored(volume):
                raise KeyExists("volume is anchored already", volume.hex(), "advance it, or reset it")
            self.anchor_set.write(volume, state)
            anchored = self._sealed(volume.hex(), Purpose.ANCHOR, 1, state.pack())
            return slots, (*self._placed(entries, volume, place), anchored)

        self._change(edit)

    def advance(self, volume: bytes, state: State) -> None:
        """See anchors.Anchor."""
        self.anchor_set.advance(volume, state)

    def reset(self, volume: bytes, state: State) -> None:
        """See anchors.Anchor."""
        with self.directory.lock():
            self.reload()
            if not self._is_anchored(volume):
                raise KeyMissing("volume is not anchored", volume.hex(), "see: scone-keys list")
            self.anchor_set.write(volume, state)

    def forget(self, volume: bytes) -> None:
        """See anchors.Anchor."""
        with self.directory.lock():
            self.reload()
            if not self._is_anchored(volume):
                raise KeyMissing("volume is not anchored", volume.hex(), "see: scone-keys list")
            kept = tuple(entry for entry in self.entries if not _anchors(entry, volume))
            kept = self._placed(kept, volume, "")
            self._write(self.file.slots, kept)
            self.anchor_set.remove(volume)

    def held_anchor(self, volume: bytes) -> HeldAnchor:
        """What advances this volume's anchor when the keystore is closed, also in a forked child."""
        return self.anchor_set.held(volume)

    # ---- where anchored volumes belong: one that is gone, or another's, is noticed ----

    def places(self) -> dict[bytes, str]:
        """The absolute path of each volume that has one here."""
        found = {}
        for entry in self.entries:
            if entry.purpose == Purpose.PLACE:
                with open_entry(self.file.store_id, self.master, entry, self.where) as value:
                    found[bytes.fromhex(entry.name)] = os.fsdecode(value.reveal())
        return found

    def move(self, volume: bytes, place: str) -> None:
        """The volume belongs to this path from now on: only when the owner says so."""
        self._change(lambda slots, entries: (slots, self._placed(entries, volume, place)))

    @property
    def anchor_set(self) -> AnchorSet:
        return AnchorSet(self.directory, self.file.anchor_set, self.master)

    # ---- within ----

    def _is_anchored(self, volume: bytes) -> bool:
        return any(_anchors(entry, volume) for entry in self.entries)

    def _placed(self, entries: Entries, volume: bytes, place: str) -> Entries:
        kept = tuple(entry for entry in entries if (entry.purpose, entry.name) != (Purpose.PLACE, volume.hex()))
        return (*kept, self._sealed(volume.hex(), Purpose.PLACE, 1, os.fsencode(place))) if place else kept

    def _last(self, entries: Entries, name: str) -> Entry:
        found = [
            entry for entry in entries if entry.name == name and entry.purpose not in (Purpose.ANCHOR, Purpose.PLACE)
        ]
        if not found:
            raise KeyMissing("no such key or secret in the keystore", name, "see: scone-keys list")
        return max(found, key=lambda entry: entry.generation)

    def _sealed(
        self, name: str, purpose: Purpose, generation: int, value: bytes | bytearray | memoryview | None
    ) -> Entry:
        value = os.urandom(KEY_SIZE) if value is None else value
        low, high = value_limits(purpose)
        if purpose != Purpose.ANCHOR and not low <= len(value) <= high:
            rule = f"value of {len(value)} bytes for a {purpose.name.lower()}"
            raise KeystoreError(rule, name, f"give {low} to {high} bytes" if low < high else f"give {low} bytes")
        entry = Entry(purpose, name, generation, now(), b"", b"")
        return seal_entry(self.file.store_id, self.master, entry, value)

    def _change(self, edit: Callable[[tuple[Slot, ...], Entries], tuple[tuple[Slot, ...], Entries]]) -> None:
        with self.directory.lock():
            self.reload()
            self._write(*edit(self.file.slots, self.entries))

    def _write(self, slots: tuple[Slot, ...], entries: Entries) -> None:
        if len(entries) > ENTRIES_MAX or len(build_body(entries)) > _BYTES_MAX:
            raise KeystoreError("keystore is full", self.where, "remove what is not needed: scone-keys remove NAME")
        file = replace(self.file, slots=slots, revision=self.file.revision + 1)
        self.directory.replace(STORE, write_file(file, self.master, entries))
        self.reload()


def open_keystore(path: str, unlock: Unlock, *, create: bool = True) -> Keystore:
    """Open the keystore in a directory; make it if there is none and `create`. Raises KeystoreError."""
    directory = Directory.open(path, create=create)
    if directory is None:
        raise KeyMissing("no keystore", path, "make one: scone-keys init")
    with ExitStack() as undo:
        undo.callback(directory.close)
        store = _open(directory, unlock, create)
        undo.pop_all()
    return store


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def _open(directory: Directory, unlock: Unlock, create: bool) -> Keystore:
    where, told = directory.where(STORE), ""
    raw = directory.read(STORE)
    if raw is None and create:
        raw, told = _made(directory)
    if raw is None:
        raise (
            _missing(where)
            if _has_anchors(directory)
            else KeyMissing("no keystore", where, "make one: scone-keys init")
        )
    file = read_file(raw, where)
    if file.is_backup:
        raise KeystoreDamaged("a backup in the place of the keystore", where, "restore it: scone-keys restore FILE")
    master = open_master(file, unlock, where)
    return Keystore(directory, file, master, open_entries(file, master, where), told)


def _made(directory: Directory) -> tuple[bytes, str]:
    """Make a keystore unless another process just did; return its file and what to tell."""
    with directory.lock():
        raw = directory.read(STORE)
        if raw is not None:
            return raw, ""
        if _has_anchors(directory):
            raise _missing(directory.where(STORE))
        with SecretBuffer(KEY_SIZE) as master:
            master.view()[:] = os.urandom(KEY_SIZE)
            store_id = os.urandom(ID_SIZE)
            file = StoreFile(store_id, 1, os.urandom(SET_SIZE), (plain_slot(master, store_id, now()),))
            raw = write_file(file, master, ())
        directory.replace(STORE, raw)
    return raw, (
        f"made a keystore in {directory.path}, which only its mode protects: scone-keys slot add --passphrase does"
        f" more. Without it your volumes can't be read: scone-keys backup FILE"
    )


def _has_anchors(directory: Directory) -> bool:
    names = directory.names()
    return RESTORING not in names and any(name.startswith(ANCHORS_PREFIX) for name in names)


def _missing(where: str) -> KeystoreDamaged:
    return KeystoreDamaged("keystore file is gone, though its anchors are there", where, REMEDY_DAMAGED)


def _anchors(entry: Entry, volume: bytes) -> bool:
    return (entry.purpose, entry.name) == (Purpose.ANCHOR, volume.hex())
