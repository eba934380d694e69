"""Prints traced calls: who, by which door, the call as the spec words it, how long it took."""

from scone_preload.runtime import wire


def format_trace(trace: wire.Trace) -> str:
    """Return one line for one call, like strace's; `<door exit>` tells how it crossed."""
    from scone_preload.spec import format_call  # lazy: as in names.py

    strings = {string.arg: string.data for string in trace.strings}
    call = format_call(trace.nr, trace.args, strings, trace.result)
    way = f"{wire.DOORS[trace.door]} {wire.EXITS[trace.exit] if trace.route == HOST else wire.ROUTES[trace.route]}"
    return f"[{trace.header.pid}:{trace.header.tid}] {call} <{way} {trace.ns / 1e6:.3f} ms>\n"


HOST = wire.ROUTES.index("host")
