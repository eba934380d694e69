"""The spec believes what a true kernel says: results and errnos of real programs, recorded from outside with strace."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scone_preload.spec import load
from scone_preload.spec.model import Call, ResultKind, Route

LINE = re.compile(r"^\d+ +\[ *(\d+)\] (\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+)(?: (E\w+))?")
KERNEL_RESTARTS = re.compile(r"= \? ERESTART")
PID_MAX, INT_MAX = 1 << 22, (1 << 31) - 1
BY_NUMBER = {call.nr: call for call in load().calls}

PROGRAMS = {
    "ls": ["sh", "-c", "ls -laR /etc/default /proc/self/fd /none; true"],
    "find and tar": ["sh", "-c", "find /usr/include/asm -newer /etc/passwd; tar c --xattrs /etc/default | wc -c"],
    "shell": ["sh", "-c", "ulimit -n; echo a | cat | sort > /dev/null; cd /; umask; stat -f / /proc; kill -0 $$"],
    "names": ["getent", "hosts", "localhost"],
    "python": [sys.executable, str(Path(__file__).parent / "many_calls.py")],
}  # fmt: skip


def record(command: list[str], folder: Path) -> list[str]:
    """Lines of strace with raw arguments: `pid [ nr] name(0x3, ...) = result ERRNO (...)`."""
    output = folder / "calls"
    strace = ["strace", "-f", "-n", "-e", "raw=all", "-e", "signal=none", "-o", str(output), "--"]
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        [*strace, *command], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return output.read_text().splitlines()


def bound_is_known(call: Call, args: list[int]) -> bool:
    """False where the bound is in memory, or the program asked for more than fits."""
    exceeds = {"CALL_MSG_TRUNC": 0x20 & args[call.result.arg + 1] if len(args) > call.result.arg + 1 else 0,
               "CALL_SIZE_QUERY": args[call.result.arg] == 0}  # fmt: skip
    return call.result.kind is not ResultKind.AT_MOST_SUM and not any(exceeds.get(flag) for flag in call.flags)


def disbelief(call: Call, args: list[int], result: int, errno: str) -> str:
    """Why the spec would refuse what the kernel said; empty if it wouldn't."""
    if errno:
        return "" if load().errno_numbers.get(errno) in call.errnos else f"{errno} is not in {call.errno_source}"
    limits = {ResultKind.ZERO: 0, ResultKind.FD: INT_MAX, ResultKind.PID: PID_MAX}
    if call.result.kind in (ResultKind.AT_MOST, ResultKind.COUNT) and bound_is_known(call, args):
        limits[call.result.kind] = args[call.result.arg]
    if call.result.kind is ResultKind.ADDRESS and result % 4096:
        return f"{result:#x} is no page"
    return "" if result <= limits.get(call.result.kind, result) else f"{result} is not {call.result.source}"


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace to record a true kernel with")
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_true_kernel_says_is_believed(name: str, tmp_path: Path) -> None:
    seen, refused = set(), set()
    for line in record(PROGRAMS[name], tmp_path):
        match = LINE.match(line)
        if not match or KERNEL_RESTARTS.search(line) or BY_NUMBER[int(match[1])].route is Route.DENY:
            continue
        call, args = BY_NUMBER[int(match[1])], [int(one, 0) for one in match[3].split(", ") if one]
        assert call.name.removesuffix("64") == match[2].removesuffix("64")
        problem = disbelief(call, args, int(match[4], 0), match[5] or "")
        seen.add(call.name)
        refused |= {f"{call.name}: {problem}: {line}"} if problem else set()
    assert len(seen) > 15, f"nothing was recorded but {seen}"
    assert refused == set()
    assert name != "python" or {"sendfile", "recvmsg", "epoll_wait", "lseek", "copy_file_range"} <= seen
