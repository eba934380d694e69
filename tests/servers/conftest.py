"""Each server test runs native, sync and async, as an ordinary user, in a place of its own, and leaves no process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from tests.helpers.modes import MODES, Mode
from tests.helpers.processes import nothing_left_behind
from tests.helpers.server import ORDINARY_USER, Server, place_of


class Start(Protocol):
    """Starts a server in the test's mode (or `how`); it is ended after the test."""

    def __call__(self, argv: Sequence[str | Path], name: str = "server", how: Mode | None = None) -> Server: ...


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_root: runs a server as root, which changes its identity itself")


@pytest.fixture(params=MODES, ids=lambda mode: str(mode.value))
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen = request.param
    assert isinstance(chosen, Mode)
    return chosen


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str | None:
    """The user that the server runs as: an ordinary one, but where a test is marked needs_root."""
    if request.node.get_closest_marker("needs_root"):
        if os.geteuid() != 0:
            pytest.skip("only root can start a server as root")
        return None
    return ORDINARY_USER


@pytest.fixture
def place(user: str | None) -> Iterator[Path]:
    with nothing_left_behind(10), place_of(user) as directory:
        yield directory


@pytest.fixture
def start(mode: Mode, place: Path, user: str | None) -> Iterator[Start]:
    """Starts servers in this test's mode; ends what still runs after the test."""
    started: list[Server] = []

    def starter(argv: Sequence[str | Path], name: str = "server", how: Mode | None = None) -> Server:
        started.append(Server(how or mode, argv, place=place, user=user, name=name))
        return started[-1]

    yield starter
    for server in started:
        server.end()
