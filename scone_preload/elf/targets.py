"""Where control can enter code other than from the instruction before: what no patch window may cover."""

from collections import defaultdict

from scone_preload.elf.decode import Decoder, Region
from scone_preload.elf.image import Image, direct_targets, immediate_targets, pointed_targets
from scone_preload.elf.model import SITE_WINDOW_MAX

SHORT_REACH = 130  # a branch with an 8-bit displacement and its target are closer than this
SHORT_NAMES = ("j", "loop")


class Targets:
    """Entries into the given regions of an image.

    A superset: displacements of 32 bits count at any byte, whether an instruction begins there or not; so do pointers
    and table entries in data. Short branches are taken from the decoded instructions in reach.
    """

    def __init__(self, image: Image, decoder: Decoder, regions: list[Region], syscalls: list[int]) -> None:
        self.branches: dict[int, list[int]] = defaultdict(list)  # target -> sources of jumps (and what looks like it)
        self.entries: set[int] = set(image.starts)  # reached from who knows where
        self._low = min(s.address for s in image.code)
        self._marks = bytearray(max(s.end for s in image.code) - self._low)
        for region in regions:
            self._marks[region.start - self._low : region.end - self._low] = b"\1" * (region.end - region.start)
        for source, target in direct_targets(image):
            if self.covers(target):
                self._add_long(decoder, source, target)
        self.entries.update(target for target in pointed_targets(image) if self.covers(target))
        for syscall in syscalls if image.fixed else ():
            around = (syscall - SITE_WINDOW_MAX, syscall + 2 + SITE_WINDOW_MAX)
            self.entries.update(immediate_targets(image, *around))
        for region in regions:
            self._add_short(image, decoder, region)
            self.entries.update(image.unwind.landing_pads(region.start))

    def covers(self, address: int) -> bool:
        """True if the address lies in one of the regions, so that every entry to it is known."""
        at = address - self._low
        return 0 <= at < len(self._marks) and self._marks[at] == 1

    def enters(self, address: int) -> bool:
        return address in self.branches or address in self.entries

    def _add_long(self, decoder: Decoder, source: int, target: int) -> None:
        first = decoder.bytes_at(source, 1)
        if first in (b"\xe9", b"\x0f"):
            self.branches[target].append(source)
        else:
            self.entries.add(target)

    def _add_short(self, image: Image, decoder: Decoder, region: Region) -> None:
        for near in _neighbours(image, decoder, region):
            for instruction in near.instructions:
                if not instruction.name.startswith(SHORT_NAMES) or not instruction.text.startswith("0x"):
                    continue
                target = int(instruction.text, 16)
                if region.start <= target < region.end and instruction.address not in self.branches[target]:
                    self.branches[target].append(instruction.address)


def _neighbours(image: Image, decoder: Decoder, region: Region) -> list[Region]:
    """The region and those within reach of a short branch on both sides."""
    found = [region]
    while found[0].start > region.start - SHORT_REACH and image.code_at(found[0].start - 1):
        found.insert(0, decoder.region(found[0].start - 1))
    while found[-1].end < region.end + SHORT_REACH and image.code_at(found[-1].end):
        found.append(decoder.region(found[-1].end))
    return found
