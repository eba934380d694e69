"""Putting a whole other keystore, anchors too, in the place of what is there, so that a kill leaves old or new.

The keystore file names its directory of anchors. A new keystore comes with a new directory, written and synced first;
replacing the keystore file then switches both at once. What a killed rebuild left behind is removed by the next.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace

from scone_preload.keys.anchors import AnchorSet
from scone_preload.keys.codec import Entries, open_entry, seal_entry, write_file
from scone_preload.keys.files import ANCHORS_PREFIX, STORE, Directory
from scone_preload.keys.format import KEY_SIZE, SET_SIZE, Entry, Purpose, Slot, StoreFile
from scone_preload.keys.memory import SecretBuffer
from scone_preload.keys.record import State
from scone_preload.keys.store import RESTORING, Keystore, now

States = Mapping[bytes, State]


def install(directory: Directory, file: StoreFile, master: SecretBuffer, entries: Entries, states: States) -> StoreFile:
    """Make this the keystore of the directory, whose lock the caller holds; return it with its new anchors' name."""
    file = replace(file, anchor_set=os.urandom(SET_SIZE), is_backup=False)
    anchors = AnchorSet(directory, file.anchor_set, master)
    if STORE not in directory.names():
        directory.replace(RESTORING, b"")
    for volume, state in states.items():
        anchors.write(volume, state)
    directory.replace(STORE, write_file(file, master, entries))
    _remove_others(directory, anchors.name)
    return file


def rekey(store: Keystore, make: Callable[[SecretBuffer, bytes, int], Slot]) -> None:
    """Give the keystore a new master key, which only the slot that `make` makes opens.

    What opened it before, with an old copy of the file, opens only that old copy.
    """
    with store.directory.lock():
        store.reload()
        master, store_id = SecretBuffer(KEY_SIZE), store.file.store_id
        master.view()[:] = os.urandom(KEY_SIZE)
        slots = (make(master, store_id, now()),)
        entries = tuple(_resealed(store, master, index) for index in range(len(store.entries)))
        file = replace(store.file, slots=slots, revision=store.file.revision + 1)
        store.file = install(store.directory, file, master, entries, current_states(store))
        store.master.close()
        store.master = master
        store.reload()


def current_states(store: Keystore) -> dict[bytes, State]:
    """The state of every anchored volume; raise AnchorLost. The caller holds the lock."""
    volumes = [bytes.fromhex(entry.name) for entry in store.entries if entry.purpose == Purpose.ANCHOR]
    found = {volume: store.anchor_set.read_unlocked(volume) for volume in volumes}
    for volume, reading in found.items():
        if reading is None:
            raise store.anchor_set.lost(volume)
    return {volume: reading.state for volume, reading in found.items() if reading}


def _resealed(store: Keystore, master: SecretBuffer, index: int) -> Entry:
    entry = store.entries[index]
    with open_entry(store.file.store_id, store.master, entry, store.where) as value:
        return seal_entry(store.file.store_id, master, entry, value.view())


def _remove_others(directory: Directory, kept: str) -> None:
    """Remove other anchor directories, and the mark of a restore. Leftovers do no harm: nothing names them."""
    for name in directory.names():
        if name.startswith(ANCHORS_PREFIX) and name != kept:
            _remove_folder(directory, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(RESTORING, dir_fd=directory.fd)


def _remove_folder(directory: Directory, name: str) -> None:
    with contextlib.suppress(OSError):
        folder = directory.subdirectory(name)
        if folder is not None:
            with folder:
                for one in folder.names():
                    os.unlink(one, dir_fd=folder.fd)
            os.rmdir(name, dir_fd=directory.fd)
