"""A start with a cached policy is light; what it decides is what the whole policy says."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_preload.policy.decide import decide_arguments, decide_variable
from scone_preload.policy.effective import parse
from scone_preload.policy.image import policy_image
from scone_preload.policy.kept import kept
from scone_preload.policy.known import known_paths
from scone_preload.policy.plan import plan_for
from scone_preload.policy.start import (
    StartPlan,
    arguments_for,
    dump_plan,
    environment_for,
    is_current,
    load_plan,
    refused_argument,
)
from tests.policy.samples import NAMES, POLICIES

HEAVY = {
    "dataclasses",
    "re",
    "tomllib",
    "enum",
    "inspect",
    "ast",
    "pathlib",
    "ipaddress",
    "typing",
    "collections",
    "hashlib",
}


def plan(text: str) -> StartPlan:
    return plan_for(parse(f"version = 1\n{text}".encode()), sources=(("scone.toml", text.encode()),))


def test_reading_a_plan_imports_nothing_heavy() -> None:
    code = "import sys; import scone_preload.policy.start; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert set(done.stdout.split()) & HEAVY == set()


def test_starting_without_a_policy_imports_none_of_it() -> None:
    code = "import sys; import scone_preload.cli.wrap, scone_preload.runtime.launch; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if name.startswith("scone_preload.policy")] == []


@settings(deadline=None, max_examples=30)
@given(POLICIES)
def test_a_plan_survives_the_cache(text: str) -> None:
    policy = parse(text.encode())
    made = plan_for(policy, sources=(("p.toml", text.encode()), ("--tls 80", b"")), preset="redis")
    found = load_plan(dump_plan(made))
    assert found is not None
    assert all(getattr(found, name) == getattr(made, name) for name in StartPlan.__slots__)
    assert parse(found.text) == kept(found.policy) == policy
    assert kept(found.policy).places == policy.places
    assert found.calls == policy_image(policy, known_paths(policy))
    assert is_current(found, made.sources)
    assert not is_current(found, (("p.toml", text.encode() + b" "), ("--tls 80", b"")))


@given(st.binary(max_size=60))
def test_other_bytes_are_no_plan(raw: bytes) -> None:
    assert load_plan(raw) is None


def test_a_damaged_plan_is_no_plan() -> None:
    made = dump_plan(plan(""))
    assert load_plan(made) is not None
    for at in range(0, len(made), 7):
        assert load_plan(made[:at]) is None
        assert load_plan(made[:at] + bytes([made[at] ^ 1]) + made[at + 1 :]) is None


@settings(deadline=None, max_examples=50)
@given(POLICIES, NAMES)
def test_the_environment_is_what_decide_variable_says(text: str, name: str) -> None:
    policy = parse(text.encode())
    rules = plan_for(policy, sources=()).environment
    found = environment_for(rules, {name.encode(): b"host"})
    decided = decide_variable(policy, name)
    assert (name.encode() in found) == decided.allowed
    assert found.get(name.encode(), b"host") == b"host" or decided.action == "set"


def test_set_goes_before_drop_and_drop_before_pass() -> None:
    rules = plan('[environment]\nunlisted = "drop"\nset.A = "1"\npass = ["LC_*", "A"]\ndrop = ["LC_A*"]\n').environment
    given_ = {b"A": b"host", b"LC_ALL": b"x", b"LC_TIME": b"y", b"HOME": b"z", b"\xff": b"q"}
    assert environment_for(rules, given_) == {b"A": b"1", b"LC_TIME": b"y"}


def test_a_variable_that_a_secret_is_made_of_stays_outside() -> None:
    rules = plan('[[secret]]\npath = "/run/secrets/a"\nfrom = "env:TOKEN"\n').environment
    assert environment_for(rules, {b"TOKEN": b"x", b"B": b"\xff"}) == {b"B": b"\xff"}


@pytest.mark.parametrize(
    ("text", "given_", "refused", "got"),
    [
        ("", ("-x",), None, ("-x",)),
        ('fixed = ["-a", "-a"]', (), None, ("-a", "-a")),
        ('fixed = ["-a", "-a"]', ("-a", "-a"), None, ("-a", "-a")),
        ('fixed = ["-a", "-a"]', ("-a",), "-a", ()),
        ('fixed = ["-a"]', ("-b",), "-b", ()),
        ('unlisted = "refuse"', (), None, ()),
        ('unlisted = "refuse"', ("x",), "x", ()),
        ('unlisted = "refuse"\nallow = ["-p", "8*"]', ("-p", "80"), None, ("-p", "80")),
        ('unlisted = "refuse"\nallow = ["-p", "8*"]', ("-p", "70"), "70", ()),
    ],
)
def test_arguments_are_fixed_or_fit_a_pattern(
    text: str, given_: tuple[str, ...], refused: str | None, got: tuple[str, ...]
) -> None:
    rules = plan(f"[arguments]\n{text}\n").arguments
    assert refused_argument(rules, given_) == refused
    assert refused is not None or arguments_for(rules, given_) == got
    policy = parse(f"version = 1\n[arguments]\n{text}\n".encode())
    assert decide_arguments(policy, given_).allowed == (refused is None)


def test_the_first_answer_under_a_policy_waits_for_no_toml_and_no_handlers() -> None:
    code = "import sys; import scone_preload.runtime.host, scone_preload.runtime.governing; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    loaded = set(done.stdout.split())
    assert "scone_preload.policy.kept" in loaded
    unwanted = {"tomllib", "json", "pathlib", "tempfile", "logging", "concurrent.futures", "cryptography"}
    own = {"policy.effective", "policy.read", "policy.learn", "runtime.learning", "runtime.handling", "runtime.execs"}
    assert loaded & (unwanted | {f"scone_preload.{name}" for name in own}) == set()
