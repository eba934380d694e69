"""Every table and key of scone.toml: the parser, the printer and docs/policy.md are made of these rows.

A key without a default must be written. A default of "" that is no valid value means: see the description.
"""

from dataclasses import dataclass

from scone_preload.policy import kinds
from scone_preload.policy.kinds import PORTS, Kind, Value, listed, mapped, number, one_of, sequence, text

VERSION = 1
REQUIRED = object()
ATTRIBUTES = {"pass": "keep", "from": "source", "volume": "volumes", "secret": "secrets"}


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the file; `many` are written [[name]] and told apart by `identity`."""

    name: str
    many: bool
    meaning: str
    identity: tuple[str, ...] = ()

    @property
    def header(self) -> str:
        return f"[[{self.name}]]" if self.many else f"[{self.name}]"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table; `name` may be dotted ("tls.alpn")."""

    table: str
    name: str
    kind: Kind
    default: object
    meaning: str

    @property
    def full(self) -> str:
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


TABLES = (
    Table("", False, "At the top of the file, before any table."),
    Table(
        "volume",
        True,
        "A directory tree that only the program can read, or change unnoticed. The longest path that fits a file wins.",
        ("path",),
    ),
    Table("files", False, "Files outside of volumes and secrets."),
    Table(
        "network",
        False,
        "Sockets for TCP, UDP and unix paths. Of the rules that fit, the one with the most exact address wins.",
    ),
    Table(
        "network.listen", True, "An address that the program listens on (or binds).", ("protocol", "address", "port")
    ),
    Table("network.connect", True, "An address that the program connects to.", ("protocol", "address", "port")),
    Table("console", False, "The streams that the program is started with."),
    Table("ipc", False, "Streams between wrapped processes, which the host carries."),
    Table(
        "environment",
        False,
        "Variables the program gets. The host's are not trusted. `set` goes before `drop`, `drop` before `pass`.",
    ),
    Table("arguments", False, "What may stand behind the program's name on the command line."),
    Table("secret", True, "A file that the program can read and that never is on a disk.", ("path",)),
    Table("calls", False, "Syscalls, by the names of docs/syscalls.md."),
    Table("exec", False, "Programs that the wrapped program may execute."),
    Table("handlers", False, "Your own Python, asked about every call whose route is `runtime`."),
)

_PATHS = "list of paths; `*` and `?` match in one component, a `/` at the end means everything below"
_NAMES = "list of names; `*` and `?` are patterns"
_UNLISTED = "`pass` (allowed), `system` (only what the system's own folders hold), `refuse`"


def _unlisted(*words: str) -> Kind:
    return one_of(*words)


def _tls(table: str) -> tuple[Key, ...]:
    peer = "the client" if table == "network.listen" else "the server"
    return (
        Key(
            table,
            "tls.certificate",
            text(kinds.certificate, "path of a PEM file, `runtime`"),
            "runtime" if table == "network.listen" else "",
            "What the program shows. `runtime`: made by the CA that the runtime keeps. Empty: none.",
        ),
        Key(
            table,
            "tls.private_key",
            text(kinds.path, "path of a PEM file"),
            "",
            "The certificate's key, such as a secret's path. Empty: it stands in the certificate's file.",
        ),
        Key(
            table,
            "tls.peer_ca",
            text(kinds.authority, "path of a PEM file, `runtime`, `system`"),
            "" if table == "network.listen" else "runtime",
            f"Who must have signed the certificate of {peer}. Empty: {peer} needs none.",
        ),
        Key(table, "tls.peer_names", listed(kinds.host_name, "list of names"), (),
            "Names of which its certificate must have one."
            + ("" if table == "network.listen" else " Empty: the name that the program looked up.")),
        Key(table, "tls.peer_leaves", listed(kinds.leaf, 'list of `"sha256:..."`'), (),
            "Fingerprints of which its certificate must have one."),
        Key(table, "tls.min_version", one_of("1.2", "1.3"), "1.3", "The oldest TLS that is spoken."),
        Key(table, "tls.alpn", listed(kinds.plain, "list of protocols"), (), 'Such as "h2". Empty: not offered.'),
    )  # fmt: skip


def _network(table: str, what: str) -> tuple[Key, ...]:
    return (
        Key(table, "protocol", one_of("tcp", "udp"), "tcp", "Leave it out for TCP and unix paths."),
        Key(
            table,
            "address",
            text(kinds.address, '`"*"`, an IP address or network, a host\'s name, `"unix:/path"` or `"unix:@name"`'),
            "*",
            f"Where the program {what}; a unix path may be a pattern as in [files].",
        ),
        Key(table, "port", PORTS, (0, 65535), "Port 0 is one that the kernel chooses. Not for unix paths."),
        Key(table, "shield", one_of("tls", "pass", "refuse"), REQUIRED, "TLS inside of the enclave, nothing, or no."),
        *_tls(table),
    )


KEYS: tuple[Key, ...] = (
    Key("", "version", number(VERSION, VERSION, "`1`"), REQUIRED, "Of this format."),
    Key("", "preset", text(kinds.plain, "name of a preset"), "", "What this file builds on."),
    Key("volume", "path", text(kinds.path, "path"), REQUIRED, "As the program sees it."),
    Key(
        "volume",
        "mode",
        one_of("encrypt", "authenticate", "ephemeral", "passthrough"),
        REQUIRED,
        "Encrypted; readable but not changeable unnoticed; encrypted and gone at exit; not shielded.",
    ),
    Key(
        "volume",
        "freshness",
        one_of("rollback_protected", "rollback_protected_reinitializable", "no_rollback_protection", "ephemeral"),
        "",
        "Whether an old copy is noticed. Empty: the best that the mode has.",
    ),
    Key("volume", "key", text(kinds.key_name, "name in the keystore"), "", 'Empty: "default", where there is a key.'),
    Key("volume", "host_path", text(kinds.path, "path"), "", "Where the host keeps it. Empty: the same path."),
    Key(
        "volume",
        "cache",
        text(kinds.cache_size, 'size, such as `"64M"` or `"1G"`'),
        "",
        "What stays in memory of its data, at most. Empty: an eighth of the memory there is, at most 256M.",
    ),
    Key("files", "unlisted", _unlisted("pass", "system", "refuse"), "pass", _UNLISTED + "."),
    Key("files", "read", listed(kinds.path_pattern, _PATHS), (), "May be read."),
    Key("files", "write", listed(kinds.path_pattern, _PATHS), (), "May be read, written, made, renamed and removed."),
    Key("files", "execute", listed(kinds.path_pattern, _PATHS), (),
        "May be read, and its code mapped: libraries that are loaded at run time. Programs are in [exec]."),
    Key("network", "unlisted", _unlisted("pass", "refuse", "protect"), "pass",
        "What no rule names. `protect`: TLS with the defaults; UDP is refused then."),
    Key("console", "stdin", one_of("pass", "protect"), "pass", "`protect`: encrypted frames; see scone-console."),
    Key("console", "stdout", one_of("pass", "protect"), "pass", "The same."),
    Key("console", "stderr", one_of("pass", "protect"), "pass", "The same."),
    Key("ipc", "pipes", one_of("pass", "protect"), "pass", "`protect`: encrypted between wrapped processes."),
    Key("ipc", "socketpairs", one_of("pass", "protect"), "pass", "The same."),
    Key("environment", "unlisted", _unlisted("pass", "drop"), "pass", "Variables that nothing below names."),
    Key("environment", "set", mapped(kinds.variable, kinds.anything, "table of names and values"), (), "Always these."),
    Key("environment", "pass", listed(kinds.variable_pattern, _NAMES), (), "From the host, if it has them."),
    Key("environment", "drop", listed(kinds.variable_pattern, _NAMES), (), "Not these."),
    Key("arguments", "unlisted", _unlisted("pass", "refuse"), "pass", "Arguments that `allow` doesn't name."),
    Key("arguments", "fixed", sequence(kinds.anything, "list of arguments"), (),
        "Exactly these; the command line may leave them out. Empty: not fixed."),
    Key("arguments", "allow", listed(kinds.anything, _NAMES), (), "Each argument must fit one, in any order."),
    Key("secret", "path", text(kinds.path, "path"), REQUIRED, "As the program sees it, such as /run/secrets/password."),
    Key("secret", "from", text(kinds.secret_source, '`"keystore:NAME"`, `"env:NAME"` or `"file:/PATH"`'), REQUIRED,
        "`env`: a variable of scone-wrap's own environment, which the program doesn't get."),
    Key("secret", "mode", text(kinds.file_mode, "four octal digits"), "0400", "What stat shows, and who may read."),
    Key("secret", "owner", text(kinds.owner, "`user`, `user:group`"), "",
        "Names or numbers. Empty: who runs the program."),
    Key("calls", "unlisted", text(kinds.denial, "errno, `stop`"), "ENOSYS",
        "What a call gets that `allow` leaves out, or that this version doesn't know. `stop` ends the program."),
    Key("calls", "allow", listed(kinds.call, "list of calls"), (), "Only these. Empty: all that can be supported."),
    Key("calls", "route", mapped(kinds.call_or_all, one_of("inside", "runtime", "host").check,
                                 "table of calls and `inside` `runtime` `host`"), (),
        'Who serves a call. `runtime`: Python is asked first. `"*"`: every call that is not named.'),
    Key("calls", "deny", mapped(kinds.call, kinds.denial, "table of calls and errnos, `stop`"), (), "Never these."),
    Key("exec", "unlisted", _unlisted("pass", "system", "refuse"), "system", _UNLISTED + "."),
    Key("exec", "programs", listed(kinds.path_pattern, _PATHS), (), "May be executed, wrapped."),
    Key("exec", "unwrapped", listed(kinds.path, "list of paths"), (),
        "May be executed NOT wrapped: nothing shields these, so the message at start-up names them."),
    Key("handlers", "file", text(kinds.path, "path"), "", "A Python file. Empty: none."),
    Key("handlers", "timeout_ms", number(1, 600_000, "milliseconds"), 5000, "A call that waits longer is denied."),
    *_network("network.listen", "listens"),
    *_network("network.connect", "connects to"),
)  # fmt: skip

TABLE_BY_NAME = {table.name: table for table in TABLES}
KEYS_OF = {table.name: {key.name: key for key in KEYS if key.table == table.name} for table in TABLES}


def default_of(key: Key) -> Value:
    """Return the default of a key that has one."""
    value = key.default
    if isinstance(value, str | int | tuple):
        return value
    raise KeyError(key.full)


def attribute(name: str) -> str:
    """Return what the model calls a key or table."""
    return ATTRIBUTES.get(name, name)
