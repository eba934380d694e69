"""An analysis as bytes: `struct site` for the shim and the control socket, and the cache's file format.

Cache file, little endian: magic "SCNSITE1", u32 analyser version, u32 sites, u32 unpatched; then per site `struct
site` (24 bytes), u8 count, u16 numbers; per unpatched u64 address, u8 count, u16 numbers, u8 size, reason in UTF-8.
"""

import struct

from scone_preload.elf.model import ANALYSER_VERSION, SITE_WINDOW_MAX, Analysis, Site, Unpatched

MAGIC = b"SCNSITE1"
HEAD = struct.Struct("<8sIII")
SITE = struct.Struct(f"<IBB{SITE_WINDOW_MAX}s")


def pack_site(site: Site) -> bytes:
    """`struct site` of shim_abi.h, 24 bytes."""
    return SITE.pack(site.offset, len(site.code), site.syscall_at, site.code)


def pack(analysis: Analysis) -> bytes:
    """The cache file of an analysis."""
    parts = [HEAD.pack(MAGIC, ANALYSER_VERSION, len(analysis.sites), len(analysis.unpatched))]
    for site in analysis.sites:
        parts += [pack_site(site), _pack_numbers(site.numbers)]
    for left in analysis.unpatched:
        reason = left.reason.encode()[:255]
        parts += [struct.pack("<Q", left.address), _pack_numbers(left.numbers), bytes([len(reason)]), reason]
    return b"".join(parts)


def unpack(raw: bytes) -> Analysis:
    """Reverse of pack; raises ValueError if it is not such a file of this version."""
    try:
        return _unpack(raw)
    except (struct.error, IndexError) as error:
        raise ValueError(f"damaged site file: {error}") from error


def _unpack(raw: bytes) -> Analysis:
    magic, version, site_count, left_count = HEAD.unpack_from(raw)
    if magic != MAGIC or version != ANALYSER_VERSION:
        raise ValueError("not a site file of this version")
    at, sites, unpatched = HEAD.size, [], []
    for _ in range(site_count):
        offset, size, syscall_at, code = SITE.unpack_from(raw, at)
        numbers, at = _unpack_numbers(raw, at + SITE.size)
        sites.append(Site(offset, syscall_at, code[:size], numbers))
    for _ in range(left_count):
        (address,) = struct.unpack_from("<Q", raw, at)
        numbers, at = _unpack_numbers(raw, at + 8)
        end = at + 1 + raw[at]
        unpatched.append(Unpatched(address, raw[at + 1 : end].decode(), numbers))
        at = end
    if at != len(raw):
        raise ValueError("damaged site file: its size is wrong")
    return Analysis(tuple(sites), tuple(unpatched))


def _pack_numbers(numbers: tuple[int, ...]) -> bytes:
    """Numbers that don't fit make the site's numbers unprovable, which is always right."""
    if len(numbers) > 255 or any(number > 0xFFFF for number in numbers):
        numbers = ()
    return struct.pack(f"<B{len(numbers)}H", len(numbers), *numbers)


def _unpack_numbers(raw: bytes, at: int) -> tuple[tuple[int, ...], int]:
    count = raw[at]
    return struct.unpack_from(f"<{count}H", raw, at + 1), at + 1 + 2 * count
