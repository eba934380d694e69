"""Fixtures for every test, and the check that set-up ran: without it nothing here means anything."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ROOT / ".venv" / "bin"


def pytest_sessionstart(session: pytest.Session) -> None:
    if not (COMMANDS / "scone-wrap").exists():
        pytest.exit("set-up has not run (.venv/bin/scone-wrap is missing): run tools/setup", returncode=3)


@pytest.fixture(scope="session")
def scone_wrap() -> Path:
    """The installed command, with libshim built."""
    if not (ROOT / "build" / "libscone-shim.so").exists():
        pytest.fail("set-up has not run (build/libscone-shim.so is missing): run tools/setup")
    return COMMANDS / "scone-wrap"


@pytest.fixture(scope="session")
def scone_doctor() -> Path:
    """The installed command."""
    return COMMANDS / "scone-doctor"
