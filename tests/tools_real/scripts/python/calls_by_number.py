# ruff: noqa - a program as its users write it
import ctypes, os, errno

libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(39) == os.getpid(), libc.syscall(186) == os.getpid())
print(libc.syscall(1, 1, b"raw write\n", 10), flush=True)
print(libc.syscall(1, 999, b"x", 1), errno.errorcode[ctypes.get_errno()])
fds = (ctypes.c_int * 2)()
print(libc.syscall(293, fds, os.O_CLOEXEC), libc.syscall(1, fds[1], b"abc", 3), os.read(fds[0], 10))
buffer = ctypes.create_string_buffer(64)
print(libc.syscall(318, buffer, 64, 0), len(set(buffer.raw)) > 10)
print(
    libc.syscall(0, fds[0], None, 1) if libc.syscall(1, fds[1], b"z", 1) == 1 else "?",
    errno.errorcode[ctypes.get_errno()],
)
