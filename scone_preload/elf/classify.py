"""Can this file be run wrapped? Answers from its first bytes and its inode, with nothing but the standard library.

It is on the path of every start and every exec, so it imports no ELF library. Script rules are the kernel's
(fs/binfmt_script.c, fs/exec.c); field offsets are the ELF-64 specification's.
"""

import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

from scone_preload.elf.formats import Format, find_format, script_interpreter
from scone_preload.elf.rewritten import Record, read_record
from scone_preload.errors import BinaryNotFound, BinaryRefused, GainsPrivilege, NoFormat, NotRunnable
from scone_preload.frozen import Frozen
from scone_preload.paths import STARTER

HEAD_SIZE = 4096
SCRIPT_DEPTH_MAX = 5
ELFCLASS64, ELFDATA2LSB = 2, 1
ET_EXEC, ET_DYN = 2, 3
EM_386, EM_X86_64 = 3, 62
PT_DYNAMIC, PT_INTERP = 2, 3
MACHINES = {
    8: "MIPS",
    20: "PowerPC",
    21: "PowerPC64",
    22: "S390",
    40: "ARM",
    183: "AArch64",
    243: "RISC-V",
    258: "LoongArch",
}


class Program(Frozen):
    """A program that can be wrapped: `path` is the ELF file that will run, `scripts` the files that led to it;
    `starter` what the kernel runs in the loader's place, "" unless the program was rewritten."""

    path: Path
    loader: str
    scripts: tuple[Path, ...]
    starter: str = ""


def classify(path: Path, *, formats: Sequence[Format] = (), folder: Path | None = None) -> Program:
    """Follow `#!` lines and binfmt_misc `formats` from `path` to an ELF program, as the kernel does.

    `folder` is the working directory of the process that executes it, if that isn't ours. Raises BinaryNotFound or
    BinaryRefused with the remedy.
    """
    scripts: list[Path] = []
    while True:
        head = _read_head(path, scripts)
        found = find_format(formats, str(path), head)  # before all others, as the kernel asks them
        if not found and not head.startswith(b"#!"):
            loader, starter = _loader(path, head)
            return Program(path, loader, tuple(scripts), starter)
        scripts.append(path)
        if len(scripts) > SCRIPT_DEPTH_MAX:
            raise NotRunnable(
                "too many #! levels", str(scripts[0]), f"the kernel follows {SCRIPT_DEPTH_MAX}; shorten the chain"
            )
        path = (folder or Path()) / (_registered(path, found) if found else _interpreter(path, head))


def _read_head(path: Path, scripts: list[Path]) -> bytes:
    try:
        info = path.stat()
        head = _read_at(path, 0, HEAD_SIZE) if stat.S_ISREG(info.st_mode) else b""
    except FileNotFoundError:
        remedy = f"install it or mend the #! line of {scripts[-1]}" if scripts else "check the path"
        raise BinaryNotFound("no such program", str(path), remedy) from None
    except OSError as error:
        raise BinaryRefused(
            "can't be read, so not analysed", str(path), f"{error.strerror}; give read permission"
        ) from None
    if stat.S_ISDIR(info.st_mode):
        raise NotRunnable("a directory, not a program", str(path), "name a program inside it")
    if not stat.S_ISREG(info.st_mode):
        raise NotRunnable("not a regular file", str(path), "name a program file")
    if not os.access(path, os.X_OK):
        raise NotRunnable("not executable", str(path), "chmod +x it, or run it by its interpreter")
    _check_privilege(path, info)
    return head


def _check_privilege(path: Path, info: os.stat_result) -> None:
    """The loader ignores LD_PRELOAD for programs that gain privilege, so they would run unprotected."""
    kind = ""
    if info.st_mode & stat.S_ISUID:
        kind = "setuid program"
    elif info.st_mode & stat.S_ISGID and info.st_mode & stat.S_IXGRP:
        kind = "setgid program"
    elif _has_capabilities(path):
        kind = "program with file capabilities"
    if kind:
        raise GainsPrivilege(kind, str(path), "its loader ignores preloads; use a copy without the privilege")


def _has_capabilities(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def _interpreter(path: Path, head: bytes) -> Path:
    name = script_interpreter(head)
    if not name:
        remedy = "write the interpreter's path behind #!, within the first 255 bytes"
        raise (NoFormat if name is None else NotRunnable)("#! line without an interpreter", str(path), remedy)
    return Path(os.fsdecode(name))


def _registered(path: Path, found: Format) -> Path:
    if found.fixed:
        remedy = f"its interpreter was opened when binfmt_misc got it, so it can't be checked: run {found.interpreter}"
        raise BinaryRefused(f"file of the binfmt_misc format {found.name} with flag F", str(path), remedy)
    return Path(found.interpreter)


def _loader(path: Path, head: bytes) -> tuple[str, str]:
    """The program's PT_INTERP, after every check of the ELF header, and its starter if it was rewritten."""
    if not head.startswith(b"\x7fELF") or len(head) < 64:
        raise NoFormat("not an ELF program", str(path), "give a Linux program, or a script that starts with #!")
    kind, machine = struct.unpack_from("<HH", head, 16)
    _check_machine(path, head[4], head[5], machine)
    if kind not in (ET_EXEC, ET_DYN):
        raise NoFormat("ELF file that is no program", str(path), "it is an object or core file; link it first")
    segments = _segments(path, head)
    if PT_INTERP not in segments:
        raise BinaryRefused(*_no_loader(path, kind, PT_DYNAMIC in segments))
    loader, record = _name_at(path, *segments[PT_INTERP]), None
    if not _is_glibc(loader):
        record = _record(path)
        loader = _name_at(path, record.loader_at, record.loader_size) if record else loader
    if not _is_glibc(loader):
        raise BinaryRefused("not a glibc program", str(path), f"its loader is {loader}; use a build for glibc")
    return loader, record.starter if record else ""


def _name_at(path: Path, offset: int, size: int) -> str:
    return os.fsdecode(_read_at(path, offset, min(size, 4096)).rstrip(b"\0"))


def _is_glibc(loader: str) -> bool:
    return Path(loader).name.startswith("ld-linux-x86-64.so")


def _record(path: Path) -> Record | None:
    """What a rewritten program says of itself; the kernel will run its starter, which must be ours."""
    try:
        record = read_record(str(path))
    except ValueError as error:
        raise BinaryRefused("damaged rewritten program", str(path), f"{error}; rewrite its original again") from None
    if record and record.starter != STARTER:
        raise BinaryRefused(
            "rewritten by another installation",
            str(path),
            f"its starter is {record.starter}, not {STARTER}; rewrite {record.source} again",
        )
    return record


def _check_machine(path: Path, elf_class: int, encoding: int, machine: int) -> None:
    remedy = "use its 64-bit x86 build"
    if machine == EM_386:
        raise BinaryRefused("32-bit program", str(path), remedy)
    if machine != EM_X86_64 or encoding != ELFDATA2LSB:
        name = MACHINES.get(machine, f"machine {machine}")
        raise BinaryRefused(f"program for another architecture ({name})", str(path), "use its build for x86-64")
    if elf_class != ELFCLASS64:
        raise BinaryRefused("x32 program", str(path), remedy)


def _no_loader(path: Path, kind: int, dynamic: bool) -> tuple[str, str, str]:
    static = "no loader to preload into; use a dynamically linked build"
    if not dynamic:
        return "static binary", str(path), static
    if kind == ET_DYN:
        return "static-pie binary or shared library", str(path), static
    return "program without a loader (no PT_INTERP)", str(path), static


def _segments(path: Path, head: bytes) -> dict[int, tuple[int, int]]:
    """Segment type -> (file offset, size) of the last one of that type."""
    table_offset = int(struct.unpack_from("<Q", head, 32)[0])
    entry_size, count = struct.unpack_from("<HH", head, 54)
    if entry_size != 56:
        raise NoFormat("damaged ELF file", str(path), "its program headers make no sense; reinstall it")
    end = table_offset + 56 * count
    table = head[table_offset:end] if end <= len(head) else _read_at(path, table_offset, 56 * count)
    if len(table) < 56 * count:
        raise BinaryRefused("damaged ELF file", str(path), "it is cut short; reinstall it")
    found: dict[int, tuple[int, int]] = {}
    for at in range(0, 56 * count, 56):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", table, at)
        found[kind] = (offset, size)
    return found


def _read_at(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
