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

from genz.errors import InvalidValueError, nearest
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
        bound = _replace(bound, path.split("."), value, path, None)
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
        return (*node[:index], _replace(node[index], rest, value, path, None), *node[index + 1 :])
    raise _no_such(path, head, [])


def _no_such(path: str, part: str, known: list[str]) -> InvalidValueError:
    close = nearest(part, known)
    return InvalidValueError(
        f"there is no figure {path!r}: {part!r} is not found",
        field=path, value=part, allowed=", ".join(known) or None,
        hint=f"did you mean {close[0]!r}?" if close else None,
    )  # fmt: skip


def _checked(old: Any, value: Any, path: str, field: FieldInfo | None) -> Any:
    if isinstance(old, (BaseModel, dict, tuple, str, bool)):
        raise InvalidValueError(f"{path!r} is not a figure", field=path, value=value)
    if is_symbolic(value):
        return value
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InvalidValueError(f"{path}: {value!r} is not a number or an array of numbers", field=path, value=value) from None
    for description, holds in _constraints(field):
        if not bool(np.all(holds(array))):
            raise InvalidValueError(f"{path}: every value must be {description}", field=path, value=value, allowed=description)
    return value if array.ndim else float(array)


def _constraints(field: FieldInfo | None) -> list[tuple[str, Any]]:
    checks: list[tuple[str, Any]] = [("finite", np.isfinite)]
    for constraint in _metadata(field):
        for name, symbol, compare in (("gt", ">", np.greater), ("ge", ">=", np.greater_equal), ("le", "<=", np.less_equal)):
            bound = getattr(constraint, name, None)
            if bound is not None:
                checks.append((f"{symbol} {bound}", lambda a, b=bound, f=compare: f(a, b)))
    return checks


def _metadata(field: FieldInfo | None) -> list[Any]:
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
