"""What a policy asks for and this version can't do is named, so that nothing is started without it."""

import pytest

from scone_preload.policy.effective import parse
from scone_preload.policy.unbuilt import unbuilt


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            '[[volume]]\npath = "/a"\nmode = "passthrough"\nhost_path = "/b"',
            "volume /a: passthrough with host_path (scone.toml:2)",
        ),
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


def test_more_volumes_than_a_shim_takes_are_named() -> None:
    text = "version = 1\n" + "".join(f'[[volume]]\npath = "/{at}"\nmode = "ephemeral"\n' for at in range(9))
    assert unbuilt(parse(text.encode())) == ["volume /8: more than 8 (scone.toml:26)"]


@pytest.mark.parametrize("mode", ["encrypt", "authenticate", "ephemeral"])
def test_volumes_are_built(mode: str) -> None:
    assert unbuilt(parse(f'version = 1\n[[volume]]\npath = "/a"\nhost_path = "/b"\nmode = "{mode}"\n'.encode())) == []


def test_an_empty_policy_asks_for_nothing_unbuilt() -> None:
    assert unbuilt(parse(b'version = 1\n[[volume]]\npath = "/a"\nmode = "passthrough"\n')) == []
