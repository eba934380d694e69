"""Builds build/_libshim: libshim's layouts, tables and reply checks as a Python module, by cffi, for tests and tools.

The declarations come from the headers by the preprocessor, sizes and numbers from the compiler, and the code is the
very objects that shims are linked with. They stand in an archive: what nothing refers to stays out. module.c stands in
for what else the checks use of a running shim, and a file of empty functions for the handlers that the tables name.

The module bears the hash of all that it is made from; it is built when that differs, and replaced as a whole.
"""

import contextlib
import hashlib
import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

import cffi

from scone_preload.build.declarations import cffi_text
from scone_preload.build.objects import Layout, object_files, whole_set
from scone_preload.build.toolchain import Compiler, compiler_environment
from scone_preload.cache import write_atomically
from scone_preload.errors import InternalError, MachineLacks

NAME = "_libshim"
OWN = Path(__file__).parent
# Whose types and numbers Python sees, and of which it sees functions and tables, too.
TYPES = (
    *("wire/control.h", "wire/policy.h", "wire/ring.h"),
    *("enclave/enclave.h", "enclave/frame.h", "enclave/shape.h", "enclave/subshape.h", "enclave/shim_abi.h"),
    *("gen/calls.gen.h", "build/module.h"),
)
CODE = ("enclave/shape.h", "enclave/subshape.h", "gen/calls.gen.h", "build/module.h")
HANDLER = re.compile(r"^long (sys_\w+)\(struct frame \*", re.M)
FLAGS = ("-std=gnu11", "-O1", "-fPIC", "-fvisibility=hidden", "-Wall", "-Werror")
LINK = ("-shared", "-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,noexecstack", "-Wl,--fatal-warnings")
LOAD = """
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
loader = ExtensionFileLoader(*sys.argv[1:])
loader.exec_module(loader.create_module(ModuleSpec(sys.argv[1], loader, origin=sys.argv[2])))
"""


def build_module(layout: Layout, compiler: Compiler, objects: str, target: Path, say: Callable[[str], None]) -> None:
    """Bring `target` up to date with the whole set `objects`; raises MachineLacks without Python's headers or ar."""
    python = Path(sysconfig.get_path("include"))
    archiver = shutil.which("ar")
    if not (python / "Python.h").exists():
        raise MachineLacks("no headers of Python", str(python), "install python3-dev")
    if archiver is None:
        raise MachineLacks("no ar", "binutils", "install binutils")
    identity = _identity(compiler, objects)
    if target.exists() and identity.encode() in target.read_bytes():
        say(f"{NAME} is up to date")
        return
    with tempfile.TemporaryDirectory(prefix="scone-module-") as folder:
        work = Path(folder)
        _write_sources(layout, compiler, work, identity)
        _run_archiver(archiver, work / "libshim.a", object_files(whole_set(layout.objects, objects)))
        module = _compile(layout, compiler, python, work)
        _check_loads(module)
        write_atomically(target, module.read_bytes())
    say(f"{NAME}: {target.stat().st_size} bytes")


def _identity(compiler: Compiler, objects: str) -> str:
    """`objects` stands for compiler, libshim and the Python beside this file."""
    own = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (OWN / "module.h", OWN / "module.c")]
    words = [objects, compiler.version, cffi.__version__, sys.version, *own]
    return "libshim-module-" + hashlib.sha256("\0".join(words).encode()).hexdigest()


def _quoted(layout: Layout) -> list[str]:
    """Where the headers are; by -iquote, since some are called like libc's."""
    folders = (layout.libshim / "wire", layout.libshim / "enclave", layout.generated, OWN)
    return [f"-iquote{folder}" for folder in folders]


def _write_sources(layout: Layout, compiler: Compiler, work: Path, identity: str) -> None:
    """stand_ins.c, and what cffi makes of the headers: _libshim.c."""
    handlers = sorted(set(HANDLER.findall((layout.generated / "calls.gen.h").read_text())))
    weak = "__attribute__((weak)) long {0}(struct frame *frame) {{ (void)frame; return -ENOSYS; }}\n"
    (work / "stand_ins.c").write_text(
        '#include "module.h"\n'
        f'__attribute__((used)) static const char identity[] = "{identity}";\n'
        + "".join(weak.format(name) for name in handlers)
    )
    compiler.run(["-E", "-dD", FLAGS[0], *_quoted(layout), "-o", str(work / "headers"), str(OWN / "module.h")])
    builder = cffi.FFI()
    builder.cdef(cffi_text((work / "headers").read_text(), types=TYPES, code=CODE))
    builder.set_source(f"scone_preload.{NAME}", '#include "module.h"')
    with contextlib.redirect_stdout(io.StringIO()):  # it says what it does
        builder.emit_c_code(str(work / f"{NAME}.c"))


def _compile(layout: Layout, compiler: Compiler, python: Path, work: Path) -> Path:
    mapped = [f"-ffile-prefix-map={work}=.", f"-ffile-prefix-map={layout.root}=."]
    places = [*_quoted(layout), f"-isystem{python}"]
    linked = []
    for source in (work / f"{NAME}.c", work / "stand_ins.c", OWN / "module.c"):
        linked.append(str(work / f"{source.stem}.o"))
        compiler.run([*FLAGS, *mapped, *places, "-c", "-o", linked[-1], str(source)])
    module = work / f"{NAME}.so"
    compiler.run([*LINK, "-o", str(module), *linked, str(work / "libshim.a")])
    return module


def _run_archiver(archiver: str, archive: Path, objects: list[Path]) -> None:
    command = [archiver, "rcs", str(archive), *map(str, objects)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=compiler_environment())
    if done.returncode != 0:
        raise InternalError("archive failed", str(archive), f"{archiver} says:\n{done.stderr.strip()}")


def _check_loads(module: Path) -> None:
    """Raise InternalError if something is missing in it: the linker doesn't tell, since Python's own names are."""
    command = [sys.executable, "-I", "-c", LOAD, f"scone_preload.{NAME}", str(module)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=compiler_environment())
    if done.returncode != 0:
        words = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise InternalError("module can't be loaded", NAME, f"{words}; give module.c a stand-in for it")
