"""The ring and its helper outside the shim: promises, plain and sanitized, and a host that lies."""

import os
import resource
import subprocess
import time
from pathlib import Path

import pytest

from scone_preload.runtime.machine import io_uring

HERE = Path(__file__).parent


def cases_of(source: str) -> list[str]:
    """The names in the table of a source's cases."""
    lines = (HERE / source).read_text().replace("), CASE", "),\nCASE").splitlines()
    return [line.split("(")[1].split(")")[0] for line in lines if line.strip().startswith("CASE(")]


BACKENDS = {"io_uring": "always", "plain calls": "never"}
SPECIAL = {
    "a_killed_helper_stops_the_program",
    "a_killed_program_leaves_nothing",
    "the_helper_has_nothing_of_the_program",
    "no_helper_can_be_made",
}
LIES = [
    "a_completion_of_the_future",
    "a_completion_of_the_past",
    "a_result_that_says_cancelled",
    "too_many_aheads",
    "an_ahead_for_no_event",
    "an_ahead_that_is_too_long",
    "an_ahead_in_a_buffer_not_offered",
    "two_aheads_in_one_buffer",
]
HARMLESS = ["a_post_tail_of_the_future", "a_post_result_out_of_range", "a_backlog_of_no_descriptor"]


def build(folder: Path, name: str, *, sanitized: bool) -> Path:
    """Build tests/ring/<name>.c into an executable."""
    out = folder / name
    subprocess.run([str(HERE / "build.sh"), name, str(out), "sanitize" if sanitized else "plain"], check=True)
    return out


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "sanitized"])
def cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("ring"), "ring_cases", sanitized=bool(request.param))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "sanitized"])
def uring_cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("uring"), "uring_cases", sanitized=bool(request.param))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "sanitized"])
def lies(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("lies"), "ring_lies", sanitized=bool(request.param))


@pytest.fixture(scope="module")
def turns_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("turns"), "turns_cases", sanitized=False)


ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """What the helper sends and reads ahead with, in any number: a value of RING_URING."""
    chosen = BACKENDS[str(request.param)]
    if chosen == "always" and (refusal := io_uring()):
        pytest.skip(f"no io_uring here: {refusal}")
    return chosen


def run(program: Path, case: str, backend: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**ENVIRONMENT, "RING_URING": backend}
    return subprocess.run(
        [str(program), case], capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or waits for process 1 to take note of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def is_gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if has_ended(pid):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("case", sorted(set(cases_of("ring_cases.c")) - SPECIAL))
def test_the_ring_keeps_its_promise(cases: Path, backend: str, case: str) -> None:
    result = run(cases, case, backend)
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


@pytest.mark.parametrize("case", cases_of("uring_cases.c"))
def test_many_posts_and_reads_are_the_same_by_both_backends(uring_cases: Path, backend: str, case: str) -> None:
    result = run(uring_cases, case, backend)
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


@pytest.mark.parametrize("case", cases_of("turns_cases.c"))
def test_turns_cross_where_that_is_cheaper(turns_cases: Path, case: str) -> None:
    result = run(turns_cases, case)
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def test_a_killed_helper_stops_the_program_with_one_clear_line(cases: Path) -> None:
    result = run(cases, "a_killed_helper_stops_the_program")
    assert result.returncode == 120
    assert "the helper is gone" in result.stderr


def test_a_killed_program_leaves_no_helper_after_a_second(cases: Path, backend: str) -> None:
    result = run(cases, "a_killed_program_leaves_nothing", backend)
    assert result.returncode == -9
    assert is_gone_within(int(result.stdout), 1.0)


def readable_memory(pid: int) -> bytes:
    """All memory of a process that can be read, in the order of its maps."""
    found = b""
    process = Path(f"/proc/{pid}")
    with (process / "mem").open("rb", buffering=0) as memory, (process / "maps").open() as maps:
        for line in maps:
            start, end = (int(number, 16) for number in line.split()[0].split("-"))
            if end - start > 1 << 27 or "r" not in line.split()[1]:
                end = min(end, start + (1 << 23))
            try:
                memory.seek(start)
                found += memory.read(end - start)
            except (OSError, OverflowError):
                continue
    return found


def test_the_helper_has_nothing_of_the_programs_memory_or_registers(cases: Path) -> None:
    with subprocess.Popen(
        [str(cases), "the_helper_has_nothing_of_the_program"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as program:
        assert program.stdin
        assert program.stdout
        pid = int(program.stdout.readline())
        try:
            memory = readable_memory(pid)
            maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
            control = readable_memory(program.pid)
        finally:
            program.stdin.write("\n")
            program.stdin.close()
        assert program.wait(10) == 0
    assert b"a secret of the enclave" in control
    assert b"RING"[::-1] in memory or b"RING" in memory
    assert b"a secret of the enclave" not in memory
    assert not [line for line in maps if "[heap]" in line or "[stack]" in line or "libc" in line]


def test_without_memory_for_a_helper_the_program_is_told_to_take_the_gate(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    program = build(tmp_path_factory.mktemp("none"), "ring_cases", sanitized=False)

    def no_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (12 << 20, 12 << 20))

    result = subprocess.run(
        [str(program), "no_helper_can_be_made"],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=no_memory,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr
    assert result.stderr.count("event: no helper can be made (errno 12)") == 1


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_of_the_helper_stops_the_program(lies: Path, lie: str) -> None:
    result = run(lies, lie)
    assert result.returncode == 120, result.stderr
    assert result.stderr.startswith("stopped: the helper")


@pytest.mark.parametrize("lie", HARMLESS)
def test_a_lie_about_posts_changes_nothing_of_the_enclaves(lies: Path, lie: str) -> None:
    result = run(lies, lie)
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr
