"""What `python -m scone_preload.codegen` writes, as text."""

from scone_preload.codegen import calls_c, docs_table, hostile
from scone_preload.spec import load


def generated() -> dict[str, str]:
    """Names and texts of the generated C files; raises SpecError."""
    spec = load()
    return {
        "calls.gen.h": calls_c.emit_header(spec),
        "calls.gen.c": calls_c.emit(spec),
        "hostile.gen.h": hostile.emit_header(),
        "hostile.gen.c": hostile.emit(spec),
    }


def documentation() -> str:
    """docs/syscalls.md; raises SpecError."""
    return docs_table.emit(load())
