"""Adds up what wrapped processes counted, and writes it as a table or as JSON."""

from collections.abc import Mapping

from scone_preload.runtime import wire

# label, counter of struct wire_stats, what it tells
ROWS = (
    ("denied", "denied", "calls refused by the boundary"),
    ("refused replies", "refused_replies", "answers of the host that could not be true"),
    ("bytes out", "bytes_out", "data from the program to the host"),
    ("bytes in", "bytes_in", "data from the host to the program"),
    ("signals deferred", "signals_deferred", "signals that waited for the shim's way out"),
    ("processes", "processes", "wrapped"),
    ("threads", "threads", "started, first ones included"),
    ("execs", "execs", "programs executed by wrapped processes"),
)
MOST_USED = 8
SENDING = frozenset({
    "write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice",
    "copy_file_range", "vmsplice",
})  # fmt: skip


class Totals:
    """The sum over all processes that have reported, and how many shims have started."""

    def __init__(self) -> None:
        self.hellos = 0
        self.counters = {name: [0] * width(code) for name, code in wire.LAYOUTS["wire_stats"]}

    def add(self, stats: wire.Stats) -> None:
        """Add one process's counts."""
        for name, values in stats.counters.items():
            mine = self.counters[name]
            self.counters[name] = [a + b for a, b in zip(mine, values, strict=True)]

    def one(self, name: str) -> int:
        """Return a counter that is a single number."""
        return self.counters[name][0]


def width(code: str) -> int:
    """Return how many values a field with this struct code has."""
    return int(code[:-1] or 1)


def as_table(totals: Totals, events: Mapping[str, int], *, complete: bool, names: Mapping[int, str]) -> str:
    """Return the report for people; `complete` is False when the first process could not send its own counts."""
    calls = sum(totals.counters["calls"])
    lines = [f"{'syscalls':<18} {calls:>12}"]
    for title, counter, parts in (
        ("by door", "calls_by_door", wire.DOORS),
        ("by route", "calls_by_route", wire.ROUTES),
        ("by exit", "calls_by_exit", wire.EXITS),
    ):
        shares = zip(parts, totals.counters[counter], strict=True)
        lines.append(f"  {title:<16} " + "  ".join(f"{part} {count}" for part, count in shares))
    most = ", ".join(f"{name} {count}" for name, count in used_calls(totals, names)[:MOST_USED])
    lines.append(f"  {'most used':<16} {most or '-'}")
    lines += [f"{label:<18} {totals.one(counter):>12}  {note}" for label, counter, note in ROWS]
    lines.append(f"{'crossings':<18} {totals.one('crossings'):>12}  waited for; {per_turn(totals)}")
    lines.append(
        f"{'ring waits':<18} {totals.one('ring_spun') + totals.one('ring_slept'):>12}  "
        f"spun {totals.one('ring_spun')}, slept {totals.one('ring_slept')}"
    )
    lines.append(
        f"{'ring ahead':<18} {totals.one('ring_writes_behind') + totals.one('ring_reads_ahead'):>12}  "
        f"writes behind {totals.one('ring_writes_behind')}, reads ahead {totals.one('ring_reads_ahead')}, "
        f"by io_uring {totals.one('ring_by_uring')}"
    )
    lines += [f"{'event ' + kind:<18} {count:>12}" for kind, count in sorted(events.items())]
    if not complete:
        lines.append("the first process ended without reporting (killed?): its own counts are missing")
    return "".join(f"scone-wrap: {line.rstrip()}\n" for line in lines)


def left(totals: Totals, names: Mapping[int, str]) -> tuple[int, int]:
    """Return by how many calls data left, and of how many bytes that is known."""
    calls = sum(count for name, count in used_calls(totals, names) if name in SENDING)
    return calls, totals.one("bytes_out")


def unprotected(calls: int, size: int, *, has_volumes: bool) -> str:
    """Return what the user is told at the end of the data that left, in one line; "" where none did."""
    if not calls:
        return ""
    what = f"{calls:,} calls wrote or sent data to files, sockets or terminal, at least {size:,} bytes"
    if has_volumes:
        return f"left unprotected: of {what}, all but what went into volumes: no flag shields that in this version"
    return f"left unprotected: {what}: --data shields files in a directory; sockets and terminal have no shield yet"


def per_turn(totals: Totals) -> str:
    """Return how often an event-loop turn crossed."""
    turns = totals.one("turns")
    if turns == 0:
        return "no event-loop turns"
    return f"{totals.one('crossings') / turns:.2f} for each of {turns} event-loop turns"


def used_calls(totals: Totals, names: Mapping[int, str]) -> list[tuple[str, int]]:
    """Return the calls that were made with their counts, the most used first."""
    counts = ((names.get(nr, f"syscall_{nr}"), count) for nr, count in enumerate(totals.counters["calls"]) if count)
    return sorted(counts, key=lambda item: (-item[1], item[0]))


def as_json(totals: Totals, events: Mapping[str, int], *, complete: bool, names: Mapping[int, str]) -> str:
    """Return the report for programs, as text."""
    import json  # lazy: few starts want it

    return json.dumps(as_report(totals, events, complete=complete, names=names), indent=2) + "\n"


def as_report(
    totals: Totals, events: Mapping[str, int], *, complete: bool, names: Mapping[int, str]
) -> dict[str, object]:
    """Return the report for programs: keys as in struct wire_stats, calls by name."""
    counters = totals.counters
    report: dict[str, object] = {
        "complete": complete,
        "calls_by_door": dict(zip(wire.DOORS, counters["calls_by_door"], strict=True)),
        "calls_by_route": dict(zip(wire.ROUTES, counters["calls_by_route"], strict=True)),
        "calls_by_exit": dict(zip(wire.EXITS, counters["calls_by_exit"], strict=True)),
    }
    report |= {name: values[0] for name, values in counters.items() if len(values) == 1}
    turns = totals.one("turns")
    report["crossings_per_turn"] = totals.one("crossings") / turns if turns else None
    report["calls"] = dict(used_calls(totals, names))
    report["events"] = dict(sorted(events.items()))
    return report
