"""From samples to figures: medians, ratios round by round with their spread, and whether a limit is reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from scone_preload.bench.model import Against, Figure, Limit, Mode, Result

KEEPS_UP = 0.5  # of native


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure in one mode, judged against another; `value` is what the limit is about, with its quartiles."""

    base: float | None
    wrapped: float
    value: float
    low: float
    high: float
    must: bool | None
    aim: bool | None
    limit: Limit


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper quartile, each between two neighbours in proportion."""
    ordered = sorted(values)

    def at(share: float) -> float:
        position = share * (len(ordered) - 1)
        below = int(position)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (position - below)

    return at(0.25), at(0.75)


def series(result: Result, figure: Figure, mode: Mode) -> list[float]:
    """The figure's values in that mode, in rounds."""
    return [sample[figure.name] for sample in result.samples.get(mode, []) if figure.name in sample]


def reached(figure: Figure, value: float, limit: float | None) -> bool | None:
    """Whether the value is on the right side of the limit; None without one."""
    if limit is None:
        return None
    return value >= limit if figure.more_is_better else value <= limit


def limit_of(result: Result, figure: Figure, mode: Mode, base: Mode) -> Limit:
    """What the figure must reach over that base; a gocryptfs that the page cache serves need only be reached."""
    if base is Mode.NATIVE:
        unjudged = figure.by_ring and result.facts.get(mode, {}).get("crossings", 0) < 0.5
        return Limit() if unjudged else figure.limits.get(mode, Limit())
    if not mode.wrapped or base not in figure.peers:
        return Limit()
    of_native = find(result, figure, base) if base is Mode.GOCRYPTFS else None
    return Limit(must=1.0) if of_native and of_native.value >= KEEPS_UP else figure.peers[base]


def compared(values: Sequence[float], others: Sequence[float], against: Against) -> list[float]:
    """What is judged, in rounds: each is compared with its own round's other run."""
    if against is Against.ALONE:
        return list(values)
    if against is Against.ADDED:
        return [one - other for one, other in zip(values, others, strict=True)]
    return [one / other for one, other in zip(values, others, strict=True) if other]


def find(result: Result, figure: Figure, mode: Mode, base: Mode = Mode.NATIVE) -> Finding | None:
    """Judge one figure in a mode against another mode, peers always by their ratio; None if it was not measured."""
    own, others = series(result, figure, mode), series(result, figure, base)
    against = figure.against if base is Mode.NATIVE else Against.RATIO
    if not own or (not others and against is not Against.ALONE):
        return None
    values = compared(own, others, against)
    if not values:
        return None
    low, high = quartiles(values)
    value = median(values)
    limit = limit_of(result, figure, mode, base)
    return Finding(
        base=median(others) if others else None,
        wrapped=median(own),
        value=value,
        low=low,
        high=high,
        must=reached(figure, value, limit.must),
        aim=reached(figure, value, limit.aim),
        limit=limit,
    )
