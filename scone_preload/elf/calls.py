"""Which syscalls a closure can make: as far as proved, else all.

libc and the loader make most calls, by sites whose numbers are proved. What takes that proof away makes every call
possible: an unproved site elsewhere, a program that passes numbers to `syscall`, code that isn't known yet (dlopen,
and what libc itself loads for name services and character sets).
"""

from collections.abc import Iterable, Mapping

from scone_preload.elf.model import Analysis, Closure, Library

CALL_COUNT = 512
ALL_CALLS = frozenset(range(CALL_COUNT))
# How a process ends, restarts a call and leaves a handler: possible for every program.
ALWAYS = frozenset({15, 60, 219, 231})
# Sites of unproved number that the C library is known to have, and what they make: `syscall` itself (counted only if
# imported), and two that repeat a set*id call in every thread; in the loader, the futex call of an inlined lock.
UNPROVED_MAX = {"libc.so.6": 3, "ld-linux-x86-64.so.2": 1}
REPEATED = frozenset({105, 106, 113, 114, 116, 117, 119, 202})
LOADS_CODE = frozenset({"syscall", "dlopen", "dlmopen", "iconv_open"})
NAME_SERVICE_PREFIXES = (
    *("getaddrinfo", "getnameinfo", "gethostby", "getnetby", "getproto", "getserv", "getpw", "getgr", "getsp"),
    *("getaliasby", "getrpcby", "initgroups", "innetgr", "setnetgrent", "getpublickey", "ether_"),
)


def is_c_library(library: Library) -> bool:
    """True for the parts of glibc that every program shares."""
    return library.name in UNPROVED_MAX


def possible_calls(closure: Closure, analyses: Mapping[str, Analysis]) -> frozenset[int]:
    """Numbers of the calls that the closure can make; `analyses` by Library.identity."""
    if closure.missing:
        return ALL_CALLS
    calls = set(ALWAYS)
    for library in closure.objects:
        if not is_c_library(library) and _loads_code(library.imports):
            return ALL_CALLS
        analysis = analyses[library.identity]
        proofs = [site.numbers for site in analysis.sites] + [left.numbers for left in analysis.unpatched]
        unproved = proofs.count(())
        if unproved > UNPROVED_MAX.get(library.name, 0):
            return ALL_CALLS
        if unproved:
            calls |= REPEATED
        calls.update(number for numbers in proofs for number in numbers)
    return frozenset(call for call in calls if call < CALL_COUNT)


def _loads_code(imports: Iterable[str]) -> bool:
    return any(name in LOADS_CODE or name.startswith(NAME_SERVICE_PREFIXES) for name in imports)
