"""Running programs in a volume that is their current directory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.helpers.modes import Mode
from tests.helpers.processes import Outcome, run

POLICY = """version = 1
[exec]
unlisted = "pass"
[files]
unlisted = "pass"
"""


def environment_of(home: Path) -> Mapping[str, str]:
    """The tests' own, with a keystore below `home`."""
    return {**os.environ, "XDG_DATA_HOME": str(home)}


def run_in_volume(
    mode: Mode, argv: Sequence[str | Path], place: Path, environment: Mapping[str, str], timeout: float = 60
) -> Outcome:
    """Runs a program in the volume `place`/volume, which is made if it isn't there."""
    volume, policy = place / "volume", place / "scone.toml"
    volume.mkdir(exist_ok=True)
    policy.write_text(POLICY)
    options = ("--policy", str(policy), "--data", str(volume))
    return run(mode, argv, cwd=volume, options=options, environment=environment, timeout=timeout)
