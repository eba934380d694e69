"""Writes rewritten programs, and says whether one still matches what it was made from."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import lief

from scone_preload import __version__
from scone_preload.build.provide import check_built
from scone_preload.build.shims import build_shim
from scone_preload.elf.classify import Program, classify
from scone_preload.elf.closure import find_closure
from scone_preload.elf.rewritten import Record, compose, read_record, restore
from scone_preload.errors import BinaryRefused, InternalError, MachineLacks, UserError
from scone_preload.paths import STARTER

AGAIN = "rewrite it again (scone-wrap --rewrite)"


def rewrite(
    binary: Path, out: Path, options: Sequence[str], policy: bytes | None, environment: Mapping[bytes, bytes]
) -> None:
    """Write at `out` a copy of `binary` that runs wrapped, with these options and policy; raises SconeError.

    Each option is one word (`--name` or `--name=value`), paths in them absolute. The shim is made as well.
    """
    check_built()
    if not os.access(STARTER, os.X_OK):
        raise MachineLacks("starter of rewritten programs not built", STARTER, "run tools/setup")
    program = _rewritable(binary)
    _check_target(binary, out)
    original = binary.read_bytes()
    record = Record()
    record.digest = hashlib.sha256(original).digest()
    record.starter, record.version, record.source = STARTER, __version__, str(binary.absolute())
    record.options = list(options)
    record.policy = policy
    record.policy_digest = hashlib.sha256(policy or b"").hexdigest()
    record.objects = list(_objects(program, environment))
    try:
        raw = compose(original, record)
    except ValueError as error:
        raise BinaryRefused("can't be rewritten", str(binary), f"{error}; start it with scone-wrap") from None
    with _new_file(out, raw, binary.stat().st_mode & 0o777) as name:
        _check_written(str(name), original)
        _check_libraries(binary, name, out, environment)
    build_shim(str(out), environment)


def _rewritable(binary: Path) -> Program:
    program = classify(binary)
    if program.scripts:
        raise BinaryRefused(
            "a script can't be rewritten", str(binary), f"rewrite its interpreter, {program.path}, and name that in #!"
        )
    if program.starter:
        record = read_record(str(binary))
        source = record.source if record else "its original"
        raise BinaryRefused("rewritten already", str(binary), f"rewrite {source}")
    return program


def _check_target(binary: Path, out: Path) -> None:
    """Only a rewritten program may be replaced, so that swapped names destroy nothing."""
    if not out.exists():
        return
    if out.is_dir():
        raise UserError("a directory, not a file", str(out), "name a file in it")
    if out.samefile(binary):
        raise UserError("would replace its own original", str(out), "write to another file, then move it there")
    with suppress(OSError, ValueError):
        if read_record(str(out)) is not None:
            return
    raise UserError("there is a file that is no rewritten program", str(out), "remove it, or write to another one")


@contextmanager
def _new_file(out: Path, raw: bytes, mode: int) -> Iterator[Path]:
    """The whole file beside its place, put there when all is well."""
    try:
        fd, name = tempfile.mkstemp(dir=out.parent, prefix=".new-")
    except OSError as error:
        raise UserError("can't write there", str(out), f"{error.strerror}; name another folder") from None
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        yield Path(name)
        Path(name).replace(out)
    except OSError as error:
        raise UserError("can't be written", str(out), f"{error.strerror}; name another file") from None
    finally:
        Path(name).unlink(missing_ok=True)


def _check_written(name: str, original: bytes) -> None:
    """An independent reader must see the original's segments, but for the interpreter's name."""
    before, after = lief.ELF.parse(list(original)), lief.ELF.parse(name)
    record = read_record(name)
    if before is None or after is None or record is None:
        raise InternalError("a rewritten program can't be read back", name, "please report it, with the program")
    loaded = [[(str(s.type), s.virtual_address, s.virtual_size) for s in each.segments] for each in (before, after)]
    interpreter = str(after.interpreter).rstrip("\0")
    if loaded[0] != loaded[1] or interpreter != STARTER or restore(Path(name).read_bytes(), record) != original:
        raise InternalError("a rewritten program is not its original", name, "please report it, with the program")


def _check_libraries(binary: Path, name: Path, out: Path, environment: Mapping[bytes, bytes]) -> None:
    """Libraries that are searched for beside the program ($ORIGIN) may not be beside its copy."""
    loader = classify(binary).loader
    here, there = (find_closure(path, loader, _decoded(environment)).missing for path in (binary, name))
    lost = sorted(set(there) - set(here))
    if lost:
        raise UserError("library not found from there", f"{out}: {', '.join(lost)}", f"write it into {binary.parent}")


def _objects(program: Program, environment: Mapping[bytes, bytes]) -> Iterator[tuple[str, str]]:
    """(SHA-256, path) of the loader and of each library that the program loads."""
    for library in find_closure(program.path, program.loader, _decoded(environment)).objects[1:]:
        yield _digest(library.path), str(library.path)


def differences(path: Path, environment: Mapping[bytes, bytes]) -> list[str]:
    """Return what of a rewritten program no longer matches, as `what: object: remedy`; raises UserError."""
    try:
        record = read_record(str(path))
    except OSError as error:
        raise UserError("can't be read", str(path), f"{error.strerror}; check the path") from None
    except ValueError as error:
        return [f"damaged: {path}: {error}; {AGAIN}", *_changed_policy(path)]
    if record is None:
        raise UserError("not a rewritten program", str(path), "name one that scone-wrap --rewrite wrote")
    raw = path.read_bytes()
    return [*_in_file(path, raw, record), *_of_installation(record), *_outside(path, record, environment)]


def _changed_policy(path: Path) -> Iterator[str]:
    """Whether it was the policy that changed, of a record whose checksum is wrong."""
    with suppress(ValueError):
        record = read_record(str(path), damaged=True)
        if record is not None:
            yield from _policy_in_file(path, record)


def _in_file(path: Path, raw: bytes, record: Record) -> Iterator[str]:
    if hashlib.sha256(restore(raw, record)).digest() != record.digest:
        yield f"damaged: {path}: it is not the original that it was made from; {AGAIN}"
    yield from _policy_in_file(path, record)
    if path.stat().st_mode & 0o6000:
        yield f"setuid or setgid: {path}: it will not start; chmod ug-s it"


def _policy_in_file(path: Path, record: Record) -> Iterator[str]:
    if record.policy is not None and hashlib.sha256(record.policy).hexdigest() != record.policy_digest:
        yield f"policy changed: {path}: it is not the one that was embedded; {AGAIN}"


def _of_installation(record: Record) -> Iterator[str]:
    if record.version != __version__:
        yield f"version: made by {record.version}: this is {__version__}; {AGAIN}"
    if record.starter != STARTER:
        yield f"installation: {record.starter}: this one's is {STARTER}; {AGAIN}"
    elif not os.access(STARTER, os.X_OK):
        yield f"starter gone: {STARTER}: run tools/setup"


def _outside(path: Path, record: Record, environment: Mapping[bytes, bytes]) -> Iterator[str]:
    if _original_digest(Path(record.source)) != record.digest.hex():
        yield f"original changed or gone: {record.source}: {AGAIN}"
    try:
        now = {name: digest for digest, name in _objects(classify(path), environment)}
    except (BinaryRefused, OSError, ValueError) as error:
        yield f"can't be analysed: {path}: {error}"
        return
    then = {name: digest for digest, name in record.objects}
    for name in sorted(now.keys() | then.keys()):
        if now.get(name) != then.get(name):
            what = "changed" if name in now and name in then else "new" if name in now else "no longer loaded"
            yield f"library {what}: {name}: {AGAIN}"


def _original_digest(path: Path) -> str:
    """The SHA-256 of a program, in hex, or of the original of a rewritten one; "" if it can't be read."""
    try:
        raw, record = path.read_bytes(), read_record(str(path))
    except (OSError, ValueError):
        return ""
    return hashlib.sha256(restore(raw, record) if record else raw).hexdigest()


def _digest(path: Path) -> str:
    """The SHA-256 of a file, in hex; "" if it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _decoded(environment: Mapping[bytes, bytes]) -> dict[str, str]:
    return {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
