"""tools/setup: does nothing twice, and tells those who are not root the one command."""

import os
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STUBS = {
    "dpkg-query": "echo 'installed gcc'; echo 'not-installed redis-server'; exit 1",
    "id": "echo 1000",
}


def test_who_is_not_root_is_told_the_one_command(tmp_path: Path) -> None:
    for name, text in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [ROOT / "tools" / "setup"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    missing, command = done.stderr.splitlines()
    assert "redis-server" in missing.split()
    assert "gcc" not in missing.split()
    assert command.endswith("sudo tools/setup --packages")


def test_with_all_packages_there_the_package_step_does_nothing() -> None:
    start = time.monotonic()
    done = subprocess.run([ROOT / "tools" / "setup", "--packages"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - start < 60  # no package index was fetched


def test_the_scripts_are_well_formed() -> None:
    for name in ("setup", "test", "demo"):
        subprocess.run(["bash", "-n", ROOT / "tools" / name], check=True)
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
