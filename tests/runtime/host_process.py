"""A runtime host in a process of its own, with the test in the place of the wrapped processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from scone_preload.runtime import wire

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys
from scone_preload.options import Options
from scone_preload.runtime.detaching import detach
from scone_preload.runtime.host import run_host
control, program, trace = map(int, sys.argv[1:4])
stats = {"none": None, "table": ""}.get(sys.argv[4], sys.argv[4])
target = {"none": None, "stderr": ""}.get(sys.argv[5], sys.argv[5])
error = detach({control, program, trace})
sys.exit(run_host(Options(stats=stats, trace=target), control, program, error, trace))
"""


class HostProcess:
    """`control` is the wrapped processes' end; `program` stands for the first process."""

    def __init__(self, *, stats: str = "none", trace: str = "none") -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.program = subprocess.Popen(["sleep", "1000"])
        pidfd = os.pidfd_open(self.program.pid)
        trace_fd = os.open(trace, os.O_WRONLY | os.O_CREAT, 0o600) if trace not in ("none", "stderr") else -1
        passed = [theirs.fileno(), pidfd, *([trace_fd] if trace_fd >= 0 else [])]
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(theirs.fileno()), str(pidfd), str(trace_fd), stats, trace],
            pass_fds=passed,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        theirs.close()
        for fd in passed[1:]:
            os.close(fd)

    def __enter__(self) -> "HostProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.control.close()
        self.end_program()
        self.process.wait(30)
        if self.process.stderr:
            self.process.stderr.close()

    def tell(self, packet: bytes) -> None:
        """Send a packet that wants no answer."""
        self.control.send(packet)

    def ask(self, packet: bytes) -> bytes:
        """Send a packet that wants an answer and return it; b"" when the host refuses to answer."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with mine:
            mine.settimeout(60)
            socket.send_fds(self.control, [packet], [theirs.fileno()])
            theirs.close()
            return mine.recv(wire.PACKET_MAX)

    def end_program(self) -> None:
        """The first process ends."""
        self.program.kill()
        self.program.wait()

    def end(self) -> str:
        """End everything, in order, and return what the host wrote to standard error."""
        self.end_program()
        self.control.close()
        assert self.process.stderr
        text = self.process.stderr.read().decode()
        assert self.process.wait(30) == 0, text
        return text
