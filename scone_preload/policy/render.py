"""A Policy as TOML with comments: what --print-policy shows and --learn writes. Reading it gives the same Policy.

A short list stands on one line; one whose items carry comments has a line for each.
"""

import re
from collections.abc import Iterator, Mapping

from scone_preload.policy.effective import section
from scone_preload.policy.keys import KEYS_OF, TABLES, Key, Table, attribute
from scone_preload.policy.model import NetworkRule, Place, Policy, Secret, Volume, ports_text
from scone_preload.policy.quoting import quote, quote_list

WIDTH = 110
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
Comments = Mapping[Place, str]


def render(policy: Policy) -> str:
    """Return every key of the policy, those with defaults too."""
    return "".join(_text(policy, {}, whole=True))


def render_with_places(policy: Policy) -> str:
    """Return every key of the policy, each with where it was written."""
    return "".join(_text(policy, {place: str(where) for place, where in policy.places.items()}, whole=True))


def render_with_comments(policy: Policy, comments: Comments) -> str:
    """Return what differs from the defaults, with these comments behind the lines."""
    return "".join(_text(policy, comments, whole=False))


def _text(policy: Policy, comments: Comments, *, whole: bool) -> Iterator[str]:
    for table in TABLES:
        part = section(policy, table.name)
        if not table.name:
            yield f"version = {policy.version}\n"
        elif table.many:
            for thing in part if isinstance(part, tuple) else ():
                yield f"\n{table.header}{_comment(comments, table.name, label(thing))}\n"
                yield from _keys(table, thing, {}, whole=False)
        else:
            lines = list(_keys(table, part, comments, whole=whole))
            yield from (f"\n{table.header}\n", *lines) if lines else ()


def label(thing: object) -> str:
    """Return what tells a volume, secret or network rule from others."""
    if isinstance(thing, NetworkRule):
        return thing.label
    return thing.path if isinstance(thing, Volume | Secret) else ""


def _comment(comments: Comments, key: str, item: str = "") -> str:
    words = UNPRINTABLE.sub("?", comments.get((key, item), ""))
    return f"  # {words}" if words else ""


def value_of(thing: object, key: Key) -> object:
    """Return what a part of a policy says for a key."""
    for name in key.name.split("."):
        thing = getattr(thing, attribute(name))
    return thing


def _keys(table: Table, thing: object, comments: Comments, *, whole: bool) -> Iterator[str]:
    for key in KEYS_OF[table.name].values():
        value = value_of(thing, key)
        if _is_shown(key, thing, value, whole=whole):
            yield from _key(key, value, comments)


def _is_shown(key: Key, thing: object, value: object, *, whole: bool) -> bool:
    if isinstance(thing, NetworkRule) and key.name == "port":
        return not thing.address.startswith("unix:")
    if isinstance(thing, Volume) and key.name == "host_path":
        return value != thing.path
    return value != key.default or (whole and value not in ("", ()))


def _key(key: Key, value: object, comments: Comments) -> Iterator[str]:
    shape = key.kind.shape
    if shape == "map" and isinstance(value, tuple):
        for name, one in value:
            yield f"{key.name}.{_name(name)} = {quote(one)}{_comment(comments, key.full, name)}\n"
    elif shape in ("list", "sequence") and isinstance(value, tuple):
        yield from _list(key, value, comments)
    elif shape == "port" and isinstance(value, tuple):
        low, high = value
        yield f"port = {low if low == high else quote(ports_text(value))}\n"
    else:
        text = str(value) if shape == "number" else quote(str(value))
        yield f"{key.name} = {text}{_comment(comments, key.full)}\n"


def _list(key: Key, items: tuple[str, ...], comments: Comments) -> Iterator[str]:
    line = f"{key.name} = {quote_list(items)}"
    if len(line) <= WIDTH and not any((key.full, item) in comments for item in items):
        yield f"{line}\n"
        return
    yield f"{key.name} = [\n"
    for item in items:
        yield f"    {quote(item)},{_comment(comments, key.full, item)}\n"
    yield "]\n"


def _name(name: str) -> str:
    bare = name.replace("_", "").replace("-", "")
    return name if bare.isascii() and bare.isalnum() else quote(name)
