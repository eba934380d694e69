"""The built library, disassembled: outside of the gate and the helper's own code there is no way to the kernel."""

from collections.abc import Iterator
from pathlib import Path

import capstone
import pytest
from elftools.elf.elffile import ELFFile

LIBRARY = Path(__file__).resolve().parents[2] / "build" / "libscone-shim.so"
WAYS_OUT = {"syscall", "sysenter", "int"}


@pytest.fixture(scope="module")
def elf() -> Iterator[ELFFile]:
    if not LIBRARY.exists():
        pytest.fail("set-up has not run (build/libscone-shim.so is missing): run tools/setup")
    with LIBRARY.open("rb") as file:
        yield ELFFile(file)


def symbol(elf: ELFFile, name: str) -> int:
    (found,) = elf.get_section_by_name(".symtab").get_symbol_by_name(name)
    return int(found["st_value"])


def ways_out(elf: ELFFile) -> list[tuple[int, str]]:
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    disassembler.skipdata = True
    found = []
    for section in elf.iter_sections():
        if section["sh_flags"] & 4:  # executable
            for address, _, name, operands in disassembler.disasm_lite(section.data(), section["sh_addr"]):
                if name in WAYS_OUT and operands != "3":  # int3 is a stop, not a way out
                    found.append((address, name))
    return found


def test_only_the_gate_and_the_helper_have_a_way_to_the_kernel(elf: ELFFile) -> None:
    gate = range(symbol(elf, "gate_start"), symbol(elf, "gate_end"))
    helper = range(symbol(elf, "__start_host_text"), symbol(elf, "__stop_host_text"))
    found = ways_out(elf)
    assert [hex(address) for address, _ in found if address not in gate and address not in helper] == []
    assert {name for address, name in found if address in gate} == {"syscall"}


def test_the_gate_and_the_helpers_code_are_apart(elf: ELFFile) -> None:
    gate = range(symbol(elf, "gate_start"), symbol(elf, "gate_end"))
    helper = range(symbol(elf, "__start_host_text"), symbol(elf, "__stop_host_text"))
    assert gate.stop <= helper.start or helper.stop <= gate.start
    assert 0 < len(gate) < 4096


def test_the_library_needs_no_other_and_runs_nothing_of_libc_at_its_start(elf: ELFFile) -> None:
    dynamic = elf.get_section_by_name(".dynamic")
    tags = {tag.entry.d_tag: tag.entry.d_val for tag in dynamic.iter_tags()}
    assert "DT_NEEDED" not in tags
    assert tags["DT_FLAGS_1"] & 0x21 == 0x21  # now, initfirst
