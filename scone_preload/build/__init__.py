"""Builds libshim and shims, and keeps them: the only part that runs the compiler."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def sites_answer(path: Path, offset: int, length: int) -> bytes:
    """`struct site` of each site of a library that the mapping of file range [offset, offset + length) holds.

    Offsets in the answer are p_vaddr. Raises ValueError for a file that is no ELF object, OSError if it can't be read.
    """
    from scone_preload.build.analyses import sites_in_range  # lazy: a warm start never needs the analyser

    return sites_in_range(path, offset, length)


def shim_source(binary: Path) -> str:
    """The text of the shim.c that is generated for `binary`; raises BinaryNotFound or BinaryRefused."""
    from scone_preload.build.plans import plan_source  # lazy: a warm start never needs the analyser

    return plan_source(binary)
