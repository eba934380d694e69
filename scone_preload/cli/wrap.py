"""scone-wrap: starts a program behind the boundary.

On the usual path nothing is imported that a warm start doesn't need: help, completion and the generator come in
where they are used.
"""

import os
import sys
from _signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]

from scone_preload.cli.arguments import Given, parse, split, wants_json
from scone_preload.errors import InternalError, PolicyDenied, SconeError, UserError
from scone_preload.log import JSON, LOG, STANDARD_ERROR, Log
from scone_preload.options import Options

START_REWRITTEN = "--start-rewritten"  # libshim/start/start.c says it, and nobody else


def main() -> int:
    """Run the command line; return only where no program is started."""
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, SIG_DFL)  # Ctrl-C ends it as it would end the program
    try:
        return _run(sys.argv[1:])
    except SconeError as error:
        problem = error
    except Exception as error:
        if os.environ.get("SCONE_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}"
        problem = InternalError("internal error", what, "please report it, with the output of SCONE_DEBUG=1")
    return _complain(problem)


def _run(argv: list[str]) -> int:
    if argv[:1] == [START_REWRITTEN]:
        from scone_preload.cli.rewriting import options_of  # lazy: only a rewritten program starts like this

        return _start(options_of(argv[1:]))
    given, rest = split(argv)
    chosen = [run for action, run in _ACTIONS.items() if action in given]
    return (chosen or [_launch])[0](given, rest)


def _launch(given: Given, rest: list[str]) -> int:
    return _start(parse(given, rest))


def _start(options: Options) -> int:
    from scone_preload.runtime.launch import launch  # lazy: --help needs none of it

    LOG.format = options.log_format
    if options.log:
        LOG.fd = _open_log(options.log)
    if not options.quiet and os.isatty(2):
        from scone_preload.runtime.machine import mode_line  # lazy: start-up time

        LOG.write(mode_line(), "mode")
    launch(options)


def _help(given: Given, rest: list[str]) -> int:
    from scone_preload.cli.help import help_text  # lazy: start-up time
    from scone_preload.runtime.machine import mode_line

    return _print(help_text(mode_line()))


def _version(given: Given, rest: list[str]) -> int:
    from scone_preload import __version__  # lazy: start-up time

    return _print(f"scone-wrap {__version__}\n")


def _completion(given: Given, rest: list[str]) -> int:
    from scone_preload.cli.completion import completion  # lazy: start-up time

    return _print(completion(str(given["--print-completion"])))


def _show_shim(given: Given, rest: list[str]) -> int:
    from pathlib import Path  # lazy: start-up time

    from scone_preload.build import shim_source
    from scone_preload.runtime.launch import find_binary

    path = find_binary(parse(given, rest).binary, os.environ.get("PATH", os.defpath))
    return _print(shim_source(Path(path)))


def _print_policy(given: Given, rest: list[str]) -> int:
    from scone_preload.policy.render import render_with_places  # lazy: start-up time
    from scone_preload.runtime.policies import policy_of

    policy, _ = policy_of(parse(given, rest, needs_binary=False), os.getcwd())
    return _print(render_with_places(policy))


def _explain(given: Given, rest: list[str]) -> int:
    from scone_preload.policy.explain import decide  # lazy: start-up time
    from scone_preload.runtime.policies import policy_of

    policy, _ = policy_of(parse(given, rest, needs_binary=False), os.getcwd())
    decision = decide(policy, str(given["--explain"]))
    _print(f"{decision}\n")
    return 0 if decision.allowed else 1


def _rewrite(given: Given, rest: list[str]) -> int:
    from scone_preload.cli.rewriting import rewrite_program  # lazy: a start never needs it

    return _print(rewrite_program(given, rest))


def _verify(given: Given, rest: list[str]) -> int:
    from scone_preload.cli.rewriting import verify_program  # lazy: a start never needs it

    text, matches = verify_program(given, rest)
    _print(text)
    return 0 if matches else 1


_ACTIONS = {
    "--help": _help,
    "--version": _version,
    "--print-completion": _completion,
    "--show-shim": _show_shim,
    "--print-policy": _print_policy,
    "--explain": _explain,
    "--rewrite": _rewrite,
    "--verify": _verify,
}


def _print(text: str) -> int:
    """Write to standard output; a reader that has gone is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _open_log(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise UserError("can't write the log", path, f"{error.strerror}; name another file") from None


def _complain(problem: SconeError) -> int:
    """Say why nothing was started: in the log, and to whoever tried it."""
    if wants_json(sys.argv[1:]):
        LOG.format = JSON
    facts = {"rule": problem.rule, "object": problem.thing, "remedy": problem.remedy}
    if isinstance(problem, PolicyDenied):
        facts |= {"rule": problem.rule.removeprefix("denied by "), "place": problem.place}
    for log in (LOG,) if LOG.fd == STANDARD_ERROR else (LOG, Log(style=LOG.format)):
        log.write(str(problem), "error", "error", **facts)
    return problem.exit_status


if __name__ == "__main__":
    sys.exit(main())
