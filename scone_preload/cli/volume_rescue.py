"""The commands of scone-volume that read a whole volume, and go on where it is damaged: export, verify, salvage.

They end with status 1 when something was damaged, after all else was done.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict

from scone_preload.cli.progress import progress
from scone_preload.cli.volume_session import Session, say, show
from scone_preload.errors import RolledBack, UserError
from scone_preload.volume import salvage as salvaging
from scone_preload.volume import verify as verifying
from scone_preload.volume.core import Durable
from scone_preload.volume.export import Copier, Written
from scone_preload.volume.format import BLOCK_SIZE, COPIES, parse_copy
from scone_preload.volume.freshness import check_fresh
from scone_preload.volume.inside import container_of, opened, split
from scone_preload.volume.opening import Readable, readable
from scone_preload.volume.reading import Reader
from scone_preload.volume.target import Target
from scone_preload.volume.verify import Problem, Tally

SUPERBLOCK, VOLUME = "(superblock)", "(volume)"


class _Told:
    """Problems, said as they come, or kept for JSON."""

    def __init__(self, session: Session) -> None:
        self.problems: list[Problem] = []
        self._is_json = session.has("--json")

    def __call__(self, problem: Problem) -> None:
        self.problems.append(problem)
        if not self._is_json:
            show(f"{problem}\n")

    def finish(self, counted: dict[str, int | str], text: str) -> None:
        """The end of a report; ends the process with status 1 if there was a problem."""
        if self._is_json:
            show(json.dumps(counted | {"problems": [asdict(problem) for problem in self.problems]}, indent=2) + "\n")
        else:
            count = len(self.problems)
            say(f"{text}; " + (f"{count} problem{'s' * (count > 1)}" if count else "no problem"))
        if self.problems:
            sys.stdout.flush()
            sys.exit(1)


def verify(session: Session) -> None:
    """Reads everything, and says what is bad."""
    told, tally = _Told(session), Tally()
    with _whole(session, is_anchored=not session.has("--older")) as volume:
        for problem in _superblock_problems(volume):
            told(problem)
        with progress("verify") as advance:
            for problem in verifying.verify(container_of(volume), tally, advance):
                told(problem)
        _tell_older(volume, tally, told)
    text = f"version {tally.version}: {tally.files} files, {tally.directories} directories, {tally.chunks} chunks read"
    told.finish(asdict(tally), text)


def export(session: Session) -> None:
    """Writes a tree out."""
    path, target = session.given.arguments
    directory, inside = split(path)
    _check_apart(directory, target)
    told = _Told(session)
    with opened(directory, session.keys(), is_anchored=not session.has("--older")) as state:
        node = Reader(state.tree).walk(inside)
        with _target(target, resume=session.has("--resume")) as to, progress("export") as advance:
            copier = Copier(state.tree, to, told, advance)
            copier.copy_from(node)
            to.finish()
    told.finish(asdict(copier.written), _written(copier.written, target))


def salvage(session: Session) -> None:
    """Writes out what opens."""
    directory, target = session.given.arguments
    _check_apart(directory, target)
    told = _Told(session)
    with _whole(session, is_anchored=False) as volume, _target(target) as to, progress("salvage") as advance:
        written = salvaging.salvage(container_of(volume), to, told, advance)
    told.finish(asdict(written), _written(written, target))


@contextmanager
def _whole(session: Session, *, is_anchored: bool) -> Iterator[Readable]:
    directory, inside = split(session.given.argument)
    if inside:
        raise UserError("not the directory of a volume", session.given.argument, f"name {directory}")
    with readable(directory, session.keys(), is_anchored=is_anchored) as volume:
        yield volume


def _target(path: str, *, resume: bool = False) -> "closing[Target]":
    return closing(Target(path, resume=resume))


def _check_apart(directory: str, target: str) -> None:
    real = os.path.realpath(directory)
    if os.path.commonpath((real, os.path.realpath(target))) == real:
        rule = "target is inside the volume's directory, which has to hold the volume alone"
        raise UserError(rule, target, "name another directory")


def _superblock_problems(volume: Readable) -> Iterator[Problem]:
    """The copies are the same, so one that differs from the other is told of: only one of them was authenticated."""
    raw = os.pread(volume.container.fd, COPIES * BLOCK_SIZE, 0)
    parts = [raw[at * BLOCK_SIZE : (at + 1) * BLOCK_SIZE] for at in range(COPIES)]
    if parts[0] == parts[1]:
        return
    bad = [at for at in range(COPIES) if not _is_same(parts[at], volume)] or [0, 1]
    why = "one copy is damaged, or a change of key slots was cut off; the other one counts"
    yield Problem(SUPERBLOCK, 0, 0, bad[0], len(bad), why)


def _is_same(raw: bytes, volume: Readable) -> bool:
    try:
        return parse_copy(raw, "").superblock == volume.superblock
    except UserError:
        return False


def _tell_older(volume: Readable, tally: Tally, told: Callable[[Problem], None]) -> None:
    if volume.state is None or not tally.version:
        return
    try:
        check_fresh(volume.state, Durable(tally.version, bytes.fromhex(tally.tag)), volume.container.path)
    except RolledBack as error:
        told(Problem(VOLUME, 0, 0, 0, 0, error.rule))


def _written(written: Written, target: str) -> str:
    size = f"{written.bytes} bytes of {written.files} files written to {target}"
    return size + (f", {written.present} files were there" if written.present else "")
