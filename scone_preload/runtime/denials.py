"""Tells each denial once, with its rule and remedy, and counts it from then on."""

from typing import TYPE_CHECKING

from scone_preload.log import one_line
from scone_preload.policy.decision import Decision

if TYPE_CHECKING:
    from scone_preload.log import Say

TOLD_MAX = 200  # different ones; the rest is only counted
KIND, LEVEL = "denied", "warning"


class Denials:
    """The denials of one tree of processes."""

    def __init__(self, say: "Say") -> None:
        self._say = say
        self._told: dict[str, Decision] = {}
        self._counts: dict[str, int] = {}
        self.total = 0

    def take(self, decision: Decision, pid: int = 0, call: str = "") -> None:
        """Count one denial, and tell it when it is new; `pid` and `call` are whose it was, as far as that is known."""
        self.total += 1
        text = str(decision)
        if text in self._counts:
            self._counts[text] += 1
        elif len(self._counts) < TOLD_MAX:
            self._counts[text] = 1
            self._told[text] = decision
            self._tell(text, decision, pid=pid, call=call)

    def summarize(self) -> None:
        """Tell of each denial that came again how often it came."""
        again = sorted(((count, text) for text, count in self._counts.items() if count > 1), reverse=True)
        for count, text in again:
            self._tell(f"{count} times: {text}", self._told[text], times=count)

    def _tell(self, text: str, decision: Decision, *, pid: int = 0, call: str = "", times: int = 0) -> None:
        facts = {"rule": decision.rule, "object": decision.object, "place": decision.where, "remedy": decision.remedy}
        self._say(one_line(text), KIND, LEVEL, pid=pid, call=call, times=times, **facts)
