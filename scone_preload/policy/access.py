"""What a call does with the file that its path names, as the policy words it; imports nothing heavy."""

from os import O_ACCMODE, O_CREAT, O_PATH, O_TRUNC

ROUTE_PATHS = 5  # in an image's table of calls: asked about by their paths
LOOKS, READS, WRITES, OPENS, CONNECTS, BINDS = (1 << bit for bit in range(6))
OPEN = frozenset({"open", "openat", "openat2", "creat"})
LOOK = frozenset({
    "stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "statfs",
    "chdir", "getxattr", "lgetxattr", "listxattr", "llistxattr", "inotify_add_watch", "name_to_handle_at",
    "file_getattr", "getxattrat", "listxattrat", "statmount",
})  # fmt: skip


def access_bit(name: str) -> int:
    """Return what a call does with its path, as a bit; what is not known counts as writing."""
    return OPENS if name in OPEN else LOOKS if name in LOOK else WRITES


def access_word(name: str, flags: int) -> str:
    """Return the same as decide_file's word; `flags` are those of open(2)."""
    bit = access_bit(name)
    if bit == OPENS:
        bit = _opened(name, flags)
    return {LOOKS: "look", READS: "read", WRITES: "write"}[bit]


def _opened(name: str, flags: int) -> int:
    if flags & O_PATH:
        return LOOKS
    return WRITES if name == "creat" or flags & (O_ACCMODE | O_CREAT | O_TRUNC) else READS
