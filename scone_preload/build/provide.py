"""Which shim a program gets: the front of the build layer, and all of it that a warm start imports."""

from __future__ import annotations

import os

from scone_preload.build.warm import find_pin, find_warm, objects_id, pin, pinned
from scone_preload.errors import MachineLacks
from scone_preload.paths import BUILD, GENERIC_SHIM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def provide_shim(path: str, environment: Mapping[bytes, bytes]) -> str:
    """The shim for the program at `path`, built and cached if need be; raises SconeError."""
    check_built()
    found = find_warm(path, environment)
    if found:
        return found
    from scone_preload.build.shims import build_shim  # lazy: analyser and compiler cost 0.4 s, once

    return build_shim(path, environment)


def exec_shim(program: Path | None) -> Path:
    """The shim for a program that a wrapped process executes: its cached one, else the generic. Nothing is built."""
    from pathlib import Path  # lazy: a warm start never comes here

    return Path(pinned(exec_pin(program)))


def exec_pin(program: Path | None) -> str:
    """The same with what the file was recognised by, as warm.pin() gives it; raises OSError if it is gone."""
    check_built()
    found = find_pin(str(program), dict(os.environb), same_search=False) if program else ""
    return found or pin(generic_shim())


def generic_shim() -> str:
    """The shim for any binary, made by set-up; raises MachineLacks if it is not there."""
    check_built()
    if not os.access(GENERIC_SHIM, os.R_OK):
        raise MachineLacks("generic shim not built", GENERIC_SHIM, "run tools/setup")
    return GENERIC_SHIM


def check_built() -> None:
    if not objects_id():
        raise MachineLacks("libshim not built", BUILD, "run tools/setup")
