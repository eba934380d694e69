# Appended to a right spec as tables/wrong.pyi.

@host
@errno(COMMON)
class Commands:
    def RIGHT(cmd: 1, arg: int) -> zero: ...
    def NUMBERLESS(arg: int) -> zero: ...  # error: command NUMBERLESS has no number
    def TWIN(cmd: 1) -> zero: ...  # error: duplicate command 0x1
    def POINTER(cmd: 2, arg: address) -> zero: ...  # error: arg is an address, so the row needs @host(exit="gate")
    def HIGH(level: 1, name: 1) -> zero: ...
    def LOW(level: 1, name: 1) -> zero: ...  # error: duplicate command 0x100000001
    def COUNTED(cmd: 3, size: int) -> at_most(size): ...  # error: a command can't give at_most: nothing counts its memory
    @believe(polled)
    def JUDGED(cmd: 4) -> zero: ...  # error: a command has no predicate of its own: its call has
