"""The rules of the spec: each a function that returns the lines that break it."""

from collections import Counter
from collections.abc import Callable, Iterator

from scone_preload.spec.build import MAX_ERRNO, Sources, errnos_for, errnos_of, flags_of, key_of, numbers_of, struct_of
from scone_preload.spec.marks import Meaning, meaning_of
from scone_preload.spec.model import ArgKind, CallFlag, Exit, ResultKind, Route, Struct
from scone_preload.spec.parse import Problem, Row
from scone_preload.spec.types import COUNTED, PLAIN, BadType, arg_of, result_of

CALL_COUNT = 512
MAX_ARGUMENTS = 6
POINTERS_ONLY_BY_GATE = frozenset({ArgKind.ADDRESS, ArgKind.PATH_ARRAY, ArgKind.MSGS_IN, ArgKind.MSGS_OUT})


def check(sources: Sources) -> tuple[Problem, ...]:
    """All problems, in file and line order; empty when build() is safe."""
    found = [problem for rule in RULES for problem in rule(sources)]
    return tuple(sorted(set(found), key=lambda problem: (problem.where.file, problem.where.line, problem.message)))


def rows(sources: Sources) -> tuple[Row, ...]:
    """Every row, of calls and tables."""
    return sources.call_rows() + sources.table_rows()


def known_structs(sources: Sources) -> dict[str, Struct]:
    """The structs that are right."""
    structs: dict[str, Struct] = {}
    for block in sources.structs:
        try:
            structs[block.name] = struct_of(block, structs)
        except BadType:
            continue
    return structs


def known_meaning(row: Row) -> Meaning:
    """What the row's decorators say, or nothing if they are wrong."""
    try:
        return meaning_of(row.marks)
    except BadType:
        return Meaning(route=Route.INSIDE, errnos=("COMMON",))


def every_name_has_one_number(sources: Sources) -> Iterator[Problem]:
    constants = [one for block in sources.numbers for one in block.constants]
    values = Counter(one.value for one in constants)
    names = Counter(one.name for one in constants)
    for one in constants:
        if values[one.value] > 1:
            yield Problem(one.where, f"duplicate number {one.value}")
        if names[one.name] > 1:
            yield Problem(one.where, f"duplicate name {one.name}")
        if not 0 <= one.value < CALL_COUNT:
            yield Problem(one.where, f"number {one.value} is outside of 0..{CALL_COUNT - 1}")


def every_call_has_a_number(sources: Sources) -> Iterator[Problem]:
    numbers = numbers_of(sources.numbers)
    for row in sources.call_rows():
        if row.name not in numbers:
            yield Problem(row.where, f"{row.name} has no number")


def every_number_has_a_row(sources: Sources) -> Iterator[Problem]:
    present = {row.name for row in sources.call_rows()}
    for block in sources.numbers:
        for one in block.constants:
            if one.name not in present:
                yield Problem(one.where, f"{one.name} has no row")


def no_call_is_described_twice(sources: Sources) -> Iterator[Problem]:
    seen: set[str] = set()
    for row in sources.call_rows():
        if row.name in seen:
            yield Problem(row.where, f"duplicate row {row.name}")
        seen.add(row.name)


def commands_have_distinct_numbers(sources: Sources) -> Iterator[Problem]:
    for blocks in sources.tables.values():
        seen: set[int] = set()
        for row in (row for block in blocks for row in block.rows):
            key = key_of(row.params)
            if key is None:
                yield Problem(row.where, f"command {row.name} has no number")
                continue
            if key in seen:
                yield Problem(row.where, f"duplicate command {key:#x}")
            seen.add(key)


def at_most_six_arguments(sources: Sources) -> Iterator[Problem]:
    for row in rows(sources):
        if len(row.params) > MAX_ARGUMENTS:
            yield Problem(row.where, f"{len(row.params)} arguments, there are {MAX_ARGUMENTS} registers")


def argument_names_differ(sources: Sources) -> Iterator[Problem]:
    for row in rows(sources):
        for name, count in Counter(param.name for param in row.params).items():
            if count > 1:
                yield Problem(row.where, f"duplicate argument {name}")


def argument_types_are_known(sources: Sources) -> Iterator[Problem]:
    structs, flags = known_structs(sources), flags_of(sources.flags)
    for row in rows(sources):
        for param in row.params:
            if not param.type.name:
                continue
            try:
                arg_of(param, row.params, structs, flags)
            except BadType as error:
                yield Problem(row.where, f"{param.name}: {error}")


def plain_calls_have_no_number_as_type(sources: Sources) -> Iterator[Problem]:
    for row in sources.call_rows():
        if key_of(row.params) is not None:
            yield Problem(row.where, "a number as a type belongs in a command table")


def results_are_known(sources: Sources) -> Iterator[Problem]:
    for row in rows(sources):
        if row.result is None:
            yield Problem(row.where, f"{row.name} says nothing of its result")
            continue
        try:
            result_of(row.result, row.result_source, row.params)
        except BadType as error:
            yield Problem(row.where, str(error))


def counts_are_plain_numbers(sources: Sources) -> Iterator[Problem]:
    pointers = frozenset({"out_sized", "out_sockaddr"})
    for row in rows(sources):
        types = {param.name: param.type for param in row.params}
        for param in row.params:
            counter = types.get(param.type.words[0]) if param.type.words else None
            if counter is None or param.type.name in ("flags", "one"):
                continue
            is_socklen = counter.name == "inout" and counter.words == ("socklen",)
            if (param.type.name in pointers) != is_socklen:
                need = "an inout[socklen]" if param.type.name in pointers else "a number"
                yield Problem(row.where, f"{param.name}: what counts it must be {need}")
            elif not is_socklen and counter.name not in ("int", "uint", "long", "ulong", "size", "address"):
                yield Problem(row.where, f"{param.name}: what counts it must be a number")


def filled_buffers_have_a_bound(sources: Sources) -> Iterator[Problem]:
    """A bounded result names the count of an out buffer, or a vector: otherwise nobody could copy it back."""
    for row in sources.call_rows():
        if row.result is None or not row.result.words or known_meaning(row).route is Route.DENY:
            continue
        bound = row.result.words[0]
        types = {param.name: param.type for param in row.params}
        if bound not in types:
            continue
        vectors = ("iovec_in", "iovec_out", "msg_in", "msg_out")
        if (row.result.name == "at_most_sum") != (types[bound].name in vectors):
            yield Problem(row.where, f"{row.result.name} can't be bounded by {bound}: {types[bound].name}")
        outs = [one for one in row.params if one.type.name == "out" and one.type.words[0] in types]
        if any(bound not in one.type.words for one in outs):
            yield Problem(row.where, f"the result is bounded by {bound}, which doesn't count the out buffer")


def out_buffers_have_a_result_rule(sources: Sources) -> Iterator[Problem]:
    """A call that fills a counted buffer through the ring must say how much of it a result makes valid."""
    for row in sources.call_rows():
        meaning = known_meaning(row)
        if meaning.route is not Route.HOST or meaning.exit is not Exit.ANY or row.result is None:
            continue
        names = {param.name for param in row.params}
        fills = any(one.type.name == "out" and one.type.words and one.type.words[0] in names for one in row.params)
        if fills and row.result.name == "any":
            yield Problem(row.where, "fills a counted buffer, but its result says nothing of how much")


def decorators_are_known(sources: Sources) -> Iterator[Problem]:
    for row in rows(sources):
        try:
            meaning = meaning_of(row.marks)
        except BadType as error:
            yield Problem(row.where, str(error))
            continue
        if meaning.route is None:
            yield Problem(row.where, f"{row.name} has no route")


def errnos_are_known(sources: Sources) -> Iterator[Problem]:
    numbers, sets = errnos_of(sources.errnos)
    for row in rows(sources):
        meaning = known_meaning(row)
        try:
            errnos = errnos_for(meaning, numbers, sets)
        except BadType as error:
            yield Problem(row.where, str(error))
            continue
        if not errnos:
            yield Problem(row.where, f"{row.name} has no errno set")


def errno_numbers_fit(sources: Sources) -> Iterator[Problem]:
    for block in sources.errnos:
        for one in block.constants:
            if not one.members and not 0 < one.value <= MAX_ERRNO:
                yield Problem(one.where, f"{one.name} is outside of 1..{MAX_ERRNO}")


def pointers_take_the_gate(sources: Sources) -> Iterator[Problem]:
    """The helper has none of the program's memory, so what the kernel uses in place can't leave by the ring."""
    for row in rows(sources):
        meaning = known_meaning(row)
        if meaning.route is not Route.HOST or meaning.exit is not Exit.ANY:
            continue
        for param in row.params:
            if (PLAIN | COUNTED).get(param.type.name) in POINTERS_ONLY_BY_GATE:
                what = "an address" if param.type.name in PLAIN else "an array of addresses"
                yield Problem(row.where, f'{param.name} is {what}, so the row needs @host(exit="gate")')


def special_results_fit_their_calls(sources: Sources) -> Iterator[Problem]:
    bounded = ResultKind.AT_MOST, ResultKind.AT_MOST_SUM, ResultKind.COUNT
    for row in sources.call_rows():
        flags = known_meaning(row).flags
        if row.result is None or not flags & {CallFlag.MSG_TRUNC, CallFlag.SIZE_QUERY}:
            continue
        if row.result.name not in {kind.name.lower() for kind in bounded}:
            yield Problem(row.where, "@msg_trunc and @size_query loosen a bounded result; this one has no bound")


def predicates_judge_replies_of_the_host(sources: Sources) -> Iterator[Problem]:
    """Nothing else is checked; and a command has the predicate of its call."""
    for row in sources.call_rows():
        meaning = known_meaning(row)
        if meaning.predicate and meaning.route is not Route.HOST:
            yield Problem(row.where, "@believe is for rows with @host: no other reply is checked")
    for row in sources.table_rows():
        if known_meaning(row).predicate:
            yield Problem(row.where, "a command has no predicate of its own: its call has")


def commands_count_nothing(sources: Sources) -> Iterator[Problem]:
    """What bounds a command's result is its own argument, a number, and nothing else."""
    for row in sources.table_rows():
        if row.result is not None and row.result.name in ("at_most", "at_most_sum", "count"):
            yield Problem(row.where, f"a command can't give {row.result.name}: nothing counts its memory")


def structs_are_laid_out(sources: Sources) -> Iterator[Problem]:
    structs: dict[str, Struct] = {}
    for block in sources.structs:
        if block.name in structs:
            yield Problem(block.where, f"duplicate struct {block.name}")
        if not block.fields:
            yield Problem(block.where, f"struct {block.name} has no fields")
            continue
        try:
            structs[block.name] = struct_of(block, structs)
        except BadType as error:
            yield Problem(block.where, str(error))
            continue
        if not any(mark.name == "packed" for mark in block.marks):
            yield from (Problem(block.where, message) for message in _padding(structs[block.name]))


def _padding(struct: Struct) -> Iterator[str]:
    widths = [field.size for field in struct.fields if field.scalar]
    for field in struct.fields:
        if field.scalar and field.offset % field.size:
            yield f"implicit padding before {field.name}: write it out"
    if widths and struct.size % max(widths):
        yield f"implicit padding at the end of {struct.name}: write it out"


RULES: tuple[Callable[[Sources], Iterator[Problem]], ...] = (
    every_name_has_one_number,
    every_call_has_a_number,
    every_number_has_a_row,
    no_call_is_described_twice,
    commands_have_distinct_numbers,
    at_most_six_arguments,
    argument_names_differ,
    argument_types_are_known,
    plain_calls_have_no_number_as_type,
    results_are_known,
    counts_are_plain_numbers,
    filled_buffers_have_a_bound,
    out_buffers_have_a_result_rule,
    decorators_are_known,
    errnos_are_known,
    errno_numbers_fit,
    pointers_take_the_gate,
    special_results_fit_their_calls,
    predicates_judge_replies_of_the_host,
    commands_count_nothing,
    structs_are_laid_out,
)
