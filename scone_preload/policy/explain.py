"""Questions in words, for --explain: `read /etc/passwd`, `connect example.com:443`, `call ptrace`.

They are answered by the same functions that decide when the program runs.
"""

from collections.abc import Callable

from scone_preload.errors import UserError
from scone_preload.policy.decide import decide_arguments, decide_call, decide_exec, decide_file, decide_variable
from scone_preload.policy.decision import Decision
from scone_preload.policy.model import UNIX, Policy
from scone_preload.policy.problem import did_you_mean
from scone_preload.policy.sockets import Socket, decide_bind, decide_connect, numeric

FORMS = (
    "ask `read PATH`, `write PATH`, `look PATH`, `execute PATH`, `exec PATH`, `connect HOST:PORT`, `listen PORT`, "
    "`call NAME`, `variable NAME` or `arguments ...`"
)


def decide(policy: Policy, question: str) -> Decision:
    """Return the decision that a question asks for, its str() is one line; raises UserError for what is no question."""
    verb, _, thing = question.strip().partition(" ")
    thing = thing.strip()
    if verb not in VERBS:
        raise UserError("no question", question, did_you_mean(verb, VERBS, otherwise=FORMS))
    if not thing and verb != "arguments":
        raise UserError("a question about nothing", question, FORMS)
    return VERBS[verb](policy, thing)


def _file(access: str) -> Callable[[Policy, str], Decision]:
    return lambda policy, thing: decide_file(policy, _path(thing), access)


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise UserError("path is relative", text, 'write the whole path, from "/" on')
    return text


def socket_from(text: str, *, listens: bool = False) -> Socket:
    """Return the socket of `[tcp |udp ]HOST:PORT` or `unix:/path`, for listening also `[ADDRESS:]PORT`; UserError."""
    if text.startswith(UNIX):
        return Socket(address=text)
    word, _, rest = text.rpartition(" ")
    protocol = word.strip() or "tcp"
    host, _, port = rest.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    known = port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536
    if not known or protocol not in ("tcp", "udp") or not (host or listens):
        raise UserError("no address with a port", text, "write 127.0.0.1:80, [::1]:80, udp 1.1.1.1:53 or unix:/path")
    if host in ("", "*"):
        return Socket(protocol=protocol, address="0.0.0.0", port=int(port))
    address = numeric(host)
    if address is None:
        return Socket(protocol=protocol, name=host, port=int(port))
    return Socket(protocol=protocol, address=str(address), port=int(port))


VERBS: dict[str, Callable[[Policy, str], Decision]] = {
    "open": _file("read"),
    "read": _file("read"),
    "write": _file("write"),
    "look": _file("look"),
    "execute": _file("execute"),
    "exec": lambda policy, thing: decide_exec(policy, _path(thing)),
    "connect": lambda policy, thing: decide_connect(policy, socket_from(thing)),
    "listen": lambda policy, thing: decide_bind(policy, socket_from(thing, listens=True)),
    "bind": lambda policy, thing: decide_bind(policy, socket_from(thing, listens=True)),
    "call": lambda policy, thing: decide_call(policy, int(thing) if thing.isdigit() else thing),
    "variable": decide_variable,
    "arguments": lambda policy, thing: decide_arguments(policy, tuple(thing.split())),
}
