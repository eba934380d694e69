"""A policy as the shim takes it: the numbers and the layout are those of libshim/wire/policy.h."""

from scone_preload import libshim
from scone_preload.policy import image
from scone_preload.policy.effective import parse

BITS = ("LOOKS", "READS", "WRITES", "OPENS", "CONNECTS", "BINDS")
NUMBERS = {"POLICY_MAGIC": image.MAGIC, "POLICY_VERSION": image.VERSION, "POLICY_CALLS": image.CALL_COUNT}


def test_the_numbers_are_those_of_policy_h() -> None:
    assert {name: libshim.constant(name) for name in NUMBERS} == NUMBERS
    assert [libshim.constant(f"POLICY_{name}") for name in BITS] == [getattr(image, name) for name in BITS]
    routes = libshim.enumerators("policy_route")
    assert (routes["POLICY_HOST"], routes["POLICY_PATHS"], routes["POLICY_ADDRESS"]) == (
        image.ROUTE_HOST,
        image.ROUTE_PATHS,
        image.ROUTE_ADDRESS,
    )


def test_the_image_is_struct_policy_image() -> None:
    raw = image.policy_image(parse(b"version = 1\n"))
    head = {"magic": image.MAGIC, "version": image.VERSION, "size": len(raw)}
    assert len(raw) == libshim.layout("policy_image").size
    assert raw[: image.HEAD.size] == libshim.pack("policy_image", **head)[: image.HEAD.size]
    assert libshim.layout("policy_call").size == image.ENTRY.size
    assert libshim.pack("policy_call", route=3, access=4, error=5) == image.ENTRY.pack(3, 4, 5)
