"""What a value of a policy may be: each kind turns what TOML gave into the value that the model holds, or refuses it.

A kind's function raises Bad with the rule and what to write instead. Values are str, int, a pair of ports, a tuple of
strings, or a tuple of pairs of strings sorted by name.
"""

import errno
import re
from collections.abc import Callable
from ipaddress import ip_network
from posixpath import normpath

from scone_preload.frozen import Frozen
from scone_preload.policy.calls import call_named, call_names
from scone_preload.policy.model import UNIX
from scone_preload.policy.problem import Bad, did_you_mean

Ports = tuple[int, int]
Value = str | int | Ports | tuple[str, ...] | tuple[tuple[str, str], ...]
Check = Callable[[str], str]

PORT_MAX = 65535
ANY_PORT: Ports = (0, PORT_MAX)
STOP = "stop"
ALL_CALLS = "*"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
VARIABLE_PATTERN = re.compile(r"[A-Za-z_*?][A-Za-z0-9_*?]*")
HOST_NAME = re.compile(r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_-]+)*\.?")
LEAF = re.compile(r"sha256:[0-9a-f]{64}")
MODE = re.compile(r"0[0-7]{3}")
OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
SIZE = re.compile(r"[1-9][0-9]{0,8}[KMG]")
UNITS = {"K": 10, "M": 20, "G": 30}
CACHE_LEAST, CACHE_MOST = "2M", "16G"  # that libshim/volume takes
PORT_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")


class Kind(Frozen):
    """One kind of value: `shape` is text, number, port, list, sequence or map; `words` are all it may be, if fixed."""

    shape: str
    meaning: str
    check: Check = str
    words: tuple[str, ...] = ()
    name_check: Check = str


def one_of(*words: str) -> Kind:
    """A text that is one of these words."""

    def check(text: str) -> str:
        if text not in words:
            listed = ", ".join(f'"{word}"' for word in words)
            raise Bad(f'"{text}" is not known here', did_you_mean(text, words, otherwise=f"use one of {listed}"))
        return text

    return Kind("text", " ".join(f"`{word}`" for word in words), check, words)


def plain(text: str) -> str:
    """Any text without control characters (NUL, newline)."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise Bad("control character in a text", "leave it out")
    return text


def anything(text: str) -> str:
    """Any text that the kernel can hand to a program."""
    if "\0" in text:
        raise Bad("NUL in a text", "leave it out")
    return text


def _normal(text: str, what: str) -> str:
    plain(text)
    if not text.startswith("/"):
        raise Bad(f'{what} "{text}" is relative', 'write the whole path, from "/" on')
    normal = "/" + normpath(text).lstrip("/")
    if text.rstrip("/") != normal.rstrip("/"):
        raise Bad(f'{what} "{text}" is not normal', f'no ".", ".." or "//": write "{normal}"')
    return normal


def path(text: str) -> str:
    """An absolute, normal path; a slash at its end is dropped."""
    normal = _normal(text, "path")
    if "*" in normal or "?" in normal:
        raise Bad(f'path "{text}" has a * or ?', "write one path; patterns are for [files] and [exec]")
    return normal


def path_pattern(text: str) -> str:
    """An absolute, normal path in which * and ? stand for characters; a slash at its end: everything below, too."""
    normal = _normal(text, "path")
    return normal + "/" if text.endswith("/") and normal != "/" else normal


def shaped(pattern: re.Pattern[str], rule: str, remedy: str) -> Check:
    """A text that the whole pattern matches."""

    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise Bad(f'"{text}" is {rule}', remedy)
        return text

    return check


key_name = shaped(NAME, "no name of a key", "use letters, digits and . _ -, as scone-keys shows them")
variable = shaped(VARIABLE, "no name of a variable", "use letters, digits and _")
variable_pattern = shaped(VARIABLE_PATTERN, "no name of a variable", 'use letters, digits and _, or a pattern: "LC_*"')
file_mode = shaped(MODE, "no file mode", 'write four octal digits, such as "0400"')
owner = shaped(OWNER, "no owner", 'write a user, or user and group: "redis", "redis:redis" or "0:0"')
size = shaped(SIZE, "no size", 'write a number and K, M or G, such as "256M" or "1G"')
leaf = shaped(LEAF, "no fingerprint", 'write "sha256:" and 64 lower-case hexadecimal digits')


def cache_size(text: str) -> str:
    """A size that a volume's cache can have."""
    size(text)
    if not bytes_of(CACHE_LEAST) <= bytes_of(text) <= bytes_of(CACHE_MOST):
        raise Bad(f'cache "{text}" is out of range', f'write a size from "{CACHE_LEAST}" to "{CACHE_MOST}"')
    return text


def bytes_of(size: str) -> int:
    """Return how many bytes a size is; "" is 0."""
    return int(size[:-1]) << UNITS[size[-1]] if size else 0


def host_name(text: str) -> str:
    """A DNS name, perhaps with `*.` in front."""
    if not HOST_NAME.fullmatch(text) or len(text) > 253:
        raise Bad(f'"{text}" is no name of a host', 'write it as "example.com" or "*.example.com"')
    return text.lower().rstrip(".")


def address(text: str) -> str:
    """`*`, an IP address or network, a host's name, or `unix:` and a path (or `unix:@name`)."""
    if text == "*":
        return text
    if text.startswith(UNIX):
        rest = text.removeprefix(UNIX)
        return UNIX + (plain(rest) if rest.startswith("@") and len(rest) > 1 else path_pattern(rest))
    if ":" in text or text.replace(".", "").replace("/", "").isdigit():
        return _ip(text)
    return host_name(text)


def _ip(text: str) -> str:
    try:
        network = ip_network(text)
    except ValueError as error:
        remedy = 'write "127.0.0.1", "::1" or "10.0.0.0/8"; the port has a key of its own'
        raise Bad(f"{str(error) or text}", remedy) from None
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def secret_source(text: str) -> str:
    """Where a secret comes from: `keystore:NAME`, `env:NAME` of the runtime's environment, or `file:PATH`."""
    kind, _, rest = text.partition(":")
    checks = {"keystore": key_name, "env": variable, "file": path}
    if kind == "literal":
        raise Bad("a secret stands in the policy", 'put it into the keystore and write from = "keystore:NAME"')
    if kind not in checks or not rest:
        raise Bad(f'"{text}" says no source of a secret', 'write "keystore:NAME", "env:NAME" or "file:/PATH"')
    return f"{kind}:{checks[kind](rest)}"


def certificate(text: str) -> str:
    """`runtime` (made by the runtime's CA) or a path."""
    return text if text == "runtime" else path(text)


def authority(text: str) -> str:
    """`runtime` (the runtime's CA), `system` (the system's list) or a path."""
    return text if text in ("runtime", "system") else path(text)


def call(text: str) -> str:
    """The name of a syscall."""
    if call_named(text) is None:
        otherwise = "docs/syscalls.md lists every call"
        raise Bad(f'there is no syscall "{text}"', did_you_mean(text, call_names(), otherwise=otherwise))
    return text


def call_or_all(text: str) -> str:
    """The name of a syscall, or `*`."""
    return text if text == ALL_CALLS else call(text)


def denial(text: str) -> str:
    """The name of an errno, or `stop`."""
    known = (STOP, *sorted(errno.errorcode.values()))
    if text not in known:
        raise Bad(f'"{text}" is no errno', did_you_mean(text, known, otherwise='write one such as "EPERM", or "stop"'))
    return text


def ports(raw: object) -> Ports:
    """A port, `"any"`, or a range such as `"8000-8100"`; 0 is one that the kernel chooses."""
    found = PORT_RANGE.fullmatch(raw) if isinstance(raw, str) else None
    if raw == "any":
        return ANY_PORT
    if isinstance(raw, int) and not isinstance(raw, bool):
        low = high = raw
    elif found:
        low, high = int(found.group(1)), int(found.group(2))
    else:
        raise Bad(f"{shown(raw)} is no port", 'write port = 6379, "8000-8100" or "any"')
    if not 0 <= low <= high <= PORT_MAX:
        raise Bad(f"{shown(raw)} is no port", f"ports go from 0 to {PORT_MAX}, the lower one first")
    return low, high


def shown(raw: object) -> str:
    """A value from TOML, as a message shows it."""
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, dict):
        return "a table"
    return "a list" if isinstance(raw, list) else f'"{raw}"' if isinstance(raw, str) else str(raw)


def number(least: int, most: int, meaning: str) -> Kind:
    """A whole number in this range."""

    def check(text: str) -> str:
        if not least <= int(text) <= most:
            raise Bad(f"{text} is out of range", f"write a number from {least} to {most}")
        return text

    return Kind("number", meaning, check)


def text(check: Check, meaning: str) -> Kind:
    """One text."""
    return Kind("text", meaning, check)


def listed(check: Check, meaning: str) -> Kind:
    """A list of texts."""
    return Kind("list", meaning, check)


def sequence(check: Check, meaning: str) -> Kind:
    """A list of texts whose order and number count: a later one replaces it."""
    return Kind("sequence", meaning, check)


def mapped(name_check: Check, check: Check, meaning: str) -> Kind:
    """A table of names and texts."""
    return Kind("map", meaning, check, name_check=name_check)


PORTS = Kind("port", 'number, `"low-high"` or `"any"`')
