"""Fields of specifications by their dotted paths: what type they have, which of them a pattern names, and how to set them."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from genz.errors import GenZError, InvalidValueError, UnitError, nearest, shown
from genz.specs.base import spec_error
from genz.specs.hardware import Chip
from genz.units import Dimension

T = TypeVar("T", bound=BaseModel)
EVERY = "*"
# The level that holds weights and cache goes by many names.
MAIN_MEMORY = "main_memory"


@dataclass(frozen=True)
class Declared:
    """The declared type of a field, with the dimension of its quantity where it has one."""

    annotation: Any
    dimension: Dimension | None

    @property
    def is_number(self) -> bool:
        """Whether it is a figure, which formulas take as an array; all else is structure."""
        return _plain(self.annotation) is float

    def read(self, value: Any, *, name: str, needs_unit: bool) -> Any:
        """A value as the field holds it, in SI. Raises `UnitError` or `InvalidValueError`."""
        try:
            return TypeAdapter(self.annotation).validate_python(value, context={"from_file": needs_unit})
        except ValidationError as error:
            raise _unreadable(error, name, value) from None


def _unreadable(error: ValidationError, name: str, value: Any) -> InvalidValueError:
    report = error.errors()[0]
    cause = getattr(report.get("ctx", {}).get("error"), "__cause__", None)
    if isinstance(cause, UnitError):
        problem = cause.message.removeprefix(f"{cause.field}: ")
        return UnitError(f"{name}: {problem}", field=name, value=value, allowed=cause.allowed, hint=cause.hint)
    allowed = report["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return InvalidValueError(f"{name}: {shown(value)} is not allowed", field=name, value=value, allowed=allowed)


def declared(root: type[BaseModel], path: str, *, name: str) -> Declared:
    """The type of the field that a path leads to from a kind of specification.

    Keys of mappings are taken at their word here; `expand` holds them against a specification. Raises
    `InvalidValueError` with the nearest field where there is none.
    """
    annotation: Any = root
    for part in path.split("."):
        annotation = _inside(_plain(annotation, keep=True), part, name)
    return Declared(annotation, _dimension(annotation))


def _inside(annotation: Any, part: str, name: str) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation is Chip and part == MAIN_MEMORY:
            return Annotated[next(iter(get_args(Chip.model_fields["memory"].annotation)[1:])), ()]
        fields = {key: field for key, field in annotation.model_fields.items() if key != "provenance"}
        if part not in fields:
            raise _no_such(name, part, [*fields, *([MAIN_MEMORY] if annotation is Chip else [])])
        found = fields[part]
        return Annotated[(found.annotation, *found.metadata)] if found.metadata else found.annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict:
        return arguments[1]
    if origin is tuple and (part == EVERY or part.isdigit()):
        return arguments[0]
    raise _no_such(name, part, [])


def _plain(annotation: Any, *, keep: bool = False) -> Any:
    """A type without None and, unless they are to be kept, without its constraints."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0], keep=keep)
    if get_origin(annotation) in (Union, types.UnionType):
        (only, *others) = [argument for argument in get_args(annotation) if argument is not type(None)]
        return annotation if others else _plain(only, keep=keep)
    return annotation


def _dimension(annotation: Any) -> Dimension | None:
    for argument in (*getattr(annotation, "__metadata__", ()), *get_args(annotation)):
        found = argument if isinstance(argument, Dimension) else _dimension(argument)
        if found is not None:
            return found
    return None


def expand(spec: BaseModel, path: str, *, name: str) -> list[str]:
    """The paths in a specification that a pattern names: `*` is every key, `main_memory` the first level of memory.

    Raises `InvalidValueError` where the specification has none.
    """
    found: list[tuple[str, Any]] = [("", spec)]
    for part in path.split("."):
        found = [
            (f"{before}.{key}" if before else key, inner) for before, node in found for key, inner in _step(node, part, name)
        ]
    return [concrete for concrete, _ in found]


def _step(node: Any, part: str, name: str) -> list[tuple[str, Any]]:
    if isinstance(node, Chip) and part == MAIN_MEMORY:
        first = next(iter(node.memory))
        return [(f"memory.{first}", node.memory[first])]
    keys = _keys(node)
    if part == EVERY and keys and not isinstance(node, BaseModel):
        return list(keys.items())
    if part not in keys:
        raise _no_such(name, part, list(keys))
    return [(part, keys[part])]


def _keys(node: Any) -> dict[str, Any]:
    if isinstance(node, BaseModel):
        return {key: getattr(node, key) for key in type(node).model_fields}
    if isinstance(node, dict):
        return node
    return {str(index): inner for index, inner in enumerate(node)} if isinstance(node, tuple) else {}


def value_at(spec: BaseModel, path: str) -> Any:
    """What stands at a path that `expand` gave."""
    node: Any = spec
    for part in path.split("."):
        node = _keys(node)[part]
    return node


def replaced(spec: T, path: str, value: Any, *, name: str) -> T:
    """The specification with another value in a field, validated anew from there to its root.

    Raises `SpecError` where the others do not agree with it.
    """
    try:
        return _rebuilt(spec, path.split("."), value)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise spec_error(error, type(spec), name) from None


def _rebuilt(node: Any, parts: list[str], value: Any) -> Any:
    if not parts:
        return value
    head, rest = parts[0], parts[1:]
    inner = _rebuilt(_keys(node)[head], rest, value)
    if isinstance(node, BaseModel):
        return type(node).model_validate({**_keys(node), head: inner})
    if isinstance(node, tuple):
        return (*node[: int(head)], inner, *node[int(head) + 1 :])
    return {**node, head: inner}


def disagreements(spec: BaseModel, parent: str, changed: dict[str, float]) -> str | None:
    """Why a part of a specification would not allow some of its figures to be changed so; None where it does."""
    part = value_at(spec, parent) if parent else spec
    try:
        type(part).model_validate({**_keys(part), **changed})
    except ValidationError as error:
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return None


def is_ruled(spec: BaseModel, parent: str) -> bool:
    """Whether a part of a specification holds its fields against each other."""
    part = value_at(spec, parent) if parent else spec
    return isinstance(part, BaseModel) and bool(type(part).__pydantic_decorators__.model_validators)


def _no_such(name: str, part: str, known: list[str]) -> GenZError:
    close = nearest(part, known)
    return InvalidValueError(
        f"there is no field {name!r}: {part!r} is not found",
        field=name,
        value=part,
        allowed=", ".join(known) or None,
        hint=f"did you mean {close[0]!r}?" if close else None,
    )
