"""Whole volumes for tests of commands: a directory with a container of tests/volume/writer.py, opened by a key file."""

from pathlib import Path

from scone_preload.keys.memory import SecretBuffer
from scone_preload.volume.format import Freshness, Mode, Superblock
from scone_preload.volume.slots import data_key, key_file_slot, signed_block
from tests.volume.writer import VOLUME_ID, Writer

VOLUME_KEY, OPENS_WITH = b"\x06" * 32, b"\x5a" * 32


def key_file(folder: Path) -> Path:
    """What opens the volumes of `boxed`."""
    path = folder / "key"
    path.write_text(OPENS_WITH.hex())
    path.chmod(0o600)
    return path


def boxed(directory: Path, *, log_blocks: int = 16, is_plain: bool = False) -> Writer:
    """An empty volume in a new directory, its superblock written."""
    directory.mkdir()
    raw = bytes(data_key(VOLUME_KEY, VOLUME_ID))
    writer = Writer(directory / "volume.scone", key=raw, log_blocks=log_blocks, is_plain=is_plain)
    with SecretBuffer.of(VOLUME_KEY) as key:
        slot = key_file_slot(VOLUME_ID, key.view(), 1_700_000_000, "key", OPENS_WITH)
        mode = Mode.AUTHENTICATE if is_plain else Mode.ENCRYPT
        freshness = Freshness.NO_ROLLBACK_PROTECTION
        superblock = Superblock(VOLUME_ID, mode, freshness, 1, 1_700_000_000, log_blocks, (slot,))
        block = signed_block(superblock, key.view())
    writer.put(0, block * 2)
    return writer
