"""Builds a shim whose host lies, the program that asks it to, and runs one under the other."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from scone_preload import paths
from scone_preload.build.objects import object_files
from scone_preload.build.plans import plan_generic
from scone_preload.build.toolchain import CIPHERS, COMMON, LINK, find_compiler
from tests.codegen.build import write_generated

HERE = Path(__file__).parent
GATES = ("gate_interruptible", "gate_frame")
WRAPPED = (*GATES, "ring_call", "ring_turn")
INCLUDES = [f"-I{paths.LIBSHIM}/enclave", f"-I{paths.LIBSHIM}/wire", f"-I{HERE}"]
ASYNC = {"sync": 0, "async": 1}
EXIT_DEAR = 4000  # cycles: every call that can leaves by the ring
PACKET = 65536
Victim: TypeAlias = "subprocess.Popen[str]"


def build_liar(folder: Path) -> Path:
    """The generic shim with the liar around its exits: the same objects otherwise."""
    compiler = find_compiler()
    assert compiler is not None
    source, liar, shim = folder / "shim.c", folder / "liar.o", folder / "libscone-liar.so"
    source.write_text(plan_generic(None).source)
    compiler.run([*COMMON, *INCLUDES, "-c", "-o", str(liar), str(HERE / "liar.c")])
    compiler.run([*COMMON, *INCLUDES, "-c", "-o", str(folder / "shim.o"), str(source)])
    wraps = [f"-Wl,--wrap={name}" for name in WRAPPED]
    objects = [str(path) for path in (folder / "shim.o", liar, *object_files(Path(paths.OBJECTS)))]
    compiler.run([*LINK, *wraps, "-o", str(shim), *objects, CIPHERS])
    return shim


def build_ring_liar(folder: Path) -> Path:
    """The generic shim whose helper is lying_twin.c instead of twin.c."""
    compiler = find_compiler()
    assert compiler is not None
    source, shim = folder / "shim.c", folder / "libscone-ring-liar.so"
    source.write_text(plan_generic(None).source)
    compiler.run([*COMMON, *INCLUDES, "-c", "-o", str(folder / "shim.o"), str(source)])
    compiler.run([*COMMON, *INCLUDES, "-c", "-o", str(folder / "ring_liar.o"), str(HERE / "ring_liar.c")])
    host = [f"-I{HERE}", f"-I{paths.LIBSHIM}/host"]
    compiler.run([*COMMON, *host, "-c", "-o", str(folder / "lying_twin.o"), str(HERE / "lying_twin.c")])
    honest = [path for path in object_files(Path(paths.OBJECTS)) if path.name != "host-twin.o"]
    objects = [folder / "shim.o", folder / "ring_liar.o", folder / "lying_twin.o", *honest]
    compiler.run(
        [*LINK, *(f"-Wl,--wrap={name}" for name in GATES), "-o", str(shim), *(str(path) for path in objects), CIPHERS]
    )
    return shim


def build_ring_victim(folder: Path) -> Path:
    """The program whose helper lies."""
    flags = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
    quoted = [f"-iquote{where}" for where in (HERE, HERE.parent / "programs")]
    subprocess.run(["gcc", *flags, *quoted, HERE / "ring_victim.c", "-o", folder / "ring_victim"], check=True)
    return folder / "ring_victim"


def build_victim(folder: Path) -> Path:
    """The program that arms lies and looks at what it was given; it has the tables of the spec, too."""
    write_generated(folder)
    generated = ("calls.gen.c", "hostile.gen.c", "stubs.c", "believers.c")
    sources = [HERE / "victim.c", *(folder / name for name in generated)]
    flags = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-Wno-nonnull", "-Wno-stringop-overflow"]
    # -iquote: <signal.h> must not be the enclave's.
    quoted = [f"-iquote{where}" for where in (f"{paths.LIBSHIM}/enclave", folder, HERE, HERE.parent / "programs")]
    done = subprocess.run(
        ["gcc", *flags, *quoted, *sources, "-o", folder / "victim"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "victim"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a victim ended, and the runtime's events about refused replies."""

    status: int
    out: str
    err: str
    refused: int


def started(argv: list[Path | str], shim: Path, control: socket.socket, cwd: Path, *, mode: str, cost: int) -> Victim:
    """A process of `argv` as scone-wrap would start it, in a session of its own; `control` is its control socket."""
    variable = f"3,{control.fileno()},0,{ASYNC[mode]},{cost},16,1"
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env={"LD_PRELOAD": str(shim), "SCONE_SHIM": variable},
        pass_fds=[control.fileno()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    control.close()
    return process


def run_victim(shim: Path, victim: Path, case: str, mode: str, cwd: Path) -> Ending:
    """Runs one case as scone-wrap would start it, with a runtime that only listens."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    cost = EXIT_DEAR if mode == "async" else 0
    process = started([victim, case], shim, theirs, cwd, mode=mode, cost=cost)
    refused: list[bytes] = []
    listener = threading.Thread(target=listen, args=(ours, refused))
    listener.start()
    out, err = process.communicate(timeout=120)
    listener.join()
    return Ending(process.returncode, out, err, len(refused))


def listen(control: socket.socket, refused: list[bytes]) -> None:
    """Counts refusals until no wrapped process is left, and closes `control`; questions get no answer."""
    packet = b"first"
    while packet:
        packet, descriptors, _, _ = socket.recv_fds(control, PACKET, 4)
        for descriptor in descriptors:
            os.close(descriptor)
        if b"the host's reply is refused" in packet:
            refused.append(packet)
    control.close()
