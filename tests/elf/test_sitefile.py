"""The cache's site files: what goes in comes out, anything else is an error."""

import pytest

from scone_preload import libshim
from scone_preload.elf.model import SITE_WINDOW_MAX, Analysis, Site, Unpatched
from scone_preload.elf.sitefile import pack, pack_site, unpack
from scone_preload.runtime import wire

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
    code = bytes.fromhex("b8270000000f05")
    assert pack_site(ANALYSIS.sites[0]) == libshim.pack("site", offset=0x1234, size=7, syscall_at=5, bytes=code)
    assert libshim.layout("site").size == wire.SITE_SIZE
    assert libshim.constant("SITE_WINDOW_MAX") == SITE_WINDOW_MAX


def test_the_longest_window_fills_struct_site() -> None:
    code = bytes(range(1, SITE_WINDOW_MAX + 1))
    packed = libshim.pack("site", offset=0xFFFFFFFF, size=len(code), syscall_at=16, bytes=code)
    assert pack_site(Site(0xFFFFFFFF, 16, code, ())) == packed


def test_every_truncation_is_noticed() -> None:
    raw = pack(ANALYSIS)
    for size in range(len(raw)):
        with pytest.raises(ValueError, match="site file"):
            unpack(raw[:size])


def test_numbers_that_do_not_fit_become_unproved() -> None:
    site = Site(0, 0, b"\x0f\x05\x90\x90\x90", (70000,))
    assert unpack(pack(Analysis((site,), ()))).sites[0].numbers == ()
