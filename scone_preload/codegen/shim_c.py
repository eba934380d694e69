"""Emits shim.c: what libshim is told about one binary (libshim/enclave/shim_abi.h), as C that a person can read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from scone_preload.elf.calls import ALL_CALLS, CALL_COUNT, is_c_library
from scone_preload.elf.model import Analysis, Library, Site

# libc symbols that are nothing but their syscall: number and arguments one to one. recv and send are not: the kernel's
# calls have two more arguments, which must be 0.
DOORS = {
    "read": 0,
    "write": 1,
    "close": 3,
    "poll": 7,
    "lseek": 8,
    "lseek64": 8,
    "pread": 17,
    "pread64": 17,
    "pwrite": 18,
    "pwrite64": 18,
    "readv": 19,
    "writev": 20,
    "madvise": 28,
    "getpid": 39,
    "sendfile": 40,
    "sendfile64": 40,
    "connect": 42,
    "accept": 43,
    "sendto": 44,
    "recvfrom": 45,
    "sendmsg": 46,
    "recvmsg": 47,
    "shutdown": 48,
    "fsync": 74,
    "fdatasync": 75,
    "ftruncate": 77,
    "ftruncate64": 77,
    "epoll_wait": 232,
    "epoll_ctl": 233,
    "accept4": 288,
}

HEAD = """\
/*
 * shim.c - generated for {binary}; don't edit.
 *
 * Owns: what libshim is told about this binary: its calls, the syscall sites of its libraries, its doors.
 * Read by: start.c, patch.c (see shim_abi.h).
 */
#include "shim_abi.h"
"""


@dataclass(frozen=True, slots=True)
class ShimPlan:
    """All that one shim.c says; `binary` is empty for the generic shim."""

    binary: str
    id: int
    libraries: tuple[tuple[Library, Analysis], ...]
    calls: frozenset[int]
    doors: tuple[str, ...]


def choose_doors(objects: Iterable[Library]) -> tuple[str, ...]:
    """Symbols of DOORS that something outside libc imports and nothing outside libc defines itself."""
    own = [library for library in objects if not is_c_library(library)]
    wanted = {name for library in own for name in library.imports}
    replaced = {name for library in own for name in library.exports - library.imports}
    return tuple(name for name in DOORS if name in wanted and name not in replaced)


def shim_c(plan: ShimPlan) -> str:
    """The text of shim.c."""
    parts = [HEAD.format(binary=_comment(plan.binary) or "any binary (generic)")]
    # A library without sites is named too: one that is not named costs each start a question to the runtime host.
    known = [(library, analysis) for library, analysis in plan.libraries if analysis.sites or library.build_id]
    for index, (library, analysis) in enumerate(known):
        parts.append(_sites(index, library, analysis))
    parts.append(_libraries(known))
    parts.append(_image(plan, len(known)))
    parts.append(_doors(plan.doors))
    return "\n".join(part for part in parts if part)


def _sites(index: int, library: Library, analysis: Analysis) -> str:
    lines = [f"/* {_comment(library.name)}: {len(analysis.sites)} syscalls patched"]
    for left in analysis.unpatched:
        lines.append(f" * {left.address:#x} left to the trap: {left.reason}")
    lines.append(" */")
    if not analysis.sites:
        return "\n".join([*lines, ""])
    lines.append(f"static const struct site sites_{index}[] = {{")
    lines += [_site(site) for site in analysis.sites]
    return "\n".join([*lines, "};", ""])


def _site(site: Site) -> str:
    code = ", ".join(f"0x{byte:02x}" for byte in site.code)
    calls = " ".join(map(str, site.numbers)) or "?"
    return f"\t{{ {site.offset:#08x}, {len(site.code):2}, {site.syscall_at:2}, {{ {code} }} }},\t/* {calls} */"


def _libraries(libraries: list[tuple[Library, Analysis]]) -> str:
    if not libraries:
        return ""
    lines = ["static const struct site_library libraries[] = {"]
    for index, (library, analysis) in enumerate(libraries):
        build_id = ", ".join(f"0x{byte:02x}" for byte in library.build_id) or "0"
        lines += [
            "\t{",
            f"\t\t.name = {_quoted(library.name)},",
            f"\t\t.build_id = {{ {build_id} }},",
            f"\t\t.build_id_size = {len(library.build_id)},",
            f"\t\t.site_count = {len(analysis.sites)},",
            f"\t\t.sites = {f'sites_{index}' if analysis.sites else '0'},",
            "\t},",
        ]
    return "\n".join([*lines, "};", ""])


def _image(plan: ShimPlan, library_count: int) -> str:
    words = [sum(1 << bit for bit in range(64) if at + bit in plan.calls) for at in range(0, CALL_COUNT, 64)]
    rows = [", ".join(f"0x{word:016x}" for word in words[at : at + 4]) for at in range(0, len(words), 4)]
    said = "every call" if plan.calls == ALL_CALLS else f"{len(plan.calls)} calls"
    return "\n".join(
        [
            "const struct shim_image shim_image = {",
            "\t.abi_version = SHIM_ABI_VERSION,",
            f"\t.library_count = {library_count},",
            f"\t.libraries = {'libraries' if library_count else '0'},",
            f"\t.binary = {_quoted(plan.binary)},",
            f"\t.id = 0x{plan.id:016x},",
            f"\t.calls = {{\t/* {said} */",
            *(f"\t\t{row}," for row in rows),
            "\t},",
            "};",
            "",
        ]
    )


def _doors(names: tuple[str, ...]) -> str:
    lines = [f"DOOR({name}, {DOORS[name]});" for name in names]
    return "\n".join([*lines, ""]) if lines else ""


def _comment(text: str) -> str:
    """The text without anything that could end a comment or a line."""
    return "".join(_safe(text)).replace("*/", "*?")


def _safe(text: str) -> Iterator[str]:
    for letter in text:
        yield letter if letter.isascii() and letter.isprintable() else "?"


def _quoted(text: str) -> str:
    """A C string literal of the path's bytes."""
    body = ""
    for byte in text.encode(errors="surrogateescape"):
        plain = 32 <= byte < 127 and byte not in b'"\\?'
        body += chr(byte) if plain else f"\\{byte:03o}"
    return f'"{body}"'
