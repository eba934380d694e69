"""From the texts of spec files to the Spec: parse, check, build."""

from collections.abc import Mapping

from scone_preload.spec.build import Sources, build
from scone_preload.spec.check import check
from scone_preload.spec.model import Spec
from scone_preload.spec.parse import Block, SyntaxProblem, parse
from scone_preload.spec.problems import SpecError


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
