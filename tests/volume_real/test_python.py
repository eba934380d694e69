"""P6: Python's own tests of files end on a volume as they end on the disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.helpers.modes import REPOSITORY
from tests.volume_real.conftest import LONG, PROGRAMS, Home

# tools/setup unpacks them there: they are in no package that is installed.
LIBRARY = REPOSITORY / "build" / "python-tests"
NAMES = """
    os mmap:MmapTests shutil tempfile dbm dbm_dumb fcntl fileio glob pathlib mailbox shelve file fileinput genericpath
    bufio filecmp tarfile:MiscReadTest io:CIOTest io:CBufferedReaderTest io:CBufferedWriterTest
    io:CBufferedRandomTest io:CTextIOWrapperTest
"""
# What a volume has not, by the names of tests: they are skipped there, or fail.
MISSING = {
    "xattr|ExtendedAttribute": "extended attributes",
    "fifo|socket|named_pipe": "pipes and sockets",
    "fcntl_64_bit": "F_NOTIFY",
}
LONG_NAMES = "mmap:LargeMmapTests posix tarfile io zipfile zipimport py_compile logging"


def ends(home: Home) -> dict[str, str]:
    """How each test ends in this home."""
    results = home.place / "results.json"
    modules = [f"test_{name}" for name in (NAMES + LONG_NAMES if LONG > 1 else NAMES).split()]
    words = ["/usr/bin/python3", PROGRAMS / "python_tests.py", LIBRARY, results, *modules]
    script = 'cd "$0" && exec "$@"'
    outcome = home.run("bash", "-c", script, home.data, *words, timeout=280 * LONG)
    assert results.exists(), outcome
    found = json.loads(results.read_text())
    assert isinstance(found, dict)
    return {str(name): re.sub(r"@test_\d+", "@test", str(end)) for name, end in found.items()}


@pytest.fixture(scope="module")
def natively() -> dict[str, dict[str, str]]:
    """What the first test found, for the others."""
    return {}


def test_p6_python_s_tests_of_files_end_as_natively(
    home: Home, plain: Home, natively: dict[str, dict[str, str]]
) -> None:
    if not (LIBRARY / "test" / "test_os.py").exists():
        pytest.skip(f"{LIBRARY} has not Python's tests: tools/setup could not fetch them")
    if not natively:
        natively["ends"] = ends(plain)
    here, there = ends(home), natively["ends"]
    assert len(there) > 1000
    assert set(here) == set(there)
    missing = re.compile("|".join(MISSING))
    different = {name: (there[name], end) for name, end in here.items() if there[name] != end}
    assert {name: ends for name, ends in different.items() if not missing.search(name)} == {}
    home.verified()


def test_python_s_tests_are_where_setup_puts_them() -> None:
    assert Path(LIBRARY).name in (REPOSITORY / "tools" / "setup").read_text()
