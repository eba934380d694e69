"""Packets as a shim sends them, for the tests of the host's side."""

from scone_preload.runtime import wire

NR_READ, NR_OPENAT, NR_IO_URING_SETUP = 0, 257, 425


def packet(kind: int, body: bytes, *, first: bool = False, pid: int = 4000, tid: int = 4001) -> bytes:
    """Return a whole packet with a right header."""
    size = wire.layout("ctl_header").size + len(body)
    return wire.layout("ctl_header").pack(wire.MAGIC, kind, wire.FIRST if first else 0, size, pid, tid, 0) + body


def hello(exe: bytes = b"/bin/true", flags: int = 0, *, nonce: int = 5, maps: bytes = b"", pid: int = 4000) -> bytes:
    head = wire.layout("ctl_hello").pack(bytes(24), 7, nonce, flags, len(maps))[24:]
    return packet(wire.HELLO, head + exe + b"\0" + maps, pid=pid)


def exec_(path: bytes, *, dirfd: int = wire.AT_FDCWD, cwd: bytes = b"/") -> bytes:
    body = dirfd.to_bytes(4, "little", signed=True) + bytes(4)
    return packet(wire.EXEC, body + path + b"\0" + cwd + b"\0")


def sites(path: bytes, *, offset: int, length: int) -> bytes:
    return packet(wire.SITES, offset.to_bytes(8, "little") + length.to_bytes(8, "little") + path + b"\0")


def stats(*, first: bool = False, calls: dict[int, int] | None = None, **single: int) -> bytes:
    """Return STATS with these counters; all others are 0."""
    values: list[int] = []
    for name, code in wire.LAYOUTS["wire_stats"]:
        field = [0] * int(code[:-1] or 1)
        field[0] = single.get(name, 0)
        if name == "calls":
            for nr, count in (calls or {}).items():
                field[nr] = count
        values += field
    return packet(wire.STATS, wire.layout("wire_stats").pack(*values), first=first)


def trace(nr: int, args: tuple[int, ...], result: int, strings: tuple[tuple[int, int, bytes], ...] = ()) -> bytes:
    padded = (*args, *[0] * (6 - len(args)))
    head = wire.layout("ctl_trace").pack(bytes(24), nr, 1, 3, 1, *padded, result, 1500, len(strings), 0)[24:]
    tail = b"".join(bytes((arg, kind)) + len(data).to_bytes(2, "little") + data for arg, kind, data in strings)
    return packet(wire.TRACE, head + tail)


def event(kind: int, nr: int, text: bytes) -> bytes:
    return packet(wire.EVENT, kind.to_bytes(4, "little") + nr.to_bytes(4, "little") + text + b"\0")


def call(nr: int, args: tuple[int, ...], strings: dict[int, bytes], *, pid: int = 4000, flags: int = 0) -> bytes:
    padded = (*args, *[0] * (6 - len(args)))
    head = wire.layout("ctl_call").pack(bytes(24), nr, flags, *padded, len(strings), 0)[24:]
    tail = b"".join(bytes((arg, 0)) + len(data).to_bytes(2, "little") + data for arg, data in strings.items())
    return packet(wire.CALL, head + tail, pid=pid)


def helper(pid: int) -> bytes:
    return packet(wire.HELPER, pid.to_bytes(4, "little") + bytes(4))


def live(pid: int = 4000) -> bytes:
    return packet(wire.LIVE, b"", pid=pid)


def keep(*files: tuple[int, int, int, int, int]) -> bytes:
    """Return KEEP of these (fd, flags, offset, number, same_as)."""
    tail = b"".join(wire.layout("ctl_kept").pack(*one, 0) for one in files)
    return packet(wire.KEEP, len(files).to_bytes(4, "little") + bytes(4) + tail)


SAMPLES = {
    "live": live(),
    "hello": hello(),
    "exec": exec_(b"/bin/true"),
    "sites": sites(b"/lib/x.so", offset=4096, length=8192),
    "stats": stats(first=True, denied=3, calls={0: 5}),
    "trace": trace(NR_OPENAT, (0xFFFFFF9C, 0x7000, 0), 3, ((1, 0, b"/etc/passwd"), (1, 1, b""))),
    "helper": helper(4002),
    "call": call(NR_OPENAT, (0xFFFFFF9C, 0x7000, 0), {1: b"a", wire.ABOUT_PATH: b"/tmp/a"}),
    "keep": keep((3, 0, 5, 7, 0), (4, 0, 5, 7, 0)),
    "event": event(1, NR_IO_URING_SETUP, b"no rings"),
}
