"""From samples to figures: medians, ratios round by round with their spread, and whether a limit is reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from scone_preload.bench.model import Against, Figure, Limit, Mode, Result


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure in one wrapped mode, judged; `value` is what the limit is about, `low` and `high` its quartiles."""

    native: float | None
    wrapped: float
    value: float
    low: float
    high: float
    must: bool | None
    aim: bool | None


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


def find(result: Result, figure: Figure, mode: Mode) -> Finding | None:
    """Judge one figure in a wrapped mode; None if it was not measured. A round is compared with its own native run."""
    wrapped, native = series(result, figure, mode), series(result, figure, Mode.NATIVE)
    if not wrapped or (not native and figure.against is not Against.ALONE):
        return None
    if figure.against is Against.RATIO:
        values = [one / other for one, other in zip(wrapped, native, strict=True) if other]
    elif figure.against is Against.ADDED:
        values = [one - other for one, other in zip(wrapped, native, strict=True)]
    else:
        values = wrapped
    if not values:
        return None
    low, high = quartiles(values)
    value = median(values)
    limit = figure.limits.get(mode, Limit())
    if figure.by_ring and result.facts.get(mode, {}).get("crossings", 0) < 0.5:
        limit = Limit()
    return Finding(
        native=median(native) if native else None,
        wrapped=median(wrapped),
        value=value,
        low=low,
        high=high,
        must=reached(figure, value, limit.must),
        aim=reached(figure, value, limit.aim),
    )
