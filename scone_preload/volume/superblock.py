"""The two copies of the superblock in a container: read whole, and changed one at a time.

A change writes the older copy and syncs: cut off at any point, the other one counts.
"""

import os
from collections.abc import Callable

from scone_preload.errors import NotAVolume, VolumeDamaged, VolumeError, VolumeWrongKey
from scone_preload.keys.files import write_all
from scone_preload.keys.memory import SecretBuffer
from scone_preload.volume.format import BLOCK_SIZE, COPIES, Superblock, parse_copy
from scone_preload.volume.slots import Opener, open_copies, parse_copies, signed_block


def read_raw(fd: int, where: str) -> bytes:
    """Both blocks, as far as the container has them; raise VolumeError."""
    try:
        return os.pread(fd, COPIES * BLOCK_SIZE, 0)
    except OSError as error:
        raise VolumeError(
            f"volume can't be read ({error.strerror})", where, "see whether the disk is failing"
        ) from None


def open_superblock(fd: int, opener: Opener, where: str, tried: Callable[[], str]) -> tuple[Superblock, SecretBuffer]:
    """The superblock that counts, and the volume key, the caller's to close; raise VolumeError.

    `tried` says, when nothing opened it, what was tried, and what would.
    """
    found = open_copies(parse_copies(read_raw(fd, where), where), opener, where)
    if found is None:
        raise VolumeWrongKey(
            f"volume stays locked: {tried()}", where, "give what opens it: scone-volume rekey --list DIR"
        )
    return found


def write_first(fd: int, superblock: Superblock, key: SecretBuffer) -> None:
    """Both copies of a new container's; the caller syncs. Raises OSError."""
    os.lseek(fd, 0, os.SEEK_SET)
    write_all(fd, signed_block(superblock, key.view()) * COPIES)


def change(fd: int, superblock: Superblock, key: SecretBuffer, where: str) -> None:
    """Write what `with_slots` made, durably, in place of the older copy, then of the other, so that no slot that was
    removed stays on the disk; raise VolumeError."""
    block = signed_block(superblock, key.view())
    try:
        for at in _older_first(fd, where):
            os.lseek(fd, at * BLOCK_SIZE, os.SEEK_SET)
            write_all(fd, block)
            os.fdatasync(fd)
    except OSError as error:
        rule = f"volume's key slots can't be written ({error.strerror})"
        raise VolumeError(rule, where, "make the disk work or writable, then try again") from None


def _older_first(fd: int, where: str) -> tuple[int, int]:
    raw = read_raw(fd, where)
    generations = []
    for at in range(COPIES):
        try:
            generations.append(parse_copy(raw[at * BLOCK_SIZE : (at + 1) * BLOCK_SIZE], where).superblock.generation)
        except (VolumeDamaged, NotAVolume):
            generations.append(-1)
    return (0, 1) if generations[0] <= generations[1] else (1, 0)
