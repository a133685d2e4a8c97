"""Expressions that come out of formulas over symbols: made readable, printed, and turned into functions of numbers.

Formulas leave maxima, minima and cases over symbols as they are written. `readable` takes away what can never count: symbols
are positive and counts are at least one, which decides most of them. What is left is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy
from sympy.core.relational import Relational
from sympy.printing.latex import LatexPrinter
from sympy.printing.pycode import PythonCodePrinter
from sympy.printing.str import StrPrinter

from genz.numerics import unfolded_sum
from genz.units import format_si

# A number this close to a whole one, in parts of itself, is one but for rounding.
WHOLE = 1e-12
DIGITS = 4
# What is compared, not computed: expanding it would have SymPy order its arguments, which takes minutes.
CHOICES = (sympy.Max, sympy.Min, sympy.Piecewise, sympy.Sum)
# Printing terms in an order of SymPy's takes seconds where there are maxima in them.
UNORDERED = {"order": "none"}


def tidy(number: sympy.Number) -> sympy.Number:
    """A float that is whole but for rounding as an integer."""
    nearest = sympy.Integer(round(number))
    return nearest if abs(number - nearest) <= WHOLE * abs(nearest) else number


def readable(expression: Any, numbers: Mapping[sympy.Symbol, Any] | None = None) -> Any:
    """The expression without what never counts, equal to it for all positive symbols and counts from one.

    `numbers` stand in the place of symbols.
    """
    return Reader(numbers).read(expression)


def expanded(expression: Any) -> Any:
    """Products of sums multiplied out; what is compared stays as it is."""
    kept: dict[Any, Any] = {}
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, CHOICES):
            kept.setdefault(node, sympy.Dummy(positive=True))
    return sympy.expand(expression.xreplace(kept)).xreplace({name: node for node, name in kept.items()})


class Reader:
    """Makes expressions readable, from their leaves; what several have in common is read once."""

    def __init__(self, numbers: Mapping[sympy.Symbol, Any] | None = None) -> None:
        self._known = {symbol: tidy(sympy.sympify(number)) for symbol, number in (numbers or {}).items()}

    def read(self, expression: Any) -> Any:
        """What `readable` gives."""
        node = sympy.sympify(expression)
        if node not in self._known:
            self._known[node] = self._rebuilt(node)
        return self._known[node]

    def _rebuilt(self, node: Any) -> Any:
        if not node.args:
            return tidy(node) if isinstance(node, sympy.Float) else node
        if isinstance(node, sympy.Sum):
            return self._sum(node)
        if isinstance(node, sympy.Piecewise):
            return self._cases(node)
        parts = [self.read(part) for part in node.args]
        if isinstance(node, (sympy.Max, sympy.Min)):
            return _extremum(node.func, parts)
        if isinstance(node, Relational):
            return _decided(node.func, *parts)
        return node.func(*parts)

    def _cases(self, node: Any) -> Any:
        cases = []
        for value, condition in node.args:
            holds = self.read(condition)
            if holds == sympy.false:
                continue
            cases.append((self.read(value), holds))
            if holds == sympy.true:
                break
        if cases[0][1] == sympy.true or len({value for value, _ in cases}) == 1:
            return cases[0][0]
        return sympy.Piecewise(*_largest_cache(cases), evaluate=False)

    def _sum(self, node: Any) -> Any:
        """A sum over steps: closed where the steps are a polynomial of the index, else as it stands."""
        (index, first, last), *_ = node.limits
        body, end = self.read(node.function), self.read(last)
        if not body.has(index):
            return body * (end - first + 1)
        body = expanded(body)
        if body.is_polynomial(index):
            return expanded(sympy.summation(body, (index, first, end)))
        return unfolded_sum(self.read(body), index, first, end)


def _largest_cache(cases: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Of caches in one another the largest decides: 0 up to c, else 0 up to d, else x, is 0 up to the larger of c and d."""
    (first, condition), *others = cases
    inner = others[0][0] if len(others) == 1 else None
    held = beyond_cache(inner)
    if held is None or first != 0 or not isinstance(condition, sympy.Le) or condition.lhs != held:
        return cases
    capacity = max(condition.rhs, inner.args[0][1].rhs)  # type: ignore[union-attr]
    return [(first, sympy.Le(held, capacity, evaluate=False)), (held, sympy.true)]


def _extremum(kind: Any, parts: list[Any]) -> Any:
    """A maximum or minimum over the arguments that can be it somewhere."""
    flat = list(dict.fromkeys(inner for part in parts for inner in (part.args if isinstance(part, kind) else (part,))))
    kept: list[Any] = []
    for part in flat:
        larger = [(part, other) if kind is sympy.Max else (other, part) for other in kept]
        if any(never_negative(high - low) for low, high in larger):
            continue
        kept = [other for other, (low, high) in zip(kept, larger, strict=True) if not never_negative(low - high)] + [part]
    return kept[0] if len(kept) == 1 else kind(*kept, evaluate=False)


def _decided(kind: Any, left: Any, right: Any) -> Any:
    """A relation that holds for all symbols, or for none, as the truth; else as it stands."""
    if left.is_number and right.is_number:
        return kind(left, right)
    if kind is sympy.Le and never_negative(right - left):
        return sympy.true
    if kind is sympy.Le and never_negative(left - right, strictly=True):
        return sympy.false
    return kind(left, right, evaluate=False)


def never_negative(expression: Any, *, strictly: bool = False) -> bool:
    """Whether an expression is known to be at least zero, or above it: every term is, with counts written as 1 + n."""
    if expression.has(*CHOICES):
        return not strictly and _is_sum_of_times(expression)
    counts = [symbol for symbol in expression.free_symbols if symbol.is_integer and symbol.is_positive]
    above = {symbol: 1 + sympy.Dummy(symbol.name, integer=True, nonnegative=True) for symbol in counts}
    terms = [term.as_coeff_Mul() for term in sympy.Add.make_args(sympy.expand(expression.xreplace(above)))]
    if any(factor < 0 or not rest.is_nonnegative for factor, rest in terms):
        return False
    return not strictly or any(factor > 0 and rest.is_positive for factor, rest in terms)


def _is_sum_of_times(node: Any) -> bool:
    """Whether an expression is built of what is at least zero by sums, products, maxima and minima."""
    if isinstance(node, (sympy.Add, sympy.Mul, sympy.Min)):
        return all(map(_is_sum_of_times, node.args))
    if isinstance(node, sympy.Max):
        return any(map(_is_sum_of_times, node.args))
    if isinstance(node, sympy.Piecewise):
        return all(_is_sum_of_times(value) for value, _ in node.args)
    if isinstance(node, sympy.Sum):
        return _is_sum_of_times(node.function)
    return bool(node.is_nonnegative)


def beyond_cache(expression: Any) -> Any | None:
    """What is moved only where it exceeds the cache: x of "0 if x <= capacity, else x"; None of any other cases."""
    if not isinstance(expression, sympy.Piecewise):
        return None
    (first, condition), *others = expression.args
    is_alone = first == 0 and len(others) == 1 and isinstance(condition, sympy.Le)
    return condition.lhs if is_alone and condition.lhs == others[0][0] and condition.rhs.is_number else None


class _Words(StrPrinter):  # type: ignore[misc]
    """Expressions as people write them: numbers with prefixes, as in 16.8M."""

    def __init__(self, *, capacities: bool) -> None:
        super().__init__()
        self.capacities = capacities

    def _print_Integer(self, expr: Any) -> str:  # noqa: N802
        return _prefixed(int(expr))

    def _print_Float(self, expr: Any) -> str:  # noqa: N802
        return _prefixed(float(expr))

    def _print_Max(self, expr: Any) -> str:  # noqa: N802
        return f"max({', '.join(map(self._print, expr.args))})"

    def _print_Min(self, expr: Any) -> str:  # noqa: N802
        return f"min({', '.join(map(self._print, expr.args))})"

    def _print_ceiling(self, expr: Any) -> str:
        return f"ceil({self._print(expr.args[0])})"

    def _print_Piecewise(self, expr: Any) -> str:  # noqa: N802
        held = beyond_cache(expr)
        if held is not None:
            than = f" > {self._print(expr.args[0][1].rhs)}" if self.capacities else ""
            return f"[{self._print(held)}{than}]"
        cases = [(self._print(value), condition) for value, condition in expr.args]
        said = [value if condition == sympy.true else f"{value} if {self._print(condition)}" for value, condition in cases]
        return f"({', else '.join(said)})"

    def _print_Sum(self, expr: Any) -> str:  # noqa: N802
        (index, first, last), *_ = expr.limits
        return f"sum over {index.name} = {first}..{self._print(last)} of {self._print(expr.function)}"


def _prefixed(number: float) -> str:
    small = isinstance(number, int) and abs(number) < 10_000
    return str(number) if small else format_si(number, "", digits=DIGITS).replace(" ", "")


def in_words(expression: Any, *, capacities: bool = False) -> str:
    """An expression on one line, its numbers rounded to four digits with SI prefixes.

    [x] is x where that is more than the cache holds, and nothing where it is less; with `capacities` it is [x > capacity].
    """
    words = _Words(capacities=capacities).doprint(_collected(expression))
    return words.replace("**", "^").replace("*", "·").replace("_t", "t")  # type: ignore[no-any-return]


def in_sympy(expression: Any) -> str:
    """An expression as SymPy reads it again."""
    return StrPrinter(UNORDERED).doprint(expression)  # type: ignore[no-any-return]


class _Latex(LatexPrinter):  # type: ignore[misc]
    def __init__(self, *, capacities: bool) -> None:
        super().__init__({"mul_symbol": r" \, "})
        self.capacities = capacities

    def _print_Float(self, expr: Any) -> str:  # noqa: N802
        return super()._print_Float(sympy.Float(expr, DIGITS))  # type: ignore[no-any-return]

    def _print_Piecewise(self, expr: Any) -> str:  # noqa: N802
        held = beyond_cache(expr)
        if held is None:
            return super()._print_Piecewise(expr)  # type: ignore[no-any-return]
        than = f" > {self._print(expr.args[0][1].rhs)}" if self.capacities else ""
        return rf"\left[{self._print(held)}{than}\right]"


def in_latex(expression: Any, *, capacities: bool = False) -> str:
    """An expression in LaTeX: whole numbers in full, others to four digits; [x] as of `in_words`."""
    return _Latex(capacities=capacities).doprint(_collected(expression))  # type: ignore[no-any-return]


def _collected(expression: Any) -> Any:
    """Sums by powers of the batch, which stands in front; in fractions above and below the line."""
    above, below = sympy.fraction(expression) if isinstance(expression, sympy.Mul) else (expression, sympy.S.One)
    if below != 1:
        return _collected(above) / _collected(below)
    if expression.has(*CHOICES) or not isinstance(expression, sympy.Add):
        return expression
    batch = [symbol for symbol in expression.free_symbols if symbol.name == "B"]
    return sympy.collect(expression, batch) if batch else expression


class _Code(PythonCodePrinter):  # type: ignore[misc]
    """Python in which whole numbers are divided as whole numbers: (1/49) x 49 is no 1 in floats."""

    def _print_ceiling(self, expr: Any) -> str:
        above, below = sympy.fraction(sympy.together(expr.args[0]))
        return f"(-(-({self._print(above)}) // ({self._print(below)})))"

    def _print_floor(self, expr: Any) -> str:
        above, below = sympy.fraction(sympy.together(expr.args[0]))
        return f"(({self._print(above)}) // ({self._print(below)}))"


def compiled(expression: Any, symbols: Sequence[sympy.Symbol]) -> Callable[..., Any]:
    """The expression as a function of plain numbers, one for each symbol."""
    printer = _Code({"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True, **UNORDERED})
    function: Callable[..., Any] = sympy.lambdify(list(symbols), expression, modules="math", printer=printer)
    return function
