"""Every test here must leave no process behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.processes import nothing_left_behind


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    with nothing_left_behind():
        yield
