"""The witness judges traces as it says: gate, loader, elsewhere, threads, children, images that escape."""

from __future__ import annotations

from tests.witness.witness import Image, Seen, Witness

GATE = 0x7F0000001000
IN_GATE = f"[{GATE + 0x20:016x}]"
OUTSIDE = "[00007fff00000000]"
DISPATCH = f"prctl(0x3b, 0x1, {GATE:#x}, 0x1000, 0, 0) = 0"
STARTED = (
    '10 [0000000000000000] execve("/bin/prog", ["prog"], 0x7ffd /* 3 vars */) = 0',
    f"10 {OUTSIDE} mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, -1, 0) = 0x7f0000000000",
    f"10 {IN_GATE} {DISPATCH}",
)


def seen_of(*lines: str) -> Seen:
    return Witness([*STARTED, *lines]).finish()


def test_calls_from_the_gate_are_in_order() -> None:
    seen = seen_of(f'10 {IN_GATE} write(1, "x", 1) = 1', f"10 {IN_GATE} exit_group(0) = ?")
    assert seen.violations == []
    assert seen.by_origin["gate"] == 3
    assert seen.wrapped_images == ["/bin/prog"]


def test_a_call_from_elsewhere_is_a_violation() -> None:
    seen = seen_of(f'10 {OUTSIDE} write(1, "x", 1) = 1')
    assert len(seen.violations) == 1
    assert "write" in seen.violations[0]


def test_a_call_that_sends_data_before_the_doors_are_closed_is_a_violation() -> None:
    lines = [STARTED[0], f"10 {OUTSIDE} connect(3, ...) = 0", STARTED[2]]
    assert ["connect" in line for line in Witness(lines).finish().violations] == [True]


def test_a_thread_and_a_forked_child_are_bound_as_their_parent_is() -> None:
    seen = seen_of(
        f"10 {IN_GATE} clone3({{flags=CLONE_VM|CLONE_THREAD}}, 88 <unfinished ...>",
        f"11 {OUTSIDE} getpid() = 10",
        f"10 {IN_GATE} <... clone3 resumed>) = 11",
        f"10 {IN_GATE} clone(child_stack=NULL, flags=SIGCHLD) = 12",
        f"12 {OUTSIDE} getpid() = 12",
    )
    assert len(seen.violations) == 2


def test_an_exec_of_a_wrapped_image_that_is_never_wrapped_is_a_violation() -> None:
    seen = seen_of(
        f'10 {IN_GATE} execve("/bin/other", ["other"], 0x7ffd /* 0 vars */) = 0',
        f'10 {OUTSIDE} write(1, "x", 1) = 1',
    )
    assert len(seen.violations) == 1
    assert "never wrapped: /bin/other" in seen.violations[0]


def test_an_exec_that_fails_changes_nothing() -> None:
    seen = seen_of(
        f'10 {IN_GATE} execve("/bin/other", ["other"], 0x7ffd /* 0 vars */) = -1 ENOENT (No such file or directory)',
        f'10 {IN_GATE} write(1, "x", 1) = 1',
    )
    assert seen.violations == []
    assert seen.wrapped_images == ["/bin/prog"]


def test_an_exec_by_a_thread_replaces_the_whole_image() -> None:
    seen = seen_of(
        f"10 {IN_GATE} clone3({{flags=CLONE_VM|CLONE_THREAD}}, 88) = 11",
        f'11 {IN_GATE} execve("/bin/other", ["other"], 0x7ffd /* 0 vars */ <pid changed to 10 ...>',
        "10 [????????????????] +++ superseded by execve in pid 11 +++",
        "10 [0000000000000000] <... execve resumed>) = 0",
        f"10 {OUTSIDE} brk(NULL) = 0x5555",
    )
    assert len(seen.violations) == 1
    assert "never wrapped: /bin/other" in seen.violations[0]


def test_traps_are_counted() -> None:
    seen = seen_of(f"10 {OUTSIDE} --- SIGSYS {{si_signo=SIGSYS, si_code=SYS_USER_DISPATCH, si_call_addr=0x1}} ---")
    assert seen.traps == 1
    assert seen.violations == []


def test_a_helper_that_crashes_is_a_violation() -> None:
    witness = Witness([*STARTED, f"10 {IN_GATE} clone(child_stack=0x1, flags=CLONE_FILES) = 11"])
    witness.finish()
    gate, host = range(GATE, GATE + 4096), range(0x1000, 0x2000)
    witness.images[11] = Image("/bin/prog", from_wrapped=False, gate=gate, host=host)
    witness.lines = ["11 [0000000000001010] munmap(NULL, 4096) = 0", "11 [????????????????] +++ killed by SIGSEGV +++"]
    assert "died by SIGSEGV" in witness.finish().violations[0]
