"""What a policy asks for and this version can't do is named, so that nothing is started without it."""

import pytest

from scone_preload.policy.effective import parse
from scone_preload.policy.unbuilt import unbuilt


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[[volume]]\npath = "/a"\nmode = "encrypt"', 'volume /a: mode = "encrypt" (scone.toml:2)'),
        ('[[volume]]\npath = "/a"\nmode = "ephemeral"', 'volume /a: mode = "ephemeral" (scone.toml:2)'),
        ('[[volume]]\npath = "/a"\nmode = "authenticate"', 'volume /a: mode = "authenticate" (scone.toml:2)'),
        ('[[volume]]\npath = "/a"\nmode = "passthrough"\nhost_path = "/b"', "volume /a: host_path (scone.toml:2)"),
        ('[network]\nunlisted = "protect"', 'network.unlisted = "protect" (scone.toml:3)'),
        ('[[network.listen]]\nport = 1\nshield = "tls"', 'network.listen tcp *:1: shield = "tls" (scone.toml:2)'),
        ('[[network.connect]]\nport = 1\nshield = "tls"', 'network.connect tcp *:1: shield = "tls" (scone.toml:2)'),
        ('[console]\nstdin = "protect"', 'console.stdin = "protect" (scone.toml:3)'),
        ('[console]\nstdout = "protect"', 'console.stdout = "protect" (scone.toml:3)'),
        ('[console]\nstderr = "protect"', 'console.stderr = "protect" (scone.toml:3)'),
        ('[ipc]\npipes = "protect"', 'ipc.pipes = "protect" (scone.toml:3)'),
        ('[ipc]\nsocketpairs = "protect"', 'ipc.socketpairs = "protect" (scone.toml:3)'),
    ],
)
def test_a_shield_that_is_not_built_is_named(text: str, named: str) -> None:
    assert unbuilt(parse(f"version = 1\n{text}\n".encode())) == [named]


def test_an_empty_policy_asks_for_nothing_unbuilt() -> None:
    assert unbuilt(parse(b'version = 1\n[[volume]]\npath = "/a"\nmode = "passthrough"\n')) == []
