"""Makes golden/: run once for each released version of the format, never again: `python -m tests.keys.make_golden`."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from scone_preload.keys.backup import make_backup
from scone_preload.keys.format import Cost, Kdf, Purpose, SlotKind
from scone_preload.keys.rebuild import rekey
from scone_preload.keys.record import State
from scone_preload.keys.unlock import environment_slot, passphrase_slot
from tests.keys.support import CHEAP, GOLDEN, PASSPHRASE, VOLUME, fix_randomness, opened, root


def make(directory: Path) -> None:
    """Write all files of version 1."""
    place = directory / "k"
    with opened(place) as store:
        store.add("data", Purpose.VOLUME)
        store.add("db-password", Purpose.SECRET, b"hunter2")
        keep(place, "keystore-1")
        store.register(VOLUME, State(7, root(11)))
        store.advance(VOLUME, State(8, root(12)))
        shutil.copy(place / store.anchor_set.name / VOLUME.hex(), GOLDEN / "anchor-1")
        (GOLDEN / "backup-1").write_bytes(make_backup(store, PASSPHRASE, CHEAP))
        store.forget(VOLUME)
        for name, cost in (("argon2id", CHEAP), ("scrypt", Cost(Kdf.SCRYPT, 4, 8, 1))):
            rekey(
                store, lambda master, store_id, at, cost=cost: passphrase_slot(master, store_id, at, PASSPHRASE, cost)
            )
            keep(place, f"keystore-1-{name}")
        variables = {b"SCONE_TEST_KEY": b"5a" * 32}
        rekey(store, lambda master, store_id, at: environment_slot(master, store_id, at, "SCONE_TEST_KEY", variables))
        assert store.file.slots[0].kind == SlotKind.ENVIRONMENT
        keep(place, "keystore-1-environment")


def keep(place: Path, name: str) -> None:
    shutil.copy(place / "keystore", GOLDEN / name)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        fix_randomness(patch)
        os.umask(0o022)
        make(Path(folder))
