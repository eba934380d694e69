"""--rewrite, --verify, and the start of a program that was rewritten."""

import os

from scone_preload.cli.arguments import POLICY_FLAGS, Given, parse, split
from scone_preload.elf.rewritten import Record, read_record
from scone_preload.errors import BinaryNotFound, BinaryRefused, UserError
from scone_preload.options import Options

# What a rewritten program may take along as words. Of a policy it takes the text, not the options that it came from.
EMBEDDED = (
    "--syscalls", "--exit-cost", "--stats", "--trace", "--trace-failing", "--no-io-uring", "--quiet", "--stats-socket",
    "--stats-latency", "--log-format", "--log",
)  # fmt: skip
FILES = ("--stats", "--trace", "--stats-socket", "--log")  # options whose value is a path
POLICY = "--policy"


def options_of(words: list[str]) -> Options:
    """Return what the start of a rewritten program asks for; `words` are those of start.c: its file, the name that it
    was started by, its arguments from number 0 on."""
    if len(words) < 3:
        raise UserError("only a rewritten program starts like this", "--start-rewritten", "use scone-wrap BINARY")
    file, named, *arguments = words
    given, _ = split(_options_in(_record_of(file), file))
    options = parse(given, arguments)
    options.path = named if _is_same(named, file) else file
    return options


def _record_of(file: str) -> Record:
    try:
        record = read_record(file)
    except OSError as error:
        raise BinaryNotFound("rewritten program can't be read", file, f"{error.strerror}; is it still there?") from None
    except ValueError as error:
        raise BinaryRefused("damaged rewritten program", file, f"{error}; rewrite its original again") from None
    if record is None:
        raise BinaryRefused("not a rewritten program", file, "make it with scone-wrap --rewrite")
    return record


def _options_in(record: Record, file: str) -> list[str]:
    """The words of the command line that it stands for; where a policy is in it, it is its own policy file."""
    return record.options if record.policy is None else [*record.options, f"{POLICY}={file}"]


def _is_same(named: str, file: str) -> bool:
    """May the file be executed again by the name that it was started by?"""
    if named.startswith(("/dev/fd/", "/proc/")):
        return False
    try:
        return os.path.samefile(named, file)
    except OSError:
        return False


def rewrite_program(given: Given, rest: list[str]) -> str:
    """Write the rewritten program that the command line asks for; return what to tell the user; raises SconeError."""
    from pathlib import Path  # lazy, as all below: the start of a rewritten program imports this module

    from scone_preload.build.rewrite import rewrite
    from scone_preload.runtime.launch import SHELL_PATH, find_binary
    from scone_preload.runtime.policies import start_plan

    if len(rest) > 1:
        raise UserError("arguments can't be embedded", rest[1], "give them where the rewritten program is started")
    options = parse(given, rest)
    out = os.path.abspath(str(given["--rewrite"]))
    words = [_word(name, value) for name, value in given.items() if name not in ("--rewrite", POLICY, *POLICY_FLAGS)]
    binary = find_binary(rest[0], os.environ.get("PATH", SHELL_PATH))
    policy = _policy_in(options)
    rewrite(Path(binary), Path(out), words, policy, dict(os.environb))
    if policy is not None:
        start_plan(Options(policy=out), dict(os.environb))  # read back, and kept: its first start doesn't wait for that
    return f"wrote {out}: start it directly; scone-wrap --verify says whether it still matches\n"


def _policy_in(options: Options) -> bytes | None:
    """The text of the effective policy, with where each line comes from; of secrets it has their sources only."""
    from scone_preload.policy.plan import plan_for  # lazy: see above
    from scone_preload.policy.render import render_with_places
    from scone_preload.runtime.policies import check_unbuilt, policy_of

    if not options.policy and not options.flags:
        return None
    policy, _ = policy_of(options, os.getcwd())
    check_unbuilt(plan_for(policy, sources=()))
    return render_with_places(policy).encode()


def _word(name: str, value: str | None) -> str:
    if name not in EMBEDDED:
        raise UserError("this option can't be embedded", name, "leave it out")
    if value is None:
        return name
    return f"{name}={os.path.abspath(value) if name in FILES else value}"


def verify_program(given: Given, rest: list[str]) -> tuple[str, bool]:
    """Return what differs, in words, and whether nothing does; raises UserError for a file that was not rewritten."""
    from pathlib import Path  # lazy: see above

    from scone_preload.build.rewrite import differences

    if rest or len(given) > 1:
        raise UserError("--verify stands alone", " ".join([*given, *rest]), "write scone-wrap --verify FILE")
    path = Path(str(given["--verify"]))
    found = differences(path, dict(os.environb))
    return ("".join(f"{line}\n" for line in found) or f"{path} matches\n"), not found
