"""The one way in which the analysis has lief read a file."""

from pathlib import Path

import lief

lief.logging.disable()  # what can't be read is said by who wants it


def parse_elf(path: Path) -> lief.ELF.Binary:
    """Return the ELF object at `path`; raises ValueError where none is: lief ends in a MemoryError on a directory."""
    binary = lief.ELF.parse(str(path)) if path.is_file() else None
    if binary is None:
        raise ValueError(f"not an ELF file: {path}")
    return binary
