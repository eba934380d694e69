"""P1 from outside: runs a command under strace and says from which code each system call entered the kernel.

strace reports the instruction pointer of every call that the kernel accepts (a call that Syscall User Dispatch turns
into SIGSYS is none). A process image is wrapped from its first prctl(PR_SET_SYSCALL_USER_DISPATCH) on; that call names
the gate. From then on each call must come from the gate, or, in a process that the shim made as its helper, from the
shim's section host_text. Before it only the dynamic loader may have run, with the calls of LOADER_CALLS.

CLI: `python -m tests.witness.witness -- COMMAND...` prints counts by origin; exit status 1 if a call came from
elsewhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

# What the loader (and the shim's constructor) may do before the doors are closed: map files, nothing that sends data.
LOADER_CALLS = frozenset((
    "execve", "execveat", "brk", "mmap", "munmap", "mprotect", "openat", "read", "pread64", "fstat", "newfstatat",
    "close", "access", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "getrandom", "readlink",
    "uname", "getcwd", "futex",
))  # fmt: skip
_LINE = re.compile(r"^(\d+) +\[([0-9a-f]+|\?+)\] (.*)$")
_CALL = re.compile(r"^(\w+)\(")
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>")
_CRASH = re.compile(r"^\+\+\+ killed by (SIGSEGV|SIGBUS|SIGILL|SIGSYS|SIGTRAP|SIGABRT)")
_SUPERSEDED = re.compile(r"^\+\+\+ superseded by execve in pid (\d+)")
_DISPATCH_ON = re.compile(r"^prctl\(0x3b, 0x1, (0x[0-9a-f]+), (0x[0-9a-f]+), ")
_RESULT = re.compile(r"= (\d+)(?: <[\d.]+>)?$")
_LIBRARY = re.compile(r'^openat\(AT_FDCWD, "([^"]+\.so[.\d]*)"')
_FORKS = frozenset(("clone", "clone3", "fork", "vfork"))
_SHARED = ("CLONE_THREAD",)
HELD_LOOK = 8  # libraries opened before an exec, of which one may be the shim


@dataclass(slots=True)
class Image:
    """One program image: from an execve to the next, or to its end. Threads share one; forked children copy it."""

    path: str
    from_wrapped: bool
    gate: range | None = None
    host: range = range(0)
    libraries: list[str] = field(default_factory=list)
    waiting: list[tuple[int, int, str]] = field(default_factory=list)


@dataclass(slots=True)
class Seen:
    """What the witness saw: counts by origin, and the calls that came from nowhere allowed."""

    by_origin: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    wrapped_images: list[str] = field(default_factory=list)
    traps: int = 0

    def __str__(self) -> str:
        counts = ", ".join(f"{origin} {count}" for origin, count in sorted(self.by_origin.items()))
        shown = "".join(f"\n  {line}" for line in self.violations[:20])
        images = ", ".join(f"{path} x{count}" for path, count in Counter(self.wrapped_images).most_common())
        return f"{counts}, traps {self.traps}\nwrapped: {images}\nviolations: {len(self.violations)}{shown}"


class Witness:
    """Reads strace's lines in order; `finish()` gives the testimony."""

    def __init__(self, text: Sequence[str]) -> None:
        self.lines = text
        self.parents = _parents(text)
        self.images: dict[int, Image] = {}
        self.unfinished: dict[int, str] = {}
        self.kinds: dict[int, str] = {}
        self.seen = Seen()

    def finish(self) -> Seen:
        """Reads everything and judges what never became wrapped."""
        for line in self.lines:
            match = _LINE.match(line)
            if match is not None:
                address = 0 if match[2].startswith("?") else int(match[2], 16)
                self._event(int(match[1]), address, match[3])
        for image in {id(image): image for image in self.images.values()}.values():
            self._close(image)
        return self.seen

    def _event(self, pid: int, address: int, what: str) -> None:
        if what.startswith("--- SIGSYS") and "SYS_USER_DISPATCH" in what:
            self.seen.traps += 1
            return
        crash = _CRASH.match(what)
        if crash is not None and self.kinds.get(pid) == "helper":
            self._violation(f"helper {pid} of {self._image_of(pid).path} died by {crash[1]}")
            return
        superseded = _SUPERSEDED.match(what)
        if superseded is not None:
            self.unfinished[pid] = self.unfinished.pop(int(superseded[1]), "")
            return
        call, resumed = _CALL.match(what), _RESUMED.match(what)
        if call is not None:
            self._call(pid, address, call[1], what)
        elif resumed is not None:
            what = self.unfinished.pop(pid, "") + what
        else:
            return
        if what.endswith(" ...>"):
            self.unfinished[pid] = what
        elif what.startswith("execve") and _ok(what):
            self._new_image(pid, what)

    def _call(self, pid: int, address: int, name: str, what: str) -> None:
        image = self._image_of(pid)
        library = _LIBRARY.match(what)
        if library is not None:
            image.libraries.append(library[1])
        dispatch = _DISPATCH_ON.match(what)
        if dispatch is not None and image.gate is None:
            self._becomes_wrapped(image, int(dispatch[1], 16), int(dispatch[2], 16))
        if image.gate is None:
            image.waiting.append((pid, address, what))
        else:
            self._judge(image, pid, address, name, what)

    def _becomes_wrapped(self, image: Image, start: int, size: int) -> None:
        # The address that strace shows is behind the instruction.
        image.gate = range(start + 2, start + size + 1)
        image.host = host_range(image.libraries, start)
        self.seen.wrapped_images.append(image.path)
        for pid, address, what in image.waiting:
            call = _CALL.match(what)
            name = call[1] if call else "?"
            if address in image.gate:
                self.seen.by_origin["shim start"] += 1
            else:
                self.seen.by_origin["loader"] += 1
                if name not in LOADER_CALLS:
                    self._violation(f"loader: {image.path}: {pid} {what}")
        image.waiting = []

    def _judge(self, image: Image, pid: int, address: int, name: str, what: str) -> None:
        kind = "gate" if image.gate and address in image.gate else "helper" if address in image.host else "elsewhere"
        self.seen.by_origin[kind] += 1
        if kind == "elsewhere":
            self._violation(f"{image.path}: {pid} [{address:x}] {what}")
        elif self.kinds.setdefault(pid, kind) != kind:
            self._violation(f"{image.path}: {pid} is both gate and helper: {what}")

    def _image_of(self, pid: int) -> Image:
        if pid not in self.images:
            parent, shares = self.parents.get(pid, (0, False))
            self.images[pid] = self._inherit(parent, shares)
        return self.images[pid]

    def _inherit(self, parent: int, shares: bool) -> Image:
        origin = self.images.get(parent)
        if origin is None:
            return Image("?", from_wrapped=False)
        if shares:
            return origin
        return Image(origin.path, origin.from_wrapped, origin.gate, origin.host, list(origin.libraries))

    def _new_image(self, pid: int, what: str) -> None:
        old = self._image_of(pid)
        if old.gate is None:
            self._close(old)
        path = re.search(r'execve(?:at)?\([^"]*"([^"]*)"', what)
        name = path[1] if path else "?"
        self.kinds.pop(pid, None)
        # The shim is opened before the exec, for the new image to load it by its descriptor.
        held = old.libraries[-HELD_LOOK:]
        self.images[pid] = Image(name, from_wrapped=old.gate is not None or old.from_wrapped, libraries=held)

    def _close(self, image: Image) -> None:
        """An image that ended unwrapped: the launcher's own, or one that escaped."""
        if image.gate is None and image.waiting:
            self.seen.by_origin["unwrapped image" if image.from_wrapped else "launcher"] += len(image.waiting)
            if image.from_wrapped:
                self._violation(f"never wrapped: {image.path} made {len(image.waiting)} calls: {image.waiting[-1][2]}")

    def _violation(self, text: str) -> None:
        self.seen.violations.append(text)


def _ok(what: str) -> bool:
    return re.search(r"\) += 0(?: <[\d.]+>)?$", what) is not None


def _parents(lines: Iterable[str]) -> dict[int, tuple[int, bool]]:
    """child -> (parent, whether it is a thread of it), from the results of the calls that make processes."""
    open_calls: dict[int, str] = {}
    found: dict[int, tuple[int, bool]] = {}
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        pid, what = int(match[1]), match[3]
        resumed = _RESUMED.match(what)
        if resumed is not None:
            what = open_calls.pop(pid, "") + what
        call = _CALL.match(what)
        if call is None or call[1] not in _FORKS:
            continue
        result = _RESULT.search(what)
        if result is None:
            open_calls[pid] = what
        else:
            found.setdefault(int(result[1]), (pid, any(flag in what for flag in _SHARED)))
    return found


def host_range(libraries: Sequence[str], gate_start: int) -> range:
    """Where the helper's code lies in an image whose gate starts at that address: found in the shim it opened."""
    for library in reversed(libraries):
        if not Path(library).is_file():
            continue
        with Path(library).open("rb") as file:
            elf = ELFFile(file)
            section, symbols = elf.get_section_by_name("host_text"), elf.get_section_by_name(".symtab")
            if section is None or not isinstance(symbols, SymbolTableSection):
                continue
            named = symbols.get_symbol_by_name("gate_start") or []
            start = gate_start - int(named[0]["st_value"]) + int(section["sh_addr"])
            return range(start + 2, start + section["sh_size"] + 1)
    return range(0)


def strace_command(trace: Path, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` and writes what the witness reads to `trace`."""
    return ["strace", "-f", "-i", "-qq", "-s", "16", "-e", "raw=prctl", "-e", "signal=all", "-o", str(trace), *command]


def read(trace: Path) -> Seen:
    """The testimony of a trace that strace_command() wrote."""
    return Witness(trace.read_text(errors="replace").splitlines()).finish()


def main(argv: Sequence[str]) -> int:
    """Runs a command and prints what was seen."""
    if argv[:1] == ["--"]:
        argv = argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory) / "trace"
        status = subprocess.run(strace_command(trace, argv), check=False).returncode
        testimony = read(trace)
    print(f"status {status}\n{testimony}", file=sys.stderr)
    return 1 if testimony.violations or not testimony.wrapped_images else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
