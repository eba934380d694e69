"""The names of syscalls, from the spec; loaded when the first one is printed."""

from functools import cache

from scone_preload.spec import load


@cache
def call_names() -> dict[int, str]:
    """Return every call's name by its number."""
    return {call.nr: call.name for call in load().calls}
