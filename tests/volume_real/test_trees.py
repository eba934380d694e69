"""P6: what people do with trees of files gives on a volume what it gives on the disk: git, tar, cp, rsync, shells."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.trees import snapshot
from tests.volume_real.conftest import PROGRAMS, Home

SCRIPTS = sorted(PROGRAMS.glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.stem))
def test_p6_a_script_does_the_same_on_a_volume(home: Home, plain: Home, script: Path) -> None:
    here, there = (one.run("bash", script, one.data, timeout=200) for one in (home, plain))
    assert there.status == 0, there
    places = [str(one.data).encode() for one in (home, plain)]
    assert (here.status, said(here.err).replace(places[0], b"DATA")) == (0, there.err.replace(places[1], b"DATA")), here
    assert here.out.replace(places[0], b"DATA") == there.out.replace(places[1], b"DATA")
    home.verified()
    done = home.owner("export", home.data, home.place / "exported")
    assert done.returncode == 0, done.stderr.decode()
    assert snapshot(home.place / "exported") == snapshot(plain.data)


def said(errors: bytes) -> bytes:
    """What the program wrote: scone-wrap tells of a new keystore and of a new volume."""
    return b"".join(line for line in errors.splitlines(True) if not line.startswith(b"scone-wrap: made a"))
