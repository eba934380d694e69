"""From spec files to the Spec: read, parse, check, build."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from scone_preload.errors import InternalError
from scone_preload.spec.build import Sources, build
from scone_preload.spec.check import check
from scone_preload.spec.model import Spec
from scone_preload.spec.parse import Block, Problem, SyntaxProblem, parse

PACKAGE = "scone_preload.spec"


class SpecError(InternalError):
    """The spec breaks its own rules; `problems` lists the lines."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("the syscall spec is wrong", "\n".join(map(str, problems)), "correct these lines")
        self.problems = problems


def sources_from(texts: Mapping[str, str]) -> Sources:
    """Parsed files, from their texts by path ("calls/files.pyi"); raises SpecError at the first syntax problem."""

    def blocks(path: str) -> tuple[Block, ...]:
        return parse(path, texts.get(path, ""))

    def folder(name: str) -> dict[str, tuple[Block, ...]]:
        paths = sorted(path for path in texts if path.startswith(f"{name}/"))
        return {path.removeprefix(f"{name}/").removesuffix(".pyi"): blocks(path) for path in paths}

    try:
        return Sources(
            calls=folder("calls"),
            tables=folder("tables"),
            structs=blocks("structs.pyi"),
            numbers=blocks("numbers.pyi"),
            errnos=blocks("errnos.pyi"),
            flags=blocks("flags.pyi"),
        )
    except SyntaxProblem as error:
        raise SpecError((error.problem,)) from error


def load_from(texts: Mapping[str, str]) -> Spec:
    """The Spec that these files say; raises SpecError."""
    sources = sources_from(texts)
    problems = check(sources)
    if problems:
        raise SpecError(problems)
    return build(sources)


def package_texts() -> dict[str, str]:
    """The spec files of this package, by path."""
    texts: dict[str, str] = {}

    def collect(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                collect(entry, f"{prefix}{entry.name}/")
            elif entry.name.endswith(".pyi"):
                texts[f"{prefix}{entry.name}"] = entry.read_text("utf-8")

    collect(files(PACKAGE), "")
    return texts


@cache
def load() -> Spec:
    """The Spec of this package; raises SpecError."""
    return load_from(package_texts())
