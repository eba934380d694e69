"""Each connection is approved: what is not in the list is refused, and said."""

import sys
from ipaddress import ip_address

from scone_preload.handlers import Answer, Call, allow, deny, handles

APPROVED = {("127.0.0.1", 7)}
AF_INET = 2


@handles("connect")
def approve(call: Call) -> Answer:
    if int.from_bytes(call.address[:2], "little") != AF_INET:
        return allow()
    peer = (str(ip_address(call.address[4:8])), int.from_bytes(call.address[2:4], "big"))
    if peer in APPROVED:
        return allow()
    print(f"approve_connect: {peer[0]}:{peer[1]} is not approved", file=sys.stderr)
    return deny("EPERM")
