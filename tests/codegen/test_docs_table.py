"""docs/syscalls.md is generated: it says what the spec says."""

from pathlib import Path

from scone_preload.codegen.outputs import documentation
from scone_preload.spec import load

PAGE = Path(__file__).parents[2] / "docs" / "syscalls.md"


def test_the_page_is_not_stale() -> None:
    remedy = "run python -m scone_preload.codegen --docs docs/syscalls.md"
    assert PAGE.read_text() == documentation(), remedy


def test_every_call_and_command_has_a_line() -> None:
    lines = documentation().splitlines()
    for call in load().calls:
        assert any(line.startswith(f"| {call.nr} | `{call.name}(") for line in lines), call.name
    for rows in load().tables.values():
        for command in rows:
            assert any(line.startswith(f"| `{command.name}` |") for line in lines), command.name


def test_no_cell_breaks_the_table() -> None:
    rows = [line for line in documentation().splitlines() if line.startswith("| ") and "`" in line]
    assert rows
    assert {line.count("|") for line in rows} <= {6, 7}
