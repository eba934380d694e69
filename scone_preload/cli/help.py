"""The help of scone-wrap, from its table of options."""

import textwrap

from scone_preload.cli.arguments import OPTIONS, SHORT

INTRODUCTION = """\
Usage: scone-wrap [options] BINARY [ARGS...]

Runs BINARY, unchanged, so that every syscall it makes crosses a checked boundary: nothing the machine answers is
used before it was checked. Its children, and what they execute, are wrapped too. Exit status, signals and terminal
are as without scone-wrap. Options behind BINARY belong to BINARY.

Examples:
  scone-wrap redis-server --port 7000
  scone-wrap --stats /bin/ls -l         what crossed the boundary, at the end
  scone-wrap --trace=calls.txt curl http://127.0.0.1/
  scone-wrap --syscalls sync nginx

Options:
"""

MODES = """\
Two modes: outside of a TDX or SEV-SNP guest this is a SIMULATION. Every check works, but memory is protected only as
any Linux process's is: whoever is root here can read it. Use it to develop and to test, not to keep secrets from the
machine's owner. Inside such a guest the hardware keeps the guest's memory from the machine under it.
This machine: {mode}.

"""

ENDING = """\
Not wrapped but refused: static, setuid and 32-bit programs, also when a wrapped program executes them.

Exit status: the program's own; 127 BINARY not found, 126 found but not runnable or not wrappable, 125 wrong options
or a machine that lacks what is needed, 124 the host answered what can't be true, 123 an internal error, 120 the
program was stopped, with a message, because it could not go on protected.

scone-doctor tells what this machine offers and what follows from what it lacks.
"""


def help_text(mode: str) -> str:
    """Return the whole help; `mode` says which mode runs on this machine."""
    return INTRODUCTION + "".join(map(_row, OPTIONS)) + "\n" + MODES.format(mode=mode) + ENDING


def _row(option: tuple[str, str, tuple[str, ...], str]) -> str:
    name, value, _, text = option
    short = next((f"{letter}, " for letter, long in SHORT.items() if long == name), "")
    head = f"  {short}{name}{'' if value.startswith('[') or not value else ' '}{value}"
    lines = textwrap.wrap(text, 78)
    return "".join(f"{head if at == 0 else '':<27} {line}\n" for at, line in enumerate(lines))
