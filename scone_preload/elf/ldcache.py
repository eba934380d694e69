"""The loader's library cache, /etc/ld.so.cache: soname -> paths, in the loader's order of preference.

Layout (glibc's dl-cache.h): an optional old table "ld.so-1.7.0"; then, 8-aligned, magic "glibc-ld.so.cache1.1", u32
count, u32 string bytes, u8 flags, 3 bytes, u32 extension offset, 12 bytes; then per entry i32 flags, u32 key, u32
value, u32 OS version, u64 hwcap; key and value are string offsets from the new table's start.
"""

import struct
from pathlib import Path

OLD_MAGIC, NEW_MAGIC = b"ld.so-1.7.0\0", b"glibc-ld.so.cache1.1"
HEAD_SIZE, ENTRY = 48, struct.Struct("<iIIIQ")
FLAG_X86_64_ELF6 = 0x0303


def read_ld_cache(raw: bytes) -> dict[str, list[Path]]:
    """x86-64 libraries by soname; raises ValueError if it is not such a cache."""
    start = 0
    if raw.startswith(OLD_MAGIC):
        (count,) = struct.unpack_from("<I", raw, 12)
        start = -(-(16 + 12 * count) // 8) * 8
    if raw[start : start + len(NEW_MAGIC)] != NEW_MAGIC:
        raise ValueError("not a library cache of glibc")
    found: dict[str, list[Path]] = {}
    (count,) = struct.unpack_from("<I", raw, start + len(NEW_MAGIC))
    for index in range(count):
        flags, key, value, _, _ = ENTRY.unpack_from(raw, start + HEAD_SIZE + ENTRY.size * index)
        if flags == FLAG_X86_64_ELF6:
            found.setdefault(_text(raw, start + key), []).append(Path(_text(raw, start + value)))
    return found


def _text(raw: bytes, at: int) -> str:
    return raw[at : raw.index(b"\0", at)].decode(errors="surrogateescape")
