"""From a source to a Layer: every key known, every value of its kind, nothing twice. All problems are collected."""

from dataclasses import dataclass, field

from scone_preload.policy.document import Document, Path, Source, read_document
from scone_preload.policy.keys import KEYS_OF, TABLE_BY_NAME, Key, Table, default_of
from scone_preload.policy.kinds import Ports, Value, ports, shown
from scone_preload.policy.model import Pairs, label_of
from scone_preload.policy.problem import Bad, Problem, Where, did_you_mean

Lines = dict[tuple[str, str], Where]


@dataclass(frozen=True, slots=True)
class Entry:
    """One table as it was written: values and lines of its keys (and of the items of lists and tables)."""

    table: Table
    values: dict[str, Value]
    lines: Lines
    where: Where
    comment: str = ""

    def value(self, name: str) -> Value:
        """Return what was written, or the default."""
        found = self.values.get(name)
        return default_of(KEYS_OF[self.table.name][name]) if found is None else found

    def text(self, name: str) -> str:
        value = self.value(name)
        return value if isinstance(value, str) else str(value)

    def number(self, name: str) -> int:
        value = self.value(name)
        return value if isinstance(value, int) else 0

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.value(name)
        return tuple(item for item in value if isinstance(item, str)) if isinstance(value, tuple) else ()

    def pairs(self, name: str) -> Pairs:
        value = self.value(name)
        pairs = value if isinstance(value, tuple) else ()
        return tuple((str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, tuple))

    def ports(self, name: str) -> Ports:
        value = self.value(name)
        low, high = value if isinstance(value, tuple) and len(value) == 2 else (0, 0)
        return (low, high) if isinstance(low, int) and isinstance(high, int) else (0, 0)

    def place(self, name: str, item: str = "") -> Where:
        """Return the line of a key or of one of its items, else of the table."""
        return self.lines.get((name, item)) or self.lines.get((name, "")) or self.where

    @property
    def label(self) -> str:
        """What tells this one from others of its table."""
        if "port" in self.table.identity:
            return label_of(self.text("protocol"), self.text("address"), self.ports("port"))
        return self.text(self.table.identity[0]) if self.table.identity else ""


@dataclass(frozen=True, slots=True)
class Layer:
    """All tables of one source, and the comments behind its lines by place, for learning."""

    source: Source
    entries: dict[str, list[Entry]]
    comments: dict[Where, str] = field(default_factory=dict)

    def one(self, table: str) -> Entry:
        """Return a table that there is at most one of; empty if it wasn't written."""
        found = self.entries.get(table)
        return found[0] if found else Entry(TABLE_BY_NAME[table], {}, {}, Where("default"))

    def many(self, table: str) -> list[Entry]:
        return self.entries.get(table, [])


def read_layer(source: Source) -> tuple[Layer, list[Problem]]:
    """Return what a source says, as far as it is right, and everything that is wrong in it."""
    document = read_document(source)
    if isinstance(document, Problem):
        return Layer(source, {}), [document]
    reader = _Reader(document)
    reader.table(TABLE_BY_NAME[""], document.values, ())
    comments = {source.where(line): text for line, text in document.comments.items()}
    layer = Layer(source, reader.entries, comments)
    reader.problems.extend(_twice(layer))
    return layer, reader.problems


def _twice(layer: Layer) -> list[Problem]:
    found: list[Problem] = []
    for entries in layer.entries.values():
        seen: dict[str, Entry] = {}
        for entry in entries if entries[0].table.many else ():
            if entry.label in seen:
                rule = f"{entry.label} twice in {entry.table.header}"
                found.append(Problem(entry.where, rule, f"it stands in {seen[entry.label].where} already: leave one"))
            seen.setdefault(entry.label, entry)
    return found


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.entries: dict[str, list[Entry]] = {}
        self.problems: list[Problem] = []

    def refuse(self, path: Path, rule: str, remedy: str) -> None:
        self.problems.append(Problem(self.document.where(path), rule, remedy))

    def table(self, table: Table, values: dict[str, object], path: Path) -> None:
        entry = Entry(table, {}, {}, self.document.where(path))
        before = len(self.problems)
        self.members(entry, "", values, path)
        known = KEYS_OF[table.name].values()
        for key in (key for key in known if key.required and key.name not in entry.values):
            if len(self.problems) == before and (table.name or self.document.source.is_file):
                where = table.header if table.name else "the file"
                self.refuse(path, f"{key.name} is missing in {where}", f"write {example(key)}")
        if len(self.problems) == before or not table.many:
            self.entries.setdefault(table.name, []).append(entry)

    def members(self, entry: Entry, prefix: str, values: dict[str, object], path: Path) -> None:
        table = entry.table.name
        for name, raw in values.items():
            dotted = prefix + name
            below = f"{table}.{dotted}".lstrip(".")
            here = (*path, name)
            key = KEYS_OF[table].get(dotted)
            if key:
                self.key(entry, key, raw, here)
            elif below in TABLE_BY_NAME:
                self.subtable(TABLE_BY_NAME[below], raw, here)
            elif isinstance(raw, dict) and any(one.startswith(f"{dotted}.") for one in KEYS_OF[table]):
                self.members(entry, f"{dotted}.", raw, here)
            else:
                self.unknown(table, dotted, prefix, here)

    def unknown(self, table: str, dotted: str, prefix: str, path: Path) -> None:
        tables = [name.rpartition(".")[2] for name in TABLE_BY_NAME if name and name.rpartition(".")[0] == table]
        known = [name.removeprefix(prefix) for name in (*KEYS_OF[table], *tables) if name.startswith(prefix)]
        otherwise = f"known here: {', '.join(known)}"
        place = TABLE_BY_NAME[table].header if table else "at the top"
        rule = f'unknown key "{dotted}" {"in " if table else ""}{place}'
        self.refuse(path, rule, did_you_mean(dotted.removeprefix(prefix), known, otherwise=otherwise))

    def subtable(self, table: Table, raw: object, path: Path) -> None:
        if not table.many and isinstance(raw, dict):
            self.table(table, raw, path)
        elif table.many and isinstance(raw, list) and all(isinstance(one, dict) for one in raw):
            for index, one in enumerate(raw):
                self.table(table, one, (*path, index))
        else:
            how = "any number of tables" if table.many else "one table"
            self.refuse(path, f"{table.name} is not written as a table", f"it is {how}: write {table.header}")

    def key(self, entry: Entry, key: Key, raw: object, path: Path) -> None:
        try:
            value = READERS[key.kind.shape](self, entry, key, raw, path)
        except Bad as error:
            return self.refuse(path, error.rule, error.remedy)
        entry.lines[key.name, ""] = self.document.where(path)
        entry.values[key.name] = value
        return None

    def one(self, entry: Entry, key: Key, raw: object, path: Path) -> Value:
        if not isinstance(raw, str):
            raise Bad(f"{key.name} is {shown(raw)}, not a text", f"write {example(key)}")
        return key.kind.check(raw)

    def number(self, entry: Entry, key: Key, raw: object, path: Path) -> Value:
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise Bad(f"{key.name} is {shown(raw)}, not a number", f"write {example(key)}")
        try:
            key.kind.check(str(raw))
        except Bad as error:
            newer = key.name == "version" and raw > 1
            raise Bad(f"{key.name} {error.rule}", "use a newer scone-wrap" if newer else error.remedy) from None
        return raw

    def port(self, entry: Entry, key: Key, raw: object, path: Path) -> Value:
        return ports(raw)

    def items(self, entry: Entry, key: Key, raw: object, path: Path) -> Value:
        if not isinstance(raw, list):
            raise Bad(f"{key.name} is {shown(raw)}, not a list", f"write {example(key)}")
        found: list[str] = []
        for at, one in enumerate(raw):
            value = self.item(key, one, (*path, at))
            if value is not None:
                found.append(value)
                entry.lines.setdefault((key.name, value), self.document.where((*path, at)))
        return tuple(found if key.kind.shape == "sequence" else dict.fromkeys(found))

    def item(self, key: Key, raw: object, path: Path) -> str | None:
        try:
            if not isinstance(raw, str):
                raise Bad(f"{shown(raw)} in {key.name} is not a text", f"write {example(key)}")
            return key.kind.check(raw)
        except Bad as error:
            self.refuse(path, error.rule, error.remedy)
        return None

    def pairs(self, entry: Entry, key: Key, raw: object, path: Path) -> Value:
        if not isinstance(raw, dict):
            raise Bad(f"{key.name} is {shown(raw)}, not a table", f"write {example(key)}")
        found: dict[str, str] = {}
        for name, one in raw.items():
            try:
                key.kind.name_check(name)
            except Bad as error:
                self.refuse((*path, name), error.rule, error.remedy)
                continue
            value = self.item(key, one, (*path, name))
            if value is not None:
                found[name] = value
                entry.lines[key.name, name] = self.document.where((*path, name))
        return tuple(sorted(found.items()))


READERS = {"text": _Reader.one, "number": _Reader.number, "port": _Reader.port, "list": _Reader.items,
           "sequence": _Reader.items, "map": _Reader.pairs}  # fmt: skip
EXAMPLES = {
    "version": "version = 1",
    "volume.path": 'path = "/var/lib/redis"',
    "secret.path": 'path = "/run/secrets/password"',
    "secret.from": 'from = "keystore:NAME"',
    "network.listen.shield": 'shield = "tls"',
    "network.connect.shield": 'shield = "tls"',
    "volume.mode": 'mode = "encrypt"',
}


def example(key: Key) -> str:
    """Return a line as it could stand in the file."""
    known = EXAMPLES.get(key.full)
    if known:
        return known
    word = f'"{key.kind.words[0]}"' if key.kind.words else '"..."'
    by_shape = {"text": word, "number": str(key.default), "port": "6379", "map": '{ NAME = "..." }'}
    value = by_shape.get(key.kind.shape, '["..."]')
    return f"{key.name} = {value}"
