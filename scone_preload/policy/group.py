"""From the paths a program used to the few patterns that a person would have written.

- what is in a folder of libraries stands for that folder;
- a process's number under /proc, a random name in a temporary folder, a number in the name of a file that is written:
  `*`;
- a folder with MANY different names in it: the folder, unless it is so broad that it would say nothing.

Grouping what is grouped changes nothing.
"""

import re
from collections.abc import Iterable

from scone_preload.policy.match import path_matches
from scone_preload.policy.why import Why, added

MANY = 4
SYSTEM = ("/usr/lib/", "/usr/lib32/", "/usr/lib64/", "/usr/libexec/", "/usr/share/", "/usr/local/lib/",
          "/lib/", "/lib32/", "/lib64/")  # fmt: skip
TEMPORARY = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/")
BROAD = frozenset({"", "/bin", "/boot", "/dev", "/etc", "/home", "/media", "/mnt", "/opt", "/proc", "/root", "/run",
                   "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/local", "/usr/sbin", "/var", "/var/lib",
                   "/var/log", "/var/run", "/var/tmp"})  # fmt: skip
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f*\ud800-\udfff]")
PYTHON_TEMPORARY = re.compile(r"(tmp)[a-z0-9_]{8}|(?=[a-z]*[0-9_])[a-z0-9_]{8}")  # one in 17 is letters only
RUN = re.compile(r"[A-Za-z0-9]{6,}|[0-9]{3,}")
NUMBER = re.compile(r"[0-9]{3,}")


def printable(text: str) -> str:
    """Return a pattern for just this text, in which `?` stands for what a policy can't hold."""
    return UNPRINTABLE.sub("?", text)


def pattern_of(path: str, *, written: bool) -> str:
    """Return the pattern for one path that was used, before any grouping."""
    path = printable(path)
    for folder in () if written else SYSTEM:
        if path.startswith(folder):
            return folder
    folder, _, name = path.rpartition("/")
    if path.startswith("/proc/"):
        return "/".join("*" if part.isdigit() else part for part in path.split("/"))
    if path.startswith(TEMPORARY):
        return "/".join(map(_without_random, path.split("/")))
    return f"{folder}/{NUMBER.sub('*', name)}" if written else path


def _without_random(name: str) -> str:
    python = PYTHON_TEMPORARY.fullmatch(name)
    if python:
        return (python.group(1) or "") + "?" * 8
    return RUN.sub(lambda run: "*" if _is_random(run.group()) else run.group(), name)


def _is_random(run: str) -> bool:
    """Digits among letters, or capitals in the middle: no word of a person's."""
    digits = sum(letter.isdigit() for letter in run)
    return digits > 0 or not (run.islower() or run.isupper() or run[1:].islower())


def covers(pattern: str, other: str) -> bool:
    """Return whether all that `other` matches is matched by `pattern`, as far as their letters tell."""
    return (pattern.endswith("/") or not other.endswith("/")) and path_matches(pattern, other)


def absorb(entries: dict[str, Why]) -> dict[str, Why]:
    """Return the entries without those that others cover; their counts stay with what covers them."""
    kept: dict[str, Why] = {}
    for pattern in sorted(
        entries, key=lambda one: (one.rstrip("/").count("/"), not one.endswith("/"), "*" not in one, one)
    ):
        by = next((one for one in kept if covers(one, pattern)), None)
        if by is None:
            kept[pattern] = entries[pattern]
        else:
            kept[by] = kept[by].joined(entries[pattern])
    return dict(sorted(kept.items()))


def group(entries: dict[str, Why]) -> dict[str, Why]:
    """Return fewer entries: folders with many different names in them become one."""
    entries = absorb(entries)
    while (folder := _crowded(entries)) is not None:
        inside = [pattern for pattern in entries if covers(folder, pattern)]
        whole = added((entries.pop(pattern), named(folder, pattern)) for pattern in inside)
        entries = absorb({**entries, folder: whole})
    return entries


def named(folder: str, path: str) -> str:
    """Return what is left of a path below the folder that stands for it; "" if it stands for itself."""
    return path.removeprefix(folder) if path != folder and folder.endswith("/") else ""


def _crowded(entries: Iterable[str]) -> str | None:
    """Return the deepest folder that has MANY entries right in it, if there is one."""
    counts: dict[str, int] = {}
    for pattern in entries:
        parent = pattern.rstrip("/").rpartition("/")[0]
        counts[parent] = counts.get(parent, 0) + 1
    crowded = [parent for parent, count in counts.items() if count >= MANY and parent not in BROAD]
    return max(crowded, key=lambda one: (one.count("/"), one)) + "/" if crowded else None
