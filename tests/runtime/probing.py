"""Running programs/probe.c under a policy: what each call gave, and what was said."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.modes import Mode
from tests.helpers.processes import run

SOURCE = Path(__file__).parent / "programs" / "probe.c"


@dataclass(frozen=True, slots=True)
class Probed:
    """What each call gave, in order: "0", "some" (more than 0) or an errno; standard error; the exit status."""

    results: list[str]
    err: str
    status: int

    @property
    def denials(self) -> list[str]:
        """The lines that tell of a denial."""
        return [line for line in self.err.splitlines() if line.startswith("scone-wrap: denied by ")]


class Prober:
    """The built program; `place` is a directory for files and policies of the test."""

    def __init__(self, binary: Path, place: Path) -> None:
        self.binary = binary
        self.place = place

    def policy(self, text: str, name: str = "scone.toml") -> Path:
        """Write a policy; `{place}` in it is the directory."""
        path = self.place / name
        path.write_text("version = 1\n" + text.replace("{place}", str(self.place)))
        return path

    def ask(self, mode: Mode, policy: str | Path, *calls: str, options: tuple[str, ...] = (), **more: str) -> Probed:
        """Make these calls under a policy (its text, or its file; "" for none); `more` goes into the environment."""
        if isinstance(policy, str) and policy:
            policy = self.policy(policy)
        given = ("--policy", str(policy), *options) if policy else options
        words = [call.replace("{place}", str(self.place)) for call in calls]
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C", **more}
        done = run(mode, [self.binary, *words], cwd=self.place, options=given, environment=environment)
        lines = done.out.decode(errors="surrogateescape").splitlines()
        found = [re.split(r": (?=\w+$)", line)[-1] for line in lines]
        return Probed(found, done.err.decode(errors="replace"), done.status)


def build_probe(folder: Path) -> Path:
    """Compile the program."""
    binary = folder / "probe"
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", SOURCE, "-o", binary], check=True)
    return binary
