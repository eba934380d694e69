"""The network rules of a learned policy: one for each socket that was used, or a wider one for many."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from scone_preload.policy.effective import parse
from scone_preload.policy.explain import socket_from
from scone_preload.policy.group import pattern_of, printable
from scone_preload.policy.kinds import ANY_PORT, Ports
from scone_preload.policy.model import UNIX, NetworkRule
from scone_preload.policy.quoting import quote
from scone_preload.policy.why import Why, added

MANY = 4
ANYWHERE = ("0.0.0.0", "::")
Key = tuple[str, str, str, Ports]  # table, protocol, address, ports
SocketFacts = dict[Key, tuple[NetworkRule | None, Why]]  # the rule, where one was written already


def note_socket(facts: SocketFacts, kind: str, text: str, why: Why) -> None:
    """Add one socket that was used: `text` as in a question, `kind` connect, listen or bind."""
    table = "network.connect" if kind == "connect" else "network.listen"
    socket = socket_from(printable(text), listens=True)
    address, ports = socket.name or socket.address, (socket.port, socket.port)
    if address.startswith(UNIX):
        address, ports = _unix(address.removeprefix(UNIX)), ANY_PORT
    if table == "network.listen" and address in ANYWHERE:
        address = "*"
    key = (table, socket.protocol, address, ports)
    before = [(facts[key][1], "")] if key in facts else []
    facts[key] = (None, added([*before, (why, "")]))


def _unix(name: str) -> str:
    return UNIX + (pattern_of(name, written=True) if name.startswith("/") else name)


def socket_rules(facts: SocketFacts) -> list[tuple[str, NetworkRule, Why]]:
    """Return (table, rule, reason): MANY addresses with one port become `*`, MANY ports of one address `any`."""
    found = _widened(_widened(facts, _any_address), _any_port)
    return [(key[0], rule or _rule(key), why) for key, (rule, why) in sorted(found.items(), key=lambda one: one[0])]


@dataclass(frozen=True, slots=True)
class _Wider:
    """A key that stands for many, and the name that one of them has there."""

    key: Key
    name: str


def _any_address(key: Key) -> _Wider:
    table, protocol, address, ports = key
    return _Wider((table, protocol, "*", ports), address)


def _any_port(key: Key) -> _Wider:
    table, protocol, address, ports = key
    return _Wider((table, protocol, address, ANY_PORT), str(ports[0]))


def _widened(facts: SocketFacts, widen: Callable[[Key], _Wider]) -> SocketFacts:
    groups: dict[Key, list[Key]] = {}
    for key in facts:
        if _is_plain(facts, key) and widen(key).key != key:
            groups.setdefault(widen(key).key, []).append(key)
    found = dict(facts)
    for wide, keys in groups.items():
        if wide in facts and not _is_plain(facts, wide):
            continue
        if wide in facts or len(keys) >= MANY:
            parts = [(found.pop(key)[1], "" if wide in facts else widen(key).name) for key in keys]
            found[wide] = _joined(facts[wide], parts) if wide in facts else (None, added(parts))
    return found


def _joined(known: tuple[NetworkRule | None, Why], parts: list[tuple[Why, str]]) -> tuple[NetworkRule | None, Why]:
    rule, why = known
    for more, _ in parts:
        why = why.joined(more)
    return rule, why


def _is_plain(facts: SocketFacts, key: Key) -> bool:
    """A rule that only allows, which a wider one can stand for."""
    rule = facts[key][0]
    return not key[2].startswith(UNIX) and (rule is None or rule.shield == "pass")


@cache
def _rule(key: Key) -> NetworkRule:
    table, protocol, address, (low, high) = key
    ports = "" if address.startswith(UNIX) else f'port = "{low}-{high}"\n'
    text = f'version = 1\n[[{table}]]\nprotocol = "{protocol}"\naddress = {quote(address)}\n{ports}shield = "pass"\n'
    network = parse(text.encode()).network
    return (network.listen + network.connect)[0]
