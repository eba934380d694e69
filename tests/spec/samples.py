"""A small right spec, onto which tests put what is wrong."""

BASE = {
    "numbers.pyi": "class Number:\n    read = 0\n",
    "errnos.pyi": "class Number:\n    EPERM = 1\n    EIO = 5\n    ENOSYS = 38\n\nclass Set:\n    COMMON = (EPERM, EIO)\n",
    "flags.pyi": "class O:\n    O_WRONLY = 1\n",
    "structs.pyi": "class pair:\n    first: i32[0, 9]\n    second: u32\n",
    "calls/base.pyi": (
        "@host\n@errno(COMMON)\nclass Base:\n    def read(fd: fd, buf: out[count], count: size) -> at_most(count): ...\n"
    ),
    "tables/ioctl.pyi": "@host\n@errno(COMMON)\nclass Base:\n    def TCGETS(cmd: 0x5401, arg: out[pair]) -> zero: ...\n",
}
