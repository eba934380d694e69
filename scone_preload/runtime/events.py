"""Keeps the events that shims report: counts all, words each different one once."""

from collections.abc import Callable, Mapping

from scone_preload.log import one_line
from scone_preload.runtime import wire

TOLD_MAX = 1000  # different ones; the rest is only counted
WORDED = {"denied": "syscall denied", "refused": "reply of the host refused", "notice": "note"}
# What shims say by themselves, unless they were told to leave it to the host.
OTHERS = {"trap": "first call by the trap from here", "stopped": "stopped", "notice": ""}
LEVELS = {"denied": "warning", "refused": "error", "trap": "info", "stopped": "error", "notice": "warning"}


class EventLog:
    """Counts by kind, and which events were told already; `names` is asked for the calls' names when one is told."""

    def __init__(self, names: Callable[[], Mapping[int, str]], *, all_kinds: bool = False) -> None:
        self.names = names
        self._worded = WORDED | OTHERS if all_kinds else WORDED
        self.counts: dict[str, int] = {}
        self._told: set[tuple[str, int, bytes]] = set()

    def take(self, event: wire.Event) -> str:
        """Count one event; return the line to tell the user, or "" when there is nothing new to tell."""
        self.counts[event.kind] = self.counts.get(event.kind, 0) + 1
        key = (event.kind, event.nr, event.text)
        if key in self._told or event.kind not in self._worded or len(self._told) >= TOLD_MAX:
            return ""
        self._told.add(key)
        call = self.call_of(event)
        text = one_line(event.text.decode(errors="backslashreplace"))
        if text in (call, "?"):
            text = "the program got an error; docs/syscalls.md says why, and what works instead"
        return f"scone-wrap: {': '.join(part for part in (self._worded[event.kind], call, text) if part)}\n"

    def call_of(self, event: wire.Event) -> str:
        """Return the name of the call that it is about, "" if of none."""
        return "" if event.nr == wire.NO_CALL else self.names().get(event.nr, f"syscall_{event.nr}")
