"""Where things are: the checkout or installed package, what was built, and the caches of this user.

Plain strings and `os`, because every start of scone-wrap imports this module and pathlib alone would cost 8 ms.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
LIBSHIM = ROOT + "/libshim"
BUILD = ROOT + "/build"
GENERATED = BUILD + "/gen"
OBJECTS = BUILD + "/obj"
OBJECTS_ID = BUILD + "/objects.id"
GENERIC_SHIM = BUILD + "/libscone-shim.so"
MODULE = BUILD + "/_libshim.abi3.so"
VOLUME_LIBRARY = BUILD + "/libvolume.so"  # the core of volumes for Python
STARTER = BUILD + "/scone-start"  # the program interpreter of rewritten programs
VOLUME_LIBRARY = BUILD + "/libvolume.so"  # the core of volumes, for the runtime and tools
CACHE_NAME = "scone-preload"
PRELOAD_SEPARATORS = " :\t\n"


def cache_directories(environment: Mapping[bytes, bytes]) -> list[str]:
    """Candidates for the cache, best first: the user's cache directory, then a private one under /tmp.

    The loader splits LD_PRELOAD at spaces and colons, so a path with one of these can't hold shims.
    """
    own = os.fsdecode(environment.get(b"XDG_CACHE_HOME", b""))
    home = os.fsdecode(environment.get(b"HOME", b""))
    if not own.startswith("/"):
        own = home + "/.cache" if home.startswith("/") else ""
    found = [f"{own}/{CACHE_NAME}"] if own else []
    found.append(f"/tmp/{CACHE_NAME}-{os.geteuid()}")
    return [path for path in found if not any(letter in path for letter in PRELOAD_SEPARATORS)]


def is_trusted(directory: str) -> bool:
    """True for a real directory that belongs to this user and that nobody else can write to."""
    try:
        info = os.lstat(directory)
    except OSError:
        return False
    return info.st_uid == os.geteuid() and info.st_mode & 0o170022 == 0o040000


def read_tree(folder: str, endings: tuple[str, ...]) -> dict[str, str]:
    """Return the texts of all files below `folder` with these endings, by their path in it."""
    texts: dict[str, str] = {}
    for where, _, names in os.walk(folder):
        for name in names:
            if name.endswith(endings):
                with open(f"{where}/{name}", encoding="utf-8") as file:  # noqa: PTH123
                    texts[f"{where}/{name}"[len(folder) + 1 :]] = file.read()
    return texts


def read_kept(path: str) -> bytes:
    """Return what a build left at `path`, b"" if that can't be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return b""
