"""Every row, with the limits of DESIGN section 12, as a table."""

from collections.abc import Mapping
from dataclasses import replace

from scone_preload.bench.files import MIB, FileWork, SqliteWork, open_files
from scone_preload.bench.loads import HttpLoad, MemcachedLoad, RedisBenchmark
from scone_preload.bench.micro import open_micro
from scone_preload.bench.model import BASE, PEERS, Against, Figure, Limit, Mode, Row
from scone_preload.bench.servers import DATA, apache, empty, memcached, nginx, open_servers, redis, redis_aof, with_site
from scone_preload.bench.starts import open_exec, open_idle, open_start

SYNC, ASYNC = Mode.SYNC, Mode.ASYNC
GOCRYPTFS, SQLCIPHER, CIPHER = PEERS
NO_LIMIT = Limit()
JOURNALS = {"delete": "rollback journal", "wal": "WAL"}
FILE_CACHE = "open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;"

RATE = Figure("rate", "requests/s", Against.RATIO, True, {SYNC: Limit(0.95, 0.98), ASYNC: Limit(0.92, 1.05)}, digits=0)
CPU = Figure("cpu", "server CPU µs/request", Against.RATIO, False, {SYNC: Limit(1.15, 1.05), ASYNC: Limit(1.5, 1.2)}, 2)
CPU_ONLY = replace(CPU, limits={})  # a volume's cipher is part of it
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

# Over a gocryptfs that keeps up with native (the kernel's page cache serves it) 1.0 is enough: figures.py.
OVER_GOCRYPTFS = {GOCRYPTFS: Limit(2.0)}
DISK = (*BASE, GOCRYPTFS)


def rate(unit: str, limit: Limit, peers: Mapping[Mode, Limit] = OVER_GOCRYPTFS) -> Figure:
    """How much of something is done in a second, against native and peers."""
    return Figure("rate", unit, Against.RATIO, True, {SYNC: limit, ASYNC: limit}, digits=0, peers=peers)


def of_files(
    kind: str, title: str, work: FileWork, limit: Limit = NO_LIMIT, peers: Mapping[Mode, Limit] = OVER_GOCRYPTFS
) -> Row:
    """A row of one directory."""
    figure = rate("MB/s" if work.scale == MIB else "1/s", limit, peers)
    return Row(f"file-{kind}", title, (figure,), open_files(work), modes=(*BASE, *peers))


OVER_CIPHER = {**OVER_GOCRYPTFS, CIPHER: Limit(0.5, 0.8)}
FILES = (
    of_files("read-hot", "4 KiB random reads, cached", FileWork("read"), Limit(1.0, 2.0)),
    of_files("read-cold", "4 KiB random reads, cold", FileWork("read-once", 256, is_cold=True)),
    of_files("write-hot", "4 KiB random writes, cached", FileWork("write")),
    of_files("write-cold", "4 KiB random writes, cold, fdatasync", FileWork("write-once", 256, is_cold=True)),
    of_files("seq-read-hot", "1 MiB sequential reads, cached", FileWork("seq-read", scale=MIB)),
    of_files(
        "seq-read",
        "1 MiB sequential reads, fresh start",
        FileWork("seq-once", 256, MIB, cipher="open"),
        peers=OVER_CIPHER,
    ),
    of_files("seq-write", "1 MiB sequential writes", FileWork("seq-write", 1, MIB, cipher="seal"), peers=OVER_CIPHER),
    of_files("seq-sync", "1 MiB sequential writes, fdatasync each 64", FileWork("seq-sync", 1, MIB)),
    of_files("append", "100-byte append, fdatasync", FileWork("append", 1)),
    of_files("create", "create, close, unlink", FileWork("create", 1)),
    of_files("open", "open, close", FileWork("open", 1)),
    of_files("stat", "stat", FileWork("stat", 1)),
)
SQLITE = tuple(
    Row(
        f"sqlite-{kind}-{journal}",
        f"SQLite {title}, {JOURNALS[journal]}",
        (rate("1/s", Limit(0.9, 1.0), {**OVER_GOCRYPTFS, SQLCIPHER: Limit(1.0)}),),
        open_files(SqliteWork(kind, journal)),
        modes=(*DISK, SQLCIPHER),
    )
    for kind, title in (("commit", "commits"), ("read", "point reads"), ("mix", "TPC-C-like mix"))
    for journal in JOURNALS
)
REDIS_AOF = tuple(
    Row(
        f"redis-aof-{fsync}-p{pipeline}",
        f"redis set -P {pipeline}, AOF {fsync}",
        (rate("requests/s", Limit(0.9, 1.0)), CPU_ONLY),
        open_servers(redis_aof(fsync), RedisBenchmark("set", pipeline), empty),
        modes=DISK,
    )
    for fsync in ("everysec", "always")
    for pipeline in (1, 16)
)
NGINX_VOLUME = tuple(
    Row(
        f"nginx-volume-{file}",
        f"nginx {file}, open_file_cache, 2 workers",
        (rate("requests/s", NO_LIMIT), CPU_ONLY),
        open_servers(nginx(2, f"{DATA}/site", FILE_CACHE), HttpLoad(file), with_site),
        modes=DISK,
    )
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
    *FILES,
    *SQLITE,
    *REDIS_AOF,
    *NGINX_VOLUME,
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
