"""From preset, file and flags to the one Policy that holds.

Later goes before earlier: preset < file < flags. A single value replaces. Lists and tables of names grow; what a later
source says of a name replaces what an earlier one said of it, also by another key (REPLACES). Of [[tables]], one with
the same identity (path; protocol, address and port) is replaced whole.
"""

from collections.abc import Callable, Iterable, Sequence

from scone_preload.errors import PolicyInvalid
from scone_preload.policy import model
from scone_preload.policy.check import FRESHNESS, KEYED, check
from scone_preload.policy.document import Source
from scone_preload.policy.flags import Flag, flag_source
from scone_preload.policy.keys import KEYS_OF, TABLE_BY_NAME, TABLES, VERSION, attribute
from scone_preload.policy.kinds import Value
from scone_preload.policy.presets import PRESETS
from scone_preload.policy.problem import Problem, Where, did_you_mean
from scone_preload.policy.read import Entry, Layer, read_layer

ReadPreset = Callable[[str], Source]
# What a later source's key takes out of other keys of earlier ones: the same names; of arguments, all.
# Not calls.allow: emptied by a denial it would allow everything. There, denials win.
REPLACES = {
    ("calls", "allow"): ("deny",),
    ("calls", "route"): ("deny",),
    ("calls", "deny"): ("route",),
    ("environment", "set"): ("drop",),
    ("environment", "pass"): ("drop", "set"),
    ("environment", "drop"): ("pass", "set"),
    ("exec", "programs"): ("unwrapped",),
    ("exec", "unwrapped"): ("programs",),
    ("arguments", "fixed"): ("allow",),
    ("arguments", "allow"): ("fixed",),
}


def parse(text: bytes, name: str = "scone.toml") -> model.Policy:
    """Return the policy of one text that names no preset; raises PolicyInvalid with every problem."""
    return effective(Source(name, text), ())


def effective(
    policy_file: Source | None, flags: Sequence[Flag], *, cwd: str = "/", preset: ReadPreset | None = None
) -> model.Policy:
    """Return what holds when all are given; raises PolicyInvalid with every problem.

    `cwd` is what relative paths of flags start from; `preset` returns the text of a preset by its name, one of PRESETS.
    """
    given = [flag_source(flag, cwd) for flag in flags]
    sources = [source for source in (policy_file, *given) if isinstance(source, Source)]
    return combine(sources, preset=preset, known=[one for one in given if isinstance(one, Problem)])


def combine(
    sources: Iterable[Source], *, preset: ReadPreset | None = None, known: Sequence[Problem] = ()
) -> model.Policy:
    """Return the policy of these sources, each going before those in front of it; raises PolicyInvalid.

    `known` are problems that were found before.
    """
    layers, problems = _read(sources)
    problems += known
    wanted = [layer for layer in layers if layer.one("").text("preset")]
    if wanted:
        below, more = _preset(wanted[-1], preset)
        layers, problems = below + layers, problems + more
    merged = merge_layers(layers)
    _refuse(problems)
    _refuse(check(merged))
    return build(merged)


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise PolicyInvalid(tuple(map(str, dict.fromkeys(sorted(problems)))))


def _read(sources: Iterable[Source]) -> tuple[list[Layer], list[Problem]]:
    read = [read_layer(source) for source in sources]
    return [layer for layer, _ in read], [problem for _, problems in read for problem in problems]


def _preset(asking: Layer, preset: ReadPreset | None) -> tuple[list[Layer], list[Problem]]:
    top = asking.one("")
    name = top.text("preset")
    if name not in PRESETS or preset is None:
        remedy = did_you_mean(name, PRESETS, otherwise=f"there are: {', '.join(PRESETS)}")
        return [], [Problem(top.place("preset"), f'there is no preset "{name}"', remedy)]
    layers, problems = _read([preset(name)])
    nested = layers[0].one("")
    if nested.text("preset"):
        problems.append(Problem(nested.place("preset"), "a preset builds on a preset", "leave it out"))
    return layers, problems


def merge_layers(layers: Sequence[Layer]) -> Layer:
    """Return all layers as one."""
    merged = Layer(Source("policy", b""), {})
    for table in TABLES:
        if table.many:
            by_label = {entry.label: entry for layer in layers for entry in layer.many(table.name)}
            merged.entries[table.name] = list(by_label.values())
        else:
            merged.entries[table.name] = [_merge_tables(table.name, [layer.one(table.name) for layer in layers])]
    for layer in layers:
        merged.comments.update(layer.comments)
    return merged


def _merge_tables(name: str, entries: Sequence[Entry]) -> Entry:
    values: dict[str, Value] = {}
    lines: dict[tuple[str, str], Where] = {}
    for entry in entries:
        for key, value in entry.values.items():
            for other in REPLACES.get((name, key), ()):
                if other in values and other not in entry.values:
                    values[other] = _without(values[other], value, everything=name == "arguments")
            values[key] = _merge_values(KEYS_OF[name][key].kind.shape, values.get(key), value)
        lines.update(entry.lines)
    written = [entry.where for entry in entries if entry.values]
    return Entry(TABLE_BY_NAME[name], values, lines, written[-1] if written else Where("default"))


def _without(before: Value, after: Value, *, everything: bool) -> Value:
    """Return a list or table of names without the names that `after` has."""
    if everything or not isinstance(before, tuple) or not isinstance(after, tuple):
        return ()
    names = set(map(_name, after))
    return _tuple(item for item in before if _name(item) not in names)


def _name(item: object) -> str:
    return str(item[0]) if isinstance(item, tuple) else str(item)


def _tuple(items: Iterable[object]) -> Value:
    kept = list(items)
    pairs = tuple((str(item[0]), str(item[1])) for item in kept if isinstance(item, tuple))
    return pairs or tuple(str(item) for item in kept)


def _merge_values(shape: str, before: Value | None, after: Value) -> Value:
    if shape == "list" and isinstance(before, tuple) and isinstance(after, tuple):
        return tuple(dict.fromkeys(str(item) for item in (*before, *after)))
    if shape == "map" and isinstance(before, tuple) and isinstance(after, tuple):
        pairs = (pair for pair in (*before, *after) if isinstance(pair, tuple))
        return tuple(sorted({str(name): str(value) for name, value in pairs}.items()))
    return after


def build(merged: Layer) -> model.Policy:
    """Return the Policy that a right Layer says, defaults filled in."""
    files, network, console, ipc = (merged.one(name) for name in ("files", "network", "console", "ipc"))
    environment, arguments, calls = (merged.one(name) for name in ("environment", "arguments", "calls"))
    programs, handlers = merged.one("exec"), merged.one("handlers")
    return model.Policy(
        version=VERSION,
        volumes=tuple(map(_volume, merged.many("volume"))),
        files=model.Files(
            unlisted=files.text("unlisted"),
            read=files.texts("read"),
            write=files.texts("write"),
            execute=files.texts("execute"),
        ),
        network=model.Network(
            unlisted=network.text("unlisted"),
            listen=tuple(map(_network_rule, merged.many("network.listen"))),
            connect=tuple(map(_network_rule, merged.many("network.connect"))),
        ),
        console=model.Console(
            stdin=console.text("stdin"), stdout=console.text("stdout"), stderr=console.text("stderr")
        ),
        ipc=model.Ipc(pipes=ipc.text("pipes"), socketpairs=ipc.text("socketpairs")),
        environment=_environment(environment),
        arguments=model.Arguments(
            unlisted=arguments.text("unlisted"), fixed=arguments.texts("fixed"), allow=arguments.texts("allow")
        ),
        secrets=tuple(map(_secret, merged.many("secret"))),
        calls=_calls(calls),
        exec=model.Exec(
            unlisted=programs.text("unlisted"),
            programs=programs.texts("programs"),
            unwrapped=programs.texts("unwrapped"),
        ),
        handlers=model.Handlers(file=handlers.text("file"), timeout_ms=handlers.number("timeout_ms")),
        places=_places(merged),
    )


def _volume(entry: Entry) -> model.Volume:
    mode = entry.text("mode")
    return model.Volume(
        path=entry.text("path"),
        mode=mode,
        freshness=entry.text("freshness") or FRESHNESS[mode][0],
        key=entry.text("key") or ("default" if mode in KEYED else ""),
        host_path=entry.text("host_path") or entry.text("path"),
        cache=entry.text("cache"),
    )


def _network_rule(entry: Entry) -> model.NetworkRule:
    return model.NetworkRule(
        protocol=entry.text("protocol"),
        address=entry.text("address"),
        port=entry.ports("port"),
        shield=entry.text("shield"),
        tls=model.Tls(
            certificate=entry.text("tls.certificate"),
            private_key=entry.text("tls.private_key"),
            peer_ca=entry.text("tls.peer_ca"),
            peer_names=entry.texts("tls.peer_names"),
            peer_leaves=entry.texts("tls.peer_leaves"),
            min_version=entry.text("tls.min_version"),
            alpn=entry.texts("tls.alpn"),
        ),
    )


def _environment(entry: Entry) -> model.Environment:
    return model.Environment(
        unlisted=entry.text("unlisted"),
        set=entry.pairs("set"),
        keep=entry.texts("pass"),
        drop=entry.texts("drop"),
    )


def _secret(entry: Entry) -> model.Secret:
    return model.Secret(
        path=entry.text("path"), source=entry.text("from"), mode=entry.text("mode"), owner=entry.text("owner")
    )


def _calls(entry: Entry) -> model.Calls:
    return model.Calls(
        unlisted=entry.text("unlisted"),
        allow=entry.texts("allow"),
        route=entry.pairs("route"),
        deny=entry.pairs("deny"),
    )


def _places(merged: Layer) -> dict[model.Place, Where]:
    """Return the line of every key, item and table, by what the file calls it."""
    places: dict[model.Place, Where] = {}
    for table, entries in merged.entries.items():
        for entry in entries:
            if entry.table.many:
                places[table, entry.label] = entry.where
            else:
                lines = entry.lines.items()
                places.update({(f"{table}.{key}".lstrip("."), item): where for (key, item), where in lines})
    return places


def section(policy: model.Policy, table: str) -> object:
    """Return the part of a policy that a table of the file stands for: one thing, or a tuple of them."""
    found: object = policy
    for name in table.split(".") if table else ():
        found = getattr(found, attribute(name))
    return found
