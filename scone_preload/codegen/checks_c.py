"""check_<struct>() for each struct whose fields the spec bounds: C that says whether a host's bytes are believable."""

from collections.abc import Iterator

from scone_preload.spec.model import Check, Field, Spec, Struct

LOADERS = """\
static inline uint8_t get_u8(const uint8_t *at)
{
	return *at;
}
"""

LOADER = """\
static inline {type} get_{short}(const uint8_t *at)
{{
	{type} value;

	__builtin_memcpy(&value, at, sizeof(value));
	return value;
}}
"""

HAS_END = """\
static int has_end(const uint8_t *at, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		if (at[i] == 0)
			return 1;
	}
	return 0;
}
"""


def checked_structs(spec: Spec) -> list[Struct]:
    """The structs that get a check function, in spec order."""
    return [struct for struct in spec.structs.values() if struct.checked]


def prototypes(spec: Spec) -> str:
    """The declarations of all check functions."""
    return "".join(f"int check_{struct.name}(const void *bytes);\n" for struct in checked_structs(spec))


def sizes(spec: Spec) -> str:
    """An enum of the sizes of all structs, in bytes."""
    lines = [f"\tSIZE_{struct.name} = {struct.size},\n" for struct in spec.structs.values()]
    return "enum {\n" + "".join(lines) + "};\n"


def functions(spec: Spec) -> str:
    """The loaders and all check functions."""
    shorts = [("u", 16), ("u", 32), ("u", 64), ("i", 8), ("i", 16), ("i", 32), ("i", 64)]
    loaders = [LOADERS]
    for letter, bits in shorts:
        c_type = f"{'u' if letter == 'u' else ''}int{bits}_t"
        loaders.append(LOADER.format(type=c_type, short=f"{letter}{bits}"))
    return "\n".join([*loaders, HAS_END, *map(_function, checked_structs(spec))])


def _function(struct: Struct) -> str:
    body = "".join(_statements(struct))
    return f"int check_{struct.name}(const void *bytes)\n{{\n\tconst uint8_t *at = bytes;\n\n{body}\treturn 1;\n}}\n"


def _statements(struct: Struct) -> Iterator[str]:
    for field in struct.fields:
        conditions = list(_refused_if(field))
        if conditions:
            yield f"\tif ({' || '.join(conditions)})\n\t\treturn 0;\t/* {field.name} */\n"


def _refused_if(field: Field) -> Iterator[str]:
    bits = 8 * field.size
    value = f"get_{'i' if field.signed else 'u'}{bits}(at + {field.offset})"
    if field.check is Check.TEXT:
        yield f"!has_end(at + {field.offset}, {field.size})"
    if field.check is Check.BITS:
        yield f"{value} & ~{_constant(field.high, field)}"
    if field.check is Check.RANGE:
        lowest = -(1 << bits - 1) if field.signed else 0
        highest = (1 << bits - 1) - 1 if field.signed else (1 << bits) - 1
        if field.low > lowest:
            yield f"{value} < {_constant(field.low, field)}"
        if field.high < highest:
            yield f"{value} > {_constant(field.high, field)}"


def _constant(value: int, field: Field) -> str:
    kind = f"{'' if field.signed else 'U'}INT{64 if field.size == 8 else 32}_C"
    return f"{kind}({value:#x})" if value > 65535 else f"{kind}({value})"
