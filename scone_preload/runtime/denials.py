"""Tells each denial once, with its rule and remedy, and counts it from then on."""

from collections.abc import Callable

from scone_preload.policy.decision import Decision

TOLD_MAX = 200  # different ones; the rest is only counted


class Denials:
    """The denials of one tree of processes."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._counts: dict[str, int] = {}
        self.total = 0

    def take(self, decision: Decision) -> None:
        """Count one denial, and tell it when it is new."""
        self.total += 1
        text = str(decision)
        if text in self._counts:
            self._counts[text] += 1
        elif len(self._counts) < TOLD_MAX:
            self._counts[text] = 1
            self._say(f"scone-wrap: {text}\n")

    def summary(self) -> str:
        """Return a line for each denial that came again, "" when there is none."""
        again = sorted(((count, text) for text, count in self._counts.items() if count > 1), reverse=True)
        return "".join(f"scone-wrap: {count} times: {text}\n" for count, text in again)
