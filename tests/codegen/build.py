"""Compiles generated C for tests."""

import re
import subprocess
from pathlib import Path

from scone_preload.codegen.outputs import generated
from scone_preload.spec.predicates import PREDICATES

ROOT = Path(__file__).parents[2]
ENCLAVE = ROOT / "libshim" / "enclave"
STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffreestanding", "-mgeneral-regs-only"]

# Where the predicates are that the tables refer to.
PREDICATE_SOURCES = ("believe", "chains", "options", "ready")


def write_generated(folder: Path) -> None:
    """All generated C files, stubs.c with a do-nothing body for every handler that they name, and believers.c with one
    for every predicate."""
    texts = generated()
    for name, text in texts.items():
        (folder / name).write_text(text)
    handlers = re.findall(r"^long (sys_\w+)\(struct frame \*frame\);$", texts["calls.gen.h"], re.M)
    bodies = "".join(f"long {name}(struct frame *frame) {{ (void)frame; return 0; }}\n" for name in handlers)
    (folder / "stubs.c").write_text(f'#include "calls.gen.h"\n{bodies}')
    believers = "".join(f"predicate_stub({name})\n" for name in sorted(PREDICATES))
    stub = "#define predicate_stub(name) long believe_##name(const struct reply *reply) { return reply != 0; }\n"
    (folder / "believers.c").write_text(f'#include "shape.h"\n{stub}{believers}')


def compile_c(*arguments: str | Path) -> None:
    """Runs gcc with the enclave's headers in reach; a test fails with the compiler's words."""
    command = ["gcc", f"-I{ENCLAVE}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
