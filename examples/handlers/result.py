"""A call that is never made: the program gets this result instead."""

from scone_preload.handlers import Answer, Call, handles, result


@handles("geteuid")
def somebody(call: Call) -> Answer:
    return result(4711)
