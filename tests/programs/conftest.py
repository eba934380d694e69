"""The mark of cases that need root; every test here must leave no process behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.processes import nothing_left_behind


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_root: changes its own identity, which only root may")


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    with nothing_left_behind():
        yield
