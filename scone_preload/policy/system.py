"""What `unlisted = "system"` allows: the folders of the system, as Debian lays them out, and what libc itself opens."""

# Read, and code mapped.
READABLE = (
    "/usr/", "/lib/", "/lib32/", "/lib64/", "/libx32/", "/bin/", "/sbin/",
    "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/etc/timezone", "/etc/locale.alias",
    "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf",
    "/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/mime.types", "/etc/ssl/", "/etc/gnutls/",
    "/etc/alternatives/",
    "/proc/self/", "/proc/thread-self/", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/filesystems",
    "/proc/sys/", "/sys/devices/system/", "/sys/kernel/mm/", "/sys/fs/cgroup/", "/run/systemd/userdb/",
    "/dev/urandom", "/dev/random",
)  # fmt: skip
WRITABLE = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/pts/*", "/dev/ptmx",
            "/proc/self/task/*/comm")  # fmt: skip
PROGRAMS = ("/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/libexec/", "/usr/local/bin/", "/usr/local/sbin/",
            "/bin/", "/sbin/", "/lib/")  # fmt: skip
# What libc asks when it is there, and does without: refused without a word, as if nobody listened, unless it is listed.
PROBED = ("unix:/run/nscd/socket", "unix:/var/run/nscd/socket")
