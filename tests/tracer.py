"""A number that computes but refuses to be looked at: it tells whether a formula branches on a value.

`Tracer(3.0)` goes through arithmetic, comparisons and NumPy as the float (or array) inside would, and gives tracers
back. Whatever would read it (`if`, `bool`, `float`, `int`, an index, `in`, iteration, a hash) raises `ValueWasRead`,
as it would read a concrete value out of a formula. `traced` takes the result out again.

    assert traced(formula(Tracer(3.0))) == formula(3.0)

`implant` puts a tracer in the place of a spec's figure, where `genz.specs.binding.bind` would check its value.
"""

import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

S = TypeVar("S", bound=BaseModel)


class ValueWasRead(AssertionError):  # noqa: N818 (no error of the program)
    """A formula looked at a value that it should only have computed with."""


def traced(value: Any) -> Any:
    """The value inside of a tracer, or of each in a list or tuple; anything else is given back as it is."""
    if isinstance(value, Tracer):
        return value.inside
    if isinstance(value, (list, tuple)):
        return type(value)(traced(entry) for entry in value)
    return value


def _wrap(result: Any) -> Any:
    if isinstance(result, (list, tuple)):
        return type(result)(_wrap(entry) for entry in result)
    return result if result is NotImplemented else Tracer(result)


def _binary(compute: Callable[[Any, Any], Any], *, swapped: bool = False) -> Callable[[Any, Any], Any]:
    def method(self: "Tracer", other: Any) -> Any:
        first, second = (traced(other), self.inside) if swapped else (self.inside, traced(other))
        return _wrap(compute(first, second))

    return method


def _refuses(what: str) -> Callable[..., Any]:
    def method(self: "Tracer", *_arguments: Any, **_options: Any) -> Any:
        raise ValueWasRead(f"a formula used {what} on a value")

    return method


class Tracer:
    """A float, an array or a condition that only arithmetic may touch."""

    def __init__(self, inside: Any) -> None:
        inside = traced(inside)
        self.inside = inside[()] if isinstance(inside, np.ndarray) and inside.ndim == 0 else inside

    def __repr__(self) -> str:
        return f"Tracer({self.inside!r})"

    def __neg__(self) -> "Tracer":
        return Tracer(-self.inside)

    def __pos__(self) -> "Tracer":
        return Tracer(self.inside)

    def __abs__(self) -> "Tracer":
        return Tracer(abs(self.inside))

    def __invert__(self) -> "Tracer":
        return Tracer(np.logical_not(self.inside))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return _wrap(getattr(ufunc, method)(*(traced(value) for value in inputs), **options))

    def __array_function__(self, function: Callable[..., Any], _types: Any, inputs: Any, options: Any) -> Any:
        return _wrap(function(*traced(inputs), **{key: traced(value) for key, value in options.items()}))


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(Tracer, f"__{_name}__", _binary(getattr(operator, _name)))
    setattr(Tracer, f"__r{_name}__", _binary(getattr(operator, _name), swapped=True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Tracer, f"__{_name}__", _binary(getattr(operator, _name)))
for _name, _logical in (("and", np.logical_and), ("or", np.logical_or), ("xor", np.logical_xor)):
    setattr(Tracer, f"__{_name}__", _binary(_logical))
    setattr(Tracer, f"__r{_name}__", _binary(_logical, swapped=True))
for _name in (
    "bool",
    "float",
    "int",
    "complex",
    "index",
    "len",
    "iter",
    "contains",
    "getitem",
    "hash",
    "round",
    "trunc",
    "floor",
    "ceil",
    "array",
    "format",
):
    setattr(Tracer, f"__{_name}__", _refuses(f"__{_name}__"))


def implant(spec: S, path: str, value: Any) -> S:
    """The spec with `value` at a dotted path, unchecked: `implant(platform, "chip.power.idle", Tracer(70.0))`."""

    def replace(node: Any, parts: list[str]) -> Any:
        if not parts:
            return value
        head, rest = parts[0], parts[1:]
        if isinstance(node, BaseModel):
            return node.model_copy(update={head: replace(getattr(node, head), rest)})
        if isinstance(node, dict):
            return {**node, head: replace(node[head], rest)}
        return (*node[: int(head)], replace(node[int(head)], rest), *node[int(head) + 1 :])

    result: S = replace(spec, path.split("."))
    return result
