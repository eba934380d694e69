"""P3: a wrapped program whose host lies gets an errno, by both exits: never a crash, never the lie."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.hostile.build import HERE, Ending, build_liar, build_victim, run_victim

CASES = re.findall(r"^CASE\((\w+)\)", (HERE / "victim.c").read_text() + (HERE / "contents.h").read_text(), re.M)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="session")
def liar(folder: Path) -> Path:
    return build_liar(folder)


@pytest.fixture(scope="session")
def victim(folder: Path) -> Path:
    return build_victim(folder)


@pytest.mark.parametrize("exit_", ["sync", "async"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace("_", " "))
def test_p3_of_a_lying_host(case: str, exit_: str, liar: Path, victim: Path, tmp_path: Path) -> None:
    ending: Ending = run_victim(liar, victim, case, exit_, tmp_path)
    assert (ending.status, ending.err) == (0, ""), ending.out[-4000:] + ending.err
    assert ending.out.endswith(f"ok {case}\n"), ending.out[-4000:]
    if case == "no_generated_lie_is_believed":
        counts = re.search(r"(\d+) told, (\d+) by ring, .* of (\d+)\n", ending.out)
        assert counts is not None
        told, by_ring, every = map(int, counts.groups())
        assert told == every > 10000
        assert by_ring > 5000 if exit_ == "async" else by_ring == 0
        assert ending.refused > 150, "each call that is lied about is reported once"
