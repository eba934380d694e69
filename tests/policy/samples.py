"""Right policies by the thousand: TOML texts made of values that each key may have."""

from hypothesis import strategies as st

from scone_preload.policy.quoting import quote, quote_list

TEXT = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=("Cs",)), max_size=8)
PATHS = st.sampled_from(["/etc/nginx/", "/var/www", "/tmp/*.sock", "/a b/c", "/é/", "/x#y", "/run/?/"])
VARIABLES = st.sampled_from(["PATH", "LC_*", "HOME", "A1", "_", "T?"])
NAMES = st.sampled_from(["PATH", "HOME", "TZ", "A"])
CALLS = st.sampled_from(["read", "write", "openat", "mmap", "connect", "getpid"])
DENIALS = st.sampled_from(["EPERM", "ENOSYS", "stop"])
PROGRAMS = st.sampled_from(["/bin/sh", "/usr/bin/env", "/opt/x"])
LEAF = "sha256:" + "0a" * 32


def key(name: str, literal: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The line of a key, or nothing."""
    return st.one_of(st.just(""), literal.map(lambda value: f"{name} = {value}\n"))


def word(name: str, *words: str) -> st.SearchStrategy[str]:
    return key(name, st.sampled_from(words).map(quote))


def texts(name: str, items: st.SearchStrategy[str], *, unique: bool = True) -> st.SearchStrategy[str]:
    found = st.lists(items, max_size=4, unique=unique)
    return key(name, found.map(lambda some: quote_list(tuple(some))))


def pairs(name: str, names: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    found = st.dictionaries(names, values, max_size=3)
    return found.map(lambda some: "".join(f"{name}.{one} = {quote(value)}\n" for one, value in some.items()))


def table(header: str, *lines: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*lines).map(lambda found: f"[{header}]\n{''.join(found)}" if any(found) else "")


def several(*one: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Some of these tables, each at most once, in any order."""
    return st.tuples(*(st.one_of(st.just(""), table) for table in one)).flatmap(st.permutations).map("".join)


def volume(path: str) -> st.SearchStrategy[str]:
    kept = st.tuples(
        st.sampled_from(['mode = "encrypt"\n', 'mode = "authenticate"\n']),
        word("freshness", "rollback_protected", "rollback_protected_reinitializable", "no_rollback_protection"),
        word("key", "redis", "a-1"),
        word("host_path", f"/host{path}"),
        word("cache", "2M", "256M", "1G", "16777216K"),
    ).map("".join)
    others = st.sampled_from(
        ['mode = "ephemeral"\n', 'mode = "passthrough"\n', 'mode = "ephemeral"\nfreshness="ephemeral"\n']
    )
    return st.one_of(kept, others).map(lambda lines: f"[[volume]]\npath = {quote(path)}\n{lines}")


TLS = st.tuples(
    st.just('shield = "tls"\n'),
    word("tls.certificate", "runtime", "/c.pem"),
    word("tls.peer_ca", "runtime", "system", "/ca.pem"),
    texts("tls.peer_names", st.sampled_from(["example.com", "*.example.com"])),
    texts("tls.peer_leaves", st.just(LEAF)),
    word("tls.min_version", "1.2", "1.3"),
    texts("tls.alpn", TEXT),
).map("".join)
SHIELD = st.one_of(TLS, st.sampled_from(['shield = "pass"\n', 'shield = "refuse"\n']))
UNSHIELDED = st.sampled_from(['shield = "pass"\n', 'shield = "refuse"\n'])


def rule(head: str, shield: st.SearchStrategy[str] = SHIELD) -> st.SearchStrategy[str]:
    return shield.map(lambda lines: head + lines)


LISTEN = several(
    rule("[[network.listen]]\nport = 80\n"),
    rule("[[network.listen]]\nport = '1000-2000'\n"),
    rule("[[network.listen]]\nport = 'any'\n"),
    rule("[[network.listen]]\naddress = '::1'\nport = 80\n"),
    rule("[[network.listen]]\naddress = 'unix:/run/x y/'\n"),
    rule("[[network.listen]]\nport = 53\nprotocol = 'udp'\n", UNSHIELDED),
)
CONNECT = several(
    rule("[[network.connect]]\naddress = 'Example.com'\nport = 443\n"),
    rule("[[network.connect]]\naddress = '10.0.0.0/8'\nport = 'any'\n"),
    rule("[[network.connect]]\naddress = 'unix:@x'\n"),
)
VOLUMES = several(volume("/data"), volume("/data/tmp"), volume("/é x"))
SECRETS = several(
    st.tuples(
        st.just('[[secret]]\npath = "/run/secrets/a"\nfrom = "keystore:a"\n'),
        word("mode", "0400", "0644"),
        word("owner", "redis", "0:0"),
    ).map("".join),
    st.sampled_from(['[[secret]]\npath = "/b"\nfrom = "env:B"\n', '[[secret]]\npath = "/b"\nfrom = "file:/x y"\n']),
)
ARGUMENTS = st.one_of(
    table("arguments", word("unlisted", "pass", "refuse"), texts("fixed", TEXT, unique=False)),
    table("arguments", word("unlisted", "pass", "refuse"), texts("allow", TEXT)),
)
TABLES = several(
    table("files", word("unlisted", "pass", "system", "refuse"),
          *(texts(one, PATHS) for one in ("read", "write", "execute"))),
    table("console", *(word(one, "pass", "protect") for one in ("stdin", "stdout", "stderr"))),
    table("ipc", word("pipes", "pass", "protect"), word("socketpairs", "pass", "protect")),
    table("environment", word("unlisted", "pass", "drop"), pairs("set", NAMES, TEXT), texts("pass", VARIABLES)),
    ARGUMENTS,
    table("calls", word("unlisted", "EPERM", "ENOSYS", "stop"), texts("allow", CALLS),
          pairs("route", CALLS, st.sampled_from(["runtime", "host"])), pairs("deny", st.just("mkdir"), DENIALS)),
    table("exec", word("unlisted", "pass", "system", "refuse"), texts("programs", PATHS), texts("unwrapped", PROGRAMS)),
    table("handlers", word("file", "/h.py"), key("timeout_ms", st.integers(1, 600_000).map(str))),
)  # fmt: skip
POLICIES = st.tuples(
    st.just("version = 1\n"), VOLUMES, table("network", word("unlisted", "pass", "refuse", "protect")), LISTEN, CONNECT,
    SECRETS, TABLES,
).map("".join)  # fmt: skip
