"""Every call of the program, one line each, in the file that AUDIT_LOG names; all of them go on."""

import os

from scone_preload.handlers import Call, handles

LOG = open(os.environ["AUDIT_LOG"], "a", buffering=1)  # noqa: PTH123, SIM115


@handles("*")
def audit(call: Call) -> None:
    print(call.pid, call.name, call.path or dict(call.args), file=LOG)
