"""What the command line of scone-wrap asks for, and how it is told to the shim.

`flags` are those that a policy could say, as they were given: policy/flags.py turns each into TOML.

Imported on every start, so it imports nothing: a dataclass alone would cost 6 ms of each start.
"""

SHIM_VARIABLE_VERSION = 3
FLAG_TRACE, FLAG_TRACE_FAILING, FLAG_STATS, FLAG_NO_IO_URING, FLAG_FIRST, FLAG_POLICY = (1 << bit for bit in range(6))
FLAG_LIVE, FLAG_LATENCY, FLAG_LOG, FLAG_VOLUMES = 1 << 8, 1 << 9, 1 << 10, 1 << 11

MODES = {"sync": 0, "async": 1}
PRESETS = ("apache", "memcached", "nginx", "postgresql", "python", "redis", "sqlite")
EXIT_COST_MAX = 1_000_000_000


class Options:
    """One start of a program. A `report` is None (not wanted), "" (standard error) or a file's path."""

    __slots__ = (
        "arguments",
        "binary",
        "exit_cost",
        "flags",
        "io_uring",
        "learn",
        "log",
        "log_format",
        "path",
        "policy",
        "quiet",
        "stats",
        "stats_fd",
        "stats_latency",
        "stats_socket",
        "sums_up",
        "syscalls",
        "trace",
        "trace_failing",
    )

    def __init__(
        self,
        *,
        binary: str = "",
        arguments: tuple[str, ...] = (),
        syscalls: str = "async",
        exit_cost: int = 0,
        stats: str | None = None,
        trace: str | None = None,
        trace_failing: bool = False,
        io_uring: bool = True,
        quiet: bool = False,
        policy: str = "",
        flags: tuple[tuple[str, str | None], ...] = (),
        learn: str = "",
        path: str = "",
        stats_socket: str = "",
        stats_latency: bool = False,
        log: str = "",
        log_format: str = "text",
    ) -> None:
        self.binary = binary
        self.arguments = arguments
        self.syscalls = syscalls
        self.exit_cost = exit_cost
        self.stats = stats
        self.trace = trace
        self.trace_failing = trace_failing
        self.io_uring = io_uring
        self.quiet = quiet
        self.policy = policy
        self.flags = flags
        self.learn = learn
        self.stats_socket = stats_socket
        self.stats_fd = -1  # what listens there
        self.stats_latency = stats_latency
        self.log = log
        self.log_format = log_format
        self.sums_up = stats == ""  # is it to be said at the end how much left unprotected?
        self.path = path  # of a rewritten program: then `binary` is its argument 0 alone

    @property
    def has_own_log(self) -> bool:
        """Are the shims' lines to be told to the runtime host, which writes them where they belong?"""
        return bool(self.log) or self.log_format != "text"

    def shim_variable(
        self, control_fd: int, alive_fd: int, nonce: int, *, has_policy: bool = False, has_volumes: bool = False
    ) -> str:
        """Return the value of SCONE_SHIM for the first process (docs/internals.md, section 1)."""
        flags = FLAG_FIRST
        if self.trace is not None:
            flags |= FLAG_TRACE
        if self.trace_failing:
            flags |= FLAG_TRACE_FAILING
        # The statistics' answer also tells the first process that its trace is written, so that both come before
        # the shell's next prompt.
        if self.stats is not None or self.trace is not None or self.learn or self.sums_up:
            flags |= FLAG_STATS
        if has_policy:
            flags |= FLAG_POLICY
        if has_volumes:
            flags |= FLAG_VOLUMES
        if self.stats_socket:
            flags |= FLAG_LIVE | (FLAG_LATENCY if self.stats_latency else 0)
        if self.has_own_log:
            flags |= FLAG_LOG
        if not self.io_uring:
            flags |= FLAG_NO_IO_URING
        numbers = (SHIM_VARIABLE_VERSION, control_fd, alive_fd, MODES[self.syscalls], self.exit_cost, flags, nonce)
        return ",".join(map(str, numbers))
