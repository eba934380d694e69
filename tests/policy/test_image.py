"""The policy as libshim takes it: worked bytes of docs/policy.md, the layout of wire/policy.h, what is asked about."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings

from scone_preload import libshim
from scone_preload.policy import access, image
from scone_preload.policy.access import (
    BINDS,
    CONNECTS,
    LOOKS,
    OPENS,
    ROUTE_PATHS,
    WRITES,
    access_bit,
    access_word,
)
from scone_preload.policy.calls import ENTRY, PAST_PATHS, call_named, compile_calls
from scone_preload.policy.decide import decide_call
from scone_preload.policy.effective import parse
from scone_preload.policy.image import HEAD, ROUTE_ADDRESS, policy_image
from scone_preload.spec import load
from tests.policy.samples import POLICIES

ROOT = Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs" / "policy.md").read_text()
BITS = ("LOOKS", "READS", "WRITES", "OPENS", "CONNECTS", "BINDS")
NUMBERS = {"POLICY_MAGIC": image.MAGIC, "POLICY_VERSION": image.VERSION, "POLICY_CALLS": image.CALL_COUNT}
PATHS = b'version = 1\n[files]\nunlisted = "refuse"\n'
SOCKETS = b'version = 1\n[network]\nunlisted = "refuse"\n'


def entry(text: bytes, name: str) -> tuple[int, int, int]:
    call = call_named(name)
    assert call is not None
    route, access, error = ENTRY.unpack_from(policy_image(parse(text)), HEAD.size + call.nr * ENTRY.size)
    return route, access, error


def test_the_documents_bytes_are_the_images() -> None:
    section = DOC.partition("## The image for libshim")[2]
    policy = re.search(r"```toml\n# worked image\n(.*?)```", section, re.DOTALL)
    assert policy is not None
    image = policy_image(parse(policy.group(1).encode()))
    rows = re.findall(r"^\| (\d+) \| [^|]* \| `([0-9a-f ]+)` \|", section, re.MULTILINE)
    assert len(rows) >= 8
    assert [(at, image[int(at) : int(at) + len(bytes.fromhex(raw))].hex(" ")) for at, raw in rows] == rows


def test_the_numbers_are_those_of_policy_h() -> None:
    assert {name: libshim.constant(name) for name in NUMBERS} == NUMBERS
    assert [libshim.constant(f"POLICY_{name}") for name in BITS] == [getattr(access, name) for name in BITS]
    routes = libshim.enumerators("policy_route")
    assert (routes["POLICY_HOST"], routes["POLICY_PATHS"], routes["POLICY_ADDRESS"]) == (
        image.ROUTE_HOST,
        ROUTE_PATHS,
        image.ROUTE_ADDRESS,
    )


def test_the_image_is_struct_policy_image() -> None:
    raw = image.policy_image(parse(b"version = 1\n"))
    head = {"magic": image.MAGIC, "version": image.VERSION, "size": len(raw)}
    assert len(raw) == libshim.layout("policy_image").size
    assert raw[: image.HEAD.size] == libshim.pack("policy_image", **head)[: image.HEAD.size]
    assert libshim.layout("policy_call").size == image.ENTRY.size
    assert libshim.pack("policy_call", route=3, access=4, error=5) == image.ENTRY.pack(3, 4, 5)


def test_where_nobody_decides_nothing_is_asked_about() -> None:
    table = compile_calls(parse(b"version = 1\n").calls)
    assert policy_image(parse(b"version = 1\n"))[16:] == table


@pytest.mark.parametrize("text", [PATHS, b'version = 1\n[[secret]]\npath = "/a"\nfrom = "env:A"\n'])
def test_every_call_with_a_path_is_asked_about_and_no_other(text: bytes) -> None:
    for call in load().calls:
        route, access, _ = entry(text, call.name)
        has_path = any(arg.is_path for arg in call.args) and call.name not in ("execve", "execveat")
        asked = has_path and call.route == "ROUTE_HOST"
        assert (route == ROUTE_PATHS) == asked, call.name
        assert bool(access) == asked


def test_every_call_with_an_address_is_asked_about() -> None:
    asked = [call.name for call in load().calls if entry(SOCKETS, call.name)[0] == ROUTE_ADDRESS]
    assert asked == ["connect", "sendto", "sendmsg", "bind", "sendmmsg"]
    assert entry(SOCKETS, "bind")[1] == BINDS
    assert entry(SOCKETS, "connect")[1] == CONNECTS


def test_names_that_are_no_paths_are_not_asked_about() -> None:
    for name in ("memfd_create", "mq_open", "fgetxattr", "fsetxattr", "fremovexattr"):
        assert entry(PATHS, name)[0] == 3


@pytest.mark.parametrize("name", sorted(PAST_PATHS))
def test_what_opens_files_past_their_paths_is_denied_where_paths_are_decided(name: str) -> None:
    assert entry(PATHS, name) == (0, 0, 1)
    assert not decide_call(parse(PATHS), name).allowed
    assert entry(b"version = 1\n", name)[0] == 3
    assert entry(PATHS + f'[calls]\ndeny.{name} = "stop"\n'.encode(), name)[0] == 4


ACCESS = {
    ("open", 0): "read", ("open", 1): "write", ("open", 2): "write", ("openat", 0o100): "write",
    ("openat2", 0o1000): "write", ("open", 0o10000000): "look", ("open", 0o10000001): "look", ("creat", 0): "write",
    ("stat", 0): "look", ("readlinkat", 0): "look", ("chdir", 0): "look", ("unlink", 0): "write",
    ("rename", 0): "write", ("mknod", 0): "write", ("chmod", 0): "write", ("setxattr", 0): "write",
}  # fmt: skip


@pytest.mark.parametrize(("name", "flags"), ACCESS)
def test_what_a_call_does_with_its_path(name: str, flags: int) -> None:
    assert access_word(name, flags) == ACCESS[name, flags]
    assert access_bit(name) in (LOOKS, OPENS, WRITES)


@settings(deadline=None, max_examples=30)
@given(POLICIES)
def test_an_image_never_lets_go_what_the_table_of_calls_denies(text: str) -> None:
    policy = parse(text.encode())
    table = compile_calls(policy.calls)
    for (before, _, error), (route, _, kept) in zip(
        ENTRY.iter_unpack(table), ENTRY.iter_unpack(policy_image(policy)[16:]), strict=True
    ):
        if before in (0, 2, 4):
            assert (route, kept) == (before, error)
