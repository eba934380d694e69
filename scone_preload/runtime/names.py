"""The names of syscalls, from the spec; loaded when the first one is printed."""

from functools import cache


@cache
def call_names() -> dict[int, str]:
    """Return every call's name by its number."""
    from scone_preload.spec import load  # lazy: 20 ms that the first exec of a program would wait for

    return {call.nr: call.name for call in load().calls}
