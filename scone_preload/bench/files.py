"""The rows of files: load programs in a directory of each mode's own, loaded in slices, in turn."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from scone_preload.bench.homes import Home, new_home
from scone_preload.bench.micro import warm
from scone_preload.bench.model import Mode, Opener, Probe, Sample, Setting
from scone_preload.bench.native import compiled
from scone_preload.bench.slices import Worker, in_turn, worker
from scone_preload.bench.tally import Tally
from scone_preload.errors import UserError

SLICE_S = 0.1
MIB = 1.048576  # MB
SQLITE_ROWS, SQLITE_ROWS_QUICK = 100_000, 2_000


class Work(Protocol):
    """A load program, and what it does."""

    @property
    def scale(self) -> float:
        """What one operation counts."""

    @property
    def is_cold(self) -> bool:
        """Whether nothing that it reads may be cached by the kernel when it starts."""

    def prepare(self, setting: Setting, mode: Mode, folder: Path) -> list[str]:
        """The command that fills an empty folder."""

    def load(self, setting: Setting, mode: Mode, folder: Path) -> list[str]:
        """The command that loads it."""


@dataclass(frozen=True, slots=True)
class FileWork:
    """One kind of file_load.c, over a file of so many MiB; `cipher`: what cipher_load.c does to compare with."""

    kind: str
    mib: int = 64
    scale: float = 1.0
    is_cold: bool = False
    cipher: str = ""

    def prepare(self, setting: Setting, mode: Mode, folder: Path) -> list[str]:
        return [str(compiled(setting, "file_load")), "prepare", str(folder), str(self.mib)]

    def load(self, setting: Setting, mode: Mode, folder: Path) -> list[str]:
        if mode is Mode.CIPHER:
            return [str(compiled(setting, "cipher_load", "-lIPSec_MB")), self.cipher]
        return [str(compiled(setting, "file_load")), self.kind, str(folder), str(self.mib)]


@dataclass(frozen=True, slots=True)
class SqliteWork:
    """One kind of sqlite_load.c, with a rollback journal (delete) or a write-ahead log (wal)."""

    kind: str
    journal: str
    scale: float = 1.0
    is_cold: bool = False

    def prepare(self, setting: Setting, mode: Mode, folder: Path) -> list[str]:
        return self._words("prepare", setting, mode, folder)

    def load(self, setting: Setting, mode: Mode, folder: Path) -> list[str]:
        return self._words(self.kind, setting, mode, folder)

    def _words(self, kind: str, setting: Setting, mode: Mode, folder: Path) -> list[str]:
        rows = SQLITE_ROWS_QUICK if setting.quick else SQLITE_ROWS
        return [str(self._program(setting, mode)), kind, self.journal, str(folder / "base"), str(rows)]

    def _program(self, setting: Setting, mode: Mode) -> Path:
        if mode is Mode.SQLCIPHER:
            flags = ("-DSQLITE_HAS_CODEC", "-I/usr/include/sqlcipher", "-lsqlcipher")
            return compiled(setting, "sqlcipher_load", *flags, source="sqlite_load")
        return compiled(setting, "sqlite_load", "-lsqlite3")


@dataclass(slots=True)
class Files:
    """A probe: each mode's home is filled once; the load programs are started anew for each round."""

    setting: Setting
    work: Work
    place: Path
    homes: dict[Mode, Home] = field(default_factory=dict)
    starts: int = 0
    tally: Tally = field(default_factory=Tally)

    def measure(self, modes: Sequence[Mode]) -> Mapping[Mode, Sample]:
        """Operations a second, or MB, of each mode."""
        self.starts += 1
        with ExitStack() as stack:
            workers = {mode: stack.enter_context(self._started(mode)) for mode in modes}
            done = in_turn(workers, self.setting.seconds, SLICE_S)
        for mode, one in done.items():
            if one.requests == 0:
                raise UserError("a load did nothing", mode.value, "take more time: --seconds")
            if mode.wrapped:
                self.tally.add(mode, one.requests, self._path(mode, "json"))
        return {mode: {"rate": one.requests / one.seconds * self.work.scale} for mode, one in done.items()}

    @contextmanager
    def _started(self, mode: Mode) -> Iterator[Worker]:
        log = self._path(mode, "log")
        if mode is Mode.CIPHER:
            with worker(self.work.load(self.setting, mode, self.place), log) as one:
                yield one
            return
        home = self._home(mode)
        if self.work.is_cold:
            home.forget()
        argv = home.command(self.work.load(self.setting, mode, home.folder), f"--stats={self._path(mode, 'json')}")
        with home.attached(), worker(argv, log) as one:
            yield one

    def _path(self, mode: Mode, kind: str) -> Path:
        return self.place / f"{mode.value}-{self.starts}.{kind}"

    def _home(self, mode: Mode) -> Home:
        if mode not in self.homes:
            home = new_home(self.setting, mode, self.place / mode.value)
            if mode.wrapped:
                warm(self.setting, self.work.load(self.setting, mode, home.folder))
            with home.attached():
                home.run(self.work.prepare(self.setting, mode, home.folder))
            self.homes[mode] = home
        return self.homes[mode]

    def facts(self, mode: Mode) -> Sample:
        """Tell the calls and crossings for each operation; what a start and its warming up do is in them."""
        return self.tally.facts(mode)


def open_files(work: Work) -> Opener:
    """An opener for one load."""

    @contextmanager
    def opener(setting: Setting) -> Iterator[Probe]:
        with TemporaryDirectory(dir=setting.place, prefix="row-") as name:
            yield Files(setting, work, Path(name))

    return opener
