"""Site analyses, each made once per library and analyser version."""

import os
import struct
from contextlib import suppress
from pathlib import Path

from scone_preload.cache import Cache, open_cache
from scone_preload.elf.closure import read_library
from scone_preload.elf.model import ANALYSER_VERSION, Analysis, Library
from scone_preload.elf.sitefile import pack, pack_site, unpack
from scone_preload.elf.sites import analyse

PT_LOAD = 1


def cached_analysis(cache: Cache | None, library: Library) -> Analysis:
    """The library's analysis, from the cache if it is there; raises ValueError or OSError as analyse() does."""
    name = f"{library.identity}-{ANALYSER_VERSION}"
    with suppress(ValueError):
        return unpack(cache.read("sites", name) if cache else b"")
    analysis = analyse(library.path)
    if cache:
        with suppress(OSError):  # a full disk costs time at the next start, nothing else
            cache.write("sites", name, pack(analysis))
    return analysis


def sites_in_range(path: Path, offset: int, length: int) -> bytes:
    """See scone_preload.build.sites_answer."""
    cache, _ = open_cache(os.environb)
    analysis = cached_analysis(cache, read_library(path))
    ranges = _addresses(path, offset, length)
    return b"".join(
        pack_site(site)
        for site in analysis.sites
        if any(low <= site.offset and site.offset + len(site.code) <= high for low, high in ranges)
    )


def _addresses(path: Path, offset: int, length: int) -> list[tuple[int, int]]:
    """The p_vaddr ranges that the file range covers."""
    with path.open("rb") as file:
        head = file.read(64)
        table_offset, entry_size, count = *struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54)
        file.seek(table_offset)
        table = file.read(entry_size * count)
    found = []
    for at in range(0, len(table), entry_size):
        kind, _, start, address, _, size = struct.unpack_from("<IIQQQQ", table, at)
        low, high = max(start, offset), min(start + size, offset + length)
        if kind == PT_LOAD and low < high:
            found.append((low - start + address, high - start + address))
    return found
