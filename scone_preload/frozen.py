"""Frozen values with named fields, for what the runtime host imports at each start.

As `dataclass(frozen=True)`, which costs 13 ms to import and nearly 1 ms a class: with the host's 45 classes, that was
half of what the first exec waits for. Type checkers take both for the same.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self, dataclass_transform
else:

    def dataclass_transform(**_: object):  # `typing` costs 7 ms
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Frozen:
    """A subclass's annotations are its fields, in order; what the class gives them are defaults."""

    _fields: tuple[str, ...] = ()
    _named_only = False

    def __init_subclass__(cls, *, kw_only: bool = False) -> None:
        cls._fields = tuple(cls.__annotations__)
        cls.__match_args__ = cls._fields  # type: ignore[attr-defined, misc]  # it takes this for a dataclass's own
        cls._named_only = kw_only

    def __init__(self, *values: object, **named: object) -> None:
        cls, fields = type(self), self._fields
        if len(values) > (0 if cls._named_only else len(fields)):
            raise TypeError(f"{cls.__name__} takes {fields} by name" if cls._named_only else f"too many for {fields}")
        given = dict(zip(fields, values, strict=False))
        unknown = [name for name in named if name not in fields or name in given]
        given |= named
        missing = [name for name in fields if name not in given and not hasattr(cls, name)]
        if unknown or missing:
            raise TypeError(f"{cls.__name__}: unknown or twice {unknown}, missing {missing}")
        self.__dict__.update(given)

    def replaced(self, **changes: object) -> "Self":
        """Return the same with these fields changed."""
        return type(self)(**dict(zip(self._fields, self._values(), strict=True)) | changes)

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self._fields)

    def _compared(self) -> tuple[object, ...]:
        """What makes two of them equal: the first so many fields, all if no subclass says otherwise."""
        return self._values()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frozen) and type(other) is type(self) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def __repr__(self) -> str:
        fields = zip(self._fields, self._compared(), strict=False)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def __setattr__(self, name: str, _: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} can't be changed")
