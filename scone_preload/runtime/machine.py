"""Looks at the machine: kernel features, hardware, tools. Nothing here changes anything."""

import errno
import os
import struct

SEV_GUEST = ("/dev/sev-guest", "/sys/devices/platform/sev-guest")
TDX_GUEST = ("/dev/tdx_guest", "/dev/tdx-guest")
SIMULATION = (
    "simulation mode: every check works, but memory is protected only as any Linux process's is; root can read it"
)
CONFIDENTIAL = "{} guest: the hardware keeps the memory of this guest from the machine under it"


def confidential_hardware() -> str:
    """Return "TDX" or "SEV-SNP" inside a guest of that kind, else ""."""
    if any(map(os.path.exists, TDX_GUEST)) or "tdx_guest" in cpu_flags():
        return "TDX"
    if any(map(os.path.exists, SEV_GUEST)):
        return "SEV-SNP"
    return ""


def mode_line() -> str:
    """Return which mode runs here and what it means, in one line."""
    hardware = confidential_hardware()
    return CONFIDENTIAL.format(hardware) if hardware else SIMULATION


def cpu_flags() -> frozenset[str]:
    """Return the flags of the first processor in /proc/cpuinfo."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    return frozenset()


def user_dispatch() -> str:
    """Return "" when this kernel has Syscall User Dispatch, else what it said."""
    import ctypes  # lazy: scone-wrap's help needs only the mode

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0) == 0:  # "off", which it is
        return ""
    return os.strerror(ctypes.get_errno())


def io_uring() -> str:
    """Return "" when io_uring rings like the helper's can be set up here, else why not."""
    import ctypes  # lazy: as above
    import mmap

    libc = ctypes.CDLL(None, use_errno=True)
    memory = ctypes.c_char.from_buffer(mmap.mmap(-1, 2 * mmap.PAGESIZE))
    entries = ctypes.addressof(memory)
    # struct io_uring_params: flags is its third word, the two addresses end its two tables.
    words = struct.pack(
        "<2I I 15I Q 8I Q", 0, 0, IORING_SETUP_NO_MMAP, *[0] * 15, entries, *[0] * 8, entries + mmap.PAGESIZE
    )
    parameters = ctypes.create_string_buffer(words, 120)
    fd = int(libc.syscall(SYS_IO_URING_SETUP, 1, parameters))
    if fd >= 0:
        os.close(fd)
        return ""
    error = ctypes.get_errno()
    if error == errno.EINVAL:
        return "it needs Linux 6.5"
    try:
        with open("/proc/sys/kernel/io_uring_disabled", encoding="ascii") as file:
            disabled = file.read().strip()
    except OSError:
        disabled = "0"
    return f"kernel.io_uring_disabled={disabled}" if disabled != "0" else os.strerror(error)


def fsgsbase() -> bool:
    """Return whether programs may use the instructions that set the FS and GS bases."""
    with open("/proc/self/auxv", "rb") as file:
        words = memoryview(file.read()).cast("Q")
    values = {int(words[at]): int(words[at + 1]) for at in range(0, len(words), 2)}
    return bool(values.get(AT_HWCAP2, 0) & HWCAP2_FSGSBASE)


PR_SET_SYSCALL_USER_DISPATCH = 59
SYS_IO_URING_SETUP = 425
IORING_SETUP_NO_MMAP = 1 << 14  # Linux 6.5
AT_HWCAP2 = 26
HWCAP2_FSGSBASE = 2
