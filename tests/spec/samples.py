"""A small right spec, onto which tests put what is wrong."""

NUMBERS = """\
class Number:
    read = 0
"""

ERRNOS = """\
class Number:
    EPERM = 1
    EIO = 5
    ENOSYS = 38

class Set:
    COMMON = (EPERM, EIO)
"""

STRUCTS = """\
class pair:
    first: i32[0, 9]
    second: u32
"""

CALLS = """\
@host
@errno(COMMON)
class Base:
    def read(fd: fd, buf: out[count], count: size) -> at_most(count): ...
"""

TABLE = """\
@host
@errno(COMMON)
class Base:
    def TCGETS(cmd: 0x5401, arg: out[pair]) -> zero: ...
"""

BASE = {
    "numbers.pyi": NUMBERS,
    "errnos.pyi": ERRNOS,
    "flags.pyi": "class O:\n    O_WRONLY = 1\n",
    "structs.pyi": STRUCTS,
    "calls/base.pyi": CALLS,
    "tables/ioctl.pyi": TABLE,
}
