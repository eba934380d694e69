"""Reads which formats binfmt_misc has registered, as a process sees them: by every mount of it that it has.

A registration in a mount that the process hasn't can't be seen. It may run what no other format takes (that is refused
before the kernel is asked, see execs.py), or claim ELF files and scripts, whose programs then say no HELLO.
"""

import contextlib
import os
from pathlib import Path

from scone_preload.elf.classify import classify
from scone_preload.elf.formats import HEAD_SIZE, Format, find_format, parse_format
from scone_preload.errors import BinaryRefused

_OCTAL = {f"\\{code:03o}": chr(code) for code in (0o40, 0o11, 0o12, 0o134)}


def formats_of(pid: int | None = None) -> tuple[Format, ...]:
    """Return the enabled registrations that process `pid` (None: this one) sees; none when nothing can be read."""
    process = f"/proc/{'self' if pid is None else pid}"
    try:
        with open(f"{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line for line in file if " - binfmt_misc " in line]
    except OSError:
        return ()
    found: list[Format] = []
    for line in lines:
        with contextlib.suppress(OSError):
            found += _registrations(f"{process}/root{_path(line.split()[4])}")
    return tuple(found)


def check_start(path: str) -> None:
    """Raise BinaryRefused when the kernel would run `path`, or an interpreter on its way, by a registered format."""
    formats = formats_of()
    if not formats:
        return
    for each in classify(Path(path), formats=formats).scripts:
        with each.open("rb") as file:
            found = find_format(formats, str(each), file.read(HEAD_SIZE))
        if found:
            remedy = f"start what runs it: scone-wrap {found.interpreter} {each}"
            raise BinaryRefused(f"file of the binfmt_misc format {found.name}", str(each), remedy)


def _registrations(folder: str) -> list[Format]:
    with open(f"{folder}/status", encoding="ascii") as file:
        if file.read().strip() != "enabled":
            return []
    found: list[Format] = []
    for name in os.listdir(folder):
        if name not in ("register", "status"):
            with open(f"{folder}/{name}", encoding="utf-8", errors="surrogateescape") as file:
                each = parse_format(name, file.read())
            found += [each] if each else []
    return found


def _path(escaped: str) -> str:
    for code, character in _OCTAL.items():
        escaped = escaped.replace(code, character)
    return escaped
