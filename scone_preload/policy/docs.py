"""The tables of docs/policy.md, from the table of keys; a test compares them with the page."""

from collections.abc import Iterator

from scone_preload.policy.keys import KEYS_OF, TABLES, Key, Table
from scone_preload.policy.kinds import ANY_PORT

BEGIN = "<!-- the tables below are written by `python -m scone_preload.policy` -->\n"
END = "<!-- until here -->\n"


def emit() -> str:
    """Return the tables, markers included."""
    return BEGIN + "".join(map(_table, TABLES)) + "\n" + END


def _table(table: Table) -> str:
    title = f"`{table.header}`" if table.name else "The top"
    head = f"\n### {title}\n\n{table.meaning}\n\n| key | value | default | meaning |\n|---|---|---|---|\n"
    return head + "".join(_rows(table))


def _rows(table: Table) -> Iterator[str]:
    for key in KEYS_OF[table.name].values():
        yield f"| `{key.name}` | {key.kind.meaning} | {_default(key)} | {key.meaning} |\n"


def _default(key: Key) -> str:
    if key.required:
        return "must be written"
    if key.default == ANY_PORT and key.kind.shape == "port":
        return "must be written"
    return "" if key.default in ("", ()) else f"`{key.default}`"
