"""A backup: one file with every key, secret and anchor, opened by a passphrase; and back.

It is a keystore file with another magic, one passphrase slot, and the anchors' states of the time. A restore never
overwrites a keystore, and never takes an anchor back, unless the user says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from scone_preload.errors import AnchorLost, KeyExists, KeystoreError, RolledBack
from scone_preload.keys.anchors import AnchorSet
from scone_preload.keys.codec import anchored_state, open_entries, read_file, seal_entry, write_file
from scone_preload.keys.files import ANCHORS_PREFIX, STORE, Directory
from scone_preload.keys.format import SET_SIZE, Cost, Entry, Purpose
from scone_preload.keys.memory import SecretBuffer
from scone_preload.keys.rebuild import States, current_states, install
from scone_preload.keys.record import VOLUME_SIZE, State
from scone_preload.keys.store import Keystore, now
from scone_preload.keys.unlock import Unlock, open_master, passphrase_slot, plain_slot


class Anchors(Enum):
    """What a restore does where an anchor here is later than the backup's."""

    REFUSE = "refuse"
    KEEP = "keep"
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore brought back."""

    keys: int
    volumes: int
    plain: bool


def make_backup(store: Keystore, passphrase: bytes, cost: Cost | None = None) -> bytes:
    """Return the bytes of a backup of the keystore as it is now; raise KeystoreError."""
    slot = passphrase_slot(store.master, store.file.store_id, now(), passphrase, cost)
    with store.directory.lock():
        store.reload()
        states = current_states(store)
        entries = tuple(_with_state(store, entry, states) for entry in store.entries)
        file = replace(store.file, slots=(slot,), is_backup=True)
    return write_file(file, store.master, entries)


def restore(
    path: str,
    raw: bytes,
    unlock: Unlock,
    *,
    replace_it: bool = False,
    anchors: Anchors = Anchors.REFUSE,
    plain: bool = False,
    where: str = "backup",
) -> Restored:
    """Make a backup the keystore of directory `path`; raise KeystoreError, RolledBack.

    It is then opened by the backup's passphrase, or, with `plain`, by its file alone.
    """
    file = read_file(raw, where)
    if not file.is_backup:
        raise KeystoreError("not a backup but a keystore itself", where, f"copy it as {STORE}, or name a backup")
    with open_master(file, unlock, where) as master:
        entries = open_entries(file, master, where)
        if plain:
            file = replace(file, slots=(plain_slot(master, file.store_id, now()),))
        directory = Directory.open(path, create=True)
        assert directory is not None  # made
        with directory, directory.lock():
            if STORE in directory.names() and not replace_it:
                rule = "a keystore is already there, and a restore would replace it"
                raise KeyExists(rule, directory.where(STORE), "back that up, then add --replace")
            theirs = {
                bytes.fromhex(entry.name): anchored_state(file.store_id, master, entry, where)
                for entry in entries
                if entry.purpose == Purpose.ANCHOR
            }
            states = _choose(directory, master, theirs, anchors)
            install(directory, replace(file, revision=file.revision + 1), master, entries, states)
    keys = sum(entry.purpose not in (Purpose.ANCHOR, Purpose.PLACE) for entry in entries)
    return Restored(keys, len(states), plain)


def _with_state(store: Keystore, entry: Entry, states: States) -> Entry:
    if entry.purpose != Purpose.ANCHOR:
        return entry
    return seal_entry(store.file.store_id, store.master, entry, states[bytes.fromhex(entry.name)].pack())


def _choose(directory: Directory, master: SecretBuffer, theirs: States, anchors: Anchors) -> States:
    """The states to restore; raise RolledBack where that needs the user's word."""
    if anchors == Anchors.OLDER:
        return theirs
    here, unknown = _anchors_here(directory, master)
    if unknown:
        rule = f"{unknown} freshness anchors here can't be compared with the backup's"
        remedy = "they are damaged or under another master key; to drop them: --older-anchors"
        raise RolledBack(rule, directory.path, remedy)
    shared = [volume for volume in theirs if volume in here]
    later = {volume: here[volume] for volume in shared if here[volume].counter > theirs[volume].counter}
    if later and anchors == Anchors.REFUSE:
        volume, state = next(iter(later.items()))
        rule = f"backup's freshness anchors are older than those here ({len(later)})"
        thing = f"volume {volume.hex()}, {theirs[volume].counter} in the backup, {state.counter} here"
        remedy = "--keep-anchors keeps those here; if the volumes were restored from then, too: --older-anchors"
        raise RolledBack(rule, thing, remedy)
    return {**theirs, **later}


def _anchors_here(directory: Directory, master: SecretBuffer) -> tuple[dict[bytes, State], int]:
    """The latest states here by volume, and how many anchors the master key doesn't authenticate."""
    latest: dict[bytes, State] = {}
    unknown = 0
    for anchor_set, volume in _anchor_files(directory):
        try:
            reading = AnchorSet(directory, anchor_set, master).read_unlocked(volume)
        except AnchorLost:
            unknown += 1
            continue
        if reading and (volume not in latest or reading.state.counter > latest[volume].counter):
            latest[volume] = reading.state
    return latest, unknown


def _anchor_files(directory: Directory) -> Iterator[tuple[bytes, bytes]]:
    """(anchor set, volume) of every anchor file in the directories that count."""
    for name in _sets_that_count(directory):
        folder = directory.subdirectory(name)
        if folder is None:
            continue
        with folder:
            for one in folder.names():
                if (volume := _hex(one, VOLUME_SIZE)) is not None:
                    yield bytes.fromhex(name.removeprefix(ANCHORS_PREFIX)), volume


def _sets_that_count(directory: Directory) -> list[str]:
    """The one that the keystore names; if that can't be read, all that are there."""
    names = [name for name in directory.names() if name.startswith(ANCHORS_PREFIX)]
    names = [name for name in names if _hex(name.removeprefix(ANCHORS_PREFIX), SET_SIZE) is not None]
    try:
        file = read_file(directory.read(STORE) or b"", directory.where(STORE))
    except KeystoreError:
        return names
    return [name for name in names if name == ANCHORS_PREFIX + file.anchor_set.hex()]


def _hex(text: str, size: int) -> bytes | None:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if len(raw) == size and raw.hex() == text else None
