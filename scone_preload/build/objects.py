"""Compiles libshim to objects, each only when what it is made from has changed.

An object's key is the hash of compiler, flags, its source and every header; it lies beside the object. The set's
identity, in objects.id, also covers the Python that generates shims: it is part of what names a cached shim.

Programs may start meanwhile, or after a build that failed: shims are linked from a copy of the last whole set, in a
folder named by its identity. objects.id is replaced last.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scone_preload.build.toolchain import COMMON, LINK, Compiler, compile_arguments
from scone_preload.cache import write_atomically
from scone_preload.errors import MachineLacks

JOBS = 2
GENERATORS = ("elf", "codegen", "build")
SIDES = ("enclave", "host", "volume")
OUTSIDE = ("library.c",)  # of libshim/volume: for code with a libc


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders that one build reads and writes."""

    root: Path
    libshim: Path
    generated: Path
    objects: Path
    objects_id: Path

    def includes(self, side: str) -> list[Path]:
        own = [self.libshim / side, self.libshim / "wire"]
        return own if side == "volume" else [*own, self.generated]


@dataclass(frozen=True, slots=True)
class _Job:
    source: Path
    target: Path
    arguments: list[str]
    key: str


def build_objects(layout: Layout, compiler: Compiler, say: Callable[[str], None]) -> str:
    """Compile what has changed, remove what has no source any more; returns the set's identity."""
    layout.objects.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(layout, compiler)
    stale = [job for job in jobs if not job.target.exists() or _stored_key(job.target) != job.key]
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(lambda job: _compile(job, compiler, say), stale))
    wanted = {job.target.name for job in jobs}
    for path in layout.objects.glob("*.o"):
        if path.name not in wanted:
            path.unlink()
            _key_file(path).unlink(missing_ok=True)
    say(f"objects: {len(stale)} of {len(jobs)} compiled")
    identity = _digest([*(job.key for job in jobs), *LINK, compiler.version, _generators(layout)])[:32]
    _publish(layout, identity)
    return identity


def whole_set(objects: Path, identity: str) -> Path:
    """The folder with the objects of that identity: none of them changes any more."""
    return objects.with_name(f"{objects.name}-{identity}")


def object_files(objects: Path) -> list[Path]:
    """The objects that every shim is linked with; raises MachineLacks if they are not there."""
    found = sorted(objects.glob("*.o"))
    if not found:
        raise MachineLacks("libshim not built", str(objects), "run tools/setup")
    return found


def _jobs(layout: Layout, compiler: Compiler) -> list[_Job]:
    return [_job(layout, compiler, side, source) for side in SIDES for source in _sources(layout, side)]


def _sources(layout: Layout, side: str) -> list[Path]:
    """C and assembly of one side; generated C belongs to the enclave unless its name begins with host_, and to no side
    if it is for tests (hostile)."""
    own = [path for pattern in ("*.c", "*.S") for path in (layout.libshim / side).glob(pattern)]
    if side == "volume":
        return sorted(path for path in own if path.name not in OUTSIDE)
    generated = [path for path in layout.generated.glob("*.gen.c") if not path.name.startswith("hostile")]
    of_side = [path for path in generated if path.name.startswith("host_") == (side == "host")]
    return sorted(own + of_side)


def _job(layout: Layout, compiler: Compiler, side: str, source: Path) -> _Job:
    target = layout.objects / f"{side}-{source.stem}{'-asm' if source.suffix == '.S' else ''}.o"
    arguments = compile_arguments(source, target, layout.includes(side), layout.root)
    folders = [*layout.includes(side), *([layout.libshim / "volume"] if side == "enclave" else [])]
    headers = [path for folder in folders for path in sorted(folder.glob("*.h"))]
    named = [os.path.relpath(path, layout.root) for path in (source, *headers)]
    texts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (source, *headers)]
    return _Job(source, target, arguments, _digest([compiler.version, *COMMON, *named, *texts]))


def _compile(job: _Job, compiler: Compiler, say: Callable[[str], None]) -> None:
    say(f"compile {job.source.name}")
    _key_file(job.target).unlink(missing_ok=True)
    compiler.run(job.arguments)
    write_atomically(_key_file(job.target), job.key.encode())


def _publish(layout: Layout, identity: str) -> None:
    """Make the set the one that shims are linked from; the one before stays, for starts that are linking now."""
    before = layout.objects_id.read_text().strip() if layout.objects_id.exists() else ""
    target = whole_set(layout.objects, identity)
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as folder:
            whole = shutil.copytree(layout.objects, Path(folder, "set"), ignore=shutil.ignore_patterns("*.key"))
            whole.rename(target)
    write_atomically(layout.objects_id, identity.encode() + b"\n")
    for path in target.parent.glob(f"{layout.objects.name}-*"):
        if path.name not in (target.name, whole_set(layout.objects, before).name):
            shutil.rmtree(path)


def _generators(layout: Layout) -> str:
    sources = [path for name in GENERATORS for path in sorted((layout.root / "scone_preload" / name).rglob("*.py"))]
    return _digest([hashlib.sha256(path.read_bytes()).hexdigest() for path in sources])


def _key_file(target: Path) -> Path:
    return target.with_suffix(".key")


def _stored_key(target: Path) -> str:
    try:
        return _key_file(target).read_text()
    except (OSError, ValueError):
        return ""


def _digest(words: list[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()
