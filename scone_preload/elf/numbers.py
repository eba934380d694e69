"""Which numbers a `syscall` instruction can be executed with: a backward walk over every path that leads to it."""

import re
from dataclasses import dataclass

from scone_preload.elf.decode import Decoder, Instruction
from scone_preload.elf.targets import Targets

STEPS_MAX = 4000
WIDE = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")
KEPT_BY_CALLS = {"rbx", "rbp", "r12", "r13", "r14", "r15"}
ENDS = ("jmp", "ret", "ud2", "hlt", "notrack jmp", "bnd jmp", "int3")
READ_ONLY = ("cmp", "test", "push", "bt", "nop", "j")  # their first operand is read
IMMEDIATE = re.compile(r"(0x[0-9a-f]+|\d+)\Z")


def _names() -> dict[str, str]:
    """Register name of 32 or 64 bits -> its 64-bit name."""
    names = {name: name for name in WIDE} | {"e" + name[1:]: name for name in WIDE}
    for number in range(8, 16):
        names |= {f"r{number}": f"r{number}", f"r{number}d": f"r{number}"}
    return names


FULL = _names()


@dataclass(frozen=True, slots=True)
class _Point:
    """Just before the instruction at `address`, wanting the value of `register`."""

    address: int
    register: str


class NumberFinder:
    """Proves syscall numbers; anything it does not understand makes a number unprovable."""

    def __init__(self, decoder: Decoder, targets: Targets) -> None:
        self.decoder = decoder
        self.targets = targets

    def numbers(self, syscall: int) -> tuple[int, ...]:
        """Every number that eax can hold at the `syscall` at that address, sorted; empty if not provable."""
        found: set[int] = set()
        todo, seen = [_Point(syscall, "rax")], set[_Point]()
        while todo:
            point = todo.pop()
            if point in seen:
                continue
            seen.add(point)
            before = self._before(point.address)
            if before is None or len(seen) > STEPS_MAX:
                return ()
            for instruction in before:
                values, points = self._step(instruction, point.register)
                if values is None:
                    return ()
                found.update(values)
                todo.extend(points)
        return tuple(sorted(found))

    def _before(self, address: int) -> list[Instruction] | None:
        """Every instruction that can run just before `address`; None if not all are known."""
        if not self.targets.covers(address) or address in self.targets.entries:
            return None
        region = self.decoder.region(address)
        found = []
        for source in self.targets.branches.get(address, []):
            from_region = self.decoder.region(source)
            index = from_region.index(source)
            if source >= from_region.broken:
                return None
            if index is not None:
                found.append(from_region.instructions[index])
        index = region.index(address)
        if not index:
            return None
        previous = region.instructions[index - 1]
        if not previous.name.startswith(ENDS):
            found.append(previous)
        return found

    def _step(self, instruction: Instruction, register: str) -> tuple[set[int] | None, list[_Point]]:
        """Numbers proved at the instruction and the points still open before it; None: not provable."""
        go_on = [_Point(instruction.address, register)]
        if instruction.name == "call":
            return (set(), go_on) if register in KEPT_BY_CALLS else (None, [])
        if instruction.name == "syscall":
            return (None, []) if register in ("rax", "rcx", "r11") else (set(), go_on)
        if not self._writes(instruction, register):
            return set(), go_on
        target, _, source = instruction.text.partition(", ")
        if FULL.get(target) != register:
            return None, []
        if instruction.name in ("mov", "movabs") and IMMEDIATE.match(source):
            return {int(source, 0) & 0xFFFFFFFF}, []
        if instruction.name == "xor" and source == target:
            return {0}, []
        copied = FULL.get(source)
        if instruction.name == "mov" and copied:
            return set(), [_Point(instruction.address, copied)]
        if instruction.name.startswith("cmov") and copied:
            return set(), [*go_on, _Point(instruction.address, copied)]
        return None, []

    def _writes(self, instruction: Instruction, register: str) -> bool:
        aliases = _aliases(register)
        if instruction.text.partition(", ")[0] in aliases and not instruction.name.startswith(READ_ONLY):
            return True
        insn = self.decoder.detail(instruction)
        written = {insn.reg_name(number) for number in insn.regs_access()[1]}
        return bool(written & aliases)


def _aliases(register: str) -> set[str]:
    """Every name of a part of a 64-bit register."""
    if register[1:].isdigit():
        return {register + part for part in ("", "d", "w", "b")}
    stem = register[1:]
    parts = {register, "e" + stem, stem}
    return parts | ({stem[0] + "l", stem[0] + "h"} if stem.endswith("x") else {stem + "l"})
