"""Lines are those where things stand, for every value of every TOML text."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_preload.policy.document import Document, Path, Source, read_document
from tests.policy.samples import POLICIES

TEXT = b'''# a comment
version = 1 # behind the version
"quoted key" = """
three
lines""" # behind three lines
list = [ 1, # one
   "two # no comment", # two
   [3, 'x]'], { a = 1, b.c = [2,
   3] }
   , 5]
[table] # behind a header
'a.b' = 1979-05-27 07:32:00
dotted.key.path = {}
[[array]]
x = 1
[array.sub]
y = 2
[[array]]
[[array.inner]]
z = """a""""" # two quotes at its end
'''


def document(text: bytes) -> Document:
    found = read_document(Source("x.toml", text))
    assert isinstance(found, Document)
    return found


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("version",), 2), (("quoted key",), 3), (("list",), 6), (("list", 0), 6), (("list", 1), 7),
        (("list", 2, 1), 8),
        (("list", 3, "b", "c", 0), 8), (("list", 3, "b", "c", 1), 9), (("list", 4), 10), (("table",), 11),
        (("table", "a.b"), 12), (("table", "dotted", "key"), 13), (("array", 0), 14), (("array", 0, "x"), 15),
        (("array", 0, "sub"), 16), (("array", 0, "sub", "y"), 17), (("array", 1), 18), (("array", 1, "inner", 0), 19),
        (("array", 1, "inner", 0, "z"), 20), (("array",), 14),
    ],
)  # fmt: skip
def test_a_thing_has_its_line(path: Path, line: int) -> None:
    assert document(TEXT).lines[path] == line
    assert document(TEXT.replace(b"\n", b"\r\n")).lines[path] == line


def test_comments_are_known_by_the_line_they_end() -> None:
    assert document(TEXT).comments == {
        2: "behind the version", 5: "behind three lines", 6: "one", 7: "two", 11: "behind a header",
        20: "two quotes at its end",
    }  # fmt: skip


def leaves(value: object, path: Path) -> list[Path]:
    if isinstance(value, dict):
        return [leaf for name, one in value.items() for leaf in [(*path, name), *leaves(one, (*path, name))]]
    if isinstance(value, list):
        return [leaf for at, one in enumerate(value) for leaf in [(*path, at), *leaves(one, (*path, at))]]
    return []


@settings(deadline=None, max_examples=40)
@given(POLICIES)
def test_everything_that_a_policy_says_has_a_line(text: str) -> None:
    found = document(text.encode())
    assert [path for path in leaves(tomllib.loads(text), ()) if path not in found.lines and path != ("network",)] == []
    for path, line in found.lines.items():
        name = path[-1]
        assert not isinstance(name, str) or name.rpartition(".")[2] in text.split("\n")[line - 1]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    read_document(Source("x.toml", raw))


@settings(deadline=None)
@given(st.text("[]{}\"'=.,# \n\\ax1", max_size=60))
def test_no_text_breaks_the_scanner(text: str) -> None:
    found = read_document(Source("x.toml", text.encode()))
    if isinstance(found, Document):
        implied = {path[:end] for path in found.lines for end in range(1, len(path))}
        assert set(leaves(tomllib.loads(text), ())) <= set(found.lines) | implied
