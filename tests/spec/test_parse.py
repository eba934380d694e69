"""Only the forms that a spec file may have are read; all else is refused with its line."""

import pytest

from scone_preload.spec.parse import SyntaxProblem, parse

WRONG = {
    "x = 1\n": (1, "only classes stand at the top of a spec file"),
    "class A:\n    def f(a) -> zero: ...\n": (2, "a has no type"),
    "class A:\n    def f(*a: int) -> zero: ...\n": (2, "a row is `def name(arg: type, ...) -> result: ...`"),
    "class A:\n    def f() -> zero: return 1\n": (2, "a row is `def name(arg: type, ...) -> result: ...`"),
    "class A:\n    def f(a: int = 1) -> zero: ...\n": (2, "a row is `def name(arg: type, ...) -> result: ...`"),
    "class A:\n    pass\n": (2, "neither a row, a field nor a constant"),
    "class A:\n    a: i32 = 5\n": (2, "a field is `name: type`"),
    "class A:\n    a = b = 5\n": (2, "a constant is `NAME = number` or `NAME = (NAME, ...)`"),
    "class A:\n    a = 'x'\n": (2, "not a number: 'x'"),
    "class A:\n    a = f()\n": (2, "not a number: f()"),
    "@a.b\nclass A:\n    a = 1\n": (1, "a decorator is `@name` or `@name(...)`"),
    "class A:\n    def f(\n": (2, "not Python: '(' was never closed"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_row_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        parse("wrong.pyi", text)
    problem = caught.value.problem
    assert (problem.where.file, problem.where.line, problem.message) == ("wrong.pyi", *WRONG[text])


def test_a_row_has_the_decorators_of_its_class_before_its_own() -> None:
    text = "@host\nclass A:\n    # Why.\n    @errno(B)\n    def f(a: out[b, c], b: int) -> zero: ...\n"
    (block,) = parse("a.pyi", text)
    (row,) = block.rows
    assert [mark.name for mark in row.marks] == ["host", "errno"]
    assert row.note == "Why."
    assert row.where.line == 5
    assert row.params[0].type.words == ("b", "c")
    assert row.params[0].source == "out[b, c]"


def test_a_comment_of_another_row_is_no_note() -> None:
    (block,) = parse("a.pyi", "class A:\n    # Of f.\n    def f() -> zero: ...\n    def g() -> zero: ...\n")
    assert [row.note for row in block.rows] == ["Of f.", ""]
