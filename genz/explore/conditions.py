"""Conditions over axes, such as "tp * pp <= 8": a small language of its own, read by Python's parser and never run by it.

Names are those of axes, dotted ones too. There are numbers, texts, lists, arithmetic (`+ - * / // %`), comparisons, `in`,
`and`, `or` and `not`. A text compared with an axis of quantities is read in its unit: `chip.power.tdp <= '700 W'`.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genz import units
from genz.errors import InvalidValueError, UnknownNameError, nearest, shown
from genz.explore.axes import Axis, target_of

MAX_CHARACTERS = 1000
# A text, or a name: dotted parts may be numbers or a star, which Python's own grammar has no room for.
_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|(?<![\w.])[A-Za-z_]\w*(?:\.(?:\w+|\*))*")
_WORDS = ("and", "or", "not", "in", "True", "False", "true", "false")
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ALLOWED = "numbers, names of axes, + - * / // %, comparisons, in, and, or, not"


@dataclass(frozen=True)
class Condition:
    """A condition that rows must meet; `targets` are what it looks at, as axes name it canonically."""

    text: str
    targets: frozenset[str]
    _tree: ast.expr = field(repr=False, compare=False)

    def holds(self, known: Mapping[str, Any]) -> Any:
        """Where it holds, for values by target: numbers, texts, or arrays that broadcast against each other."""
        with np.errstate(all="ignore"):
            return _value(self._tree, known)


def condition(text: Any, axes: Mapping[str, Axis]) -> Condition:
    """Read a condition over axes by target. Raises `InvalidValueError` for what is no condition, or names no axis."""
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_CHARACTERS:
        raise _error(text, "is no condition")
    names: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        token = match.group(0)
        if token[0] in "'\"" or token in _WORDS:
            return token.capitalize() if token in ("true", "false") else token
        return names.setdefault(_target(token, text, axes), f"_{len(names)}")

    try:
        # In brackets, so that a condition may go over several lines.
        tree = ast.parse(f"({_TOKEN.sub(stand_in, text)})", mode="eval").body
        reader = _Reader(text, {stand: target for target, stand in names.items()}, axes)
        is_truth = reader.kind(tree) == "truth"
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _error(text, "is no condition that can be read") from None
    if not is_truth:
        raise _error(text, "is no condition, as it is neither true nor false")
    return Condition(text, frozenset(names), reader.resolved(tree))


def _target(token: str, text: str, axes: Mapping[str, Axis]) -> str:
    try:
        target = target_of(token)
    except UnknownNameError:
        target = token
    if target not in axes:
        known = [axis.name for axis in axes.values()]
        close = nearest(token, known)
        raise InvalidValueError(
            f"where: {shown(text)} names {token!r}, which is not in this study",
            field="where",
            value=token,
            allowed=", ".join(known) or None,
            hint=f"did you mean {close[0]!r}?" if close else None,
        )
    return target


class _Reader:
    """Checks a parsed condition part by part, and what each part is: a truth, a number or a text."""

    def __init__(self, text: str, names: Mapping[str, str], axes: Mapping[str, Axis]) -> None:
        self.text, self.names, self.axes = text, names, axes
        self.quantities: dict[ast.expr, float] = {}

    def kind(self, node: ast.expr) -> str:
        if isinstance(node, ast.BoolOp):
            return self._all(node.values, "truth", "truth")
        if isinstance(node, ast.UnaryOp):
            wanted = "truth" if isinstance(node.op, ast.Not) else "number"
            if isinstance(node.op, ast.Invert):
                raise self._refusal(node)
            return self._all([node.operand], wanted, wanted)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return self._all([node.left, node.right], "number", "number")
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        if isinstance(node, ast.Name) and node.id in self.names:
            return self._of_axis(self.axes[self.names[node.id]])
        if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
            return "truth" if isinstance(node.value, bool) else "text" if isinstance(node.value, str) else "number"
        raise self._refusal(node)

    @staticmethod
    def _of_axis(axis: Axis) -> str:
        label = axis.labels[0]
        return "truth" if isinstance(label, bool) else "text" if isinstance(label, str) else "number"

    def _all(self, nodes: list[ast.expr], wanted: str, result: str) -> str:
        for node in nodes:
            if self.kind(node) != wanted:
                raise self._refusal(node, f"is no {wanted}")
        return result

    def _comparison(self, node: ast.Compare) -> str:
        left = node.left
        for operation, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operation, (ast.In, ast.NotIn)):
                if not isinstance(right, (ast.List, ast.Tuple)):
                    raise self._refusal(right, "is no list")
                for choice in right.elts:
                    self._pair(left, choice, ordered=False)
            elif type(operation) in _COMPARISONS:
                self._pair(left, right, ordered=not isinstance(operation, (ast.Eq, ast.NotEq)))
            else:
                raise self._refusal(node)
            left = right
        return "truth"

    def _pair(self, left: ast.expr, right: ast.expr, *, ordered: bool) -> None:
        """Two sides of a comparison are of one kind; a quantity is read in the unit of the axis, a name is one of its."""
        for one, other in ((left, right), (right, left)):
            if isinstance(one, ast.Name) and isinstance(other, ast.Constant) and isinstance(other.value, str):
                axis = self.axes[self.names[one.id]]
                if axis.dimension is not None and not axis.relative:
                    self.quantities[other] = units.parse(other.value, axis.dimension, field="where")
                elif self._of_axis(axis) == "text" and other.value not in axis.labels:
                    raise self._no_such_label(other.value, axis)
        kinds = {"number" if side in self.quantities else self.kind(side) for side in (left, right)}
        if len(kinds) > 1 or (ordered and kinds != {"number"}):
            raise self._refusal(right, "cannot be compared with what stands before it")

    def _no_such_label(self, value: str, axis: Axis) -> InvalidValueError:
        close = nearest(value, axis.labels)
        return InvalidValueError(
            f"where: {shown(self.text)}: {axis.name} never is {shown(value)}",
            field="where",
            value=value,
            allowed=", ".join(map(str, axis.labels[:12])),
            hint=f"did you mean {close[0]!r}?" if close else None,
        )

    def resolved(self, tree: ast.expr) -> ast.expr:
        """The tree with targets for stand-ins, and numbers for quantities."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                node.id = self.names[node.id]
            elif isinstance(node, ast.Constant) and node in self.quantities:
                node.value = self.quantities[node]
        return tree

    def _refusal(self, node: ast.expr, problem: str = "is not allowed") -> InvalidValueError:
        part = ast.unparse(node)
        for stand, target in self.names.items():
            part = re.sub(rf"\b{stand}\b", self.axes[target].name, part)
        return _error(self.text, f"{shown(part)} {problem}", separator=": ")


def _error(text: Any, problem: str, *, separator: str = " ") -> InvalidValueError:
    return InvalidValueError(f"where: {shown(text)}{separator}{problem}", field="where", value=text, allowed=_ALLOWED)


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.BoolOp):
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        result = _value(node.values[0], known)
        for part in node.values[1:]:
            result = combine(result, _value(part, known))
        return result
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, known)
        return np.logical_not(inner) if isinstance(node.op, ast.Not) else -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp):
        return _ARITHMETIC[type(node.op)](_value(node.left, known), _value(node.right, known))
    if isinstance(node, ast.Compare):
        return _compared(node, known)
    if isinstance(node, ast.Name):
        return _number(known[node.id])
    return _number(node.value)  # type: ignore[attr-defined]


def _number(value: Any) -> Any:
    # As NumPy's: dividing by zero is infinite rather than an error, and there is no endless integer.
    return np.float64(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _compared(node: ast.Compare, known: Mapping[str, Any]) -> Any:
    left, result = _value(node.left, known), np.True_
    for operation, comparator in zip(node.ops, node.comparators, strict=True):
        if isinstance(operation, (ast.In, ast.NotIn)):
            found: Any = np.False_
            for choice in comparator.elts:  # type: ignore[attr-defined]
                found = np.logical_or(found, left == _value(choice, known))
            found = np.logical_not(found) if isinstance(operation, ast.NotIn) else found
        else:
            right = _value(comparator, known)
            found, left = _COMPARISONS[type(operation)](left, right), right
        result = np.logical_and(result, found)
    return result
