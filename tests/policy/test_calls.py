"""The table for libshim: its bytes, and that it says what decide_call says."""

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings

from scone_preload.policy.calls import ALWAYS, CALL_COUNT, ENTRY, PAST_PATHS, compile_calls
from scone_preload.policy.decide import decide_call
from scone_preload.policy.effective import parse
from scone_preload.spec import load
from tests.policy.samples import POLICIES

ROOT = Path(__file__).resolve().parents[2]
WORDS = {1: "inside", 2: "runtime", 3: "host", 4: "stop"}


def entry(text: bytes, number: int) -> bytes:
    table = compile_calls(parse(b"version = 1\n" + text).calls)
    assert len(table) == CALL_COUNT * 4
    return table[number * 4 : number * 4 + 4]


def test_the_worked_bytes_of_the_page_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "policy.md").read_text().partition("## The image for libshim")[0]
    (policy,) = re.findall(r"```toml\n(# worked.*?)```", page, re.S)
    rows = re.findall(r"^\| (\d+) \| `\w+` \| `([0-9a-f ]{11})` \|", page, re.M)
    assert len(rows) >= 6
    table = compile_calls(parse(policy.encode()).calls)
    assert [(nr, table[int(nr) * 4 : int(nr) * 4 + 4].hex(" ")) for nr, _ in rows] == rows


def test_routes_are_those_of_libshim() -> None:
    header = (ROOT / "libshim" / "enclave" / "shape.h").read_text()
    body = header.partition("enum call_route {")[2].partition("}")[0]
    assert re.findall(r"ROUTE_(\w+)", body) == ["DENY", "INSIDE", "RUNTIME", "HOST"]
    assert "CALL_COUNT = 512" in header


@settings(deadline=None, max_examples=30)
@given(POLICIES)
def test_the_table_says_what_decide_call_says(text: str) -> None:
    policy = parse(text.encode())
    for number, (route, reserved, error) in enumerate(ENTRY.iter_unpack(compile_calls(policy.calls))):
        found = decide_call(policy, number)
        if found.object.removeprefix("call ") in PAST_PATHS:
            continue  # not the table of [calls] alone: test_image.py
        assert reserved == 0
        assert WORDS.get(route, "deny") == found.action
        assert error == (0 if found.action == "stop" else found.errno)


def test_without_a_policy_the_table_is_the_spec() -> None:
    table = list(ENTRY.iter_unpack(compile_calls(parse(b"version = 1").calls)))
    for call in load().calls:
        names = ("ROUTE_DENY", "ROUTE_INSIDE", "ROUTE_RUNTIME", "ROUTE_HOST")
        assert names[table[call.nr][0]] == call.route


@pytest.mark.parametrize("name", sorted(ALWAYS))
def test_a_program_can_always_end_and_return_from_a_signal(name: str) -> None:
    (number,) = (call.nr for call in load().calls if call.name == name)
    assert entry(b'[calls]\nallow = ["read"]\nunlisted = "stop"\n', number)[0] in (1, 3)


def test_every_route_can_be_asked_for() -> None:
    assert entry(b'[calls]\nroute."*" = "runtime"\n', 0) == struct.pack("<BBH", 2, 0, 0)
    assert entry(b'[calls]\nroute."*" = "runtime"\nroute.read = "host"\n', 0) == struct.pack("<BBH", 3, 0, 0)
    assert entry(b'[calls]\nroute.getpid = "inside"\n', 39) == struct.pack("<BBH", 1, 0, 0)
