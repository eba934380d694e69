"""TOML with line numbers: values by the standard library's parser, which gives no positions, lines by a scanner.

The scanner runs over text that the parser has accepted, so it only has to find where things stand: it knows strings,
comments, brackets, keys and nothing of values. A path is ("volume", 0, "path"): keys, and indices into arrays.
"""

import re
import tomllib
from dataclasses import dataclass

from scone_preload.policy.problem import Problem, Where

Path = tuple[str | int, ...]
SIZE_MAX = 1 << 20
LINE_IN_MESSAGE = re.compile(r"(.*) \(at line (\d+), column \d+\)")
SPACE = re.compile(r"[ \t]*")
BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})(?!")|\'\'\'.*?\'\'\'(?:\'{0,2})(?!\')|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.S
)
BARE = re.compile(r"[A-Za-z0-9_-]+")
SCALAR = re.compile(r"[^,\]}#\n]*")


@dataclass(frozen=True, slots=True)
class Source:
    """A policy text and what it is called in messages: a file's path, or a flag."""

    name: str
    text: bytes
    is_file: bool = True

    def where(self, line: int) -> Where:
        return Where(self.name, line if self.is_file else 0)


@dataclass(frozen=True, slots=True)
class Document:
    """What a source says: its values, the line of each, and the comment at the end of each line."""

    source: Source
    values: dict[str, object]
    lines: dict[Path, int]
    comments: dict[int, str]

    def where(self, path: Path) -> Where:
        """Return the line of `path`, or of the nearest thing around it that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.source.where(self.lines.get(path, 1))


def read_document(source: Source) -> Document | Problem:
    """Return what the source says, or the first thing that is not TOML in it."""
    if len(source.text) > SIZE_MAX:
        return Problem(source.where(0), "policy is too long", f"write at most {SIZE_MAX} bytes")
    try:
        text = source.text.decode()
        values: dict[str, object] = tomllib.loads(text)
        scanner = _Scanner(text.replace("\r\n", "\n"))
        scanner.document()
    except UnicodeDecodeError as error:
        line = source.text.count(b"\n", 0, error.start) + 1
        return Problem(source.where(line), "not UTF-8", "save the file as UTF-8")
    except RecursionError:
        return Problem(source.where(1), "nested too deep", "write plain tables, as docs/policy.md shows them")
    except ValueError as error:
        return _not_toml(source, str(error))
    return Document(source, values, scanner.lines, scanner.comments)


def _not_toml(source: Source, message: str) -> Problem:
    found = LINE_IN_MESSAGE.fullmatch(message)
    words, line = (found.group(1), int(found.group(2))) if found else (message, 0)
    if not found and message.endswith("(at end of document)"):
        words, line = message.removesuffix(" (at end of document)"), source.text.rstrip().count(b"\n") + 1
    return Problem(source.where(line), "not TOML", words[:1].lower() + words[1:])


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.comments: dict[int, str] = {}
        self.counts: dict[Path, int] = {}
        self.used: set[int] = set()
        self.counted = (0, 1)

    def line(self) -> int:
        before, line = self.counted
        line += self.text.count("\n", before, self.at)
        self.counted = (self.at, line)
        return line

    def skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found.group() if found else ""

    def blank(self) -> None:
        """Skip to the next thing; keep the comment that stands behind the last one."""
        line = self.line()
        skipped = self.skip(BLANK)
        first = skipped.partition("\n")[0].lstrip()
        if first.startswith("#") and line in self.used:
            self.comments.setdefault(line, first[1:].strip())

    def take(self, letter: str) -> bool:
        if not self.text.startswith(letter, self.at):
            return False
        self.at += len(letter)
        return True

    def document(self) -> None:
        prefix: Path = ()
        self.blank()
        while self.at < len(self.text):
            if self.take("[["):
                prefix = self.header(array=True)
                self.take("]]")
            elif self.take("["):
                prefix = self.header(array=False)
                self.take("]")
            else:
                self.pair(prefix)
            self.blank()

    def header(self, *, array: bool) -> Path:
        keys = self.keys()
        path = self.inside(keys[:-1])
        last = (*path, keys[-1])
        if array:
            self.counts[last] = self.counts.get(last, 0) + 1
            self.note(last)
        path = self.inside(keys)
        self.note(path)
        return path

    def note(self, path: Path) -> None:
        """Keep the line of the first mention of `path`."""
        self.lines.setdefault(path, self.line())
        self.used.add(self.line())

    def inside(self, keys: tuple[str, ...]) -> Path:
        """Return the path that a header's keys mean: the last element where one of them is an array of tables."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
        return path

    def keys(self) -> tuple[str, ...]:
        found: list[str] = []
        while True:
            self.skip(SPACE)
            quoted = self.skip(STRING)
            found.append(_unquoted(quoted) if quoted else self.skip(BARE))
            self.skip(SPACE)
            if not self.take("."):
                return tuple(found)

    def pair(self, prefix: Path) -> None:
        for key in self.keys():
            prefix = (*prefix, key)
            self.note(prefix)
        self.take("=")
        self.skip(SPACE)
        self.value(prefix)

    def value(self, path: Path) -> None:
        self.note(path)
        if self.take("["):
            self.elements(path)
        elif self.take("{"):
            self.skip(SPACE)
            while not self.take("}"):
                self.pair(path)
                self.skip(SPACE)
                self.take(",")
                self.skip(SPACE)
        elif not self.skip(STRING):
            self.skip(SCALAR)
        self.used.add(self.line())

    def elements(self, path: Path) -> None:
        index = 0
        self.blank()
        while not self.take("]"):
            self.value((*path, index))
            self.blank()
            self.take(",")
            self.blank()
            index += 1


def _unquoted(text: str) -> str:
    (key,) = tomllib.loads(f"{text} = 0")
    return key
