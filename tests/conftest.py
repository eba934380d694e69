"""Fixtures for every test, and the check that set-up ran: without it nothing here means anything."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ROOT / ".venv" / "bin"


def pytest_sessionstart(session: pytest.Session) -> None:
    missing = [path for path in (COMMANDS / "scone-wrap", ROOT / "build" / "libscone-shim.so") if not path.exists()]
    if missing:
        pytest.exit(f"set-up has not run ({missing[0].relative_to(ROOT)} is missing): run tools/setup", returncode=3)


@pytest.fixture(scope="session")
def scone_wrap() -> Path:
    """The installed command."""
    return COMMANDS / "scone-wrap"


@pytest.fixture(scope="session")
def scone_doctor() -> Path:
    """The installed command."""
    return COMMANDS / "scone-doctor"
