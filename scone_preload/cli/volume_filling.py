"""The commands of scone-volume that run a program of ours wrapped, on a volume: import and bench.

So a volume is filled by what fills it in use, and there is no second way into one that would have to be kept right.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from scone_preload.cli.progress import progress
from scone_preload.cli.volume_session import Row, Session, say, show
from scone_preload.errors import NotAVolume, UserError, VolumeError
from scone_preload.policy.quoting import quote
from scone_preload.volume import benching, importing
from scone_preload.volume.place import CONTAINER, containers_in, real_directory
from scone_preload.volume.rekeying import list_slots

MIB = 1 << 20


def import_tree(session: Session) -> None:
    """A tree, copied into a volume."""
    source, directory = map(real_directory, session.given.arguments)
    if not os.path.isdir(source):
        raise UserError("not a directory", source, "name the directory to be imported")
    if os.path.commonpath((source, directory)) in (source, directory):
        raise NotAVolume("one of the two is inside of the other", f"{source}, {directory}", "name another directory")
    total, done, failed = 0, 0, ""
    with _wrapped(session, directory, importing.__file__, source, directory) as process, progress("import") as advance:
        for kind, text in _lines(process):
            if kind == "total":
                total = int(text)
            elif kind == "done":
                done += int(text)
                advance(done, total)
            elif kind == "note":
                say(text)
            elif kind == "failed":
                failed = text
    if process.returncode != 0:
        if not failed:
            raise VolumeError("import was stopped", directory, "see above; the same command goes on where it ended")
        raise VolumeError("import stopped", failed, "the same command goes on where it ended")
    row: Row = {"source": source, "directory": directory, "bytes": done}
    session.report(
        row, f"{directory} holds {done} bytes of {source}; check it, then remove those: they are in the clear"
    )


def bench(session: Session) -> None:
    """A volume against plain files."""
    directory = real_directory(session.given.argument)
    if os.path.lexists(directory):
        raise UserError("directory is there already", directory, "name one to be made, and removed at the end")
    size = _size(session.given.options.get("--size", "256"))
    os.mkdir(directory)
    plain = tempfile.mkdtemp(prefix=".scone-bench-", dir=os.path.dirname(directory))
    try:
        native = _measured([sys.executable, "-I", "-S", benching.__file__, plain, str(size)])
        session.given.options["--freshness"] = "no_rollback_protection"
        with _wrapped(session, directory, benching.__file__, directory, str(size)) as process:
            shielded = list(map(_result, process.stdout or ()))
        if process.returncode != 0:
            raise VolumeError("measurement was stopped", directory, "see above")
    finally:
        shutil.rmtree(plain)
        shutil.rmtree(directory)
    _compare(session, native, shielded)


@contextmanager
def _wrapped(session: Session, directory: str, script: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A script of ours that runs wrapped on the volume in `directory`; it has ended at the end."""
    policy = os.memfd_create("policy")
    os.write(policy, _policy(session, directory).encode())
    wrap = [sys.executable, "-m", "scone_preload.cli.wrap", "--quiet", "--policy", f"/proc/self/fd/{policy}", "--"]
    command = [*wrap, sys.executable, "-I", "-S", script, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, pass_fds=(policy,), env=session.child()
    ) as process:
        os.close(policy)
        yield process


def _policy(session: Session, directory: str) -> str:
    options = session.given.options
    mode, freshness = options.get("--mode", "encrypt"), options.get("--freshness", "rollback_protected")
    key = f"key = {quote(options['--key'])}\n" if "--key" in options else ""
    if CONTAINER in containers_in(directory):
        there = list_slots(directory)
        mode, freshness = there.mode.name.lower(), there.freshness.word
    words = f'path = {quote(directory)}\nmode = "{mode}"\nfreshness = "{freshness}"\n'
    return f"version = 1\n[[volume]]\n{words}{key}"


def _lines(process: "subprocess.Popen[str]") -> Iterator[tuple[str, str]]:
    for line in process.stdout or ():
        kind, _, text = line.rstrip("\n").partition(" ")
        yield kind, text


def _measured(command: list[str]) -> list[tuple[str, float, str]]:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise VolumeError("measurement was stopped", command[-2], "see above")
    return list(map(_result, done.stdout.splitlines()))


def _result(line: str) -> tuple[str, float, str]:
    name, value, unit = line.rstrip("\n").split("\t")
    return name, float(value), unit


def _compare(session: Session, native: list[tuple[str, float, str]], shielded: list[tuple[str, float, str]]) -> None:
    rows = [
        {"what": name, "unit": unit, "plain": plain, "volume": volume, "ratio": round(volume / plain, 2)}
        for (name, plain, unit), (_, volume, _) in zip(native, shielded, strict=True)
    ]
    if session.has("--json"):
        show(json.dumps(rows, indent=2) + "\n")
        return
    show(f"{'':<24} {'plain':>12} {'volume':>12} {'ratio':>7}\n")
    for row in rows:
        show(f"{row['what']:<24} {row['plain']:>12,.0f} {row['volume']:>12,.0f} {row['ratio']:>7} {row['unit']}\n")


def _size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:7]) <= 1 << 20:
        raise UserError("not a size in MiB", text, "give a number from 1 to 1048576")
    return int(text) * MIB
