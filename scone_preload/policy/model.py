"""A policy as data: what every key of scone.toml says, with defaults filled in.

`places` says where each thing was written, for messages; it is no part of what makes two policies equal.
"""

from collections.abc import Mapping

from scone_preload.frozen import Frozen
from scone_preload.policy.problem import Where

UNIX = "unix:"  # before a unix socket's address
Pairs = tuple[tuple[str, str], ...]
NO_PLACES: dict["Place", Where] = {}
Place = tuple[str, str]  # ("files.read", "/etc/nginx/"): a key, and which of its items ("" for the key itself)


class Volume(Frozen, kw_only=True):
    """A directory tree that crosses to the host shielded, or not at all."""

    path: str
    mode: str
    freshness: str
    key: str
    host_path: str
    cache: str


class Tls(Frozen, kw_only=True):
    """How one rule's TLS is spoken; empty: as the defaults of docs/policy.md say."""

    certificate: str
    private_key: str
    peer_ca: str
    peer_names: tuple[str, ...]
    peer_leaves: tuple[str, ...]
    min_version: str
    alpn: tuple[str, ...]


class NetworkRule(Frozen, kw_only=True):
    """What happens on one address and these ports (low, high)."""

    protocol: str
    address: str
    port: tuple[int, int]
    shield: str
    tls: Tls

    @property
    def label(self) -> str:
        """What the rule is about, in one word: two rules with the same label are the same rule."""
        return label_of(self.protocol, self.address, self.port)


def label_of(protocol: str, address: str, port: tuple[int, int]) -> str:
    """Return `tcp *:80-90`, `udp 10.0.0.0/8:any` or `unix:/run/x`."""
    return address if address.startswith(UNIX) else f"{protocol} {address}:{ports_text(port)}"


def ports_text(port: tuple[int, int]) -> str:
    """Return `80`, `80-90` or `any`."""
    low, high = port
    return "any" if port == (0, 65535) else str(low) if low == high else f"{low}-{high}"


class Network(Frozen, kw_only=True):
    """Rules for sockets that listen and that connect."""

    unlisted: str
    listen: tuple[NetworkRule, ...]
    connect: tuple[NetworkRule, ...]


class Files(Frozen, kw_only=True):
    """Paths outside of volumes."""

    unlisted: str
    read: tuple[str, ...]
    write: tuple[str, ...]
    execute: tuple[str, ...]


class Console(Frozen, kw_only=True):
    """The three streams a program is started with."""

    stdin: str
    stdout: str
    stderr: str


class Ipc(Frozen, kw_only=True):
    """Streams between wrapped processes."""

    pipes: str
    socketpairs: str


class Environment(Frozen, kw_only=True):
    """Variables, as the program finds them."""

    unlisted: str
    set: Pairs
    keep: tuple[str, ...]
    drop: tuple[str, ...]


class Arguments(Frozen, kw_only=True):
    """What may stand behind the program's name."""

    unlisted: str
    fixed: tuple[str, ...]
    allow: tuple[str, ...]


class Secret(Frozen, kw_only=True):
    """A file that is served from the runtime's memory."""

    path: str
    source: str
    mode: str
    owner: str


class Calls(Frozen, kw_only=True):
    """Syscalls: which are allowed, and who serves them."""

    unlisted: str
    allow: tuple[str, ...]
    route: Pairs
    deny: Pairs


class Exec(Frozen, kw_only=True):
    """Programs that may be executed."""

    unlisted: str
    programs: tuple[str, ...]
    unwrapped: tuple[str, ...]


class Handlers(Frozen, kw_only=True):
    """The user's own Python behind calls with the route runtime."""

    file: str
    timeout_ms: int


class Policy(Frozen, kw_only=True):
    """All of it."""

    version: int
    volumes: tuple[Volume, ...]
    files: Files
    network: Network
    console: Console
    ipc: Ipc
    environment: Environment
    arguments: Arguments
    secrets: tuple[Secret, ...]
    calls: Calls
    exec: Exec
    handlers: Handlers
    places: Mapping[Place, Where] = NO_PLACES

    def _compared(self) -> tuple[object, ...]:
        return self._values()[:-1]

    def place(self, key: str, item: str = "") -> str:
        """Return where this was written: `file:line`, a flag, or "default"."""
        return str(self.places.get((key, item), "default"))
