"""The words of a benchmark: modes, figures, what they must reach, rows, and what a row's run gives."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol


class Mode(Enum):
    """How the program is run."""

    NATIVE = "native"
    SYNC = "sync"
    ASYNC = "async"
    GOCRYPTFS = "gocryptfs"  # natively, its files in a mounted gocryptfs
    SQLCIPHER = "sqlcipher"  # natively, SQLCipher's library in place of SQLite's
    CIPHER = "cipher"  # the cipher alone, over memory

    @property
    def wrapped(self) -> bool:
        """Whether scone-wrap is between."""
        return self in WRAPPED


WRAPPED = (Mode.SYNC, Mode.ASYNC)
BASE = (Mode.NATIVE, *WRAPPED)
PEERS = (Mode.GOCRYPTFS, Mode.SQLCIPHER, Mode.CIPHER)  # what else encrypts files: only some rows have them


class Against(Enum):
    """What is judged: the wrapped figure over the native one, what is added to it, or the wrapped figure itself."""

    RATIO = "ratio"
    ADDED = "added"
    ALONE = "alone"


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure must reach and should reach; None where DESIGN names nothing."""

    must: float | None = None
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that a row measures in every mode."""

    name: str
    unit: str
    against: Against
    more_is_better: bool = False
    limits: Mapping[Mode, Limit] = field(default_factory=dict)
    digits: int = 1
    by_ring: bool = False  # judged only where the calls did cross by the ring
    peers: Mapping[Mode, Limit] = field(default_factory=dict)  # of a wrapped figure over that peer's


Sample = Mapping[str, float]  # figure name -> one round's value


class Probe(Protocol):
    """A row that is set up: it can be measured again and again in each mode."""

    def measure(self, modes: Sequence[Mode]) -> Mapping[Mode, Sample]:
        """Measure each figure once in each of these modes, in this order; a figure that a mode hasn't is absent."""

    def facts(self, mode: Mode) -> Sample:
        """Tell what was counted in a wrapped mode; asked once, after the row was closed."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a whole run is given."""

    place: Path
    wrap: Path
    seconds: float
    quick: bool

    def command(self, mode: Mode, words: list[str], *options: str) -> list[str]:
        """The command line that runs `words` in that mode; `options` go to scone-wrap."""
        return [str(self.wrap), "--syscalls", mode.value, "-q", *options, *words] if mode.wrapped else words


Opener = Callable[[Setting], AbstractContextManager[Probe]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of DESIGN section 12, or a part of one."""

    name: str
    title: str
    figures: tuple[Figure, ...]
    open: Opener
    needs: tuple[str, ...] = ()
    rounds_max: int = 1000
    modes: tuple[Mode, ...] = BASE


@dataclass(frozen=True, slots=True)
class Result:
    """A row's samples by mode, in rounds, and what was counted."""

    row: Row
    samples: Mapping[Mode, list[Sample]]
    facts: Mapping[Mode, Sample]
