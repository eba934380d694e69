"""What the policy says of a call that a shim asks about: refused with its reason, allowed for how much, or a secret."""

import os
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from scone_preload.policy.access import access_word
from scone_preload.policy.calls import decides_paths
from scone_preload.policy.decide import decide_file
from scone_preload.policy.decision import Asked, Decision
from scone_preload.policy.image import decides_addresses
from scone_preload.policy.model import Policy, Secret
from scone_preload.policy.sockets import Socket, decide_bind, decide_connect
from scone_preload.runtime import wire
from scone_preload.runtime.following import followed
from scone_preload.runtime.path_calls import open_flags, real_paths
from scone_preload.spec.model import Call as Row

FREE_FAMILIES = (socket.AF_UNSPEC, socket.AF_NETLINK)  # no rule is about them: no data leaves by them
SENDS = frozenset({"sendto", "sendmsg", "sendmmsg"})


def path_decisions(policy: Policy, row: Row, message: wire.Call, pid: int) -> list[tuple[str, Decision]]:
    """Return each path of the call with its links followed, and what [files], volumes and secrets say of it; nothing
    where it has none, or nobody decides."""
    if not decides_paths(policy):
        return []
    word = access_word(row.name, open_flags(row.name, message))
    own = {secret.path for secret in policy.secrets}
    return [(path, decide_file(policy, path, word)) for path in real_paths(row.name, message, pid, own)]


def address_decision(policy: Policy, row: Row, message: wire.Call, pid: int) -> Decision | None:
    """Return what [network] says of the call's address; None where it names none, or one of no network."""
    raw = message.strings.get(wire.ABOUT_ADDRESS)
    if raw is None or not decides_addresses(policy):
        return None
    family = int.from_bytes(raw[:2], "little")
    end = socket_of(raw, row, message, pid)
    if end is None:
        return None if family in FREE_FAMILIES or policy.network.unlisted == "pass" else _foreign(policy, row, family)
    return decide_bind(policy, end) if row.name == "bind" else decide_connect(policy, end)


def _foreign(policy: Policy, row: Row, family: int) -> Decision:
    verb = "listen" if row.name == "bind" else "connect"
    word = policy.network.unlisted
    remedy = f"no rule is about such sockets: only {policy.place('network.unlisted')} could say pass"
    return Asked(policy, f"{verb} by address family {family}").no(
        "network.unlisted", rule=f'network.unlisted = "{word}"', remedy=remedy
    )


def socket_of(raw: bytes, row: Row, message: wire.Call, pid: int) -> Socket | None:
    """Return the end that a call's socket address names; None for families that no rule is about."""
    family = int.from_bytes(raw[:2], "little")
    if family == socket.AF_UNSPEC and row.name in (*SENDS, "bind"):
        family = socket.AF_INET  # as the kernel takes it
    protocol = "udp" if message.is_datagram else "tcp"
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET and len(raw) >= 8:
        return Socket(protocol=protocol, address=str(ip_address(raw[4:8])), port=port)
    if family == socket.AF_INET6 and len(raw) >= 24:
        address = ip_address(raw[8:24])
        return Socket(protocol=protocol, address=str(getattr(address, "ipv4_mapped", None) or address), port=port)
    if family == socket.AF_UNIX and len(raw) > 2:
        return Socket(address=f"unix:{_unix_name(raw[2:], row, message, pid)}")
    return None


def _unix_name(name: bytes, row: Row, message: wire.Call, pid: int) -> str:
    if name[:1] == b"\0":
        return "@" + os.fsdecode(name[1:])
    path = os.fsdecode(name.split(b"\0")[0])
    return followed(path, pid, last=row.name != "bind", tid=message.header.tid) if path.startswith("/") else path


def secret_among(policy: Policy, paths: Sequence[str]) -> Secret | None:
    """Return the secret that is served at one of these paths, links followed, if one is."""
    return next((secret for secret in policy.secrets if secret.path in paths), None)
