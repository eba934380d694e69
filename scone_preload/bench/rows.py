"""Every row, with the limits of DESIGN section 12, as a table."""

from scone_preload.bench.loads import HttpLoad, MemcachedLoad, RedisBenchmark
from scone_preload.bench.micro import open_micro
from scone_preload.bench.model import Against, Figure, Limit, Mode, Row
from scone_preload.bench.servers import apache, memcached, nginx, open_servers, redis
from scone_preload.bench.starts import open_exec, open_idle, open_start

SYNC, ASYNC = Mode.SYNC, Mode.ASYNC

RATE = Figure("rate", "requests/s", Against.RATIO, True, {SYNC: Limit(0.95, 0.98), ASYNC: Limit(0.92, 1.05)}, digits=0)
CPU = Figure("cpu", "server CPU µs/request", Against.RATIO, False, {SYNC: Limit(1.15, 1.05), ASYNC: Limit(1.5, 1.2)}, 2)
SERVER = (RATE, CPU)

CALL_NS = Figure("ns", "ns/call", Against.ADDED)
EMPTY_NS = Figure("ns", "ns/call", Against.ADDED, False, {SYNC: Limit(60, 25)})
RING_NS = Figure("ns", "ns/call", Against.ALONE, False, {ASYNC: Limit(700, 450)}, by_ring=True)
START_MS = Figure("ms", "ms", Against.ADDED, False, {SYNC: Limit(60, 25), ASYNC: Limit(60, 25)}, 2)
EXEC_MS = Figure("ms", "ms", Against.ADDED, False, {SYNC: Limit(8, 3), ASYNC: Limit(8, 3)}, 2)
IDLE = Figure("percent", "% of a core", Against.ALONE, False, {SYNC: Limit(1, 0.2), ASYNC: Limit(1, 0.2)}, 3)

REDIS = tuple(
    Row(
        f"redis-{command}-p{pipeline}",
        f"redis {command} -P {pipeline}",
        SERVER,
        open_servers(redis, RedisBenchmark(command, pipeline)),
    )
    for pipeline in (1, 16)
    for command in ("set", "get", "lpush", "mset")
)
NGINX = tuple(
    Row(
        f"nginx-{file}-w{workers}",
        f"nginx {file}, {workers} worker{'s' if workers > 1 else ''}",
        SERVER,
        open_servers(nginx(workers), HttpLoad(file)),
    )
    for workers in (2, 1)
    for file in ("1k", "64k")
)
APACHE = tuple(
    Row(f"apache-{file}", f"Apache event {file}", SERVER, open_servers(apache, HttpLoad(file)))
    for file in ("1k", "64k")
)

ROWS: tuple[Row, ...] = (
    Row("syscall-site", "getppid (libc's site)", (EMPTY_NS,), open_micro("site")),
    Row("syscall-inline", "getppid (program's site)", (EMPTY_NS,), open_micro("inline")),
    Row("syscall-symbol", "read 1 byte /dev/zero", (CALL_NS,), open_micro("symbol")),
    Row("syscall-trap", "getppid (generated code)", (CALL_NS,), open_micro("trap", share=0.2)),
    Row("syscall-pread", "pread 4 KiB, hot file", (CALL_NS,), open_micro("pread")),
    Row("ring-lseek", "lseek", (RING_NS,), open_micro("lseek", share=0.5, by_ring=True)),
    Row("ring-fstat", "fstat", (RING_NS,), open_micro("fstat", share=0.5, by_ring=True)),
    Row(
        "ring-busy",
        "lseek, both cores busy",
        (RING_NS,),
        open_micro("lseek", share=0.05, busy_cores=True, by_ring=True),
    ),
    *REDIS,
    *NGINX,
    Row("memcached", "memcached -t 4, 90% get", SERVER, open_servers(memcached, MemcachedLoad())),
    *APACHE,
    Row("start-true", "start of /bin/true", (START_MS,), open_start(["/bin/true"])),
    Row("start-python", "start of python3 -c pass", (START_MS,), open_start(["/usr/bin/python3", "-c", "pass"])),
    Row("exec", "fork, exec, wait of /bin/true", (EXEC_MS,), open_exec("/bin/true")),
    Row("idle", "idle redis", (IDLE,), open_idle, rounds_max=2),
)


def chosen(words: list[str]) -> tuple[tuple[Row, ...], list[str]]:
    """The rows that some word names, or else begins (all without words), and the words that name none."""
    names = {row.name for row in ROWS}
    found = {word: {word} if word in names else {name for name in names if name.startswith(word)} for word in words}
    wanted = set().union(*found.values()) if words else names
    return tuple(row for row in ROWS if row.name in wanted), [word for word in words if not found[word]]
