"""Paths on the command line that lead into volumes: `data/dump.rdb` is `/dump.rdb` of the volume in `data`.

And the volume opened for reading there: its last durable state, compared with its anchor.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from scone_preload.errors import VolumeDamaged, VolumeMissing
from scone_preload.volume.container import Container
from scone_preload.volume.core import Durable
from scone_preload.volume.freshness import check_fresh
from scone_preload.volume.keys import Keys
from scone_preload.volume.opening import Readable, readable
from scone_preload.volume.place import CONTAINER
from scone_preload.volume.reading import open_state
from scone_preload.volume.tree import State

IN_USE = "a program has the volume open and may have changed this meanwhile: try again, or without it"


def split(path: str) -> tuple[str, bytes]:
    """(directory of the volume, path inside it); raise VolumeMissing where none is there or above."""
    directory, inside = os.path.abspath(path), ""
    while not os.path.lexists(f"{directory}/{CONTAINER}"):
        directory, name = os.path.split(directory)
        if not name:
            raise VolumeMissing(
                "no volume there, nor above", path, "name the directory of a volume, or a path below it"
            )
        inside = f"/{name}{inside}"
    return directory, os.fsencode(inside)


@contextmanager
def opened(directory: str, keys: Keys, *, is_anchored: bool = True, force: bool = False) -> Iterator[State]:
    """The state of a volume that reading goes by; raise VolumeError, RolledBack.

    `force`: also while a program has it open, as it was at the last commit.
    """
    with readable(directory, keys, is_anchored=is_anchored, is_locked=not force) as volume:
        try:
            state = open_state(container_of(volume), volume.container.path)
            if volume.state is not None and not force:
                check_fresh(volume.state, Durable(state.version, state.tag), volume.container.path)
            yield state
        except VolumeDamaged as error:
            raise VolumeDamaged(error.rule, error.thing, IN_USE if force else error.remedy) from None


def container_of(volume: Readable) -> Container:
    """The same for our reader."""
    superblock = volume.superblock
    return Container(
        volume.container.fd, volume.data_key, log_blocks=superblock.log_blocks, is_plain=superblock.is_plain
    )
