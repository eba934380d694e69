"""Freshness anchors: what a volume was last, kept where the volume's host can't roll it back.

`Anchor` is all that volumes know. `FileAnchor` is the embedded default: a small file for each volume in the keystore's
directory. It detects that a volume was rolled back as long as the keystore itself was not rolled back with it: keep
the keystore on another disk than the volumes, or somewhere the volumes' host can't write.
"""

import fcntl
import os
from typing import Protocol

from scone_preload.errors import AnchorLost, KeystoreError, RolledBack
from scone_preload.keys.files import ANCHORS_PREFIX, Directory, take_lock, write_all
from scone_preload.keys.memory import SecretBuffer
from scone_preload.keys.record import (
    COUNTER_MAX,
    FILE_SIZE,
    REMEDY_LOST,
    ROOT_SIZE,
    SLOT_OFFSETS,
    VOLUME_SIZE,
    Reading,
    State,
    build_file,
    build_record,
    parse_file,
)
from scone_preload.keys.seal import LABEL_ANCHOR, derive


class Anchor(Protocol):
    """The last state of each volume. A volume is named by 16 bytes, its root is 32 bytes."""

    def read(self, volume: bytes) -> State | None:
        """Return the state; None for a volume never registered. Raises AnchorLost for one that was, but is gone."""

    def register(self, volume: bytes, state: State) -> None:
        """Begin to anchor a new volume; raise KeyExists if it is anchored already."""

    def advance(self, volume: bytes, state: State) -> None:
        """Durably replace the state by a later one; raise RolledBack if it isn't later, AnchorLost, KeystoreError.

        The same state again changes nothing; the same counter with another root is refused.
        """

    def reset(self, volume: bytes, state: State) -> None:
        """Replace the state by any other, or what is left of a lost anchor: only when the owner says so."""

    def forget(self, volume: bytes) -> None:
        """The volume is gone for good; raise KeyMissing if it isn't anchored."""


class AnchorSet:
    """The anchor files of one keystore, in the directory that the keystore names."""

    def __init__(self, home: Directory, anchor_set: bytes, master: SecretBuffer | None) -> None:
        self.home = home
        self.anchor_set = anchor_set
        self.master = master
        self.name = ANCHORS_PREFIX + anchor_set.hex()

    def read(self, volume: bytes) -> Reading | None:
        """None where there is no such file; raises AnchorLost and KeystoreVersion."""
        with self.home.lock(shared=True):
            return self.read_unlocked(volume)

    def read_unlocked(self, volume: bytes) -> Reading | None:
        """The same, for who holds the keystore's lock."""
        raw, where = self._raw(volume)
        return None if raw is None else parse_file(self._key(volume), volume, raw, where)

    def write(self, volume: bytes, state: State) -> None:
        """Make or replace the whole file; the caller holds the keystore's lock."""
        check_state(volume, state)
        folder = self.home.subdirectory(self.name, create=True)
        assert folder is not None  # created
        with folder:
            folder.replace(volume.hex(), build_file(self._key(volume), volume, state))

    def advance(self, volume: bytes, state: State) -> None:
        """One write in place and one fdatasync, under the file's lock; raise RolledBack, AnchorLost, KeystoreError."""
        check_state(volume, state)
        with self.home.lock(shared=True):
            folder = self.home.subdirectory(self.name)
            if folder is None:
                raise self.lost(volume)
            with folder:
                fd = folder.open_file(volume.hex(), os.O_RDWR)
                if fd is None:
                    raise self.lost(volume)
                try:
                    self._advance(fd, volume, state, folder.where(volume.hex()))
                finally:
                    os.close(fd)

    def remove(self, volume: bytes) -> None:
        """Remove the file, if there is one; the caller holds the keystore's lock."""
        folder = self.home.subdirectory(self.name)
        if folder is not None:
            with folder:
                if volume.hex() in folder.names():
                    os.unlink(volume.hex(), dir_fd=folder.fd)

    def held(self, volume: bytes) -> "HeldAnchor":
        """What advances the anchor of this volume alone, without the master key."""
        return HeldAnchor(self.home.path, self.anchor_set, volume, self._key(volume))

    def lost(self, volume: bytes) -> AnchorLost:
        """The error for an anchor that should be there."""
        where = f"{self.home.where(self.name)}/{volume.hex()}"
        return AnchorLost("freshness anchor is gone", where, REMEDY_LOST)

    def _advance(self, fd: int, volume: bytes, state: State, where: str) -> None:
        take_lock(fd, fcntl.LOCK_EX, where)
        key = self._key(volume)
        now = parse_file(key, volume, os.pread(fd, FILE_SIZE + 1, 0), where)
        if state == now.state:
            return
        if state.counter <= now.state.counter:
            rule = f"volume is older than its freshness anchor: {state.counter}, not above {now.state.counter}"
            raise RolledBack(rule, where, "the volume was rolled back, or replaced by a copy")
        try:
            os.lseek(fd, SLOT_OFFSETS[1 - now.slot], os.SEEK_SET)
            write_all(fd, build_record(key, volume, state))
            os.fdatasync(fd)
        except OSError as error:
            rule = f"freshness anchor can't be written ({error.strerror})"
            raise KeystoreError(rule, where, "make the disk work or writable, then start again") from None

    def _raw(self, volume: bytes) -> tuple[bytes | None, str]:
        folder = self.home.subdirectory(self.name)
        if folder is None:
            return None, self.name
        with folder:
            return folder.read(volume.hex()), folder.where(volume.hex())

    def _key(self, volume: bytes) -> bytearray:
        assert self.master is not None, "a HeldAnchor's set has its own"
        return derive(self.master.view(), self.anchor_set, LABEL_ANCHOR + volume)


class HeldAnchor:
    """One volume's anchor, for who may advance it and nothing else: its HMAC key, no master key, nothing open.

    The key is in ordinary memory, so that it outlives a fork: for processes that dump no core.
    """

    def __init__(self, path: str, anchor_set: bytes, volume: bytes, key: bytearray) -> None:
        self.path = path
        self.volume = volume
        self._set = anchor_set
        self._key = key

    def advance(self, state: State) -> None:
        """See Anchor.advance."""
        home = Directory.open(self.path)
        if home is None:
            where = f"{self.path}/{ANCHORS_PREFIX}{self._set.hex()}/{self.volume.hex()}"
            raise AnchorLost("freshness anchor is gone", where, REMEDY_LOST)
        with home:
            _SetOfOne(home, self._set, self._key).advance(self.volume, state)

    def close(self) -> None:
        """Zero the key."""
        self._key[:] = bytes(len(self._key))


class _SetOfOne(AnchorSet):
    def __init__(self, home: Directory, anchor_set: bytes, key: bytearray) -> None:
        super().__init__(home, anchor_set, None)
        self._own = key

    def _key(self, volume: bytes) -> bytearray:
        return self._own


def check_state(volume: bytes, state: State) -> None:
    """Raise KeystoreError for what is no volume or state."""
    if len(volume) != VOLUME_SIZE or len(state.root) != ROOT_SIZE or not 0 <= state.counter <= COUNTER_MAX:
        raise KeystoreError("not a volume's state", f"{volume.hex()}, {state}", "give 16 bytes, a counter, 32 bytes")
