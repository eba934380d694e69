"""The outputs of the spec, each a pure function of it; `generated()` is those that are C, by file name."""

from scone_preload.codegen import calls_c
from scone_preload.spec import load


def generated() -> dict[str, str]:
    """Names and texts of the generated C files; raises SpecError."""
    spec = load()
    return {
        "calls.gen.h": calls_c.emit_header(spec),
        "calls.gen.c": calls_c.emit(spec),
    }
