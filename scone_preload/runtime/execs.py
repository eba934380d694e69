"""Decides what happens when a wrapped process wants to execute a program.

Nothing is compiled here: the program gets its own shim if one is cached, else the generic one. A program that can't
be wrapped is refused. A file that isn't there, or that the kernel won't run, is left to the kernel, which gives the
natural error; should the kernel run it after all, it does so under the generic shim. A file whose format the kernel
wouldn't know gets its ENOEXEC here: the kernel may know formats (binfmt_misc) that we can't see.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from scone_preload.build.provide import exec_pin, exec_shim
from scone_preload.build.warm import find_pins, pin, pinned
from scone_preload.elf.classify import SCRIPT_DEPTH_MAX, classify
from scone_preload.elf.formats import HEAD_SIZE, find_format, script_interpreter
from scone_preload.errors import BinaryNotFound, BinaryRefused, GainsPrivilege, NoFormat, NotRunnable, SconeError
from scone_preload.runtime import wire
from scone_preload.runtime.following import followed
from scone_preload.runtime.places import exec_path, open_in_root, shares_root
from scone_preload.runtime.publish import readable_shim
from scone_preload.runtime.registered import formats_of

if TYPE_CHECKING:
    from scone_preload.policy.decision import Decision
    from scone_preload.runtime.governed import Authority
    from scone_preload.runtime.governing import Governor


def decide(message: wire.Exec, pid: int, authority: "Authority | None" = None) -> bytes:
    """Return the answer to EXEC for process `pid`, under the authority's policy if there is one."""
    nonce = 0
    try:
        if authority is not None:
            decision = authority.governor.may_exec(real_program(message, pid), pid)
            if decision.allowed and decision.action != "unwrapped":
                decision = interpreters_decision(authority.governor, Path(exec_path(message, pid)), pid) or decision
            if not decision.allowed:
                return wire.build_exec_answer(error=decision.errno)
            if decision.action == "unwrapped":
                return wire.build_exec_answer(error=0, unwrapped=True)
        found = shim_for(Path(exec_path(message, pid)), pid) if shares_root(pid) else foreign_shim(message, pid)
        if authority is not None:
            strict = authority.images.strict()
            nonce = authority.images.expect(pid, pins_for(exec_path(message, pid), pinned(found), strict))
    except NoFormat:
        return wire.build_exec_answer(error=errno.ENOEXEC)
    except GainsPrivilege as error:
        return wire.build_exec_answer(error=errno.EPERM, message=_words(error))
    except SconeError as error:
        return wire.build_exec_answer(error=errno.EACCES, message=_words(error))
    except FileNotFoundError as error:
        gone = BinaryRefused("shim not found", str(error.filename), "run tools/setup")
        return wire.build_exec_answer(error=errno.EACCES, message=_words(gone))
    except ProcessLookupError:  # the asker was killed meanwhile: nobody reads this
        return wire.build_exec_answer(error=errno.ESRCH)
    known, _, shim = found.partition(" ")
    return wire.build_exec_answer(error=0, shim=os.fsencode(shim), message=known.encode(), nonce=nonce)


def real_program(message: wire.Exec, pid: int) -> str:
    """Return the path of what is to be executed, its links followed as the process sees them."""
    path = exec_path(message, pid)
    return os.path.realpath(path) if path.startswith("/proc/") else followed(path, pid, last=True)


def interpreters_decision(governor: "Governor", path: Path, pid: int) -> "Decision | None":
    """Return the first denial among the programs that #! lines lead to, which are executed as well; None: there is
    none."""
    with contextlib.suppress(SconeError, OSError):
        program = classify(path)
        for interpreter in (*program.scripts, program.path)[1:]:
            decision = governor.may_exec(os.path.realpath(interpreter), pid)
            if not decision.allowed:
                return decision
    return None


def pins_for(path: str, shim: str, strict: bool) -> tuple[str, ...]:
    """Return what the image of a program may map, as far as it was analysed; the program itself and its shim always.

    Where nothing else may be mapped, a program that was never analysed is: its libraries, by the loader's rules.
    """
    found: list[str] = []
    with contextlib.suppress(SconeError, OSError):
        program = classify(Path(path))
        found += find_pins(str(program.path), dict(os.environb), same_search=False)
        if strict and not found:
            found += map(pin, closure_paths(program.path))
        found += map(pin, filter(None, (str(program.path), program.starter)))
    with contextlib.suppress(OSError):
        found.append(pin(shim))
    return tuple(found)


def closure_paths(program: Path) -> list[str]:
    """Return the files that the loader will map for a program; raises OSError where that can't be told."""
    from scone_preload.elf.closure import find_closure  # lazy: lief costs a second, and few execs come here

    try:
        closure = find_closure(program, classify(program).loader, {})
    except ValueError as error:
        raise OSError(str(error)) from error
    return [str(library.path) for library in closure.objects]


def shim_for(path: Path, pid: int) -> str:
    """Return the pin of the shim under which process `pid`, of this root, may execute `path`; raise SconeError."""
    try:
        path.stat()
        folder = Path(f"/proc/{pid}/cwd")  # of #! lines with a relative path
        found = exec_pin(classify(path, formats=formats_of(pid), folder=folder).path)
    except NoFormat:
        raise
    except (OSError, BinaryNotFound, NotRunnable):
        found = exec_pin(None)
    shim = readable_shim(Path(pinned(found)), pid)
    return found if str(shim) == pinned(found) else pin(str(shim))


def foreign_shim(message: wire.Exec, pid: int) -> str:
    """Return the pin of the shim for a process with its own root or mounts: the generic one, if it is visible there."""
    path = os.fsdecode(message.path)
    if not path.startswith("/"):
        path = f"{os.fsdecode(message.cwd)}/{path}" if message.dirfd == wire.AT_FDCWD else exec_path(message, pid)
    check_foreign(path, pid)
    shim = readable_shim(exec_shim(None), pid)
    if not same_file(shim, pid):
        raise BinaryRefused("shim not visible in this root", str(shim), "bind-mount its folder there")
    return pin(str(shim))


def check_foreign(path: str, pid: int) -> None:
    """Raise BinaryRefused when `path`, or what its #! lines lead to in that root, can't be wrapped."""
    formats = formats_of(pid)
    for _ in range(SCRIPT_DEPTH_MAX + 1):
        try:
            fd = open_in_root(pid, path)
        except OSError:
            return  # the kernel gives the natural error
        try:
            head = _head(Path(f"/proc/self/fd/{fd}"))
            found = find_format(formats, path, head)
            if found:
                raise BinaryRefused("binfmt_misc format not followed in another root", path, f"run {found.interpreter}")
            interpreter = _script_interpreter(path, head) if head.startswith(b"#!") else None
            if interpreter is None:
                starter = classify(Path(f"/proc/self/fd/{fd}")).starter
                if starter and not same_file(Path(starter), pid):
                    raise BinaryRefused("rewritten program without its starter", path, f"bind-mount {starter} there")
        except NoFormat:
            raise
        except (BinaryNotFound, NotRunnable):
            return
        except BinaryRefused as error:
            raise type(error)(error.rule, path, error.remedy) from None
        finally:
            os.close(fd)
        if interpreter is None:
            return
        path = interpreter


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_SIZE)
    except OSError:
        return b""


def _script_interpreter(path: str, head: bytes) -> str:
    name = script_interpreter(head)
    if not name:
        kind = NoFormat if name is None else NotRunnable
        raise kind("#! line without an interpreter", path, "write the interpreter's path behind #!")
    if not name.startswith(b"/"):
        raise BinaryRefused("#! line not followed in another root", path, "write the interpreter's whole path")
    return os.fsdecode(name)


def same_file(path: Path, pid: int) -> bool:
    """Does `path` name the same file in the root of process `pid` as here?"""
    try:
        fd = open_in_root(pid, str(path))
    except OSError:
        return False
    try:
        theirs, ours = os.fstat(fd), path.stat()
    finally:
        os.close(fd)
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _words(error: SconeError) -> bytes:
    return f"exec refused: {error}".encode(errors="surrogateescape")
