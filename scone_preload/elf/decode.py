"""Instructions of an image, by region, and which of them may run at another address."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import capstone
from capstone import x86

from scone_preload.elf.image import Image

SYSCALL = b"\x0f\x05"
# What ends or leaves straight-line execution, or means something only where it stands.
FIXED_GROUPS = {x86.X86_GRP_JUMP, x86.X86_GRP_CALL, x86.X86_GRP_RET, x86.X86_GRP_INT, x86.X86_GRP_IRET}
FIXED_GROUPS |= {x86.X86_GRP_BRANCH_RELATIVE, x86.X86_GRP_PRIVILEGE}
FIXED_NAMES = {"syscall", "sysenter", "ud2", "hlt", "endbr64", "rdtsc", "rdtscp", "xbegin", "int3", "cpuid"}
STACK_POINTER = {x86.X86_REG_RSP, x86.X86_REG_ESP, x86.X86_REG_SP, x86.X86_REG_SPL}
CLOBBERED = {
    *(x86.X86_REG_RCX, x86.X86_REG_ECX, x86.X86_REG_CX, x86.X86_REG_CL, x86.X86_REG_CH),
    *(x86.X86_REG_R11, x86.X86_REG_R11D, x86.X86_REG_R11W, x86.X86_REG_R11B),
}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One decoded instruction; `text` is capstone's operand string."""

    address: int
    size: int
    name: str
    text: str

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True, slots=True)
class Region:
    """Code between two known starts, decoded; `broken` is where bytes first made no sense (code before it is sound)."""

    start: int
    end: int
    instructions: tuple[Instruction, ...]
    broken: int

    def index(self, address: int) -> int | None:
        """Index of the instruction that begins at `address`."""
        at = bisect_left(self.instructions, address, key=lambda i: i.address)
        found = at < len(self.instructions) and self.instructions[at].address == address
        return at if found else None


class Decoder:
    """Decodes regions of one image, each once."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self._plain = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._regions: dict[int, Region] = {}

    @cached_property
    def _detailed(self) -> capstone.Cs:
        engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        engine.detail = True
        return engine

    def region(self, address: int) -> Region:
        start, end = self.image.region(address)
        if start not in self._regions:
            self._regions[start] = self._decode(start, end)
        return self._regions[start]

    def _decode(self, start: int, end: int) -> Region:
        code = self.bytes_at(start, end - start)
        found = tuple(Instruction(*fields) for fields in self._plain.disasm_lite(code, start))
        return Region(start, end, found, found[-1].end if found else start)

    def bytes_at(self, address: int, size: int) -> bytes:
        span = self.image.code_at(address)
        if span is None:
            raise ValueError(f"no code at {address:#x}")
        at = address - span.address
        return span.data[at : at + size]

    def detail(self, instruction: Instruction) -> capstone.CsInsn:
        code = self.bytes_at(instruction.address, instruction.size)
        found: capstone.CsInsn = next(self._detailed.disasm(code, instruction.address, 1))
        return found

    def obstacle(self, instruction: Instruction, after: bool) -> str:
        """Why the instruction can't be moved to a trampoline (`after`: behind the syscall); empty if it can."""
        if instruction.name in FIXED_NAMES:
            return instruction.name
        insn = self.detail(instruction)
        if FIXED_GROUPS & set(insn.groups):
            return "a branch"
        if any(op.type == x86.X86_OP_MEM and op.mem.base == x86.X86_REG_RIP for op in insn.operands):
            return "a rip-relative operand"
        read, written = (set(registers) for registers in insn.regs_access())
        if STACK_POINTER & (read | written):
            return "the stack pointer"
        if after and CLOBBERED & read:
            return "rcx or r11 after the call"
        return ""


def syscall_pairs(image: Image) -> Iterator[int]:
    """Every address of executable code that holds the bytes 0f 05, instruction or not."""
    for span in image.code:
        at = span.data.find(SYSCALL)
        while at >= 0:
            yield span.address + at
            at = span.data.find(SYSCALL, at + 1)
