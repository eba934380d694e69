"""Volumes of released versions stay readable, by the reader and by the core: golden/ is never made anew."""

import json
import os
from pathlib import Path

import pytest

from scone_preload.volume.container import Container
from scone_preload.volume.reading import open_state
from scone_preload.volume.slots import data_key
from scone_preload.volume.superblock import open_superblock
from scone_preload.volume.verify import Tally, verify
from tests.volume.boxes import VOLUME_KEY
from tests.volume.driven import Driven
from tests.volume.make_golden import GOLDEN, KINDS, summary
from tests.volume.test_p5_tampering import opener
from tests.volume.test_reader import everything_of

NAMES = sorted(path.stem for path in GOLDEN.glob("*.scone"))


def test_there_is_one_of_each_kind() -> None:
    assert sorted(KINDS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_volume_is_read_by_both_and_can_be_changed(tmp_path: Path, name: str) -> None:
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    copy = tmp_path / "volume.scone"
    copy.write_bytes((GOLDEN / f"{name}.scone").read_bytes())
    fd = os.open(copy, os.O_RDWR | os.O_CLOEXEC)
    superblock, key = open_superblock(fd, opener, name, lambda: "nothing")
    key.close()
    raw = bytes(data_key(VOLUME_KEY, superblock.volume_id))
    options = {"log_blocks": superblock.log_blocks, "is_plain": superblock.is_plain}
    container = Container(fd, raw, **options)
    assert list(verify(container, Tally(), lambda done, total: None)) == []
    assert summary(everything_of(open_state(container, name))) == expected
    with Driven(fd, key=raw, **options) as core:
        core.mount()
        assert summary(core.everything()) == expected
        core.write(b"/home/one", b"again\n", 11)
        core.core.checkpoint(is_last=True)
        changed = core.everything()
    assert everything_of(open_state(Container(fd, raw, **options), name)) == changed
    os.close(fd)
