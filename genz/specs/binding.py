"""Put arrays or symbols in the place of a spec's numbers.

`bind(platform, {"chip.memory.hbm.bandwidth": values})` returns the same kind of frozen spec, with
the figure replaced and every other one shared. Arrays are checked against the field's own
constraints, element by element; symbols are taken at their word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from genz.dual import Dual, value_of
from genz.errors import InvalidValueError, nearest, shown
from genz.numerics import is_symbolic

T = TypeVar("T", bound=BaseModel)


def bind(spec: T, values: Mapping[str, Any]) -> T:
    """Replace figures of a spec by numbers, arrays or symbols.

    `values` maps dotted paths (through fields, dictionary keys and tuple indices) to the new
    figure, in SI units. Raises `InvalidValueError` for a path that is not there, a leaf that is not
    a figure, or a value outside of the field's constraints.
    """
    bound = spec
    for path, value in values.items():
        bound = _replace(bound, str(path).split("."), value, str(path), None)
    return bound


def _replace(node: Any, parts: list[str], value: Any, path: str, field: FieldInfo | None) -> Any:
    if not parts:
        return _checked(node, value, path, field)
    head, rest = parts[0], parts[1:]
    if isinstance(node, BaseModel):
        fields = type(node).model_fields
        if head not in fields:
            raise _no_such(path, head, list(fields))
        replaced = _replace(getattr(node, head), rest, value, path, fields[head])
        return node.model_copy(update={head: replaced})
    if isinstance(node, dict):
        if head not in node:
            raise _no_such(path, head, list(node))
        return {**node, head: _replace(node[head], rest, value, path, field)}
    if isinstance(node, tuple):
        if not head.isdigit() or int(head) >= len(node):
            raise _no_such(path, head, [str(i) for i in range(len(node))])
        index = int(head)
        return (*node[:index], _replace(node[index], rest, value, path, field), *node[index + 1 :])
    raise _no_such(path, head, [])


def _no_such(path: str, part: str, known: list[str]) -> InvalidValueError:
    close = nearest(part, known)
    return InvalidValueError(
        f"there is no figure {path!r}: {part!r} is not found",
        field=path,
        value=part,
        allowed=", ".join(known) or None,
        hint=f"did you mean {close[0]!r}?" if close else None,
    )


def _checked(old: Any, value: Any, path: str, field: FieldInfo | None) -> Any:
    if not _is_figure(old, field):
        inside = list(type(old).model_fields) if isinstance(old, BaseModel) else list(old) if isinstance(old, dict) else []
        allowed = f"a figure inside of it: {', '.join(inside)}" if inside else "the path of a figure"
        raise InvalidValueError(f"{path!r} is not a figure", field=path, value=value, allowed=allowed)
    if is_symbolic(value):
        return value
    array = _numbers(value_of(value), path)
    for description, holds in _constraints(field):
        if not bool(np.all(holds(array))):
            raise InvalidValueError(
                f"{path}: {shown(value)} is not allowed, every value must be {description}",
                field=path,
                value=value,
                allowed=description,
            )
    if array.ndim:
        return array
    if isinstance(value, Dual):
        return value
    return int(array) if _takes(int, field) else float(array)


def _is_figure(old: Any, field: FieldInfo | None) -> bool:
    if old is None:
        return _takes(float, field) or _takes(int, field)
    return not isinstance(old, bool) and (isinstance(old, (int, float, np.ndarray, Dual)) or is_symbolic(old))


def _numbers(value: Any, path: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        raise InvalidValueError(
            f"{path}: {shown(value)} is not a number or an array of numbers",
            field=path,
            value=value,
            allowed="a number, an array of numbers or a symbol, in SI units",
        )
    return array.astype(float)


def _takes(kind: type, field: FieldInfo | None) -> bool:
    """Whether a field, or what it maps names to, is declared as a number of this kind."""
    pending = [field.annotation] if field else []
    while pending:
        annotation = pending.pop()
        if annotation is kind:
            return True
        pending += list(getattr(annotation, "__args__", ()))
    return False


def _constraints(field: FieldInfo | None) -> list[tuple[str, Any]]:
    checks: list[tuple[str, Any]] = [("finite", np.isfinite)]
    if _takes(int, field):
        checks.append(("a whole number", lambda a: a % 1 == 0))
    for constraint in metadata_of(field):
        for name, symbol, compare in (("gt", ">", np.greater), ("ge", ">=", np.greater_equal), ("le", "<=", np.less_equal)):
            bound = getattr(constraint, name, None)
            if bound is not None:
                checks.append((f"{symbol} {bound}", lambda a, b=bound, f=compare: f(a, b)))
    return checks


def metadata_of(field: FieldInfo | None) -> list[Any]:
    """The constraints of a field, or of the figures that it maps names to, or may be."""
    if field is None:
        return []
    found = list(field.metadata)
    pending = [field.annotation]
    while pending:
        annotation = pending.pop()
        for item in getattr(annotation, "__metadata__", ()):
            found += item.metadata if isinstance(item, FieldInfo) else [item]
        pending += list(getattr(annotation, "__args__", ()))
    return found
