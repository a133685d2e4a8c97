"""Where one thing overtakes another: the last whole number at which a condition holds, and a formula of it if there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import sympy

from genz.explore.symbolic.expressions import compiled, expanded, never_negative, readable
from genz.inference.limits import largest_whole
from genz.specs.workload import MAX_COUNT


@dataclass(frozen=True)
class Boundary:
    """Up to which whole number of `variable` one expression stays below, or within, a limit; both grow no slower than it.

    `is_first`: what is asked for is the first number beyond, as in "from which context on"; else the last one within. `factor`
    multiplies the answer. `symbols` are all that both expressions may hold.
    """

    name: str
    title: str
    latex: str
    variable: sympy.Symbol
    symbols: tuple[sympy.Symbol, ...]
    grows: Any
    limit: Any
    is_first: bool
    factor: int = 1
    unit: str = ""

    @cached_property
    def expression(self) -> Any | None:
        """The answer as a formula of the other symbols; None where it is found by bisection alone."""
        solved = _solution(self.grows, self.limit, self.variable)
        if solved is None:
            return None
        whole = sympy.Max(1, sympy.ceiling(solved), evaluate=False) if self.is_first else sympy.floor(solved)
        return self.factor * readable(whole)

    @cached_property
    def _gap(self) -> Callable[..., Any]:
        return compiled(sympy.Tuple(self.grows, self.limit), self.symbols)

    def at(self, values: Mapping[sympy.Symbol, Any]) -> int | None:
        """The answer for numbers in the place of the other symbols, by bisection; None where there is none up to 10^12."""

        def holds(number: int) -> bool:
            grown, limit = self._gap(*(number if symbol == self.variable else values[symbol] for symbol in self.symbols))
            return bool(grown < limit if self.is_first else grown <= limit)

        last = largest_whole(holds)
        if last == MAX_COUNT:
            return None
        return self.factor * (last + 1 if self.is_first else last)


def _solution(grows: Any, limit: Any, variable: sympy.Symbol) -> Any | None:
    """Where both are equal, if the difference is linear in the variable but for minima; None if it is not.

    With minima the difference is the smallest of several lines, so it stays below zero up to the largest of their zeros.
    """
    difference = expanded(grows - limit)
    if difference == 0:
        return None
    if not sympy.expand(difference.xreplace({variable: 0})) and not _chosen(difference, variable):
        difference = sympy.expand(difference / variable)
    zeros = []
    for line in _lines(difference, variable):
        zero = _zero(line, variable)
        if zero is None:
            return None
        zeros.append(zero)
    return readable(sympy.Max(*zeros, evaluate=False)) if len(zeros) > 1 else zeros[0]


def _chosen(expression: Any, variable: sympy.Symbol) -> list[Any]:
    """Minima that hang on the variable."""
    return [node for node in expression.atoms(sympy.Min) if node.has(variable)]


def _lines(difference: Any, variable: sympy.Symbol) -> Sequence[Any]:
    """The difference with each minimum replaced by each of its arguments in turn."""
    minima = _chosen(difference, variable)
    return [
        sympy.expand(difference.xreplace(dict(zip(minima, picked, strict=True))))
        for picked in product(*(m.args for m in minima))
    ]


def _zero(line: Any, variable: sympy.Symbol) -> Any | None:
    slope, rest = line.coeff(variable, 1), line.coeff(variable, 0)
    if sympy.expand(line - slope * variable - rest) != 0 or rest.has(variable) or slope == 0 or not never_negative(slope):
        return None
    ratio = -rest / slope
    return ratio if ratio.has(sympy.Float) or ratio.has(sympy.Min, sympy.Max) else sympy.cancel(ratio)
