"""Patch windows: taken where a jump is safe, refused where it isn't, and all of libc's and the loader's."""

import itertools
import re
import subprocess
from pathlib import Path

import pytest

from scone_preload.elf.closure import find_libraries
from scone_preload.elf.model import JUMP_SIZE, SITE_WINDOW_MAX, Analysis
from scone_preload.elf.sites import analyse
from tests.elf.conftest import Build

LINE = re.compile(r"^\s+([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*(\S*)\s*(.*)$")
BRANCH = re.compile(r"^(?:notrack |bnd )?(?:j\w+|call\w*|loop\w*)$")

FUNCTION = """
.text
.globl f
.type f,@function
f:
.cfi_startproc
{body}
.cfi_endproc
.size f, .-f
"""


def only(analysis: Analysis) -> tuple[str, int, tuple[int, ...]]:
    """(window bytes, index of the syscall, numbers) of the only site; or (reason, -1, numbers)."""
    assert len(analysis.sites) + len(analysis.unpatched) == 1
    for site in analysis.sites:
        return site.code.hex(), site.syscall_at, site.numbers
    left = analysis.unpatched[0]
    return left.reason, -1, left.numbers


PATTERNS = {
    "the number is loaded right before": ("mov $39,%eax; syscall; ret", ("b8270000000f05", 5, (39,))),
    "several short instructions are moved": (
        "mov $39,%eax; mov %rsp,%rbp; xor %edi,%edi; mov %rbx,%rsi; syscall; ret",
        ("4889de0f05", 3, (39,)),
    ),
    "a pop is not moved, the window extends behind": (
        "mov $39,%eax; pop %rdi; syscall; cmp $-4095,%rax; ret",
        ("0f05483d01f0ffff", 0, (39,)),
    ),
    "a rip-relative load is not moved": (
        "mov $1,%eax; mov 0x100(%rip),%edi; syscall; cmp $-4095,%rax; ret",
        ("0f05483d01f0ffff", 0, (1,)),
    ),
    "a branch to the syscall keeps it the window's start": (
        "mov $24,%eax; test %edi,%edi; je 1f; mov %edi,%edi; 1: syscall; cmp $-4095,%rax; ret",
        ("0f05483d01f0ffff", 0, (24,)),
    ),
    "a branch behind and nothing movable before": (
        "mov $24,%eax; push %rax; syscall; 1: test %eax,%eax; jne 1b; ret",
        ("can't move push at", -1, (24,)),
    ),
    "an instruction behind that reads rcx stays": (
        "mov $24,%eax; push %rax; syscall; mov %rcx,%rdx; ret",
        ("can't move push at", -1, (24,)),
    ),
    "a ret is never moved": ("mov $24,%eax; push %rax; syscall; ret", ("can't move push at", -1, (24,))),
    "the restorer's bytes stay": ("mov $15,%rax; syscall; nop; nop", ("rt_sigreturn", -1, (15,))),
    "a number from the caller is not proved": ("mov %edi,%eax; mov %rdx,%rsi; syscall; ret", ("4889d60f05", 3, ())),
    "both arms of a branch give numbers": (
        "mov $1,%eax; test %edi,%edi; je 1f; mov $2,%eax; 1: mov %rdx,%rsi; mov %rcx,%rdx; syscall; ret",
        ("4889ca0f05", 3, (1, 2)),
    ),
    "a copied number is followed": (
        "mov $202,%r9d; nop; mov %r9d,%eax; mov %rdi,%rsi; syscall; ret",
        ("4889fe0f05", 3, (202,)),
    ),
    "a call spoils the number in rax but not in rbx": (
        "mov $39,%ebx; call g; mov %ebx,%eax; mov %rdi,%rsi; syscall; ret; g: ret",
        ("4889fe0f05", 3, (39,)),
    ),
    "an instruction that changes rax in another way spoils the number": (
        "mov $39,%eax; add $1,%eax; mov %rdi,%rsi; syscall; ret",
        ("4889fe0f05", 3, ()),
    ),
    "an earlier syscall's result is no number": ("mov $39,%eax; syscall; syscall; ret", None),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_window_and_number(name: str, assemble: Build) -> None:
    body, expected = PATTERNS[name]
    analysis = analyse(assemble(FUNCTION.format(body=body)))
    if expected is None:
        assert [site.numbers for site in analysis.sites] == [(39,)]
        assert [left.numbers for left in analysis.unpatched] == [()]
        return
    found = only(analysis)
    assert found[0].startswith(expected[0])
    assert found[1:] == expected[1:]


def test_bytes_inside_another_instruction_are_no_site(assemble: Build) -> None:
    assert analyse(assemble(FUNCTION.format(body="mov $0x050f, %eax; ret"))) == Analysis((), ())


def test_a_jump_table_entry_keeps_windows_away(assemble: Build) -> None:
    body = """lea table(%rip),%rdx; movslq (%rdx,%rdi,4),%rax; add %rdx,%rax; jmp *%rax
        1: mov $39,%eax; 2: syscall; ret; 3: ud2
        .pushsection .rodata; .balign 4; table: .long 1b-table, 2b-table, 3b-table; .popsection"""
    reason, _, numbers = only(analyse(assemble(FUNCTION.format(body=body))))
    assert reason.startswith("a branch enters at")
    assert numbers == ()


def test_an_address_in_data_keeps_windows_away(assemble: Build) -> None:
    body = "mov $39,%eax; 2: syscall; ret; .pushsection .data; .balign 8; .quad 2b; .popsection"
    assert only(analyse(assemble(FUNCTION.format(body=body))))[0].startswith("a branch enters at")


def test_an_address_as_an_immediate_keeps_windows_away_in_fixed_programs(assemble: Build) -> None:
    text = FUNCTION.format(body="mov $2f,%edx; jmp *%rdx; mov $39,%eax; 2: syscall; ret")
    assert only(analyse(assemble(text, "-static", "-no-pie", "-Wl,-e,f")))[0].startswith("a branch enters at")


def test_a_landing_pad_keeps_windows_away(assemble: Build) -> None:
    body = """.cfi_lsda 0x1b, table
        nop; ret; mov $39,%eax; 2: syscall; ret
        .pushsection .gcc_except_table,"a"; table: .byte 0xff, 0xff, 1; .uleb128 4f-3f
        3: .uleb128 0; .uleb128 1; .uleb128 2b-f; .uleb128 0; 4: .popsection"""
    assert only(analyse(assemble(FUNCTION.format(body=body))))[0].startswith("a branch enters at")


def test_data_between_functions_that_does_not_decode_is_left_alone(assemble: Build) -> None:
    text = FUNCTION.format(body="ret") + ".byte 0x06,0x06,0x0f,0x05,0xb8,0x27,0,0,0,0x0f,0x05\n"
    analysis = analyse(assemble(text))
    assert analysis.sites == ()
    assert {left.reason for left in analysis.unpatched} == {"undecodable bytes before it"}


def disassembly(path: Path) -> dict[int, tuple[bytes, str, str]]:
    """Address -> (bytes, mnemonic, operands), by objdump."""
    text = subprocess.run(["objdump", "-dw", str(path)], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            found[int(match[1], 16)] = (bytes.fromhex(match[2]), match[3], match[4])
    return found


@pytest.mark.parametrize("name", ["libc.so.6", "/lib64/ld-linux-x86-64.so.2"])
def test_windows_of_the_c_library_agree_with_objdump(name: str) -> None:
    path = find_libraries((name,))[0].path
    code = disassembly(path)
    analysis = analyse(path)
    known = {site.address for site in analysis.sites} | {left.address for left in analysis.unpatched}
    assert known == {address for address, (_, mnemonic, _) in code.items() if mnemonic == "syscall"}
    targets = {
        int(operands.split()[0], 16)
        for _, mnemonic, operands in code.values()
        if BRANCH.match(mnemonic) and re.match(r"[0-9a-f]+\b", operands)
    }
    for site in analysis.sites:
        end = site.offset + len(site.code)
        at = site.offset
        while at < end:
            assert code[at][0] == site.code[at - site.offset : at - site.offset + len(code[at][0])]
            at += len(code[at][0])
        assert at == end
        assert JUMP_SIZE <= len(site.code) <= SITE_WINDOW_MAX
        assert not targets & set(range(site.offset + 1, end))
    assert [left.numbers for left in analysis.unpatched if "rt_sigreturn" in left.reason] == [(15,)]
    assert len(analysis.unpatched) <= 2
    assert sum(not site.numbers for site in analysis.sites) <= 3
    offsets = [(site.offset, site.offset + len(site.code)) for site in analysis.sites]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(offsets))
