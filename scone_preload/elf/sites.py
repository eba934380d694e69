"""Every `syscall` instruction of an object, and the window of whole instructions that a jump can replace.

Pairs of bytes 0f 05 are found first; only the regions around them are decoded, from the nearest address at which code
is known to begin. A pair that is not an instruction there is data or part of one, and is left alone.
"""

from collections.abc import Iterator
from pathlib import Path

from scone_preload.elf.decode import SYSCALL, Decoder, Region, syscall_pairs
from scone_preload.elf.image import Image, load_image
from scone_preload.elf.model import JUMP_SIZE, SITE_WINDOW_MAX, Analysis, Site, Unpatched
from scone_preload.elf.numbers import NumberFinder
from scone_preload.elf.targets import Targets

UNDECODABLE = "undecodable bytes before it"
RT_SIGRETURN = 15
# `mov $15,%rax` and `mov $15,%eax`: a restorer, known by its bytes as unwinders do. Its FDE may begin one byte early.
RESTORERS = (b"\x48\xc7\xc0\x0f\0\0\0", b"\xb8\x0f\0\0\0")


def analyse(path: Path) -> Analysis:
    """Sites of the object at `path`; raises ValueError if it can't be read as ELF."""
    return analyse_image(load_image(path))


def analyse_image(image: Image) -> Analysis:
    """Sites of a loaded image."""
    decoder = Decoder(image)
    places = [(decoder.region(pair), pair) for pair in syscall_pairs(image)]
    places = [(region, pair) for region, pair in places if region.index(pair) is not None or pair >= region.broken]
    sound = [(region, pair) for region, pair in places if pair < region.broken]
    if not sound:
        return Analysis((), tuple(Unpatched(pair, UNDECODABLE, ()) for _, pair in places))
    regions = list({region.start: region for region, _ in sound}.values())
    targets = Targets(image, decoder, regions, [pair for _, pair in sound])
    numbers = NumberFinder(decoder, targets)
    sites: list[Site] = []
    unpatched: list[Unpatched] = []
    taken = 0  # end of the last window
    for region, address in places:
        result = _site(image, decoder, targets, numbers, region, address, taken)
        if isinstance(result, Site):
            sites.append(result)
            taken = result.offset + len(result.code)
        else:
            unpatched.append(result)
    return Analysis(tuple(sites), tuple(unpatched))


def _site(
    image: Image, decoder: Decoder, targets: Targets, finder: NumberFinder, region: Region, address: int, taken: int
) -> Site | Unpatched:
    if address >= region.broken:
        return Unpatched(address, UNDECODABLE, ())
    numbers = finder.numbers(address)
    if numbers == (RT_SIGRETURN,) or decoder.bytes_at(region.start, address - region.start).endswith(RESTORERS):
        return Unpatched(address, "rt_sigreturn: unwinders match its bytes", (RT_SIGRETURN,))
    reasons = []
    for first, last in _windows(region, address):
        start, end = region.instructions[first].address, region.instructions[last].end
        reason = _window_obstacle(image, decoder, targets, region, (first, last), address, taken)
        if not reason:
            return Site(start, address - start, decoder.bytes_at(start, end - start), numbers)
        reasons.append(reason)
    return Unpatched(address, reasons[0] if reasons else "no room", numbers)


def _windows(region: Region, address: int) -> Iterator[tuple[int, int]]:
    """Candidate windows as (first, last) instruction index: those that end with the syscall first, then short ones."""
    at = region.index(address)
    assert at is not None
    code, found = region.instructions, []
    for first in range(at, max(-1, at - SITE_WINDOW_MAX), -1):
        for last in range(at, min(len(code), at + SITE_WINDOW_MAX)):
            size = code[last].end - code[first].address
            if JUMP_SIZE <= size <= SITE_WINDOW_MAX:
                found.append((code[last].end - code[at].end, size, (first, last)))
    yield from (window for _, _, window in sorted(found))


def _window_obstacle(
    image: Image,
    decoder: Decoder,
    targets: Targets,
    region: Region,
    window: tuple[int, int],
    address: int,
    taken: int,
) -> str:
    first, last = window
    code = region.instructions[first : last + 1]
    start, end = code[0].address, code[-1].end
    if start < taken:
        return "too close to the window before it"
    entered = next((inner for inner in range(start + 1, end) if targets.enters(inner)), None)
    if entered is not None:
        return f"a branch enters at {entered:#x}"
    for instruction in code:
        if instruction.address == address:
            continue
        if obstacle := decoder.obstacle(instruction, instruction.address > address):
            return f"can't move {instruction.name} at {instruction.address:#x}: {obstacle}"
    return "" if decoder.bytes_at(address, 2) == SYSCALL else "not a plain syscall instruction"
