"""The answer to SITES: the sites of the mapping that was asked about, as the shim reads them."""

import struct
from pathlib import Path

import pytest

from scone_preload.build import sites_answer
from scone_preload.elf.closure import find_libraries
from scone_preload.elf.sites import analyse


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_mapping_gets_its_own_sites() -> None:
    path = find_libraries(("libc.so.6",))[0].path
    every = sites_answer(path, 0, path.stat().st_size)
    known = analyse(path).sites
    assert len(every) == 24 * len(known)
    assert [struct.unpack_from("<I", every, at)[0] for at in range(0, len(every), 24)] == [s.offset for s in known]
    first = known[0]
    assert sites_answer(path, 0, 0x1000) == b""
    assert sites_answer(path, first.offset, len(first.code)) == every[:24]
    assert sites_answer(path, first.offset + 1, path.stat().st_size)[:24] == every[24:48]


def test_what_is_no_library_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="not an ELF file"):
        sites_answer(tmp_path / "text", 0, 5)
