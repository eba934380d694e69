"""The cold path: analyse, generate, compile, link, cache. Imported only when a start can't be answered by the index."""

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from scone_preload.build.objects import object_files, whole_set
from scone_preload.build.plans import Plan, plan_program
from scone_preload.build.provide import generic_shim
from scone_preload.build.toolchain import CIPHERS, COMMON, LINK, Compiler, find_compiler
from scone_preload.build.warm import index_file, index_text
from scone_preload.cache import Cache, open_cache, write_atomically
from scone_preload.elf.classify import classify
from scone_preload.errors import BinaryRefused
from scone_preload.log import LOG
from scone_preload.paths import LIBSHIM, OBJECTS

COMPILER_FOLDER = "/usr/bin"  # pinned where the generic shim stands in: installing a compiler changes it


def build_shim(path: str, environment: Mapping[bytes, bytes]) -> str:
    """See scone_preload.build.provide.provide_shim."""
    program = classify(Path(path))
    cache, told = open_cache(environment)
    if told:
        _say(told)
    if cache is None:
        _say("every start uses the generic shim until then")
        return generic_shim()
    try:
        plan = plan_program(program, environment, cache)
    except (OSError, ValueError) as error:
        raise BinaryRefused("can't be analysed", path, f"{error}; reinstall it") from error
    shim, inputs = _shim_file(cache, plan)
    absolute = str(Path(path).absolute())
    text = index_text(plan.objects, environment, shim, [absolute, *inputs])
    with suppress(OSError):  # without an index entry the next start analyses again
        write_atomically(Path(index_file(str(cache.directory), absolute)), text.encode(errors="surrogateescape"))
    return shim


def link_shim(plan: Plan, compiler: Compiler, objects: Path, libshim: Path) -> bytes:
    """Compile the plan's shim.c and link it with its libshim; raises InternalError with the compiler's words."""
    with tempfile.TemporaryDirectory(prefix="scone-shim-") as folder:
        source, shim_object, shim = (Path(folder, name) for name in ("shim.c", "shim.o", "shim.so"))
        source.write_text(plan.source)
        includes = [f"-I{libshim / part}" for part in ("enclave", "wire")]
        mapped = f"-ffile-prefix-map={folder}=."
        compiler.run([*COMMON, mapped, *includes, "-c", "-o", str(shim_object), str(source)])
        inputs = [str(path) for path in (shim_object, *object_files(whole_set(objects, plan.objects)))]
        compiler.run([*LINK, "-o", str(shim), *inputs, CIPHERS])
        return shim.read_bytes()


def _shim_file(cache: Cache, plan: Plan) -> tuple[str, tuple[str, ...]]:
    """The shim's path, built if it is absent or damaged, and the files that the choice rests on."""
    name = f"{plan.digest}.so"
    if not cache.read("shims", name):
        compiler = find_compiler()
        if compiler is None:
            _say("no C compiler found, so the generic shim is used; install gcc for one of the program's own")
            return generic_shim(), (*plan.inputs, COMPILER_FOLDER)
        try:
            _build_once(cache, plan, compiler, name)
        except OSError as error:
            _say(f"the shim can't be kept in {cache.directory} ({error.strerror}), so the generic one is used")
            return generic_shim(), (*plan.inputs, COMPILER_FOLDER)
    return str(cache.path("shims", name)), plan.inputs


def _build_once(cache: Cache, plan: Plan, compiler: Compiler, name: str) -> None:
    with cache.lock(name):
        if not cache.read("shims", name):  # another start may have made it while this one waited
            cache.write("shims", name, link_shim(plan, compiler, Path(OBJECTS), Path(LIBSHIM)))


def _say(message: str) -> None:
    LOG.write(message, "build", "warning")
