"""Trace lines read like strace's."""

import pytest

from scone_preload.spec import format_call

AT = (1 << 64) - 100
PLACE = 0x7F0000001000

LINES = {
    'read(3, "hello\\n", 4096) = 6': (0, (3, PLACE, 4096), {1: b"hello\n"}, 6),
    f"read(3, {PLACE:#x}, 4096) = -1 EAGAIN (Resource temporarily unavailable)": (
        0, (3, PLACE, 4096), {1: b"old"}, -11),
    'fstat(3, {st_mode=0100644, st_size=258, ...}) = 0': (
        5, (3, PLACE), {1: bytes(24) + (0o100644).to_bytes(4, "little") + bytes(20) + (258).to_bytes(96, "little")}, 0),
    "nanosleep({tv_sec=1, tv_nsec=5}, NULL) = 0": (
        35, (PLACE, 0), {0: (1).to_bytes(8, "little") + (5).to_bytes(8, "little")}, 0),
    'read(4, "", 4096) = 0': (0, (4, PLACE, 4096), {}, 0),
    'read(3, "", 4096) = 0': (0, (3, PLACE, 4096), {1: b""}, 0),
    'write(1, "\\t\\"\\\\\\001\\377", 5) = 5': (1, (1, PLACE, 5), {1: b'\t"\\\x01\xff'}, 5),
    f'write(1, "{"x" * 32}"..., 40) = 40': (1, (1, PLACE, 40), {1: b"x" * 40}, 40),
    'openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3': (
        257, (AT, PLACE, 0o2000000, 0xDEAD), {1: b"/etc/passwd\0"}, 3),
    'openat(5, "a", O_WRONLY|O_CREAT|O_TRUNC, 0644) = -1 ENOENT (No such file or directory)': (
        257, (5, PLACE, 0o1101, 0o644), {1: b"a"}, -2),
    'openat(AT_FDCWD, "/tmp", O_RDWR|O_TMPFILE, 0600) = 3': (257, (AT, PLACE, 0o20200002, 0o600), {1: b"/tmp"}, 3),
    'mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000001000': (
        9, (0, 4096, 3, 0x22, 0xFFFFFFFF, 0), {}, PLACE),
    "mprotect(0x1000, 4096, PROT_NONE) = 0": (10, (0x1000, 4096, 0), {}, 0),
    "ioctl(1, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}) = 0": (
        16, (1, 0x5413, PLACE), {2: bytes([24, 0, 80, 0, 0, 0, 0, 0])}, 0),
    "ioctl(1, 0x9999, 0x7f0000001000) = -1 ENOTTY (Inappropriate ioctl for device)": (16, (1, 0x9999, PLACE), {}, -25),
    "ioctl(1, FIOCLEX) = 0": (16, (1, 0x5451, 77), {}, 0),
    "fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0": (72, (4, 4, 0o4002), {}, 0),
    "fcntl(4, F_GETFL) = 2": (72, (4, 3, 123), {}, 2),
    "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0": (54, (3, 1, 2, PLACE, 4), {3: b"\1\0\0\0"}, 0),
    "setsockopt(3, SOL_TCP, 99, 0x7f0000001000, 4) = 0": (54, (3, 6, 99, PLACE, 4), {}, 0),
    'prctl(PR_SET_NAME, ["worker"]) = 0': (157, (15, PLACE), {1: b"worker".ljust(16, b"\0")}, 0),
    "connect(3, {AF_INET, 127.0.0.1:8080}, 16) = 0": (42, (3, PLACE, 16), {1: b"\2\0\x1f\x90\x7f\0\0\1" + bytes(8)}, 0),
    "connect(3, {AF_INET6, [::1]:80}, 28) = 0": (
        42, (3, PLACE, 28), {1: b"\x0a\0\0\x50" + bytes(19) + b"\1" + bytes(4)}, 0),
    'connect(3, {AF_UNIX, "/run/s"}, 110) = 0': (42, (3, PLACE, 110), {1: b"\1\0/run/s\0junk"}, 0),
    'connect(3, {AF_UNIX, "\\000x"}, 4) = 0': (42, (3, PLACE, 4), {1: b"\1\0\0x"}, 0),
    "accept4(3, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC) = 7": (288, (3, 0, 0, 0o2004000), {}, 7),
    "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 6) = 3": (41, (2, 0o2000001, 6), {}, 3),
    "epoll_wait(4, [{events=1, data=5}], 10, -1) = 1": (
        232, (4, PLACE, 10, 0xFFFFFFFF), {1: bytes([1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0])}, 1),
    "pipe2({first=3, second=4}, O_CLOEXEC) = 0": (293, (PLACE, 0o2000000), {0: b"\3\0\0\0\4\0\0\0"}, 0),
    "clone(SIGCHLD|CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID, NULL, NULL, 0x99, NULL) = 77": (
        56, (0x1200011, 0, 0, 0x99, 0), {}, 77),
    "futex(0x10, FUTEX_WAIT|FUTEX_PRIVATE_FLAG, 2, NULL, NULL, 0) = 0": (202, (0x10, 0x80, 2, 0, 0, 0), {}, 0),
    "kill(-1, SIGTERM) = 0": (62, ((1 << 64) - 1, 15), {}, 0),
    "exit_group(3) = ?": (231, (3,), {}, 0),
    "getpid() = 42": (39, (0, 0, 0, 0, 0, 0), {}, 42),
    "brk(NULL) = 0x555500000000": (12, (0,), {}, 0x555500000000),
    "syscall_400(0x1, 0x0) = -1 ENOSYS (Function not implemented)": (400, (1, 0), {}, -38),
    "lseek(3, -5, SEEK_END) = 95": (8, (3, (1 << 64) - 5, 2), {}, 95),
    "getuid() = 4294967295": (102, (), {}, 4294967295),
    "read(3, NULL, 1) = -1 errno 4095 (Unknown error 4095)": (0, (3, 0, 1), {}, -4095),
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_call_is_printed_as_a_programmer_would_write_it(line: str) -> None:
    nr, args, strings, result = LINES[line]
    registers = (*args, *(0 for _ in range(6 - len(args)))) if nr != 400 else args
    assert format_call(nr, registers, strings, result) == line


@pytest.mark.parametrize("nr", [0, 7, 16, 42, 54, 72, 157, 257, 262, 332])
@pytest.mark.parametrize("known", [b"", b"\1", b"\2\0", b"\n\0\0\0\0\0\0\0", b"\xff" * 300])
def test_cut_or_strange_memory_is_printed_all_the_same(nr: int, known: bytes) -> None:
    strings = dict.fromkeys(range(6), known)
    for first in (0, 1, 0x5413):
        assert format_call(nr, (3, first, PLACE, PLACE, PLACE, 9), strings, 0).endswith(" = 0")
