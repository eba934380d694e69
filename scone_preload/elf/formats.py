"""What the kernel runs besides ELF: `#!` lines and binfmt_misc registrations. Bytes in, values out.

The rules are the kernel's own: load_script of fs/binfmt_script.c, check_file and the entries' text of
fs/binfmt_misc.c. They are followed to the byte: where this file saw another interpreter than the kernel, a program
could run that nobody looked at.
"""

import os
import re
from collections.abc import Sequence

from scone_preload.frozen import Frozen

HEAD_SIZE = 256  # what the kernel looks at (BINPRM_BUF_SIZE)
_TERMINATOR = re.compile(rb"[ \t\0]")


class Format(Frozen):
    """One enabled registration of binfmt_misc: by the bytes at `offset` under `mask`, or by `extension`."""

    name: str
    interpreter: str
    fixed: bool  # flag F: the interpreter is the file that was opened at registration, whatever has its name now
    offset: int
    magic: bytes
    mask: bytes
    extension: bytes

    def matches(self, path: bytes, head: bytes) -> bool:
        """Does the kernel run a file of this name and these first bytes by it?"""
        if not self.magic:
            return b"." in path and path.rpartition(b".")[2] == self.extension
        found = head[:HEAD_SIZE].ljust(HEAD_SIZE, b"\0")[self.offset : self.offset + len(self.magic)]
        mask = self.mask or b"\xff" * len(self.magic)
        return len(found) == len(mask) and all(not (a ^ b) & m for a, b, m in zip(found, self.magic, mask, strict=True))


def parse_format(name: str, text: str) -> Format | None:
    """Return the registration that a file of binfmt_misc describes, None when it is disabled or no registration."""
    lines = dict(line.partition(" ")[::2] for line in text.splitlines())
    if "enabled" not in lines or "interpreter" not in lines:
        return None
    return Format(
        name=name,
        interpreter=lines["interpreter"],
        fixed="F" in lines.get("flags:", ""),
        offset=int(lines.get("offset", "0")),
        magic=bytes.fromhex(lines.get("magic", "")),
        mask=bytes.fromhex(lines.get("mask", "")),
        extension=os.fsencode(lines.get("extension", "").removeprefix(".")),
    )


def find_format(formats: Sequence[Format], path: str, head: bytes) -> Format | None:
    """Return the registration by which the kernel runs this file."""
    name = os.fsencode(path)
    return next((each for each in formats if each.matches(name, head)), None)


def script_interpreter(head: bytes) -> bytes | None:
    """Return the interpreter that the kernel opens for a `#!` file; None when that is no script to it."""
    head = head[:HEAD_SIZE].ljust(HEAD_SIZE, b"\0")
    newline = head.partition(b"\0")[0].find(b"\n")
    if newline < 0:
        start = head[2:].lstrip(b" \t")
        if not _TERMINATOR.search(start):
            return None  # the path may go on
        newline = HEAD_SIZE - 1
    line = head[2:newline].strip(b" \t")
    return _TERMINATOR.split(line, maxsplit=1)[0] if line else None
