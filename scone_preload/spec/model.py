"""The spec as data: what each syscall sends over the boundary, and what is believed of the reply."""

from enum import StrEnum

from scone_preload.frozen import Frozen


class Route(StrEnum):
    """Who serves a call; the value is the C name."""

    DENY = "ROUTE_DENY"
    INSIDE = "ROUTE_INSIDE"
    RUNTIME = "ROUTE_RUNTIME"
    HOST = "ROUTE_HOST"


class Exit(StrEnum):
    """How a call leaves the enclave; the value is the C name."""

    GATE = "EXIT_GATE"
    ANY = "EXIT_ANY"


class ResultKind(StrEnum):
    """What a non-negative result may be; the value is the C name."""

    ANY = "RESULT_ANY"
    ZERO = "RESULT_ZERO"
    AT_MOST = "RESULT_AT_MOST"
    AT_MOST_SUM = "RESULT_AT_MOST_SUM"
    COUNT = "RESULT_COUNT"
    FD = "RESULT_FD"
    PID = "RESULT_PID"
    OFFSET = "RESULT_OFFSET"
    ADDRESS = "RESULT_ADDRESS"
    NEVER = "RESULT_NEVER"
    EXACTLY = "RESULT_EXACTLY"
    AT_LEAST = "RESULT_AT_LEAST"
    OWNER = "RESULT_OWNER"


class Restart(StrEnum):
    """What an interrupted call does; the value is the C name."""

    NEVER = "RESTART_NEVER"
    SA = "RESTART_SA"


class CallFlag(StrEnum):
    """A property of a call; the value is the C name."""

    RENEWS_HELPER = "CALL_RENEWS_HELPER"
    MAY_BLOCK = "CALL_MAY_BLOCK"
    NEW_FD = "CALL_NEW_FD"
    NEVER_RETURNS = "CALL_NEVER_RETURNS"
    MSG_TRUNC = "CALL_MSG_TRUNC"
    SIZE_QUERY = "CALL_SIZE_QUERY"


class ArgKind(StrEnum):
    """What an argument is and which way it flows; the value is the C name."""

    NONE = "ARG_NONE"
    VALUE = "ARG_VALUE"
    FD = "ARG_FD"
    PATH = "ARG_PATH"
    IN = "ARG_IN"
    OUT = "ARG_OUT"
    INOUT = "ARG_INOUT"
    IN_STRUCT = "ARG_IN_STRUCT"
    OUT_STRUCT = "ARG_OUT_STRUCT"
    INOUT_STRUCT = "ARG_INOUT_STRUCT"
    IN_SOCKADDR = "ARG_IN_SOCKADDR"
    OUT_SOCKADDR = "ARG_OUT_SOCKADDR"
    SOCKLEN = "ARG_SOCKLEN"
    OUT_SIZED = "ARG_OUT_SIZED"
    IOVEC_IN = "ARG_IOVEC_IN"
    IOVEC_OUT = "ARG_IOVEC_OUT"
    MSG_IN = "ARG_MSG_IN"
    MSG_OUT = "ARG_MSG_OUT"
    MSGS_IN = "ARG_MSGS_IN"
    MSGS_OUT = "ARG_MSGS_OUT"
    ADDRESS = "ARG_ADDRESS"
    FDSET = "ARG_FDSET"
    PATH_ARRAY = "ARG_PATH_ARRAY"


class Check(StrEnum):
    """How a reply field is judged."""

    NOTHING = "nothing"
    RANGE = "range"
    BITS = "bits"
    TEXT = "text"


class Field(Frozen, kw_only=True):
    """One scalar, text or opaque run of bytes at `offset` bytes; `low..high` or the mask `high` is what's believed."""

    name: str
    offset: int
    size: int
    signed: bool
    scalar: bool
    check: Check
    low: int
    high: int


class Struct(Frozen):
    """A structure that crosses, nested ones flattened into dotted fields; `size` in bytes."""

    name: str
    size: int
    fields: tuple[Field, ...]

    @property
    def checked(self) -> bool:
        """Whether any field's value could be refused."""
        return any(field.check is not Check.NOTHING for field in self.fields)


class Arg(Frozen, kw_only=True):
    """One argument. `size_arg` is the index of the argument that counts it; `names` the flag table that prints it;
    `back` the only field that comes back of its structs, if not all of them does."""

    name: str
    kind: ArgKind
    source: str
    size_arg: int = 0
    size: int = 0
    struct: Struct | None = None
    back: Field | None = None
    style: str = ""
    names: str = ""

    @property
    def is_path(self) -> bool:
        """Whether it names a file."""
        return self.kind is ArgKind.PATH and self.style != "name"

    @property
    def checked_struct(self) -> Struct | None:
        """The structure whose fields are checked when the host fills it in, if there is one."""
        fills = self.kind in FILLED_BY_HOST and self.struct is not None and self.struct.checked
        return self.struct if fills else None

    @property
    def is_checked_in_place(self) -> bool:
        """Whether what the kernel has filled in is checked besides the result: an address's size, fields."""
        return self.kind is ArgKind.OUT_SOCKADDR or self.checked_struct is not None


FILLED_BY_HOST = frozenset({ArgKind.OUT, ArgKind.INOUT, ArgKind.OUT_STRUCT, ArgKind.INOUT_STRUCT})


class Result(Frozen):
    """What a non-negative result may be; `arg` is the index of the argument that bounds it."""

    kind: ResultKind
    arg: int
    source: str


class Call(Frozen, kw_only=True):
    """One syscall, or one command of a multiplexer (then `nr` is the command's number). `predicate` is the name of the
    C function that judges what no range can say; empty: none."""

    name: str
    nr: int
    route: Route
    exit: Exit
    args: tuple[Arg, ...]
    result: Result
    errnos: frozenset[int]
    errno_source: str
    restart: Restart
    flags: frozenset[CallFlag]
    handler: bool
    deny_errno: int
    deny_reason: str
    predicate: str
    group: str
    note: str

    @property
    def checked_args(self) -> int:
        """Bit i: what the kernel writes straight into the program by argument i is checked afterwards."""
        return sum(1 << index for index, arg in enumerate(self.args) if arg.is_checked_in_place)


class Spec(Frozen):
    """All of it: calls by number, structs and errno sets by name, command tables by multiplexer."""

    calls: tuple[Call, ...]
    tables: dict[str, tuple[Call, ...]]
    structs: dict[str, Struct]
    errno_numbers: dict[str, int]
    errno_sets: dict[str, frozenset[int]]
    flag_names: dict[str, dict[str, int]]
