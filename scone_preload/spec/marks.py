"""What the decorators of a row mean."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from scone_preload.spec.model import CallFlag, Exit, Restart, Route
from scone_preload.spec.parse import Expr, Mark
from scone_preload.spec.predicates import PREDICATES
from scone_preload.spec.types import BadType

FLAGS = {
    "renews_helper": CallFlag.RENEWS_HELPER,
    "blocks": CallFlag.MAY_BLOCK,
    "new_fd": CallFlag.NEW_FD,
    "msg_trunc": CallFlag.MSG_TRUNC,
    "size_query": CallFlag.SIZE_QUERY,
}
ROUTES = {"inside": Route.INSIDE, "runtime": Route.RUNTIME, "host": Route.HOST}
EXITS = {"gate": Exit.GATE, "any": Exit.ANY}


@dataclass(frozen=True, slots=True)
class Meaning:
    """All decorators of a row together; a later one overrides an earlier one of its kind."""

    route: Route | None = None
    exit: Exit = Exit.GATE
    deny_reason: str = ""
    deny_errno: str = ""
    errnos: tuple[str, ...] = ()
    restart: Restart = Restart.NEVER
    handler: bool = False
    predicate: str = ""
    flags: frozenset[CallFlag] = field(default_factory=frozenset)


def meaning_of(marks: Sequence[Mark]) -> Meaning:
    """What a row's decorators say; raises BadType."""
    meaning = Meaning()
    for mark in marks:
        meaning = _apply(meaning, mark)
    return meaning


def _apply(meaning: Meaning, mark: Mark) -> Meaning:
    if mark.name == "deny":
        return _deny(meaning, mark)
    if mark.name == "errno":
        names = tuple(one.name for one in mark.arguments if isinstance(one, Expr))
        return replace(meaning, errnos=names)
    if mark.name == "believe":
        return replace(meaning, predicate=_predicate(mark))
    if mark.arguments:
        raise BadType(f"@{mark.name} takes no arguments")
    if mark.name in ROUTES:
        return _route(meaning, mark)
    if mark.options:
        raise BadType(f"@{mark.name} takes no options")
    if mark.name == "handler":
        return replace(meaning, handler=True)
    if mark.name == "restarts":
        return replace(meaning, restart=Restart.SA, flags=meaning.flags | {CallFlag.MAY_BLOCK})
    if mark.name in FLAGS:
        return replace(meaning, flags=meaning.flags | {FLAGS[mark.name]})
    raise BadType(f"unknown decorator @{mark.name}")


def _route(meaning: Meaning, mark: Mark) -> Meaning:
    route = ROUTES[mark.name]
    options = dict(mark.options)
    way = options.pop("exit", "any" if route is Route.HOST else "gate")
    if options or way not in EXITS or (route is not Route.HOST and mark.options):
        raise BadType(f'@{mark.name} takes nothing but, if it is @host, exit="gate"')
    return replace(meaning, route=route, exit=EXITS[way])


def _predicate(mark: Mark) -> str:
    names = [one.name for one in mark.arguments if isinstance(one, Expr)]
    if len(names) != 1 or len(mark.arguments) != 1 or mark.options:
        raise BadType("@believe takes the name of one predicate")
    if names[0] not in PREDICATES:
        raise BadType(f"unknown predicate {names[0]}")
    return names[0]


def _deny(meaning: Meaning, mark: Mark) -> Meaning:
    if len(mark.arguments) != 2 or mark.options:
        raise BadType('denied rows say @deny("reason", "ERRNO")')
    reason, errno = mark.arguments
    if not isinstance(reason, str) or not isinstance(errno, str) or not reason:
        raise BadType('denied rows say @deny("reason", "ERRNO")')
    return replace(meaning, route=Route.DENY, exit=Exit.GATE, deny_reason=reason, deny_errno=errno)
