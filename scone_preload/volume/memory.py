"""How much memory the cache of a volume may have where nobody says it: a share of what this process could still get."""

SHARE = 8
LEAST, MOST = 16 << 20, 256 << 20
_CGROUPS = "/sys/fs/cgroup"


def chosen_cache_size() -> int:
    """An eighth of the memory that the machine has available, or of what a control group (version 2) of this process
    may have, whichever is less: from 16 to 256 MiB."""
    return max(LEAST, min(MOST, _available() // SHARE))


def _available() -> int:
    return min(_machine(_read("/proc/meminfo")), *(_group(path) for path in _groups(_read("/proc/self/cgroup"))))


def _machine(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return MOST * SHARE


def _groups(text: str) -> list[str]:
    """The process's own group and all above it, as directories; the last is the root of what it sees."""
    own = next((line[3:] for line in text.splitlines() if line.startswith("0::/")), "/").rstrip("/")
    parts = own.split("/")[1:] if own else []
    return [_CGROUPS + "".join(f"/{part}" for part in parts[:count]) for count in range(len(parts), -1, -1)]


def _group(path: str) -> int:
    most = _read(f"{path}/memory.max").strip()
    return int(most) if most.isdigit() else MOST * SHARE


def _read(path: str) -> str:
    """ "" where it isn't there."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
