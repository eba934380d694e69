"""Every example runs to its end, says what it promises, and leaves nothing behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.helpers.processes import nothing_left_behind

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SAYS = {
    "redis": ("hello from behind the boundary", "errors: 0, replies: 100000", "exit status:     0", "by exit"),
    "nginx": ("hello from behind the boundary\nhello from", "writev(", "exit status:     0"),
    "handlers": (
        "behind the boundary\n==",
        "approve_connect: 127.0.0.1:9 is not approved",
        "Read-only file system\nkept",
        "id -u says 4711",
        "calls, the first that opens the file:\nopenat FOLDER/file",
    ),
    "sqlite": ("coffee|20|210\ntea|20|210", "integrity:       ok", "by exit"),
}
README_LINES = 20


def test_every_example_is_run() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/run.sh")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_p6_an_example_shows_what_its_readme_says(name: str) -> None:
    with nothing_left_behind():
        done = subprocess.run(
            [EXAMPLES / name / "run.sh"], capture_output=True, text=True, timeout=240, check=False, cwd="/"
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [words for words in SAYS[name] if words not in done.stdout], done.stdout + done.stderr


@pytest.mark.parametrize("name", SAYS)
def test_an_example_has_a_short_readme(name: str) -> None:
    assert (EXAMPLES / name / "README.md").read_text().count("\n") <= README_LINES
