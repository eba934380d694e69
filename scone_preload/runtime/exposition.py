"""Words the counts of live processes in Prometheus's text format (version 0.0.4). Takes numbers, returns text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from scone_preload.runtime import wire

BUCKET_COUNT = 24
BUCKET_LOW = 8  # bucket i counts calls of less than 2^(8 + i) ns
Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]  # suffix of the name


@dataclass(slots=True)
class Latency:
    """How long one call took: the sum, and how many calls fell into each bucket of wire/live.h."""

    ns_sum: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKET_COUNT)

    def add(self, values: Sequence[int]) -> None:
        """Add a struct wire_latency."""
        self.ns_sum += values[0]
        self.buckets = [mine + more for mine, more in zip(self.buckets, values[1:], strict=True)]


@dataclass(slots=True)
class Counts:
    """Sums over processes: counters as in struct wire_stats, latencies by call, and what is so just now."""

    counters: dict[str, list[int]] = field(
        default_factory=lambda: {name: [0] * int(code[:-1] or 1) for name, code in wire.LAYOUTS["wire_stats"]}
    )
    latency: dict[int, Latency] = field(default_factory=dict)
    processes: int = 0
    lanes: int = 0
    queued: int = 0

    def one(self, name: str) -> int:
        """Return a counter that is a single number."""
        return self.counters[name][0]


# name, counter, help; labelled ones and gauges stand below
COUNTERS = (
    ("denied_total", "denied", "Calls refused by the boundary."),
    ("refused_replies_total", "refused_replies", "Answers of the host that could not be true."),
    ("turns_total", "turns", "Event-loop turns: calls that waited for readiness."),
    ("crossings_total", "crossings", "Hand-overs to the helper that were waited for."),
    ("ring_writes_behind_total", "ring_writes_behind", "Writes that returned before the host had them."),
    ("ring_reads_ahead_total", "ring_reads_ahead", "Reads served from what the helper had read ahead."),
    ("ring_by_uring_total", "ring_by_uring", "Of both, what the helper says it gave to io_uring."),
    ("signals_deferred_total", "signals_deferred", "Signals that waited for the shim's way out."),
    ("processes_started_total", "processes", "Wrapped processes, those that have ended included."),
    ("threads_started_total", "threads", "Their threads, first ones included."),
    ("execs_total", "execs", "Programs executed by wrapped processes."),
)
FAMILIES = (
    ("calls_by_door_total", "calls_by_door", "door", wire.DOORS, "Calls by the way in which they reached the shim."),
    ("calls_by_route_total", "calls_by_route", "route", wire.ROUTES, "Calls by what serves them."),
    ("calls_by_exit_total", "calls_by_exit", "exit", wire.EXITS, "Calls that left: by the gate or by the ring."),
)


def exposition(counts: Counts, events: Mapping[str, int], names: Mapping[int, str], info: Labels) -> str:
    """Return the whole text; `events` by kind, `names` of calls by number, `info` of this start."""
    return "".join(_lines(counts, events, names, info))


def _lines(counts: Counts, events: Mapping[str, int], names: Mapping[int, str], info: Labels) -> Iterator[str]:
    yield from family("info", "gauge", "What runs; always 1.", [("", info, 1)])
    calls = [("", {"call": name}, count) for name, count in called(counts, names)]
    yield from family("calls_total", "counter", "System calls by name.", calls)
    for name, counter, label, parts, text in FAMILIES:
        pairs = zip(parts, counts.counters[counter], strict=True)
        yield from family(name, "counter", text, [("", {label: part}, count) for part, count in pairs])
    for name, counter, text in COUNTERS:
        yield from family(name, "counter", text, [("", {}, counts.one(counter))])
    by_direction = [("", {"direction": way}, counts.one(f"bytes_{way}")) for way in ("in", "out")]
    yield from family("bytes_total", "counter", "Data that calls brought in and out.", by_direction)
    waits = [("", {"end": end}, counts.one(f"ring_{end}")) for end in ("spun", "slept")]
    yield from family("ring_waits_total", "counter", "Waits for the helper's reply, by how they ended.", waits)
    kinds = [("", {"kind": kind}, events.get(kind, 0)) for kind in wire.EVENT_KINDS.values()]
    yield from family("events_total", "counter", "Events that shims reported; each place or call once.", kinds)
    yield from family("processes", "gauge", "Wrapped processes now.", [("", {}, counts.processes)])
    yield from family("ring_lanes_in_use", "gauge", "Threads with a lane of the ring now.", [("", {}, counts.lanes)])
    yield from family("ring_posts_queued", "gauge", "Writes that wait in the rings now.", [("", {}, counts.queued)])
    if counts.latency:
        text = "How long calls took, waiting included."
        yield from family("call_duration_seconds", "histogram", text, durations(counts.latency, names))


def family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    """Yield the lines of one metric."""
    yield f"# HELP scone_{name} {text}\n# TYPE scone_{name} {kind}\n"
    for suffix, labels, value in samples:
        inner = ",".join(f'{label}="{escaped(text)}"' for label, text in labels.items())
        yield f"scone_{name}{suffix}{'{' + inner + '}' if inner else ''} {value}\n"


def called(counts: Counts, names: Mapping[int, str]) -> list[tuple[str, int]]:
    """Return the calls that were made, by name, in the order of names."""
    made = ((names.get(nr, f"syscall_{nr}"), count) for nr, count in enumerate(counts.counters["calls"]) if count)
    return sorted(made)


def durations(latency: Mapping[int, Latency], names: Mapping[int, str]) -> Iterator[Sample]:
    """Yield the histogram of each call: cumulative buckets, sum and count."""
    for nr, each in sorted(latency.items(), key=lambda item: names.get(item[0], "")):
        labels = {"call": names.get(nr, f"syscall_{nr}")}
        total = 0
        for index, count in enumerate(each.buckets):
            total += count
            last = index == BUCKET_COUNT - 1
            yield "_bucket", labels | {"le": "+Inf" if last else f"{(1 << BUCKET_LOW + index) / 1e9:.9f}"}, total
        yield "_sum", labels, each.ns_sum / 1e9
        yield "_count", labels, total


def escaped(text: str) -> str:
    """Return a label's value as the format wants it."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
