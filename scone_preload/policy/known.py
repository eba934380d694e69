"""What a policy says of paths in advance, so that a program that starts need not ask, and wait.

Said of names that nobody whom the policy governs may change. A shim takes it for an answer where no link stands in the
path (libshim/enclave/policy.c); where links lead, only the runtime knows.
"""

from os import fsencode

from scone_preload.policy.access import LOOKS, READS
from scone_preload.policy.decide import decide_file
from scone_preload.policy.match import is_below, is_pattern
from scone_preload.policy.model import Policy
from scone_preload.policy.system import READABLE, WRITABLE

PATH_MAX = 248  # of an answer that the shim keeps
PATTERN_SIGNS = "*?"


def known_paths(policy: Policy) -> tuple[tuple[str, int, bool], ...]:
    """Return the paths that [files] lists and their directories: path, LOOKS and READS as allowed, and whether it
    holds for all below."""
    files = policy.files
    if files.unlisted == "pass" or policy.volumes:
        return ()
    system = READABLE if files.unlisted == "system" else ()
    listed = [path for path in (*files.read, *files.execute, *system) if not is_pattern(path)]
    found = [(path.rstrip("/") or "/", path.endswith("/")) for path in listed]
    found += [(parent, False) for path in listed for parent in _parents(path)]
    known = []
    for path, below in dict.fromkeys(found):
        access = _allowed(policy, path, below)
        if access and len(fsencode(path)) <= PATH_MAX and _is_fixed(policy, path, below):
            known.append((path, access, below))
    return tuple(known)


def _allowed(policy: Policy, path: str, below: bool) -> int:
    what = f"{path.rstrip('/')}/x" if below else path
    return sum(bit for bit, word in ((LOOKS, "look"), (READS, "read")) if decide_file(policy, what, word).allowed)


def _is_fixed(policy: Policy, path: str, below: bool) -> bool:
    """Whether nobody may write the path, a directory on the way to it, or what it holds for, nor is a secret there."""
    files = policy.files
    if any(decide_file(policy, one, "write").allowed for one in (path, *_parents(path))):
        return False
    written = (*files.write, *(WRITABLE if files.unlisted == "system" else ()))
    exact = [one.rstrip("/") for one in written if not is_pattern(one)] + [secret.path for secret in policy.secrets]
    if any(name == path or (below and is_below(name, path)) for name in exact):
        return False
    starts = [_literal(pattern) for pattern in written if is_pattern(pattern)]
    return not any(is_below(path, start) or is_below(start, path) for start in starts)


def _literal(pattern: str) -> str:
    """The part of a pattern that all that it matches begins with, up to a whole name."""
    at = min(pattern.find(sign) for sign in PATTERN_SIGNS if sign in pattern)
    return pattern[:at].rpartition("/")[0] or "/"


def _parents(path: str) -> list[str]:
    """The directories on the way to a path: realpath() looks at each."""
    names = path.rstrip("/").split("/")[1:-1]
    return ["/", *("/" + "/".join(names[:count]) for count in range(1, len(names) + 1))]
