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
