"""The system's C compiler, and the flags by which everything of libshim is built."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scone_preload.errors import InternalError

NAMES = ("gcc", "cc")
# -ffreestanding: no hosted libc is there; it implies -fno-builtin. The compiler still calls memcpy and memset, which
# libshim defines; without -fno-tree-loop-distribute-patterns their own loops would be turned into calls of themselves.
COMMON = (
    *("-std=gnu11", "-O2", "-g", "-fPIC", "-ffreestanding", "-fno-tree-loop-distribute-patterns"),
    *("-fno-stack-protector", "-mgeneral-regs-only", "-mno-red-zone", "-fvisibility=hidden", "-fno-plt"),
    *("-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-fno-strict-aliasing"),
    *("-Wall", "-Wextra", "-Wconversion", "-Werror"),
)
# No --gc-sections: every handler is in a table, so nothing would go, and a section that only assembly names might.
LINK = (
    *("-shared", "-nostdlib", "-Wl,-z,initfirst", "-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,noexecstack", "-Wl,-z,text"),
    *("-Wl,-z,defs", "-Wl,--build-id=sha1", "-Wl,--hash-style=gnu", "-Wl,--fatal-warnings"),
    "-Wl,-soname,libscone-shim.so",
)
# AES-GCM of Debian's libipsec-mb-dev: the linker takes the four objects of it that libshim/volume/cipher.c calls.
CIPHERS = "-l:libIPSec_MB.a"


@dataclass(frozen=True, slots=True)
class Compiler:
    """A compiler that is there; `version` tells two of them apart."""

    command: str
    version: str

    def run(self, arguments: list[str]) -> None:
        """Run it; raises InternalError with its words if it fails, since what it compiles is ours."""
        done = subprocess.run(
            [self.command, *arguments], capture_output=True, text=True, check=False, env=compiler_environment()
        )
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip()
            raise InternalError("compilation failed", arguments[-1], f"{self.command} says:\n{words}")


def compiler_environment() -> dict[str, str]:
    """What the compiler may know: the caller's environment is the program's, with its CPATH or LD_PRELOAD, or empty."""
    own = {name: os.environ[name] for name in ("TMPDIR",) if name in os.environ}
    return {"PATH": os.environ.get("PATH") or os.defpath, "LC_ALL": "C", **own}


def find_compiler() -> Compiler | None:
    """$CC, else gcc, else cc: the first that can compile with our flags, and link."""
    for name in (os.environ.get("CC", ""), *NAMES):
        command = shutil.which(name) if name else None
        version = _version(command) if command else ""
        if command and version and _works(command):
            return Compiler(command, version)
    return None


def compile_arguments(source: Path, target: Path, includes: list[Path], root: Path) -> list[str]:
    """Arguments that compile one C or assembly file, naming no path of this machine in the object."""
    own = [] if source.suffix == ".S" else ["-Wmissing-prototypes"]
    paths = [f"-I{directory}" for directory in includes]
    return [*COMMON, *own, f"-ffile-prefix-map={root}=.", *paths, "-c", "-o", str(target), str(source)]


def _version(command: str) -> str:
    try:
        done = subprocess.run(
            [command, "--version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env=compiler_environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0] if done.returncode == 0 else ""


def _works(command: str) -> bool:
    """True if it knows our flags (clang doesn't), and its assembler and linker are there, too."""
    with tempfile.TemporaryDirectory(prefix="scone-compiler-") as folder:
        arguments = [*COMMON, "-shared", "-nostdlib", "-x", "c", "-", "-o", f"{folder}/x"]
        done = subprocess.run(
            [command, *arguments], input=b"int x;\n", capture_output=True, check=False, env=compiler_environment()
        )
    return done.returncode == 0
