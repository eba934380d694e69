"""A volume opened, or made where there is none: directory, lock, keys, core and anchor, in the order that fails closed.

Nothing is written to a container before its anchor was compared: else each refused start would make an old copy newer.
A new one is whole, and anchored, before it takes its name; what a killed maker left is finished where the keystore
knows it, and else thrown away, as no program has had it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from scone_preload.errors import VolumeError, VolumeMissing
from scone_preload.keys.anchors import HeldAnchor
from scone_preload.keys.memory import SecretBuffer
from scone_preload.keys.record import State
from scone_preload.keys.store import now
from scone_preload.volume.core import Core, Durable, Shape
from scone_preload.volume.format import BLOCK_SIZE, LOG_BLOCK, LOG_BLOCKS, Freshness, Mode, Slot, Superblock, damaged
from scone_preload.volume.freshness import check_fresh, check_gone, check_place, check_unanchored, gone, state_of
from scone_preload.volume.keys import Keys
from scone_preload.volume.meeting import Joining
from scone_preload.volume.memory import chosen_cache_size
from scone_preload.volume.place import (
    CONTAINER,
    NEW,
    Container,
    cannot,
    containers_in,
    discard,
    is_current,
    lock,
    make_container,
    make_nameless,
    open_container,
    real_directory,
)
from scone_preload.volume.slots import data_key, join_key, parse_copies
from scone_preload.volume.superblock import open_superblock, read_raw, write_first

TYPE_CHECKING = False
if TYPE_CHECKING:
    from scone_preload.volume.joining import Joined

Say = Callable[[str], None]
MakeSlot = Callable[[bytes, SecretBuffer, int], Slot]  # of the volume's id, its key, and the time
ATTEMPTS = 10  # others may make, rename or remove a container between two looks


@dataclass(frozen=True, slots=True)
class Asked:
    """A volume as a policy, or a command line, asks for it: `directory` is the host's; `freshness` None: as it is;
    `is_shared`: others may join it; `cache_size`: bytes, 0: chosen."""

    directory: str
    mode: Mode | None
    freshness: Freshness | None
    readonly: bool = False
    create: bool = True
    is_shared: bool = False
    cache_size: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """A mounted volume, which `close` lets go of: what it holds was compared with its anchor. `join_key` proves others'
    right to join it; empty: nobody can."""

    container: Container
    superblock: Superblock
    core: Core
    anchor: HeldAnchor | None
    join_key: bytearray = field(default_factory=bytearray, repr=False)

    def close(self, *, is_clean: bool = True, is_last: bool = True) -> None:
        """Make everything durable, anchor that, and let go; raise VolumeError, KeystoreError, and let go. Without
        `is_last` processes may be left that still write."""
        self.join_key[:] = bytes(len(self.join_key))
        try:
            if is_clean and not self.container.is_readonly:
                self.core.checkpoint(is_last=is_last)
                if self.anchor is not None:
                    self.anchor.advance(state_of(self.core.durable()))
        finally:
            self.core.close()
            if self.anchor is not None:
                self.anchor.close()
            self.container.close()


def open_volume(asked: Asked, keys: Keys, say: Say, make_slot: MakeSlot | None = None) -> Opened:
    """Open it, or make it where there is none and that is asked for, with the slot that `make_slot` makes, else one of
    the keystore's; raise VolumeError, RolledBack, KeystoreError."""
    if asked.freshness == Freshness.EPHEMERAL:
        return _ephemeral(asked)
    opened = _open_or_make(asked, keys, say, make_slot or keys.new_slot, None)
    assert opened is not None, "nobody said that there is nothing to wait for"
    return opened


def open_or_join(asked: Asked, keys: Keys, say: Say) -> Opened | Joined:
    """The same, but that it is joined where another scone-wrap of this user has it."""
    if asked.freshness == Freshness.EPHEMERAL:
        return _ephemeral(asked)

    def open_key(container: Container) -> tuple[Superblock, SecretBuffer]:
        superblock, key = open_superblock(container.fd, keys.opener, container.path, keys.tried)
        with ExitStack() as undo:
            undo.callback(key.close)
            _check_asked(asked, superblock, container.path)
            undo.pop_all()
        return superblock, key

    def check(superblock: Superblock, core: Core) -> None:
        state = _anchored(superblock, real_directory(asked.directory), keys)
        if state is not None:  # read before: what the holder has is never behind it
            check_fresh(state, core.durable(), core.where)

    joining = Joining(open_key, check)
    opened = _open_or_make(asked, keys, say, keys.new_slot, joining)
    if opened is not None:
        return opened
    assert joining.joined is not None, "else it is looked for again"
    return joining.joined


def _open_or_make(asked: Asked, keys: Keys, say: Say, make_slot: MakeSlot, joining: Joining | None) -> Opened | None:
    """None: `joining` has joined it."""
    directory = real_directory(asked.directory)
    for _ in range(ATTEMPTS):
        found = containers_in(directory)
        if not found and not asked.create:
            raise VolumeMissing("no volume", directory, "make one: scone-volume create DIR")
        if not found:
            made = _make(asked, directory, keys, say, make_slot)
            if made is not None:
                return made
            continue
        container = _locked(asked, directory, CONTAINER if CONTAINER in found else NEW, joining)
        if joining is not None and joining.joined is not None:
            return None
        if container is None:
            continue
        if container.name == CONTAINER or _finish(container, keys):
            return _open(asked, container, keys, say)
    raise VolumeError("volume changes its name again and again", directory, "see who else works there")


def _locked(asked: Asked, directory: str, name: str, joining: Joining | None) -> Container | None:
    """None: it was joined, or it isn't there by this name any more."""
    try:
        container = open_container(directory, name, readonly=asked.readonly and name == CONTAINER, is_locked=False)
    except VolumeMissing:
        return None
    with ExitStack() as undo:
        undo.callback(container.close)
        if not lock(container, joining) or not is_current(container):
            return None
        if asked.is_shared and not container.is_readonly:
            container.mark_starting()
        undo.pop_all()
    return container


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume that is mounted read-only, and not compared with its anchor: `found` is what it is."""

    container: Container
    superblock: Superblock
    core: Core
    found: Durable


@dataclass(frozen=True, slots=True)
class Readable:
    """A container, locked, for who reads it without the core. `state` is its anchor's, to be compared with what is
    found (freshness.check_fresh); None where it has none."""

    container: Container
    superblock: Superblock
    data_key: bytearray
    state: State | None


@contextmanager
def readable(directory: str, keys: Keys, *, is_anchored: bool = True, is_locked: bool = True) -> Iterator[Readable]:
    """A volume's container and data key, which is wiped at the end; raise VolumeError, KeystoreError, RolledBack.

    Without `is_anchored` nobody asks the anchor. Without `is_locked` a program may be writing to it meanwhile.
    """
    real = real_directory(directory)
    containers_in(real)
    container = open_container(real, readonly=True, is_locked=is_locked)
    try:
        superblock, key = open_superblock(container.fd, keys.opener, container.path, keys.tried)
        state = None
        with key, _data_key(key, superblock) as raw:
            state = _anchored(superblock, real, keys) if is_anchored else None
            yield Readable(container, superblock, raw, state)
    finally:
        container.close()


@contextmanager
def mounted_for_reading(directory: str, keys: Keys) -> Iterator[Mounted]:
    """A volume as it is, whatever its anchor says; nothing is written. Raises VolumeError, KeystoreError."""
    with readable(directory, keys, is_anchored=False) as volume:
        core = _core(volume.container, volume.superblock)
        try:
            yield Mounted(volume.container, volume.superblock, core, core.mount(volume.data_key))
        finally:
            core.close()


def _open(asked: Asked, container: Container, keys: Keys, say: Say) -> Opened:
    with ExitStack() as undo:
        undo.callback(container.close)
        superblock, key = open_superblock(container.fd, keys.opener, container.path, keys.tried)
        undo.callback(key.close)
        _check_asked(asked, superblock, container.path)
        core = _core(container, superblock, asked.cache_size)
        undo.callback(core.close)
        store = keys.access.open() if superblock.freshness.is_anchored else None
        state = _anchored(superblock, container.directory, keys)
        check_size(container, superblock)
        with _data_key(key, superblock) as raw:
            found = core.mount(raw)
        if state is not None:
            check_fresh(state, found, container.path)
        if container.is_readonly:
            say(f"volume {container.directory} can't be written: it is read-only")
        else:
            core.checkpoint()
        anchor = store.held_anchor(superblock.volume_id) if store is not None else None
        if anchor is not None:
            anchor.advance(state_of(core.durable()))
        proof = _join_key(asked, container, superblock, key)
        key.close()
        undo.pop_all()
    return Opened(container, superblock, core, anchor, proof)


def _make(asked: Asked, directory: str, keys: Keys, say: Say, make_slot: MakeSlot) -> Opened | None:
    """None: somebody else makes one at the same time."""
    freshness = asked.freshness or Freshness.ROLLBACK_PROTECTED
    store = keys.access.open(create=True) if freshness.is_anchored else None
    before = check_gone(store, directory) if store is not None else None
    if before is not None and containers_in(directory):  # it was made meanwhile
        return None
    if before is not None and freshness != Freshness.ROLLBACK_PROTECTED_REINITIALIZABLE:
        raise gone(directory)
    with ExitStack() as undo:
        key = SecretBuffer.of(os.urandom(32))
        undo.callback(key.close)
        volume_id, created = os.urandom(16), now()
        slot = make_slot(volume_id, key, created)
        mode = asked.mode or Mode.ENCRYPT
        superblock = Superblock(volume_id, mode, freshness, 1, created, LOG_BLOCKS, (slot,))
        container = make_container(directory)
        if container is None:
            return None
        undo.callback(_unmake, container)
        if asked.is_shared:
            container.mark_starting()
        core = _formatted(undo, container, superblock, key, asked.cache_size)
        if store is not None:
            if before is not None:
                say(f"THE VOLUME OF {directory} IS GONE; as its policy allows, an empty one takes its place")
                store.forget(before)
            store.register(volume_id, state_of(core.durable()), directory)
        container.settle()
        core.where = container.path
        anchor = store.held_anchor(volume_id) if store is not None else None
        proof = _join_key(asked, container, superblock, key)
        key.close()
        undo.pop_all()
    say(f"made a volume in {directory}: {_words(superblock)}")
    return Opened(container, superblock, core, anchor, proof)


def _join_key(asked: Asked, container: Container, superblock: Superblock, key: SecretBuffer) -> bytearray:
    if not asked.is_shared or container.is_readonly:  # those who only read have it side by side
        return bytearray()
    return join_key(key.view(), superblock.volume_id)


def _ephemeral(asked: Asked) -> Opened:
    container = make_nameless(real_directory(asked.directory))
    with ExitStack() as undo:
        undo.callback(container.close)
        superblock = Superblock(os.urandom(16), Mode.ENCRYPT, Freshness.EPHEMERAL, 1, now(), LOG_BLOCKS, ())
        with SecretBuffer.of(os.urandom(32)) as key:
            os.ftruncate(container.fd, 2 * 4096)
            core = _mounted_new(undo, container, superblock, key, asked.cache_size)
        undo.pop_all()
    return Opened(container, superblock, core, None)


def _formatted(undo: ExitStack, container: Container, superblock: Superblock, key: SecretBuffer, cache: int) -> Core:
    try:
        write_first(container.fd, superblock, key)
    except OSError as error:
        raise cannot("made", container.path, error) from None
    return _mounted_new(undo, container, superblock, key, cache)


def _mounted_new(undo: ExitStack, container: Container, superblock: Superblock, key: SecretBuffer, cache: int) -> Core:
    info = os.stat(container.directory)
    maker = _core(container, superblock)
    undo.callback(maker.close)
    mode = stat.S_IMODE(info.st_mode)
    with _data_key(key, superblock) as raw:
        maker.format(raw, stat.S_IFDIR | mode, info.st_uid, info.st_gid)
        maker.close()
        core = _core(container, superblock, cache)
        undo.callback(core.close)
        core.mount(raw)
    core.checkpoint()
    return core


def _anchored(superblock: Superblock, directory: str, keys: Keys) -> State | None:
    """What the anchor says of the volume found in a directory, None where it has none; raise RolledBack, also where it
    has none and stands in the place of one that has."""
    if superblock.freshness.is_anchored:
        return check_place(keys.access.open(), superblock.volume_id, directory)
    if keys.used_keystore:
        check_unanchored(keys.access.open(), superblock.volume_id, directory)
    return None


def check_size(container: Container, superblock: Superblock) -> None:
    """Raise VolumeDamaged for a container that ends before its data begins."""
    size, least = os.fstat(container.fd).st_size, (LOG_BLOCK + superblock.log_blocks) * BLOCK_SIZE
    if size < least:
        raise damaged(container.path, f"it ends after {size} bytes, of at least {least}")


def _core(container: Container, superblock: Superblock, cache_size: int = 0) -> Core:
    shape = Shape(
        superblock.volume_id,
        superblock.log_blocks,
        is_plain=superblock.is_plain,
        is_readonly=container.is_readonly,
        cache_size=cache_size or chosen_cache_size(),
    )
    return Core(container.fd, container.path, shape)


@contextmanager
def _data_key(key: SecretBuffer, superblock: Superblock) -> Iterator[bytearray]:
    raw = data_key(key.view(), superblock.volume_id)
    try:
        yield raw
    finally:
        raw[:] = bytes(len(raw))


def _finish(container: Container, keys: Keys) -> bool:
    """Give a container that a killed maker left its name, if the keystore knows it; else remove it."""
    try:
        (copy, *_) = parse_copies(read_raw(container.fd, container.path), container.path)
        store = keys.access.open() if copy.superblock.freshness.is_anchored else None
        known = store.places().get(copy.superblock.volume_id) if store is not None else None
    except VolumeError:
        known = None
    if known == container.directory:
        container.settle()
        return True
    discard(container.directory, container.name)
    container.close()
    return False


def _unmake(container: Container) -> None:
    if container.name == NEW and is_current(container):
        discard(container.directory, NEW)
    container.close()


def _check_asked(asked: Asked, superblock: Superblock, where: str) -> None:
    if asked.mode not in (None, superblock.mode):
        rule = f"volume was made in mode {superblock.mode.name.lower()}, and {asked.mode.name.lower()} is asked for"
        raise VolumeError(rule, where, f'write mode = "{superblock.mode.name.lower()}" in the policy')
    wanted = asked.freshness
    if wanted is not None and wanted.is_anchored != superblock.freshness.is_anchored:
        rule = f"volume was made with freshness {superblock.freshness.word}, and {wanted.word} is asked for"
        raise VolumeError(
            rule, where, f'write freshness = "{superblock.freshness.word}" in the policy, or import it anew'
        )


def _words(superblock: Superblock) -> str:
    return f"mode {superblock.mode.name.lower()}, {superblock.freshness.word}"
