"""--learn: watches what a program does, and writes the least policy that allows it.

The shims ask about every path and address, as under a policy that lists nothing; all of it is allowed, and noted.
Which calls were made, and how often, the statistics say at the end of each process. The policy is there when the first
process has ended, and is written again when the last one has: what a file of an earlier run allows stays allowed.
"""

import os
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from scone_preload.errors import SconeError
from scone_preload.policy.access import access_word
from scone_preload.policy.calls import call_numbered
from scone_preload.policy.document import Source
from scone_preload.policy.learn import Event, Learned, learn, learned_from, merge
from scone_preload.policy.match import first_match
from scone_preload.policy.system import PROBED
from scone_preload.runtime import verdicts, wire
from scone_preload.runtime.calls import send_all
from scone_preload.runtime.deciding import socket_of
from scone_preload.runtime.path_calls import open_flags, real_paths

if TYPE_CHECKING:
    from scone_preload.log import Say

GIVEN = "given"  # instead of a call
VARIABLES = ("HOME", "LANG", "LANGUAGE", "LC_*", "LOGNAME", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
WATCHING = b'version = 1\nfiles.unlisted = "refuse"\nnetwork.unlisted = "refuse"\n'


class Learner:
    """What was seen so far, by what it needs: (kind, object, call) -> how often."""

    def __init__(self, path: str, say: "Say", *, is_told: bool = False) -> None:
        self.path = path
        self._is_told = is_told
        self._say = say
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._calls: Counter[str] = Counter()
        self._before = self._read()

    def take(self, message: wire.Call, pid: int, answer: socket.socket) -> None:
        """Note a call of process `pid`, and let it go on."""
        self._note(message, pid)
        send_all(answer, verdicts.go())

    def note_start(self, arguments: Sequence[str], variables: Iterable[bytes]) -> None:
        """The first process is started with these; of the variables, those count that libc and programs look for."""
        self._seen.update(("argument", one, GIVEN) for one in arguments)
        names = sorted(map(os.fsdecode, variables))
        self._seen.update(("variable", name, GIVEN) for name in names if first_match(VARIABLES, name) is not None)

    def note_exec(self, path: str) -> None:
        """A process executes this program."""
        self._seen["exec", path, "execve"] += 1

    def note_calls(self, counts: Mapping[int, int]) -> None:
        """A process made these calls, by number."""
        for nr, count in counts.items():
            row = call_numbered(nr)
            if row is not None and count:
                self._calls[row.name] += count

    def _events(self) -> list[Event]:
        """What was seen; calls that were noted with a path or an address are not told twice."""
        noted: Counter[str] = Counter()
        for (_, _, call), count in self._seen.items():
            noted[call] += count
        events = [
            Event(kind=kind, object=thing, call=call, count=count)
            for (kind, thing, call), count in sorted(self._seen.items())
        ]
        others = ((name, count - noted[name]) for name, count in sorted(self._calls.items()))
        return events + [Event(kind="call", object=name, call=name, count=count) for name, count in others if count > 0]

    def _note(self, message: wire.Call, pid: int) -> None:
        row = call_numbered(message.nr)
        if row is None:
            return
        for path in real_paths(row.name, message, pid):
            self._seen[access_word(row.name, open_flags(row.name, message)), path, row.name] += 1
        address = message.strings.get(wire.ABOUT_ADDRESS)
        end = socket_of(address, row, message, pid) if address else None
        if end is not None and str(end) not in PROBED:
            self._seen["listen" if row.name == "bind" else "connect", str(end), row.name] += 1

    def write(self) -> None:
        """Write the policy, whole or not at all; say so where that fails."""
        try:
            learned = learn(self._events())
            text = (merge(self._before, learned) if self._before else learned).text()
            temporary = f"{self.path}.{os.getpid()}.tmp"
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, self.path)
        except (OSError, SconeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self._say(f"what was learned can't be written: {self.path}: {reason}", "error", "error")
            return
        if self._is_told:
            self._is_told = False
            self._say(f"what was learned is in {self.path}: use it with --policy {self.path}", "notice")

    def _read(self) -> Learned | None:
        try:
            with open(self.path, "rb") as file:
                return learned_from(Source(self.path, file.read()))
        except FileNotFoundError:
            return None
