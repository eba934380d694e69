"""Watches the helpers of wrapped processes: a process whose helper was killed is told, wherever it waits.

A process that waits without need of its helper (a long sleep, a call by the gate) would not notice. So each one says
which helper it has, and says when it is about to end it; the end of any other is told it by SIGSYS with a value of its
own, which its shim answers by looking for itself (libshim/wire/control.h, struct ctl_helper).
"""

import contextlib
import os
import selectors
from collections.abc import Callable

from scone_preload.runtime.wire import HELPER_LOST

GONE = -1


class HelperWatch:
    """The descriptors of the helpers that are not expected to end, by the pid of the process that has them."""

    def __init__(self, selector: selectors.BaseSelector, catch_up: Callable[[], None]) -> None:
        self._selector = selector
        self._catch_up = catch_up  # takes all messages that are waiting
        self._watched: dict[int, int] = {}

    def take(self, pid: int, helper_pid: int) -> None:
        """Note what process `pid` says: it has this helper from now on, or 0: none."""
        self._forget(pid)
        if not helper_pid:
            return
        try:
            fd = os.pidfd_open(helper_pid)
        except OSError:  # gone already; that it was to end may be the next message
            self._watched[pid] = GONE
            self._ended(pid, GONE)
            return
        self._watched[pid] = fd
        self._selector.register(fd, selectors.EVENT_READ, lambda: self._ended(pid, fd))

    def _ended(self, pid: int, fd: int) -> None:
        """Tell the process, unless it has said meanwhile that it ends the helper."""
        self._catch_up()
        if self._watched.get(pid) == fd:
            self._forget(pid)
            self._tell(pid)

    def _forget(self, pid: int) -> None:
        fd = self._watched.pop(pid, GONE)
        if fd != GONE:
            self._selector.unregister(fd)
            os.close(fd)

    def _tell(self, pid: int) -> None:
        import ctypes  # lazy: helpers are killed rarely, and Python has no sigqueue of its own
        import signal

        with contextlib.suppress(OSError):
            ctypes.CDLL(None).sigqueue(pid, signal.SIGSYS, ctypes.c_void_p(HELPER_LOST))
