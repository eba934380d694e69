"""One ELF object as the site analysis needs it: code, data, and where code is known to begin."""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import lief

from scone_preload.elf.model import Span
from scone_preload.elf.parse import parse_elf
from scone_preload.elf.unwind import Unwind, read_unwind

# Direct branches and address formations with a 32-bit displacement, found at *any* byte: a superset of the real ones.
REL32 = re.compile(
    rb"(?=(?:[\xe8\xe9]|\x0f[\x80-\x8f]|\xc7\xf8|\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(....))", re.DOTALL
)
LEA = re.compile(rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](....)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Image:
    """Code, and all loaded bytes, of one object; `starts` are addresses at which code is known to begin, sorted."""

    code: tuple[Span, ...]
    data: tuple[Span, ...]
    starts: tuple[int, ...]
    names: dict[int, str]
    unwind: Unwind
    fixed: bool  # ET_EXEC: addresses may appear as 32-bit immediates

    def code_at(self, address: int) -> Span | None:
        return next((span for span in self.code if span.address <= address < span.end), None)

    def region(self, address: int) -> tuple[int, int]:
        """The stretch from the last known start at or below `address` to the next one, within one span."""
        span = self.code_at(address)
        if span is None:
            raise ValueError(f"no code at {address:#x}")
        index = bisect_right(self.starts, address)
        start = self.starts[index - 1] if index else span.address
        end = self.starts[index] if index < len(self.starts) else span.end
        return max(start, span.address), min(end, span.end)


def load_image(path: Path) -> Image:
    """Read the object at `path`; raises ValueError if it is no ELF file that can be analysed."""
    binary = parse_elf(path)
    raw = path.read_bytes()
    code = tuple(_code_spans(binary, raw))
    names = {int(s.value): str(s.name) for s in _symbols(binary) if _in(code, int(s.value))}
    loaded = tuple(_segment_span(segment, raw) for segment in _load_segments(binary))
    unwind = read_unwind(_header_span(binary, raw), loaded)
    starts = {span.address for span in code} | set(names)
    starts.update(start for start in unwind.starts if _in(code, start))
    return Image(
        code=code,
        data=loaded,
        starts=tuple(sorted(starts)),
        names=names,
        unwind=unwind,
        fixed=binary.header.file_type == lief.ELF.Header.FILE_TYPE.EXEC,
    )


def direct_targets(image: Image) -> Iterator[tuple[int, int]]:
    """(source, target) of everything that looks like a branch or `lea` with a 32-bit displacement, at any byte."""
    for span in image.code:
        base, size = span.address, len(span.data)
        for match in REL32.finditer(span.data):
            target = match.end(1) + int.from_bytes(match.group(1), "little", signed=True)
            if 0 <= target < size or image.code_at(base + target) is not None:
                yield base + match.start(), base + target


def pointed_targets(image: Image) -> Iterator[int]:
    """Every code address that data holds: 8-byte pointers, relocation addends, symbols, jump tables."""
    low, high = min(s.address for s in image.code), max(s.end for s in image.code)
    for span in image.data:
        skip = -span.address % 8
        words = array("Q", span.data[skip : skip + (len(span.data) - skip) // 8 * 8])
        yield from (word for word in words if low <= word < high)
    yield from _table_targets(image, low, high)


def immediate_targets(image: Image, start: int, end: int) -> Iterator[int]:
    """Addresses in [start, end) that code holds as 32-bit constants, as objects at a fixed address may.

    Searched by their upper three bytes, one pass over the code for each 256 addresses.
    """
    for page in range(start >> 8, (end - 1 >> 8) + 1):
        high = page.to_bytes(3, "little")
        for span in image.code:
            at = span.data.find(high, 1)
            while at >= 0:
                address = page << 8 | span.data[at - 1]
                if start <= address < end:
                    yield address
                at = span.data.find(high, at + 1)


def _table_targets(image: Image, low: int, high: int) -> Iterator[int]:
    """Targets of tables of 32-bit offsets from the table's own address, for each table that code takes the address of.

    A table ends where an entry leads out of the code, or at the next address that code takes.
    """
    tables = sorted(_lea_targets(image))
    for table, limit in pairwise([*tables, 1 << 64]):
        span = next((s for s in image.data if s.address <= table < s.end), None)
        if span is None or image.code_at(table):
            continue
        for at in range(table - span.address, min(limit - span.address, len(span.data)) - 3, 4):
            target = table + int.from_bytes(span.data[at : at + 4], "little", signed=True)
            if not low <= target < high:
                break
            yield target


def _lea_targets(image: Image) -> set[int]:
    return {
        span.address + match.end() + int.from_bytes(match.group(1), "little", signed=True)
        for span in image.code
        for match in LEA.finditer(span.data)
    }


def _in(spans: tuple[Span, ...], address: int) -> bool:
    return any(span.address <= address < span.end for span in spans)


def _symbols(binary: lief.ELF.Binary) -> Iterator[lief.ELF.Symbol]:
    code_types = (lief.ELF.Symbol.TYPE.FUNC, lief.ELF.Symbol.TYPE.GNU_IFUNC, lief.ELF.Symbol.TYPE.NOTYPE)
    for table in (binary.dynamic_symbols, binary.symtab_symbols):  # binary.symbols takes quadratic time
        yield from (s for s in table if s.value and s.shndx and s.type in code_types)


def _code_spans(binary: lief.ELF.Binary, raw: bytes) -> Iterator[Span]:
    """Executable sections; without section headers, executable segments."""
    sections = [s for s in binary.sections if s.has(lief.ELF.Section.FLAGS.EXECINSTR) and s.size]
    if sections:
        yield from (Span(s.virtual_address, raw[s.file_offset : s.file_offset + s.size]) for s in sections)
        return
    for segment in _load_segments(binary):
        if segment.has(lief.ELF.Segment.FLAGS.X):
            yield _segment_span(segment, raw)


def _load_segments(binary: lief.ELF.Binary) -> Iterator[lief.ELF.Segment]:
    yield from (s for s in binary.segments if s.type == lief.ELF.Segment.TYPE.LOAD)


def _header_span(binary: lief.ELF.Binary, raw: bytes) -> Span | None:
    found = (s for s in binary.segments if s.type == lief.ELF.Segment.TYPE.GNU_EH_FRAME)
    return next((_segment_span(s, raw) for s in found), None)


def _segment_span(segment: lief.ELF.Segment, raw: bytes) -> Span:
    start = segment.file_offset
    return Span(segment.virtual_address, raw[start : start + segment.physical_size])
