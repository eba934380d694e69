"""`tools/bench`: runs the rows that are asked for, the modes of a row in turn, and prints what they cost."""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import SubprocessError
from types import FrameType

from scone_preload.bench.model import WRAPPED, Mode, Result, Row, Sample, Setting
from scone_preload.bench.processes import become_subreaper, end_all
from scone_preload.bench.report import as_json, as_table
from scone_preload.bench.rows import ROWS, chosen
from scone_preload.errors import SconeError, UserError

WRAP = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "scone-wrap"
ROUNDS, SECONDS = 12, 0.8
DISK = "/var/tmp"  # /tmp may be memory; files are to be measured on a disk


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def rotated(modes: Sequence[Mode], round_index: int) -> list[Mode]:
    """The modes in an order that changes from round to round."""
    at = round_index % len(modes)
    return [*modes[at:], *modes[:at]]


def run_row(row: Row, setting: Setting, rounds: int) -> Result:
    """Measure one row, so many rounds of all modes in turn; an error tells the mode."""
    samples: dict[Mode, list[Sample]] = {mode: [] for mode in row.modes}
    begin = time.monotonic()
    with row.open(setting) as probe:
        for at in range(min(rounds, row.rounds_max)):
            try:
                for mode, sample in probe.measure(rotated(row.modes, at)).items():
                    samples[mode].append(sample)
            except (SconeError, SubprocessError) as error:
                error.add_note(f"in round {at + 1} of {row.name}")
                raise
    facts = {mode: probe.facts(mode) for mode in WRAPPED if mode in row.modes}
    say(f"{row.name}: {time.monotonic() - begin:.1f} s")
    return Result(row, samples, facts)


def run_rows(rows: Sequence[Row], setting: Setting, rounds: int, results: list[Result]) -> int:
    """Measure rows into `results`; a row that fails is told and left out. Gives how many failed."""
    failed = 0
    for row in rows:
        try:
            results.append(run_row(row, setting, rounds))
        except (SconeError, SubprocessError) as error:
            say(f"{row.name} FAILED: {' '.join([str(error), *getattr(error, '__notes__', [])])}")
            failed += 1
    return failed


def modes_of(text: str) -> tuple[Mode, ...]:
    """The modes that are named, with commas between."""
    return tuple(Mode(word) for word in text.split(","))


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    names = ", ".join(row.name for row in ROWS)
    parser = argparse.ArgumentParser(
        prog="tools/bench",
        description="Measures what wrapping costs: native and both exits in turn, medians and ratios.",
        epilog=f"Rows (a beginning chooses all that begin so): {names}",
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows to run; all without one")
    parser.add_argument("--rounds", type=int, default=None, metavar="N", help=f"rounds of all modes ({ROUNDS})")
    parser.add_argument("--seconds", type=float, default=None, metavar="S", help=f"a server's load ({SECONDS:g} s)")
    parser.add_argument(
        "--modes", type=modes_of, default=tuple(Mode), metavar="M,M", help="only these, where a row has them"
    )
    parser.add_argument("--place", default=DISK, metavar="DIR", help=f"where files are measured ({DISK})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there, too")
    parser.add_argument("--quick", action="store_true", help="two short rounds: to see that it works, not for numbers")
    return parser.parse_args(words)


def run(words: Sequence[str]) -> int:
    """Run what the command line asks for and print it, also what was measured before an interrupt; the exit status."""
    given = arguments(words)
    rows, unknown = chosen(given.rows)
    if unknown:
        raise UserError("no such row", ", ".join(unknown), "see tools/bench --help")
    rows = tuple(replace(row, modes=tuple(mode for mode in row.modes if mode in given.modes)) for row in rows)
    rounds = given.rounds or (2 if given.quick else ROUNDS)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="scone-bench-", dir=given.place) as name:
        place = Path(name)
        place.chmod(0o755)
        os.environ["SCONE_KEYSTORE"] = str(place / "keystore")  # the volumes' keys go with them
        seconds = given.seconds or (0.2 if given.quick else SECONDS)
        setting = Setting(place=place, wrap=WRAP, seconds=seconds, quick=given.quick)
        try:
            failed = run_rows(rows, setting, rounds, results)
        finally:
            print(as_table(results), end="")
            if given.json:
                given.json.write_text(as_json(results))
    return 1 if failed else 0


def ended(number: int, _: FrameType | None) -> None:
    """A signal ends the run as an exception, so that all that was started is ended."""
    raise SystemExit(128 + number)


def main(words: Sequence[str]) -> int:
    """Run, and leave no process behind; gives the exit status."""
    become_subreaper()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    try:
        return run(words)
    except SconeError as error:
        say(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        end_all()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
