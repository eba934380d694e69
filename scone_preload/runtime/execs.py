"""Decides what happens when a wrapped process wants to execute a program.

Nothing is compiled here: the program gets its own shim if one is cached, else the generic one. A program that can't
be wrapped is refused. A file that isn't there, or that the kernel won't run, is left to the kernel, which gives the
natural error; should the kernel run it after all, it does so under the generic shim.
"""

import errno
import os
from pathlib import Path

from scone_preload.build.provide import exec_shim
from scone_preload.elf.classify import HEAD_SIZE, SCRIPT_DEPTH_MAX, SCRIPT_LINE_MAX, classify
from scone_preload.errors import BinaryNotFound, BinaryRefused, GainsPrivilege, NotRunnable, SconeError
from scone_preload.runtime import wire
from scone_preload.runtime.places import exec_path, open_in_root, shares_root
from scone_preload.runtime.publish import readable_shim


def decide(message: wire.Exec, pid: int) -> bytes:
    """Return the answer to EXEC for process `pid`."""
    try:
        shim = shim_for(Path(exec_path(message, pid)), pid) if shares_root(pid) else foreign_shim(message, pid)
    except GainsPrivilege as error:
        return wire.build_exec_answer(error=errno.EPERM, message=_words(error))
    except SconeError as error:
        return wire.build_exec_answer(error=errno.EACCES, message=_words(error))
    except ProcessLookupError:  # the asker was killed meanwhile: nobody reads this
        return wire.build_exec_answer(error=errno.ESRCH)
    return wire.build_exec_answer(error=0, shim=os.fsencode(shim))


def shim_for(path: Path, pid: int) -> Path:
    """Return the shim under which process `pid`, of this root, may execute `path`; raise SconeError."""
    try:
        path.stat()
        shim = exec_shim(classify(path).path)
    except (OSError, BinaryNotFound, NotRunnable):
        shim = exec_shim(None)
    return readable_shim(shim, pid)


def foreign_shim(message: wire.Exec, pid: int) -> Path:
    """Return the shim for a process with a root or mounts of its own: the generic one, if it is visible there."""
    path = os.fsdecode(message.path)
    if not path.startswith("/"):
        path = f"{os.fsdecode(message.cwd)}/{path}" if message.dirfd == wire.AT_FDCWD else exec_path(message, pid)
    check_foreign(path, pid)
    shim = readable_shim(exec_shim(None), pid)
    if not same_file(shim, pid):
        raise BinaryRefused("shim not visible in this root", str(shim), "bind-mount its folder there")
    return shim


def check_foreign(path: str, pid: int) -> None:
    """Raise BinaryRefused when `path`, or what its #! lines lead to in that root, can't be wrapped."""
    for _ in range(SCRIPT_DEPTH_MAX + 1):
        try:
            fd = open_in_root(pid, path)
        except OSError:
            return  # the kernel gives the natural error
        try:
            interpreter = _script_interpreter(Path(f"/proc/self/fd/{fd}"))
            if interpreter is None:
                starter = classify(Path(f"/proc/self/fd/{fd}")).starter
                if starter and not same_file(Path(starter), pid):
                    raise BinaryRefused("rewritten program without its starter", path, f"bind-mount {starter} there")
        except (BinaryNotFound, NotRunnable):
            return
        except BinaryRefused as error:
            raise type(error)(error.rule, path, error.remedy) from None
        finally:
            os.close(fd)
        if interpreter is None:
            return
        path = interpreter


def _script_interpreter(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_SIZE)
    except OSError:
        return None
    if not head.startswith(b"#!"):
        return None
    words = head[2:SCRIPT_LINE_MAX].partition(b"\n")[0].split()
    if not words or not words[0].startswith(b"/"):
        raise BinaryRefused("#! line not followed in another root", str(path), "write the interpreter's whole path")
    return os.fsdecode(words[0])


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
