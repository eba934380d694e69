"""What volumes, secrets and [files] say of a path, in a form that a start reads in microseconds; imports nothing heavy.

The runtime host answers a starting program by it before it has imported the rest (runtime/first.py); `decide.py` words
its answers.
"""

from __future__ import annotations

from scone_preload.policy.match import first_path_match, is_below, is_pattern
from scone_preload.policy.system import READABLE, WRITABLE

Texts = tuple[str, ...]
FileRules = tuple[str, Texts, Texts, Texts, Texts, Texts]  # unlisted, read, write, execute; paths: volumes, secrets
READ, WRITE, EXECUTE = "read", "write", "execute"
LISTS = {"look": (READ, WRITE, EXECUTE), "read": (READ, WRITE, EXECUTE), "write": (WRITE,), "execute": (EXECUTE,)}
LOOKED = ("look", "read")


def file_rule(rules: FileRules, path: str, access: str) -> tuple[str, str]:
    """Return which key decides that the program may `look` at, `read`, `write` (also make, rename, remove) or `execute`
    (map code of) a normal, absolute path, links followed, and its item: ("read", "/etc/"), ("unlisted", "system"),
    ("volume", its path), ("root", "") for the root directory. ("secret", its path) is for looking and reading; ("", "")
    means that nothing allows it."""
    unlisted, *_, volumes, secrets = rules
    if path in secrets:
        return "secret", path
    volume = max((one for one in volumes if is_below(path, one)), key=len, default="")
    if volume:
        return "volume", volume
    if path == "/" and access in LOOKED:
        return "root", ""
    for key in LISTS[access]:
        found = first_path_match(patterns_of(rules, key), path)
        if found is not None:
            return key, found
    if access == "look" and unlisted != "pass":
        above = _above(rules, path)
        if above is not None:
            return above
    return ("unlisted", unlisted) if _is_unlisted(unlisted, path, access) else ("", "")


def patterns_of(rules: FileRules, key: str) -> Texts:
    """Return the list of [files] with this name."""
    _, read, write, execute, _, _ = rules
    return {READ: read, WRITE: write, EXECUTE: execute}[key]


def _above(rules: FileRules, path: str) -> tuple[str, str] | None:
    """A directory on the way to something listed may be looked at: realpath() does."""
    for key in LISTS["look"]:
        for pattern in patterns_of(rules, key):
            parent = pattern.rstrip("/")
            while parent := parent.rpartition("/")[0]:
                if first_path_match((parent,), path):
                    return key, pattern
    volume = next((one for one in rules[4] if is_below(one, path)), None)
    return None if volume is None else ("volume", volume)


def _is_unlisted(word: str, path: str, access: str) -> bool:
    if word != "system":
        return word == "pass"
    return first_path_match(WRITABLE if access == "write" else READABLE + WRITABLE, path) is not None


def allows_all_in(rules: FileRules, folder: str, access: str) -> bool:
    """Return whether this access is allowed to all that lies directly in a folder: no volume or secret is there, and a
    list names the folder as a whole."""
    unlisted, *_, volumes, secrets = rules
    if volumes or any(secret.rpartition("/")[0] == folder for secret in secrets):
        return False
    if unlisted == "pass":
        return True
    lists = tuple(pattern for key in LISTS[access] for pattern in patterns_of(rules, key))
    if unlisted == "system":
        lists += WRITABLE if access == "write" else READABLE + WRITABLE
    whole = tuple(pattern for pattern in lists if pattern.endswith("/") and not is_pattern(pattern))
    return first_path_match(whole, folder) is not None
