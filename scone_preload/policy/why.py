"""Why a learned line is there, as the comment behind it: `openat 14, stat 2 (5 names, such as a.conf, b.conf)`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

SHOWN = 2
FORM = re.compile(r"(\w+ \d+(?:, \w+ \d+)*)(?: \((?:(\d+) names, such as )?(.*)\))?")
UNFIT = re.compile(r"[\x00-\x1f\x7f,()\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Why:
    """Calls and how often each was made; some of the names that one line stands for, and how many there were.

    `words` is a comment of the user's own; it is kept as it is.
    """

    calls: tuple[tuple[str, int], ...] = ()
    names: tuple[str, ...] = ()
    total: int = 0
    words: str = ""

    def __str__(self) -> str:
        calls = ", ".join(f"{call} {count}" for call, count in sorted(self.calls, key=lambda one: (-one[1], one[0])))
        if self.words or not self.total:
            return self.words or calls
        such = f"{self.total} names, such as " if self.total > len(self.names) else ""
        return f"{calls} ({such}{', '.join(self.names)})"

    def joined(self, other: "Why") -> "Why":
        """Return what two runs say of one line: the greater of their counts."""
        names = sorted({*self.names, *other.names})
        calls = dict(self.calls)
        for call, count in other.calls:
            calls[call] = max(count, calls.get(call, 0))
        return Why(
            tuple(sorted(calls.items())),
            tuple(names[:SHOWN]),
            max(self.total, other.total, len(names)),
            self.words or other.words,
        )


def added(parts: Iterable[tuple[Why, str]]) -> Why:
    """Return what several lines say together, each with the name it has there ("" for none): the sum of counts."""
    calls: dict[str, int] = {}
    names: set[str] = set()
    more = 0
    for why, name in parts:
        for call, count in why.calls:
            calls[call] = calls.get(call, 0) + count
        names.update({UNFIT.sub("?", name)} if name else why.names)
        more += 0 if name else max(0, why.total - len(why.names))
    shown = tuple(sorted(names)[:SHOWN])
    return Why(tuple(sorted(calls.items())), shown, len(names) + more)


def read_why(comment: str) -> Why:
    """Return what a comment says: what `str` wrote, or else the user's own words."""
    found = FORM.fullmatch(comment)
    if not found:
        return Why(words=comment)
    calls = tuple(sorted((call, int(count)) for call, count in map(str.split, found.group(1).split(", "))))
    names = tuple(found.group(3).split(", ")) if found.group(3) else ()
    return Why(calls, names, int(found.group(2) or len(names)))
