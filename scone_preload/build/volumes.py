"""Builds build/libvolume.so: the core of volumes (libshim/volume) for the runtime host, scone-volume and tests.

The same sources as in every shim, with the same flags, but that its functions can be seen; and library.c, which has a
libc.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scone_preload.build.objects import JOBS, OUTSIDE
from scone_preload.build.toolchain import CIPHERS, COMMON, Compiler

SEEN = "-fvisibility=default"
HOSTED = ("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-fPIC", "-Wall", "-Wextra", "-Wconversion", "-Werror")
LINK = ("-shared", "-Wl,-z,defs", "-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,noexecstack", "-Wl,-soname,libvolume.so",
        "-Wl,--build-id=sha1")  # fmt: skip


def build_volume_library(compiler: Compiler, libshim: Path, target: Path, root: Path) -> bool:
    """Compile and link it, unless it is newer than what it is made from; says whether it did."""
    sources = sorted((libshim / "volume").glob("*.c"))
    inputs = [*sources, *(libshim / "volume").glob("*.h"), *(libshim / "wire").glob("*.h"), Path(__file__)]
    if target.exists() and target.stat().st_mtime > max(path.stat().st_mtime for path in inputs):
        return False
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as folder:
        places = {source: Path(folder, f"{source.stem}.o") for source in sources}
        with ThreadPoolExecutor(JOBS) as pool:
            list(pool.map(lambda source: compiler.run(_arguments(source, places[source], libshim, root)), sources))
        made = Path(folder, "libvolume.so")
        compiler.run([*LINK, "-o", str(made), *map(str, places.values()), CIPHERS])
        os.replace(made, target)  # noqa: PTH105
    return True


def _arguments(source: Path, target: Path, libshim: Path, root: Path) -> list[str]:
    flags = HOSTED if source.name in OUTSIDE else (*COMMON, SEEN, "-Wmissing-prototypes")
    return [*flags, f"-ffile-prefix-map={root}=.", f"-I{libshim / 'volume'}", "-c", "-o", str(target), str(source)]
