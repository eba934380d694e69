"""Makes a fork of the launcher a background process of its own; imports nothing heavy.

First of all: who reads the end of the program's output from a pipe must not have to wait for this process's imports.
"""

import _signal  # type: ignore[import-not-found]  # the type stubs lack it
import os
import sys

IGNORED = (
    _signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2, _signal.SIGALRM,
    _signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU,
)  # fmt: skip


def detach(keep: set[int]) -> int:
    """Leave everything of the caller but `keep`, and return a copy of standard error (-1: it is closed)."""
    for number in IGNORED:
        _signal.signal(number, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    try:
        error_fd = os.dup(2)
    except OSError:
        error_fd = -1
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
        if fd > 2 and fd not in keep and fd != error_fd:
            try:
                os.close(fd)
            except OSError:  # the listing's own descriptor
                continue
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)
    os.chdir("/")
    _rename()
    if error_fd >= 0:  # a bug of ours is to be seen: the shims only see that nobody answers any more
        sys.stderr = open(error_fd, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        sys.stdout = sys.stderr  # of the user's handlers
    return error_fd


def _rename() -> None:
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as file:
            file.write("scone-runtime")
    except OSError:
        return
