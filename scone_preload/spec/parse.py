"""Stub files to syntax: the standard library's `ast` reads them, this keeps what a spec may consist of.

A file is classes, whose decorators hold for every row inside; a row is `def name(arg: type) -> result: ...`,
`field: type` or `NAME = number`. Comments right above a row are its note.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Where:
    """A line of a spec file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule."""

    where: Where
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Expr:
    """`name`, `name[a, b]`, `name(a, b)`, or a bare number (then `name` is empty)."""

    name: str
    arguments: tuple["Expr | int | str", ...] = ()

    def __str__(self) -> str:
        return self.name or f"{self.number:#x}"

    @property
    def number(self) -> int:
        """The bare number, or -1 when this is not one."""
        value = self.arguments[0] if not self.name and self.arguments else -1
        return value if isinstance(value, int) else -1

    @property
    def words(self) -> tuple[str, ...]:
        """The names among the arguments."""
        return tuple(one.name for one in self.arguments if isinstance(one, Expr))


@dataclass(frozen=True, slots=True)
class Mark:
    """A decorator, with its positional and keyword arguments."""

    name: str
    arguments: tuple[Expr | int | str, ...]
    options: tuple[tuple[str, str], ...]
    where: Where


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: its name, its type, and the type as written."""

    name: str
    type: Expr
    source: str


@dataclass(frozen=True, slots=True)
class Row:
    """A `def`: `marks` are those of its class, then its own."""

    name: str
    params: tuple[Param, ...]
    result: Expr | None
    result_source: str
    marks: tuple[Mark, ...]
    note: str
    where: Where


@dataclass(frozen=True, slots=True)
class FieldRow:
    """`name: type` of a struct."""

    name: str
    type: Expr
    where: Where


@dataclass(frozen=True, slots=True)
class Constant:
    """`NAME = 1` or `NAME = (OTHER, ...)`."""

    name: str
    value: int
    members: tuple[str, ...]
    where: Where


@dataclass(frozen=True, slots=True)
class Block:
    """A class of a spec file and what is in it."""

    name: str
    marks: tuple[Mark, ...]
    rows: tuple[Row, ...]
    fields: tuple[FieldRow, ...]
    constants: tuple[Constant, ...]
    where: Where


class SyntaxProblem(Exception):
    """A line that no spec file may contain; `problem` says which."""

    def __init__(self, where: Where, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(where, message)


def parse(file: str, text: str) -> tuple[Block, ...]:
    """The blocks of one file; raises SyntaxProblem at the first line that isn't one of the allowed forms."""
    try:
        module = ast.parse(text)
    except SyntaxError as error:
        raise SyntaxProblem(Where(file, error.lineno or 0), f"not Python: {error.msg}") from error
    reader = _Reader(file, text.splitlines())
    return tuple(reader.block(node) for node in module.body)


class _Reader:
    def __init__(self, file: str, lines: list[str]) -> None:
        self.file = file
        self.lines = lines

    def where(self, node: ast.stmt | ast.expr) -> Where:
        return Where(self.file, node.lineno)

    def refuse(self, node: ast.stmt | ast.expr, message: str) -> SyntaxProblem:
        return SyntaxProblem(self.where(node), message)

    def block(self, node: ast.stmt) -> Block:
        if not isinstance(node, ast.ClassDef):
            raise self.refuse(node, "only classes stand at the top of a spec file")
        marks = tuple(map(self.mark, node.decorator_list))
        inside = tuple(member for member in node.body if not self.is_placeholder(member))
        known = (ast.FunctionDef, ast.AnnAssign, ast.Assign)
        for member in inside:
            if not isinstance(member, known):
                raise self.refuse(member, "neither a row, a field nor a constant")
        return Block(
            node.name,
            marks,
            tuple(self.row(one, marks) for one in inside if isinstance(one, ast.FunctionDef)),
            tuple(self.field(one) for one in inside if isinstance(one, ast.AnnAssign)),
            tuple(self.constant(one) for one in inside if isinstance(one, ast.Assign)),
            self.where(node),
        )

    @staticmethod
    def is_placeholder(node: ast.stmt) -> bool:
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is Ellipsis

    def row(self, node: ast.FunctionDef, class_marks: tuple[Mark, ...]) -> Row:
        plain = node.args.posonlyargs or node.args.kwonlyargs or node.args.vararg or node.args.kwarg
        if plain or node.args.defaults or not all(map(self.is_placeholder, node.body)):
            raise self.refuse(node, "a row is `def name(arg: type, ...) -> result: ...`")
        marks = class_marks + tuple(map(self.mark, node.decorator_list))
        return Row(
            node.name,
            tuple(map(self.param, node.args.args)),
            self.expr(node.returns) if node.returns else None,
            ast.unparse(node.returns) if node.returns else "",
            marks,
            self.note(min([node.lineno, *(one.lineno for one in node.decorator_list)])),
            self.where(node),
        )

    def note(self, line: int) -> str:
        def above() -> Iterator[str]:
            for text in reversed(self.lines[: line - 1]):
                if not text.startswith("    #"):
                    return
                yield text.strip("# ")

        return " ".join(reversed(list(above())))

    def param(self, node: ast.arg) -> Param:
        if node.annotation is None:
            raise SyntaxProblem(Where(self.file, node.lineno), f"{node.arg} has no type")
        return Param(node.arg, self.expr(node.annotation), ast.unparse(node.annotation))

    def field(self, node: ast.AnnAssign) -> FieldRow:
        if not isinstance(node.target, ast.Name) or node.value is not None:
            raise self.refuse(node, "a field is `name: type`")
        return FieldRow(node.target.id, self.expr(node.annotation), self.where(node))

    def constant(self, node: ast.Assign) -> Constant:
        target = node.targets[0]
        if len(node.targets) != 1 or not isinstance(target, ast.Name):
            raise self.refuse(node, "a constant is `NAME = number` or `NAME = (NAME, ...)`")
        if isinstance(node.value, ast.Tuple):
            members = tuple(self.expr(one).name for one in node.value.elts)
            return Constant(target.id, -1, members, self.where(node))
        return Constant(target.id, self.integer(node.value), (), self.where(node))

    def mark(self, node: ast.expr) -> Mark:
        if isinstance(node, ast.Name):
            return Mark(node.id, (), (), self.where(node))
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise self.refuse(node, "a decorator is `@name` or `@name(...)`")
        options = tuple((one.arg or "", str(self.atom(one.value))) for one in node.keywords)
        return Mark(node.func.id, tuple(map(self.atom, node.args)), options, self.where(node))

    def expr(self, node: ast.expr) -> Expr:
        if isinstance(node, ast.Name):
            return Expr(node.id)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return Expr(node.value.id, tuple(map(self.atom, inner)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return Expr(node.func.id, tuple(map(self.atom, node.args)))
        return Expr("", (self.integer(node),))

    def atom(self, node: ast.expr) -> Expr | int | str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.Name):
            return Expr(node.id)
        return self.integer(node)

    def integer(self, node: ast.expr) -> int:
        try:
            value = ast.literal_eval(node)
        except ValueError as error:
            raise self.refuse(node, f"not a number: {ast.unparse(node)}") from error
        if not isinstance(value, int):
            raise self.refuse(node, f"not a number: {ast.unparse(node)}")
        return value
