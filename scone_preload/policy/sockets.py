"""What a policy says about connect and bind: the most exact rule that fits.

A name goes before an address, an address before a network (the longer prefix first), a network before `*`; at the same
address the narrower range of ports goes first.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from scone_preload.frozen import Frozen
from scone_preload.policy.decision import Asked, Decision
from scone_preload.policy.match import path_matches, wildcard
from scone_preload.policy.model import UNIX, NetworkRule, Policy
from scone_preload.policy.quoting import quote

NAME_RANK, EXACT_RANK = 2000, 1000


class Socket(Frozen, kw_only=True):
    """One end. `address` is numeric, or `unix:/path`, `unix:@name`; "" when only the `name` looked up is known."""

    protocol: str = "tcp"
    address: str = ""
    port: int = 0
    name: str = ""

    def __str__(self) -> str:
        if self.address.startswith(UNIX):
            return self.address
        host = f"[{self.address}]" if ":" in self.address else self.address
        shown = f"{self.name} ({host})" if self.name and host else self.name or host
        return f"{self.protocol} {shown}:{self.port}"


def decide_connect(policy: Policy, socket: Socket) -> Decision:
    """May the program connect there? `action` is `tls` or `pass`."""
    return _decide(Asked(policy, f"connect {socket}"), "network.connect", policy.network.connect, socket)


def decide_bind(policy: Policy, socket: Socket) -> Decision:
    """May the program bind, and so listen, there? `action` is `tls` or `pass`."""
    return _decide(Asked(policy, f"listen {socket}"), "network.listen", policy.network.listen, socket)


def _decide(asked: Asked, table: str, rules: tuple[NetworkRule, ...], socket: Socket) -> Decision:
    ranked = [(rank, rule) for rule in rules if (rank := rank_of(rule, socket)) is not None]
    if not ranked:
        return _unlisted(asked, table, socket)
    _, rule = max(ranked, key=lambda one: one[0])
    if rule.shield == "refuse":
        return asked.no(table, rule.label)
    return asked.yes(table, rule.label, action=rule.shield)


def rank_of(rule: NetworkRule, socket: Socket) -> tuple[int, int] | None:
    """Return how exactly a rule fits a socket, None if it doesn't."""
    if rule.address.startswith(UNIX) or socket.address.startswith(UNIX):
        return _unix_rank(rule.address, socket.address)
    low, high = rule.port
    if rule.protocol != socket.protocol or not low <= socket.port <= high:
        return None
    rank = _address_rank(rule.address, socket)
    return None if rank is None else (rank, low - high)


def _unix_rank(pattern: str, address: str) -> tuple[int, int] | None:
    wanted, given = pattern.removeprefix(UNIX), address.removeprefix(UNIX)
    if wanted == pattern or given == address:
        return None
    if wanted == given:
        return EXACT_RANK, 0
    both_paths = wanted.startswith("/") and given.startswith("/")
    return (0, len(wanted)) if both_paths and path_matches(wanted, given) else None


def _address_rank(pattern: str, socket: Socket) -> int | None:
    if pattern == "*":
        return 0
    try:
        network = ip_network(pattern)
    except ValueError:
        return NAME_RANK - pattern.startswith("*") if wildcard(pattern, socket.name.lower().rstrip(".")) else None
    address = numeric(socket.address)
    if address is None or address not in network:
        return None
    return 1 + network.prefixlen + (128 - network.max_prefixlen)


def numeric(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address; one of IPv4 that is written as one of IPv6 as what it is; None for a name."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _unlisted(asked: Asked, table: str, socket: Socket) -> Decision:
    word = asked.policy.network.unlisted
    rule = f'network.unlisted = "{word}"'
    if word == "pass":
        return asked.yes("network.unlisted", rule=rule)
    if word == "protect" and socket.protocol == "tcp":
        return asked.yes("network.unlisted", rule=rule, action="tls")
    return asked.no("network.unlisted", rule=rule, line=_line(table, socket))


def _line(table: str, socket: Socket) -> str:
    """Return the rule that allows just this socket."""
    if socket.address.startswith(UNIX):
        return f'[[{table}]]\naddress = {quote(socket.address.replace("*", "?"))}\nshield = "pass"'
    address = numeric(socket.address)
    anywhere = table == "network.listen" and address is not None and address.is_unspecified
    host = "" if anywhere else f"address = {quote(socket.name or str(address))}\n"
    protocol = 'protocol = "udp"\n' if socket.protocol == "udp" else ""
    return f'[[{table}]]\n{protocol}{host}port = {socket.port}\nshield = "pass"'
