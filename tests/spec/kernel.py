"""The machine's own headers as a witness: C that compiles only if the spec says what they say."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

# Our struct: (C type, header), and our field names where they differ from C's. "" hides a field that C doesn't have.
GLIBC = {
    "timespec": ("struct timespec", "time.h"),
    "timeval": ("struct timeval", "sys/time.h"),
    "itimerval": ("struct itimerval", "sys/time.h"),
    "itimerspec": ("struct itimerspec", "time.h"),
    "timezone": ("struct timezone", "sys/time.h"),
    "timex": ("struct timex", "sys/timex.h"),
    "tms": ("struct tms", "sys/times.h"),
    "utimbuf": ("struct utimbuf", "utime.h"),
    "stat": ("struct stat", "sys/stat.h"),
    "statfs": ("struct statfs", "sys/vfs.h"),
    "flock": ("struct flock", "fcntl.h"),
    "f_owner_ex": ("struct f_owner_ex", "fcntl.h"),
    "pollfd": ("struct pollfd", "poll.h"),
    "epoll_event": ("struct epoll_event", "sys/epoll.h"),
    "linger": ("struct linger", "sys/socket.h"),
    "ucred": ("struct ucred", "sys/socket.h"),
    "mmsghdr": ("struct mmsghdr", "sys/socket.h"),
    "rusage": ("struct rusage", "sys/resource.h"),
    "rlimit": ("struct rlimit", "sys/resource.h"),
    "sysinfo": ("struct sysinfo", "sys/sysinfo.h"),
    "utsname": ("struct utsname", "sys/utsname.h"),
    "stack": ("stack_t", "signal.h"),
    "siginfo": ("siginfo_t", "signal.h"),
    "sigevent": ("struct sigevent", "signal.h"),
    "sched_param": ("struct sched_param", "sched.h"),
    "mq_attr": ("struct mq_attr", "mqueue.h"),
    "sembuf": ("struct sembuf", "sys/sem.h"),
    "winsize": ("struct winsize", "sys/ioctl.h"),
}
LINUX = {
    "statx": ("struct statx", "linux/stat.h"),
    "statx_timestamp": ("struct statx_timestamp", "linux/stat.h"),
    "open_how": ("struct open_how", "linux/openat2.h"),
    "termios": ("struct termios", "asm/termbits.h"),
    "termios2": ("struct termios2", "asm/termbits.h"),
    "fsxattr": ("struct fsxattr", "linux/fs.h"),
    "file_clone_range": ("struct file_clone_range", "linux/fs.h"),
    "cap_header": ("struct __user_cap_header_struct", "linux/capability.h"),
    "ifreq": ("struct ifreq", "linux/if.h"),
    "sched_attr": ("struct sched_attr", "linux/sched/types.h"),
}
# Parts of ours that C names differently, or not at all.
NO_SUCH_FIELD = ("pad", "spare", "unused", "reserved", "fields", "loads1", "loads2", "ifr_fields")
RENAMED = {"sysinfo.loads0": "loads", "ifreq.ifr_name": "ifr_ifrn"}


def assertion(condition: str) -> str:
    return f'_Static_assert({condition}, "differs");\n'


def defined_equal(name: str, value: int) -> str:
    """An assertion that holds also where the headers don't know the name."""
    return f"#ifdef {name}\n{assertion(f'(unsigned long)({name}) == {value & (1 << 64) - 1:#x}UL')}#endif\n"


def accepts(folder: Path, headers: Iterable[str], body: str) -> str:
    """The compiler's complaints; empty if it has none."""
    source = folder / "witness.c"
    includes = "".join(f"#include <{header}>\n" for header in dict.fromkeys(headers))
    source.write_text(f"#define _GNU_SOURCE\n#include <stddef.h>\n{includes}{body}")
    done = subprocess.run(
        ["gcc", "-std=gnu11", "-fsyntax-only", str(source)], capture_output=True, text=True, check=False
    )
    return done.stderr
