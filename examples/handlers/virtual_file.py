"""A file that is nowhere: an unmodified cat reads what this function returns."""

import time

from scone_preload.handlers import Answer, Call, file, handles


@handles("open", "openat")
def now(call: Call) -> Answer | None:
    if call.path == "/virtual/now":
        return file(time.strftime("it is %Y, behind the boundary\n").encode())
    return None
