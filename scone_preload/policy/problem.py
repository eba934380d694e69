"""Where a line of a policy stands, and what is wrong with it."""

from collections.abc import Iterable

from scone_preload.frozen import Frozen


class Where(Frozen):
    """A line of a policy file; line 0 is a whole source, such as a flag."""

    source: str
    line: int = 0

    def __lt__(self, other: "Where") -> bool:
        return (self.source, self.line) < (other.source, other.line)

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Problem(Frozen):
    """One broken rule, and what to write instead."""

    where: Where
    rule: str
    remedy: str

    def __lt__(self, other: "Problem") -> bool:
        return self._values() < other._values()

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}: {self.remedy}"


class Bad(Exception):
    """A value that breaks a rule; whoever knows the line makes a Problem of it."""

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(rule, remedy)
        self.rule = rule
        self.remedy = remedy


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that was most likely meant, or ""."""
    from difflib import get_close_matches  # lazy: only a wrong policy needs it

    names = list(known)
    found = get_close_matches(name, names, n=1) or get_close_matches(name.lower(), names, n=1)
    return found[0] if found else ""


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return the remedy for an unknown name: the nearest known one, or `otherwise`."""
    names = list(known)
    meant = nearest(name, names)
    return f'did you mean "{meant}"?' if meant else otherwise
