"""What wrapped programs counted of themselves (`--stats=FILE`), added up for each operation that they did."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scone_preload.bench.model import Mode, Sample

COUNTERS = ("crossings", "ring_spun", "ring_slept", "ring_writes_behind", "ring_reads_ahead")


@dataclass(slots=True)
class Tally:
    """Operations and counts by mode."""

    operations: dict[Mode, int] = field(default_factory=dict)
    counted: dict[Mode, dict[str, float]] = field(default_factory=dict)

    def add(self, mode: Mode, operations: int, report: Path) -> None:
        """Count a program that has ended."""
        self.operations[mode] = self.operations.get(mode, 0) + operations
        counted = self.counted.setdefault(mode, {})
        for name, value in read_stats(report).items():
            counted[name] = counted.get(name, 0) + value

    def facts(self, mode: Mode) -> Sample:
        """Each count for one operation."""
        return {name: value / self.operations[mode] for name, value in self.counted.get(mode, {}).items()}


def read_stats(path: Path) -> dict[str, float]:
    """What `--stats=FILE` counted: calls, traps, and COUNTERS; empty if none comes (written after the end)."""
    report: dict[str, object] = {}
    end = time.monotonic() + 3
    while not report and time.monotonic() < end:
        with suppress(OSError, ValueError):
            report = json.loads(path.read_text())
        time.sleep(0.02)
    found = {name: float(value) for name in COUNTERS if isinstance(value := report.get(name), int)}
    doors, exits = report.get("calls_by_door"), report.get("calls_by_exit")
    if isinstance(doors, dict) and isinstance(exits, dict):
        found["calls"] = float(sum(doors.values()))
        found["traps"] = float(doors.get("trap", 0))
        found["gate"], found["ring"] = float(exits.get("gate", 0)), float(exits.get("ring", 0))
    return found
