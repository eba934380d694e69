"""Function starts and landing pads from .eh_frame_hdr, .eh_frame and .gcc_except_table.

Own code because only the few functions that hold a site are of interest: the binary search table leads straight to
them, where pyelftools would parse every entry (libc: 0.4 s, libcrypto: 1.3 s).
Formats: LSB Core, "Exception Frames"; the language-specific data area as GCC's unwind-pe.h reads it.
"""

from bisect import bisect_right
from dataclasses import dataclass

from scone_preload.elf.model import Span

OMIT = 0xFF
PC_RELATIVE, DATA_RELATIVE, INDIRECT = 0x10, 0x30, 0x80
# format -> (bytes, signed)
FIXED = {0x0: (8, False), 0x2: (2, False), 0x3: (4, False), 0x4: (8, False), 0xA: (2, True), 0xB: (4, True)}
FIXED[0xC] = (8, True)


@dataclass(frozen=True, slots=True)
class Unwind:
    """`starts[i]` is a function's first address, `entries[i]` the address of its FDE; sorted."""

    starts: tuple[int, ...]
    entries: tuple[int, ...]
    loaded: tuple[Span, ...]

    def landing_pads(self, address: int) -> set[int]:
        """Where the unwinder may resume in the function around `address`; ValueError if its tables can't be read."""
        index = bisect_right(self.starts, address) - 1
        if index < 0:
            return set()
        start, area = _frame_entry(self.loaded, self.entries[index])
        return _pads(self.loaded, area, start) if area else set()


class _Reader:
    """A cursor over loaded bytes."""

    def __init__(self, loaded: tuple[Span, ...], address: int) -> None:
        self.span = next((s for s in loaded if s.address <= address < s.end), None)
        if self.span is None:
            raise ValueError(f"unwind data outside the file at {address:#x}")
        self.address = address

    def take(self, size: int) -> bytes:
        assert self.span is not None
        at = self.address - self.span.address
        if at + size > len(self.span.data):
            raise ValueError(f"unwind data cut short at {self.address:#x}")
        self.address += size
        return self.span.data[at : at + size]

    def fixed(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def uleb(self) -> int:
        value = shift = 0
        for _ in range(10):
            byte = self.fixed(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise ValueError("unwind data: number too long")

    def encoded(self, encoding: int) -> int:
        """A pointer in DWARF EH encoding; 0 stays 0 (it means none)."""
        here = self.address
        kind = encoding & 0x0F
        if encoding & INDIRECT or encoding & 0x70 not in (0, PC_RELATIVE):
            raise ValueError(f"unwind data: pointer encoding {encoding:#x}")
        if kind == 1:
            value = self.uleb()
        elif kind in FIXED:
            value = self.fixed(*FIXED[kind])
        else:
            raise ValueError(f"unwind data: pointer encoding {encoding:#x}")
        return value + here if value and encoding & 0x70 == PC_RELATIVE else value


def read_unwind(header: Span | None, loaded: tuple[Span, ...]) -> Unwind:
    """The binary search table of .eh_frame_hdr; empty if there is none in the usual encoding."""
    if header is None or header.data[:1] != b"\x01" or header.data[2:4] != b"\x03\x3b":
        return Unwind((), (), loaded)
    count = int.from_bytes(header.data[8:12], "little")
    words = memoryview(header.data[12 : 12 + 8 * count]).cast("i")
    base = header.address
    starts = tuple(base + word for word in words[0::2])
    entries = tuple(base + word for word in words[1::2])
    return Unwind(starts, entries, loaded)


def _frame_entry(loaded: tuple[Span, ...], address: int) -> tuple[int, int]:
    """(function start, address of its language-specific data or 0) of the FDE at `address`."""
    reader = _Reader(loaded, address)
    if reader.fixed(4) == 0xFFFFFFFF:
        raise ValueError("unwind data: 64-bit entry")
    here = reader.address
    pointer_encoding, area_encoding, augmented = _common_entry(loaded, here - reader.fixed(4))
    start = reader.encoded(pointer_encoding)
    reader.encoded(pointer_encoding & 0x0F)
    if not augmented:
        return start, 0
    reader.uleb()
    return start, 0 if area_encoding == OMIT else reader.encoded(area_encoding)


def _common_entry(loaded: tuple[Span, ...], address: int) -> tuple[int, int, bool]:
    """(pointer encoding, language-specific data encoding, has augmentation data) of the CIE at `address`."""
    reader = _Reader(loaded, address + 8)
    version = reader.fixed(1)
    letters = ""
    while byte := reader.fixed(1):
        letters += chr(byte)
    if letters[:1] not in ("", "z"):
        raise ValueError(f"unwind data: augmentation {letters!r}")
    reader.uleb(), reader.uleb()  # alignment factors; the signed one has the same length
    reader.fixed(1) if version == 1 else reader.uleb()
    if letters:
        reader.uleb()
    pointer, area = 0, OMIT
    for letter in letters[1:]:
        if letter == "R":
            pointer = reader.fixed(1)
        elif letter == "L":
            area = reader.fixed(1)
        elif letter == "P":
            reader.encoded(reader.fixed(1) & ~INDIRECT)
        elif letter not in "SB":
            raise ValueError(f"unwind data: augmentation {letters!r}")
    return pointer, area, bool(letters)


def _pads(loaded: tuple[Span, ...], address: int, start: int) -> set[int]:
    """Landing pads of the call-site table at `address`, of the function that begins at `start`."""
    reader = _Reader(loaded, address)
    base_encoding = reader.fixed(1)
    base = start if base_encoding == OMIT else reader.encoded(base_encoding)
    if reader.fixed(1) != OMIT:
        reader.uleb()
    encoding = reader.fixed(1)
    size = reader.uleb()
    end = reader.address + size
    pads = set()
    while reader.address < end:
        reader.encoded(encoding), reader.encoded(encoding)
        pad = reader.encoded(encoding)
        reader.uleb()
        if pad:
            pads.add(base + pad)
    return pads
