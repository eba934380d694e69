"""What a policy can ask for and this version can't do yet; whoever starts a program refuses then, closed.

A shield that gets built takes its row out here.
"""

from collections.abc import Callable, Iterator

from scone_preload.policy.model import Policy

VOLUMES_MAX = 8  # that libshim takes (CTL_VOLUME_MAX)


def volumes(policy: Policy) -> Iterator[str]:
    for volume in policy.volumes:
        if volume.mode == "passthrough" and volume.host_path != volume.path:
            yield f"volume {volume.path}: passthrough with host_path ({policy.place('volume', volume.path)})"
    shielded = [volume for volume in policy.volumes if volume.mode != "passthrough"]
    for volume in shielded[VOLUMES_MAX:]:
        yield f"volume {volume.path}: more than {VOLUMES_MAX} ({policy.place('volume', volume.path)})"


def network(policy: Policy) -> Iterator[str]:
    if policy.network.unlisted == "protect":
        yield f'network.unlisted = "protect" ({policy.place("network.unlisted")})'
    for table, rules in (("network.listen", policy.network.listen), ("network.connect", policy.network.connect)):
        for rule in rules:
            if rule.shield == "tls":
                yield f'{table} {rule.label}: shield = "tls" ({policy.place(table, rule.label)})'


def streams(policy: Policy) -> Iterator[str]:
    console, ipc = policy.console, policy.ipc
    for key, value in (
        ("console.stdin", console.stdin),
        ("console.stdout", console.stdout),
        ("console.stderr", console.stderr),
        ("ipc.pipes", ipc.pipes),
        ("ipc.socketpairs", ipc.socketpairs),
    ):
        if value == "protect":
            yield f'{key} = "protect" ({policy.place(key)})'


NOT_BUILT: tuple[Callable[[Policy], Iterator[str]], ...] = (volumes, network, streams)


def unbuilt(policy: Policy) -> list[str]:
    """Return what this version can't do of what the policy asks for, each with its place."""
    return [line for part in NOT_BUILT for line in part(policy)]
