"""The cache's site files: what goes in comes out, anything else is an error."""

import struct

import pytest

from scone_preload.elf.model import Analysis, Site, Unpatched
from scone_preload.elf.sitefile import pack, pack_site, unpack

ANALYSIS = Analysis(
    sites=(
        Site(0x1234, 5, bytes.fromhex("b8270000000f05"), (39,)),
        Site(0x2000, 0, bytes.fromhex("0f05483d01f0ffff"), ()),
    ),
    unpatched=(Unpatched(0x3000, "rt_sigreturn: unwinders match its bytes", (15,)),),
)


def test_an_analysis_survives() -> None:
    assert unpack(pack(ANALYSIS)) == ANALYSIS


def test_a_site_is_struct_site() -> None:
    raw = pack_site(ANALYSIS.sites[0])
    assert len(raw) == 24
    assert struct.unpack_from("<IBB", raw) == (0x1234, 7, 5)
    assert raw[6:] == bytes.fromhex("b8270000000f05") + bytes(11)


def test_every_truncation_is_noticed() -> None:
    raw = pack(ANALYSIS)
    for size in range(len(raw)):
        with pytest.raises(ValueError, match="site file"):
            unpack(raw[:size])


def test_numbers_that_do_not_fit_become_unproved() -> None:
    site = Site(0, 0, b"\x0f\x05\x90\x90\x90", (70000,))
    assert unpack(pack(Analysis((site,), ()))).sites[0].numbers == ()
