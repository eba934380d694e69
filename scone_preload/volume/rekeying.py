"""What opens a volume, changed; and a volume taken for the right one, because its owner says so. No data is written."""

from collections.abc import Iterator
from contextlib import contextmanager

from scone_preload.errors import KeyMissing, VolumeError
from scone_preload.keys.memory import SecretBuffer
from scone_preload.keys.store import now
from scone_preload.volume.format import Superblock
from scone_preload.volume.freshness import state_of
from scone_preload.volume.keys import Keys
from scone_preload.volume.opening import MakeSlot, mounted_for_reading
from scone_preload.volume.place import Container, containers_in, open_container
from scone_preload.volume.slots import parse_copies, with_slots
from scone_preload.volume.superblock import change, open_superblock, read_raw


def list_slots(directory: str) -> Superblock:
    """The superblock as it stands there: nothing of it is authenticated yet. Raises VolumeError."""
    containers_in(directory)
    container = open_container(directory, readonly=True)
    try:
        return parse_copies(read_raw(container.fd, container.path), container.path)[0].superblock
    finally:
        container.close()


def change_slots(
    directory: str, keys: Keys, make: MakeSlot | None, *, remove: int = 0, only: bool = False
) -> Superblock:
    """Add the slot that `make` makes; remove the slot with this number, or with `only` all others; raise VolumeError,
    and KeyMissing for no such slot."""
    with _unlocked(directory, keys) as (container, superblock, key):
        slots = list(superblock.slots)
        if remove > len(slots):
            raise KeyMissing("no such slot", str(remove), "see: scone-volume rekey --list DIR")
        slots = [] if only else [slot for at, slot in enumerate(slots, 1) if at != remove]
        if make is not None:
            slots.append(make(superblock.volume_id, key, now()))
        changed = with_slots(superblock, slots)
        change(container.fd, changed, key, container.path)
    return changed


def adopt(directory: str, keys: Keys) -> None:
    """Anchor the volume at what it is now and where it is, whatever was known of it, or of another there."""
    with mounted_for_reading(directory, keys) as mounted:
        superblock, state = mounted.superblock, state_of(mounted.found)
        if not superblock.freshness.is_anchored:
            rule = f"volume has no freshness anchor: it was made with {superblock.freshness.word}"
            raise VolumeError(rule, directory, "nothing to do")
        store, volume_id = keys.access.open(create=True), superblock.volume_id
        for other, place in store.places().items():
            if place == mounted.container.directory and other != volume_id:
                store.move(other, "")
        if any(entry.name == volume_id.hex() for entry in store.entries):
            store.reset(volume_id, state)
            store.move(volume_id, mounted.container.directory)
        else:
            store.register(volume_id, state, mounted.container.directory)


@contextmanager
def _unlocked(directory: str, keys: Keys) -> Iterator[tuple[Container, Superblock, SecretBuffer]]:
    containers_in(directory)
    container = open_container(directory)
    try:
        if container.is_readonly:
            raise VolumeError("volume can't be written", container.path, "make it writable for this user")
        superblock, key = open_superblock(container.fd, keys.opener, container.path, keys.tried)
        with key:
            yield container, superblock, key
    finally:
        container.close()
