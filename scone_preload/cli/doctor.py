"""scone-doctor: what this machine offers, and what follows from what it lacks."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

from scone_preload.cache import open_cache
from scone_preload.errors import MachineLacks
from scone_preload.paths import cache_directories
from scone_preload.runtime import machine
from scone_preload.runtime.launch import check_kernel

USAGE = """\
Usage: scone-doctor [--json]

Prints what this machine offers to scone-wrap, and what follows from what it lacks.
Exit status: 0 programs can be wrapped here, 1 they can't.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked for: `needed` things that are not `present` make wrapping impossible."""

    what: str
    present: bool
    needed: bool
    here: str
    follows: str


def kernel() -> Finding:
    release = os.uname().release
    try:
        check_kernel(release)
    except MachineLacks as error:
        return Finding("kernel", False, True, f"Linux {release}", f"nothing can be wrapped: {error.remedy}")
    return Finding("kernel", True, True, f"Linux {release}", "")


def architecture() -> Finding:
    name = os.uname().machine
    follows = "" if name == "x86_64" else "nothing can be wrapped: only x86-64 is supported"
    return Finding("architecture", name == "x86_64", True, name, follows)


def libc() -> Finding:
    name, version = platform.libc_ver()
    follows = "" if name == "glibc" else "nothing can be wrapped: only glibc's loader is supported"
    return Finding("C library", name == "glibc", True, f"{name or 'unknown'} {version}".strip(), follows)


def dispatch() -> Finding:
    problem = machine.user_dispatch()
    follows = "nothing can be wrapped: a syscall that was not foreseen would go unseen; use Linux 5.11 or newer"
    return Finding("Syscall User Dispatch", not problem, True, problem or "works", follows if problem else "")


def fsgsbase() -> Finding:
    there = machine.fsgsbase()
    follows = "" if there else "nothing can be wrapped: the shim finds its threads by it; use Linux 5.9 or newer"
    return Finding("FSGSBASE", there, True, "works" if there else "off", follows)


def rings() -> Finding:
    problem = machine.io_uring()
    follows = "the helper makes plain calls instead, which costs about the same" if problem else ""
    return Finding("io_uring", not problem, False, problem or "works", follows)


def compiler() -> Finding:
    path = shutil.which("cc") or shutil.which("gcc")
    follows = "" if path else "programs run under the generic shim, not one of their own; install gcc"
    return Finding("C compiler", path is not None, False, path or "none", follows)


def cache() -> Finding:
    wanted = cache_directories(os.environb)[0]
    found, told = open_cache(os.environb)
    if found is None:
        return Finding("cache", False, False, told, "each start uses the generic shim, or builds anew")
    if str(found.directory) != wanted:
        follows = f"{found.directory} is used instead; make it a folder that only you can write to"
        return Finding("cache", False, False, f"{wanted} can't be used", follows)
    return Finding("cache", True, False, wanted, "")


def hardware() -> Finding:
    name = machine.confidential_hardware()
    return Finding("confidential guest", bool(name), False, name or "no", "" if name else machine.SIMULATION)


def witness() -> Finding:
    found = [name for name in ("strace", "perf") if shutil.which(name)]
    follows = "" if found else "nobody outside can be asked which syscalls are made; install strace"
    return Finding("outside witness", bool(found), False, ", ".join(found) or "none", follows)


LOOK: tuple[Callable[[], Finding], ...] = (
    kernel, architecture, libc, dispatch, fsgsbase, rings, compiler, cache, hardware, witness,
)  # fmt: skip


def works(findings: list[Finding]) -> bool:
    """Return whether programs can be wrapped."""
    return all(finding.present for finding in findings if finding.needed)


def table(findings: list[Finding]) -> str:
    """Return the findings for people."""
    lines = []
    for finding in findings:
        mark = "ok" if finding.present else "LACKS" if finding.needed else "lacks"
        lines.append(f"{mark:<6} {finding.what:<22} {finding.here}\n")
        if finding.follows:
            lines.append(f"{'':<6} {'':<22} -> {finding.follows}\n")
    verdict = "programs can be wrapped here" if works(findings) else "programs can NOT be wrapped here"
    return "".join(lines) + f"\n{verdict}\n"


def main() -> int:
    """Run the command line."""
    arguments = sys.argv[1:]
    if arguments in (["--help"], ["-h"]):
        sys.stdout.write(USAGE)
        return 0
    if arguments not in ([], ["--json"]):
        sys.stderr.write(f"scone-doctor: unknown arguments: {' '.join(arguments)}: see scone-doctor --help\n")
        return 125
    findings = [look() for look in LOOK]
    if arguments:
        report = {"works": works(findings), "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        sys.stdout.write(table(findings))
    return 0 if works(findings) else 1


if __name__ == "__main__":
    sys.exit(main())
