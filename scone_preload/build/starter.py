"""Builds the program interpreter of rewritten programs (libshim/start): static, of this installation."""

import os
import sys
import tempfile
from pathlib import Path

from scone_preload.build.toolchain import COMMON, Compiler

# It relocates nothing: -z text and the absence of a loader would let that pass unseen, so a test looks.
LINK = (
    *("-static-pie", "-nostdlib", "-nostartfiles", "-Wl,--no-dynamic-linker", "-Wl,-z,text", "-Wl,-z,noexecstack"),
    *("-Wl,-z,relro", "-Wl,-z,now", "-Wl,--build-id=sha1", "-Wl,--fatal-warnings"),
)


def build_starter(compiler: Compiler, source: Path, target: Path, root: Path) -> bool:
    """Compile and link it; replace `target` if that gives another file, and say whether it did."""
    command = Path(sys.executable).parent / "scone-wrap"
    fd, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    os.close(fd)
    try:
        fixed = (f"-ffile-prefix-map={root}=.", f'-DCOMMAND="{command}"')
        compiler.run([*COMMON, *fixed, *LINK, "-o", name, str(source)])
        Path(name).chmod(0o755)
        if target.exists() and target.read_bytes() == Path(name).read_bytes():
            return False
        Path(name).replace(target)
        return True
    finally:
        Path(name).unlink(missing_ok=True)
