"""What C headers declare, as text for cffi: taken from the preprocessor's output, so that nothing is said twice.

`preprocessed` is what `gcc -E -dD` prints: all headers with macros expanded, the `#define`s in place, and line markers
that say which header each line is from. Headers are named `folder/name.h`.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePath

MARKER = re.compile(r'# \d+ "([^"]*)"')
DEFINE = re.compile(r"#define (\w+) (.+)")
# A number, or other such macros and operators. What holds a word in lower case is code.
NUMBER = re.compile(r"(?:0x[0-9a-fA-F]+[uUlL]*|[0-9]+[uUlL]*|[A-Z][A-Z0-9_]*|[-+*/%~&|^()<> \t])+")
NO_MEANING_HERE = re.compile(
    r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)|\b(?:_Noreturn|volatile|restrict|static|inline)\b"
)
TYPE = re.compile(r"typedef\b|(?:struct|enum)\s+\w*\s*[{;]")
TABLE = re.compile(r"extern const struct \w+ \w+(?:\[\w*\])?;")
FUNCTION = re.compile(r"(?!typedef|_Static_assert)[\w\s*]+\(([^(){;]*)\)\s*(?=[;{])")


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declaration, definition or `#define`, and the header that it begins in."""

    header: str
    text: str


def declarations(preprocessed: str) -> Iterator[Declaration]:
    """All that stands at the top level, in order."""
    here, begun, text, depth = "", "", "", 0
    for line in preprocessed.splitlines():
        if marker := MARKER.match(line):
            here = "/".join(PurePath(marker[1]).parts[-2:])
        elif line.startswith("#"):
            yield Declaration(here, line)
        elif text or line.strip():
            begun = begun if text else here
            text += line + "\n"
            depth += line.count("{") - line.count("}")
            if depth == 0 and text.rstrip().endswith((";", "}")):
                yield Declaration(begun, text.strip())
                text = ""


def cffi_text(preprocessed: str, *, types: Collection[str], code: Collection[str]) -> str:
    """What FFI.cdef() takes: types and numbers of the headers `types`, functions and tables of the headers `code`.

    Functions that take a `struct frame` are left out: they serve a program's calls, and here is none.
    """
    lines: list[str] = []
    for one in declarations(preprocessed):
        if one.header in types:
            lines += _type_or_number(one.text)
        if one.header in code:
            lines += _function_or_table(one.text)
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _type_or_number(text: str) -> Iterator[str]:
    define = DEFINE.fullmatch(text)
    if define and NUMBER.fullmatch(define[2]):
        yield f"#define {define[1]} ..."
    elif TYPE.match(text):
        yield NO_MEANING_HERE.sub("", text)


def _function_or_table(text: str) -> Iterator[str]:
    plain = NO_MEANING_HERE.sub("", text).strip()
    function = FUNCTION.match(plain)
    if function and "struct frame" not in function[1]:
        yield re.sub(r"\s+", " ", function[0]).strip() + ";"
    elif TABLE.fullmatch(plain):
        yield plain
