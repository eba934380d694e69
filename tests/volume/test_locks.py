"""Locks of files on a volume: as fcntl(2) and flock(2) of the kernel have them, also when their owners are killed."""

from pathlib import Path

import pytest

from tests.volume.test_names import VARIANTS, build, run


@pytest.fixture(scope="module", params=VARIANTS, ids="-".join)
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(tmp_path_factory.mktemp("locks"), *request.param, "locks_oracle", "locks_cases")


@pytest.mark.parametrize("seed", range(3))
def test_random_locks_of_several_processes_are_as_the_kernels(
    programs: dict[str, Path], tmp_path: Path, seed: int
) -> None:
    run(programs["locks_oracle"], tmp_path, seed, 4000)


def test_each_case_of_the_table(programs: dict[str, Path]) -> None:
    assert "cases" in run(programs["locks_cases"])
