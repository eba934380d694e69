"""The command line of scone-wrap: one table that the parser, the help and the shell completions are made of.

argparse would cost 6 ms of every start, more than everything else scone-wrap does when all is cached.
"""

from scone_preload.errors import UserError
from scone_preload.log import FORMATS, TEXT
from scone_preload.options import EXIT_COST_MAX, MODES, PRESETS, Options

# name, value ("" none, "X" required, "[=X]" optional), words that complete it, help
OPTIONS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "--syscalls",
        "MODE",
        tuple(MODES),
        "how calls leave: sync (by the program's own thread) or async (the default: by a ring to a helper process"
        " where that is cheaper, as in busy event loops; all that can with --exit-cost from 4000 on)",
    ),
    ("--exit-cost", "CYCLES", (), "make every sync exit burn this many CPU cycles, to model an enclave exit"),
    (
        "--stats",
        "[=FILE]",
        (),
        "at the end, say what crossed the boundary: as a table on standard error, or as JSON in FILE",
    ),
    (
        "--stats-socket",
        "PATH",
        (),
        "serve them while the program runs, in Prometheus's text format, on a unix socket: for HTTP clients too (curl"
        " --unix-socket PATH http://scone/metrics)",
    ),
    ("--stats-latency", "", (), "time each call as well, for histograms on that socket; some nanoseconds a call"),
    ("--trace", "[=FILE]", (), "print every syscall, like strace, on standard error or in FILE"),
    ("--trace-failing", "", (), "print only the syscalls that fail; implies --trace"),
    (
        "--policy",
        "FILE",
        (),
        "what is shielded and allowed: scone.toml (docs/policy.md), or a rewritten program with one in it",
    ),
    ("--preset", "NAME", PRESETS, "begin with the policy that comes for this program"),
    ("--strict", "", (), "allow only what the policy lists"),
    ("--secret", "PATH=FROM", (), "serve a secret as a file: from keystore:NAME, env:NAME or file:PATH"),
    ("--env", "NAME[=VALUE]", (), "pass a variable of the environment, or set one"),
    ("--deny", "CALL[=ERRNO]", (), "refuse a syscall"),
    ("--route", "CALL=ROUTE", (), "serve a syscall by this route: runtime (your Python, see --handlers) or host"),
    ("--route-all", "ROUTE", ("runtime", "host"), "the same for all syscalls; runtime is slow"),
    ("--handlers", "FILE", (), "your own Python behind syscalls with the route runtime (see examples/handlers)"),
    (
        "--data",
        "DIR",
        (),
        "keep what the program has in DIR encrypted in a volume there, which is made if DIR is empty (docs/volume.md)",
    ),
    (
        "--volume",
        "PATH:MODE",
        (),
        "a volume of this mode: encrypt, authenticate, ephemeral (gone at exit) or passthrough",
    ),
    ("--tls", "PORT", (), "TLS for a listening port (not in this version yet: refused)"),
    ("--print-policy", "", (), "print the policy that these options make, with where each line comes from"),
    (
        "--explain",
        "QUESTION",
        (),
        'say what the policy answers: "read /etc/passwd", "connect example.org:443"; status 1 when it denies',
    ),
    ("--learn", "FILE", (), "watch the program and write the least policy that allows what it does; merges into FILE"),
    (
        "--log-format",
        "FORMAT",
        FORMATS,
        "how scone-wrap's own lines look: text, or json, one object a line (docs/logs.md)",
    ),
    ("--log", "FILE", (), "append these lines to FILE, instead of writing them on standard error"),
    ("--no-io-uring", "", (), "let the helper's threads make plain calls only"),
    (
        "--quiet",
        "",
        (),
        "don't say, where standard error is a terminal, which mode runs, and under a policy what left unprotected",
    ),
    (
        "--rewrite",
        "OUT",
        (),
        "write a copy of BINARY that runs wrapped, with these options and this policy, when it is started directly: for"
        " init systems and entrypoints; start nothing",
    ),
    ("--verify", "FILE", (), "say whether a rewritten program still matches its original, libraries and installation"),
    ("--show-shim", "", (), "print the C shim that is generated for BINARY, and start nothing"),
    ("--print-completion", "SHELL", ("bash", "zsh", "fish"), "print a completion script for this shell"),
    ("--version", "", (), "print the version"),
    ("--help", "", (), "print this help"),
)
# What a policy could say as well: kept in order, and each as often as it is given.
POLICY_FLAGS = (
    "--preset", "--strict", "--secret", "--env", "--deny", "--route", "--route-all", "--handlers", "--data", "--volume",
    "--tls",
)  # fmt: skip
SHORT = {"-h": "--help", "-V": "--version", "-q": "--quiet"}

_VALUES = {name: value for name, value, _, _ in OPTIONS}
_WORDS = {name: words for name, _, words, _ in OPTIONS if words}
_SEE_HELP = "see scone-wrap --help"


class Given(dict[str, str | None]):
    """The options given, the last of each name (None: without a value); `flags` has all that a policy could say."""

    def __init__(self) -> None:
        self.flags: list[tuple[str, str | None]] = []


def split(argv: list[str]) -> tuple[Given, list[str]]:
    """Return the options given and BINARY with its arguments; raise UserError."""
    given = Given()
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        name = SHORT.get(name, name)
        given[name] = _value_of(name, value if equals else None, rest)
        if name in POLICY_FLAGS:
            given.flags.append((name, given[name]))
    return given, rest


def wants_json(argv: list[str]) -> bool:
    """Is an error in this command line to be told as JSON? It may be one that split() finds."""
    for at, word in enumerate(argv):
        if word == "--log-format=json" or argv[at : at + 2] == ["--log-format", "json"]:
            return True
        if not word.startswith("-") and not argv[at - 1].startswith("-"):
            return False
    return False


def _value_of(name: str, value: str | None, rest: list[str]) -> str | None:
    kind = _VALUES.get(name)
    if kind is None:
        from scone_preload.policy.problem import did_you_mean  # lazy: start-up time

        raise UserError("unknown option", name, did_you_mean(name, _VALUES, otherwise=_SEE_HELP))
    if kind == "" and value is not None:
        raise UserError("option takes no value", name, f"leave out ={value}")
    if kind and not kind.startswith("[") and value is None:
        if not rest:
            raise UserError("option needs a value", name, f"write {name} {kind}")
        value = rest.pop(0)
    if value == "":
        raise UserError("option has an empty value", name, _SEE_HELP)
    words = _WORDS.get(name, ())
    if words and value not in words:
        raise UserError("unknown value", f"{name} {value}", f"use one of: {', '.join(words)}")
    return value


def parse(given: Given, rest: list[str], *, needs_binary: bool = True) -> Options:
    """Return what a start of BINARY asks for; raise UserError."""
    if not rest and needs_binary:
        raise UserError("no program given", "BINARY", f"write scone-wrap [options] BINARY [ARGS...]; {_SEE_HELP}")
    failing = "--trace-failing" in given
    if "--stats-latency" in given and "--stats-socket" not in given:
        raise UserError("nothing would show the times", "--stats-latency", "add --stats-socket PATH")
    return Options(
        binary=rest[0] if rest else "",
        arguments=tuple(rest[1:]),
        syscalls=given.get("--syscalls") or "async",
        exit_cost=_cycles(given.get("--exit-cost") or "0"),
        stats=(given["--stats"] or "") if "--stats" in given else None,
        trace=(given.get("--trace") or "") if "--trace" in given or failing else None,
        trace_failing=failing,
        quiet="--quiet" in given,
        io_uring="--no-io-uring" not in given,
        policy=given.get("--policy") or "",
        flags=tuple(given.flags),
        learn=given.get("--learn") or "",
        stats_socket=given.get("--stats-socket") or "",
        stats_latency="--stats-latency" in given,
        log=given.get("--log") or "",
        log_format=given.get("--log-format") or TEXT,
    )


def _cycles(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > EXIT_COST_MAX:
        raise UserError("not a number of cycles", f"--exit-cost {text}", f"give a number from 0 to {EXIT_COST_MAX}")
    return int(text)
