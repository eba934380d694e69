"""P7: a shim whose file vanishes or is replaced while programs exec: none of them runs unwrapped."""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scone_preload import paths
from scone_preload.build.warm import pin
from scone_preload.runtime import wire
from tests.hostile.build import HERE, started

RUNS = 150
ATTACKER = """
#include <stdio.h>
#include <unistd.h>
int main(void) {
	static const char *const all[] = { "good", "bad", "good", "absent" };
	for (unsigned i = 0;; i++) {
		symlink(all[i % 4], "new");
		rename("new", "now");
		usleep(i * 7 % 60);
	}
}
"""


class Runtime:
    """A runtime host that lets everything go under the shim at one path, and counts HELLOs."""

    def __init__(self, shim: Path, known: str) -> None:
        self.control, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.answer = wire.build_exec_answer(error=0, shim=os.fsencode(shim), message=known.encode())
        self.hellos = 0

    def serve(self) -> None:
        """Answer until no wrapped process is left."""
        packet = b"first"
        while packet:
            packet, descriptors, _, _ = socket.recv_fds(self.control, wire.PACKET_MAX, 4)
            kind = struct.unpack_from("<H", packet, 4)[0] if packet else 0
            self.hellos += kind == wire.HELLO
            for descriptor in descriptors:
                with socket.socket(fileno=descriptor) as asker:
                    if kind == wire.EXEC:
                        asker.send(self.answer)
        self.control.close()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vanishing")
    quoted = [f"-iquote{where}" for where in (HERE.parent / "programs",)]
    subprocess.run(["gcc", "-O1", "-Wall", *quoted, HERE / "exec_victim.c", "-o", folder / "victim"], check=True)
    (folder / "attacker.c").write_text(ATTACKER)
    subprocess.run(["gcc", "-O1", folder / "attacker.c", "-o", folder / "attacker"], check=True)
    return folder


@pytest.fixture
def attacked(programs: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder where `now` is one with the shim, one with a file that no loader takes, or nothing."""
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    shutil.copy(paths.GENERIC_SHIM, tmp_path / "good" / "shim.so")
    (tmp_path / "bad" / "shim.so").write_text("this is no library\n")
    with subprocess.Popen([programs / "attacker"], cwd=tmp_path) as attacker:
        yield tmp_path
        attacker.kill()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_p7_no_program_runs_unwrapped_while_its_shim_comes_and_goes(programs: Path, attacked: Path, mode: str) -> None:
    good = attacked / "good" / "shim.so"
    runtime = Runtime(attacked / "now" / "shim.so", pin(str(good)).partition(" ")[0])
    listener = threading.Thread(target=runtime.serve)
    argv: list[Path | str] = [programs / "victim", "victim", str(RUNS), "0"]
    with started(argv, good, runtime.theirs, attacked, mode=mode, cost=0) as process:
        listener.start()
        out, err = process.communicate(timeout=120)
    listener.join()
    assert process.returncode == 0, (out, err[-2000:])
    refused = re.fullmatch(r"refused (\d+)\nok victim\n", out)
    assert refused, out
    assert int(refused[1]) > 0, "the attacker was never quick enough"
    assert runtime.hellos == RUNS + 1
