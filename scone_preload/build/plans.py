"""From a program on disk to the text of its shim.c."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from scone_preload.build.analyses import cached_analysis
from scone_preload.build.warm import objects_id
from scone_preload.cache import Cache, open_cache
from scone_preload.codegen.shim_c import ShimPlan, choose_doors, shim_c
from scone_preload.elf.calls import ALL_CALLS, possible_calls
from scone_preload.elf.classify import Program, classify
from scone_preload.elf.closure import LD_CACHE, find_closure, find_libraries

DEFAULT_LOADER = Path("/lib64/ld-linux-x86-64.so.2")


@dataclass(frozen=True, slots=True)
class Plan:
    """The text of a shim.c, the hash that names it, the libshim it is for, and the files that it was made from."""

    source: str
    digest: str
    objects: str
    inputs: tuple[str, ...]


def plan_program(program: Program, environment: Mapping[bytes, bytes], cache: Cache | None) -> Plan:
    """Analyse a program and all that it loads; raises ValueError or OSError if some of that can't be read."""
    environ = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
    closure = find_closure(program.path, program.loader, environ)
    analyses = {library.identity: cached_analysis(cache, library) for library in closure.objects}
    draft = ShimPlan(
        binary=str(program.path),
        id=0,
        libraries=tuple((library, analyses[library.identity]) for library in closure.objects),
        calls=possible_calls(closure, analyses),
        doors=choose_doors(closure.objects),
    )
    starter = (Path(program.starter),) if program.starter else ()
    files = (*program.scripts, *(library.path for library in closure.objects), *starter, LD_CACHE)
    return _finish(draft, (str(path) for path in files if path.exists()))


def plan_generic(cache: Cache | None) -> Plan:
    """The shim for any binary: every call, no doors, the sites of this system's loader and libc."""
    libraries = find_libraries((str(DEFAULT_LOADER), "libc.so.6"))
    known = tuple((library, cached_analysis(cache, library)) for library in libraries)
    return _finish(ShimPlan(binary="", id=0, libraries=known, calls=ALL_CALLS, doors=()), ())


def plan_source(binary: Path) -> str:
    """See scone_preload.build.shim_source."""
    cache, _ = open_cache(os.environb)
    return plan_program(classify(binary), os.environb, cache).source


def _finish(draft: ShimPlan, inputs: Iterable[str]) -> Plan:
    """Name the plan by the hash of its text and of libshim, and write its id into the text."""
    objects = objects_id()
    digest = hashlib.sha256((shim_c(draft) + objects).encode()).hexdigest()
    final = replace(draft, id=int(digest[:16], 16))
    return Plan(shim_c(final), digest[:40], objects, tuple(inputs))
