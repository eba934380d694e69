"""`python -m scone_preload.build`: generate, compile libshim, link the generic shim, build the module; says each."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from scone_preload import paths
from scone_preload.build.extension import build_module
from scone_preload.build.objects import Layout, build_objects
from scone_preload.build.plans import plan_generic
from scone_preload.build.shims import link_shim
from scone_preload.build.starter import build_starter
from scone_preload.build.toolchain import Compiler, find_compiler
from scone_preload.build.volumes import build_volume_library
from scone_preload.cache import open_cache, write_atomically
from scone_preload.errors import InternalError, MachineLacks, SconeError
from scone_preload.spec.load import KEPT, kept_form


def build_all() -> None:
    """Bring everything under build/ up to date; raises SconeError."""
    compiler = find_compiler()
    if compiler is None:
        raise MachineLacks("no C compiler", "gcc, cc", "install gcc (apt-get install gcc libc6-dev)")
    _generate()
    layout = Layout(
        root=Path(paths.ROOT),
        libshim=Path(paths.LIBSHIM),
        generated=Path(paths.GENERATED),
        objects=Path(paths.OBJECTS),
        objects_id=Path(paths.OBJECTS_ID),
    )
    identity = build_objects(layout, compiler, _say)
    cache, _ = open_cache(os.environb)
    generic = Path(paths.GENERIC_SHIM)
    raw = link_shim(plan_generic(cache), compiler, layout.objects, layout.libshim)
    if not generic.exists() or generic.read_bytes() != raw:
        write_atomically(generic, raw)
    _build_module(layout, compiler, identity)
    build_volume_library(compiler, layout.libshim, Path(paths.VOLUME_LIBRARY), layout.root)
    build_starter(compiler, layout.libshim / "start" / "start.c", Path(paths.STARTER), layout.root)
    _say(f"libshim {identity} with {compiler.version}; generic shim {len(raw)} bytes")


def _build_module(layout: Layout, compiler: Compiler, identity: str) -> None:
    """Only tests and tools need it: where it can't be built, wrapping works. No module is better than an old one."""
    try:
        build_module(layout, compiler, identity, Path(paths.MODULE), _say)
    except MachineLacks as lack:
        Path(paths.MODULE).unlink(missing_ok=True)
        _say(f"no module for Python tests and tools: {lack}")


def _generate() -> None:
    done = subprocess.run([sys.executable, "-m", "scone_preload.codegen", paths.GENERATED], cwd=paths.ROOT, check=False)
    if done.returncode != 0:
        raise InternalError("generator failed", "scone_preload.codegen", "see its messages above")
    write_atomically(Path(KEPT), kept_form())


def _say(message: str) -> None:
    print(f"build: {message}", flush=True)


def main() -> None:
    """Build, one process at a time."""
    Path(paths.BUILD).mkdir(exist_ok=True)
    with Path(paths.BUILD, ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build_all()


if __name__ == "__main__":
    try:
        main()
    except SconeError as error:
        sys.exit(f"build: {error}")
