"""The error of a spec that breaks its own rules."""

from collections.abc import Sequence

from scone_preload.errors import InternalError


class SpecError(InternalError):
    """The spec breaks its own rules; `problems` lists the lines (parse.Problem)."""

    def __init__(self, problems: Sequence[object]) -> None:
        super().__init__("the syscall spec is wrong", "\n".join(map(str, problems)), "correct these lines")
        self.problems = tuple(problems)
