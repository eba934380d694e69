"""Each rule of the spec has a line that breaks it, which says so itself: `# error: message`."""

import re
from pathlib import Path

import pytest

from scone_preload.spec import SpecError
from scone_preload.spec.check import RULES, check
from scone_preload.spec.read import load_from, sources_from
from tests.spec.samples import BASE

ERRORS = Path(__file__).parent / "errors"
MESSAGE = re.compile(r"# error: (.*?)(?=\s*# error: |$)")


def expected(text: str) -> list[tuple[int, str]]:
    found = [(nr, one) for nr, line in enumerate(text.splitlines(), 1) for one in MESSAGE.findall(line)]
    assert found, "the file breaks no rule"
    return found


def with_wrong_calls(text: str) -> dict[str, str]:
    names = set(re.findall(r"def (\w+)", text)) - {"unnumbered", "read"}
    numbers = "".join(f"    {name} = {nr}\n" for nr, name in enumerate(sorted(names), 1))
    return {**BASE, "calls/wrong.pyi": text, "numbers.pyi": BASE["numbers.pyi"] + numbers}


def with_wrong(name: str, text: str) -> tuple[dict[str, str], str, int]:
    """The spec with the wrong file in it, the path it has there, and the lines that stand above it."""
    if name == "calls":
        return with_wrong_calls(text), "calls/wrong.pyi", 0
    if name == "tables":
        return {**BASE, "tables/wrong.pyi": text}, "tables/wrong.pyi", 0
    if name == "structs":
        return {**BASE, "structs.pyi": BASE["structs.pyi"] + text}, "structs.pyi", BASE["structs.pyi"].count("\n")
    return {**BASE, f"{name}.pyi": text}, f"{name}.pyi", 0


@pytest.mark.parametrize("name", ["calls", "tables", "structs", "numbers", "errnos"])
def test_wrong_lines_are_reported_where_they_stand(name: str) -> None:
    text = (ERRORS / f"{name}.pyi").read_text()
    texts, path, above = with_wrong(name, text)
    problems = check(sources_from(texts))
    found = sorted((one.where.line - above, one.message) for one in problems)
    assert found == sorted(expected(text))
    assert {one.where.file for one in problems} == {path}


def test_every_rule_has_a_line_that_breaks_it() -> None:
    broken = set()
    for name in ("calls", "tables", "structs", "numbers", "errnos"):
        texts, _, _ = with_wrong(name, (ERRORS / f"{name}.pyi").read_text())
        sources = sources_from(texts)
        broken |= {rule.__name__ for rule in RULES if list(rule(sources))}
    assert {rule.__name__ for rule in RULES} - broken == set()


def test_a_right_spec_has_no_problem() -> None:
    spec = load_from(BASE)
    assert [call.name for call in spec.calls] == ["read"]
    assert spec.structs["pair"].size == 8


def test_a_problem_names_file_line_and_rule() -> None:
    with pytest.raises(SpecError) as caught:
        load_from({**BASE, "calls/wrong.pyi": "class A:\n    def read() -> zero: ...\n"})
    assert "calls/wrong.pyi:2: duplicate row read" in str(caught.value)
