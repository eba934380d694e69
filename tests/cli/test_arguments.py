"""The command line of scone-wrap: what is understood, and what is refused in one line that says what to do."""

import re

import pytest

from scone_preload import libshim
from scone_preload import options as options_module
from scone_preload.cli.arguments import OPTIONS, parse, split
from scone_preload.cli.help import help_text
from scone_preload.errors import UserError
from scone_preload.options import Options


def options(*argv: str) -> Options:
    return parse(*split(list(argv)))


def test_a_program_alone_gets_the_defaults() -> None:
    found = options("redis-server")
    assert (found.binary, found.arguments) == ("redis-server", ())
    assert (found.syscalls, found.exit_cost, found.io_uring) == ("async", 0, True)
    assert (found.stats, found.trace, found.trace_failing, found.quiet) == (None, None, False, False)


def test_options_behind_the_program_belong_to_the_program() -> None:
    found = options("--syscalls", "sync", "ls", "--stats", "--help", "-l")
    assert (found.binary, found.arguments) == ("ls", ("--stats", "--help", "-l"))
    assert found.stats is None


def test_two_dashes_end_the_options() -> None:
    assert options("--stats", "--", "--odd-name", "--trace").binary == "--odd-name"


def test_a_value_may_stand_behind_a_space_or_an_equals_sign() -> None:
    assert options("--syscalls", "sync", "x").syscalls == "sync"
    assert options("--syscalls=sync", "x").syscalls == "sync"
    assert options("--exit-cost=8000", "x").exit_cost == 8000


def test_an_optional_value_needs_an_equals_sign() -> None:
    found = options("--stats", "ls")
    assert (found.stats, found.binary) == ("", "ls")
    assert options("--stats=a=b.json", "ls").stats == "a=b.json"


def test_only_failing_calls_implies_a_trace() -> None:
    assert (options("--trace-failing", "x").trace, options("--trace-failing", "x").trace_failing) == ("", True)
    assert options("--trace=f", "--trace-failing", "x").trace == "f"


REFUSED = {
    "no program": ([], "no program given: BINARY: "),
    "unknown option": (["--fast", "x"], "unknown option: --fast: "),
    "misspelt option": (["--polcy", "p.toml", "x"], 'unknown option: --polcy: did you mean "--policy"?'),
    "unknown short option": (["-x", "x"], "unknown option: -x: "),
    "missing value": (["--syscalls"], "option needs a value: --syscalls: "),
    "unknown value": (["--syscalls", "both", "x"], "unknown value: --syscalls both: use one of: sync, async"),
    "value for a flag": (["--no-io-uring=1", "x"], "option takes no value: --no-io-uring: "),
    "empty value": (["--stats=", "x"], "option has an empty value: --stats: "),
    "no number": (["--exit-cost", "many", "x"], "not a number of cycles: --exit-cost many: "),
    "negative number": (["--exit-cost", "-1", "x"], "not a number of cycles: --exit-cost -1: "),
    "too large a number": (["--exit-cost", "1000000001", "x"], "not a number of cycles: --exit-cost 1000000001: "),
    "a digit of another script": (["--exit-cost", "٣", "x"], "not a number of cycles: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_rule_object_and_remedy(case: str) -> None:
    argv, words = REFUSED[case]
    with pytest.raises(UserError) as caught:
        options(*argv)
    assert str(caught.value).startswith(words)
    assert caught.value.exit_status == 125


def test_the_help_names_every_option_and_says_which_mode_runs() -> None:
    text = help_text("simulation mode: so and so")
    assert not [name for name, *_ in OPTIONS if name not in text]
    assert "This machine: simulation mode: so and so." in text
    assert {"120", "123", "124", "125", "126", "127"} <= set(re.findall(r"\b12\d\b", text.rpartition("Exit status")[2]))
    assert max(map(len, text.splitlines())) <= 120


VARIABLES = {
    "async": (Options(binary="x"), "3,9,8,1,0,16,77"),
    "sync with a cost": (Options(binary="x", syscalls="sync", exit_cost=8000), "3,9,8,0,8000,16,77"),
    "statistics": (Options(binary="x", stats=""), "3,9,8,1,0,20,77"),
    "trace of failures": (Options(binary="x", trace="", trace_failing=True), "3,9,8,1,0,23,77"),
    "no io_uring": (Options(binary="x", io_uring=False), "3,9,8,1,0,24,77"),
}


@pytest.mark.parametrize("case", VARIABLES)
def test_the_shim_is_told_by_one_variable(case: str) -> None:
    given, expected = VARIABLES[case]
    assert given.shim_variable(9, 8, 77) == expected


def test_flags_and_modes_are_those_of_the_shim() -> None:
    renamed = {"FLAG_NO_URING": "FLAG_NO_IO_URING"}
    of_shims = ("FLAG_EXECED", "FLAG_COUNTED")  # what one image tells the next
    told = {name: flag for name, flag in libshim.enumerators("enclave_flags").items() if name not in of_shims}
    for name, flag in told.items():
        assert getattr(options_module, renamed.get(name, name)) == flag
    modes = {f"MODE_{name.upper()}": number for name, number in options_module.MODES.items()}
    assert modes == libshim.enumerators("enclave_mode")
