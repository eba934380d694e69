"""Results as a table for people and as JSON for programs."""

import json
from collections.abc import Iterator, Sequence

from scone_preload.bench.figures import Finding, find, series
from scone_preload.bench.model import PEERS, WRAPPED, Against, Figure, Limit, Mode, Result, Row

HEADINGS = ("row", "figure", "base", "mode", "median", "judged (quartiles)", "must", "aim", "a request or call")
RIGHT = {2, 4}


def judged(figure: Figure, finding: Finding, base: Mode) -> str:
    """The value that the limits are about, with its quartiles."""
    if figure.against is Against.RATIO or base is not Mode.NATIVE:
        return f"{finding.value:.3f} x ({finding.low:.2f}..{finding.high:.2f})"
    sign = "+" if figure.against is Against.ADDED else ""
    digits = figure.digits
    return f"{finding.value:{sign}.{digits}f} ({finding.low:.{digits}f}..{finding.high:.{digits}f})"


def limit_text(figure: Figure, limit: float | None, reached: bool | None) -> str:
    """A limit and whether it is reached."""
    if limit is None:
        return ""
    if reached is None:
        return "not by ring"
    return f"{'≥' if figure.more_is_better else '≤'} {limit:g} {'yes' if reached else 'NO'}"


def facts_text(result: Result, mode: Mode) -> str:
    """How calls left, for each request or call."""
    facts = result.facts.get(mode, {})
    shown = (("calls", "calls"), ("ring", "by ring"), ("crossings", "crossings"), ("ring_slept", "slept"),
             ("ring_spun", "spun"), ("traps", "traps"))  # fmt: skip
    return ", ".join(f"{label} {facts[name]:.2f}" for name, label in shown if facts.get(name, 0) >= 0.005)


def lines_of(result: Result) -> Iterator[tuple[str, ...]]:
    """The table's rows for one result: the wrapped modes, then the peers, and the wrapped modes over each peer."""
    title = result.row.title
    for at, figure in enumerate(result.row.figures):
        for mode, base in comparisons(result.row, figure):
            finding = find(result, figure, mode, base)
            if finding is None:
                continue
            limit = figure.limits.get(mode, Limit()) if base is Mode.NATIVE else finding.limit
            yield (
                title,
                figure.unit,
                "" if finding.base is None else f"{finding.base:.{figure.digits}f}",
                mode.value if base is Mode.NATIVE else f"{mode.value}, over {base.value}",
                f"{finding.wrapped:.{figure.digits}f}",
                judged(figure, finding, base),
                limit_text(figure, limit.must, finding.must),
                limit_text(figure, limit.aim, finding.aim),
                facts_text(result, mode) if at == 0 and base is Mode.NATIVE else "",
            )
            title = ""


def comparisons(row: Row, figure: Figure) -> list[tuple[Mode, Mode]]:
    """Which modes of a row are compared with which: with a peer only where the figure has a limit for that."""
    peers = [peer for peer in row.modes if peer in PEERS]
    over = [(mode, peer) for peer in peers if peer in figure.peers for mode in WRAPPED]
    return [*((mode, Mode.NATIVE) for mode in (*WRAPPED, *peers)), *over]


def as_table(results: Sequence[Result]) -> str:
    """All results, columns aligned."""
    rows = [HEADINGS, *(line for result in results for line in lines_of(result))]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADINGS))]
    lines = []
    for row in rows:
        cells = (cell.rjust(widths[at]) if at in RIGHT else cell.ljust(widths[at]) for at, cell in enumerate(row))
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines) + "\n"


def as_json(results: Sequence[Result]) -> str:
    """All samples, figures and counts: `{row: {figures: {name: {mode: ...}}, facts: {mode: ...}}}`."""
    return json.dumps({result.row.name: one_json(result) for result in results}, indent=1) + "\n"


def one_json(result: Result) -> dict[str, object]:
    """One result."""
    figures: dict[str, object] = {}
    for figure in result.row.figures:
        entry: dict[str, object] = {"unit": figure.unit, "against": figure.against.value}
        for mode in result.row.modes:
            entry[mode.value] = {"samples": series(result, figure, mode)}
        for mode, base in comparisons(result.row, figure):
            finding = find(result, figure, mode, base)
            if finding is not None:
                name = mode.value if base is Mode.NATIVE else f"{mode.value} over {base.value}"
                limit = figure.limits.get(mode, Limit()) if base is Mode.NATIVE else finding.limit
                judgement = finding_json(finding, limit)
                entry[name] = (
                    {"samples": series(result, figure, mode), **judgement} if base is Mode.NATIVE else judgement
                )
        figures[figure.name] = entry
    return {
        "title": result.row.title,
        "figures": figures,
        "facts": {mode.value: dict(facts) for mode, facts in result.facts.items()},
    }


def finding_json(finding: Finding, limit: Limit) -> dict[str, object]:
    """What was found of one comparison."""
    return {
        "median": finding.wrapped,
        "value": finding.value,
        "quartiles": [finding.low, finding.high],
        "must": limit.must,
        "must_reached": finding.must,
        "aim": limit.aim,
        "aim_reached": finding.aim,
    }
