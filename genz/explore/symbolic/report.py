"""An explanation as a page of text, and as equations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from genz.explore.symbolic.expressions import in_latex, in_words
from genz.inference.report import WIDE, render, table
from genz.units import format_bytes, format_count, format_si

if TYPE_CHECKING:
    from rich.console import RenderableType

    from genz.explore.closed_forms import Explanation

PHASES = {"prefill": "Prefill, whose sum is TTFT", "decode": "One decode step at context S, whose mean is TPOT"}
TIMES = ("ttft_s", "step_s", "tpot_s")


def page(found: Explanation) -> str:
    """Symbols, closed forms with their values here, and the time of every operator."""
    question, workload = found.question, found.question.workload
    heading = (
        f"{question.model.name} on {question.platform.name}, closed forms at the roofline\n"
        f"values at batch {workload.batch}, {workload.input_tokens} input and {workload.output_tokens} output tokens"
    )
    parts: list[RenderableType] = [heading, _symbols(found), _forms(found)]
    parts += [_operators(found, phase, title) for phase, title in PHASES.items()]
    parts.append(
        "FLOPs, bytes and times are of one device, all layers together. Numbers have SI prefixes (16.8M = 16.8 x 10^6).\n"
        + _cached(found)
    )
    if found.unclosed:
        parts.append("\n".join(f"{name}: not closed, as {why}" for name, why in found.unclosed.items()))
    return render(*parts, width=WIDE)


def _tells_capacities(found: Explanation) -> bool:
    """Whether there are several caches to tell apart."""
    return len(found.question.platform.chip.memory) > 2


def _cached(found: Explanation) -> str:
    """What brackets mean."""
    caches = list(found.question.platform.chip.memory.items())[1:]
    if not caches:
        return ""
    if len(caches) > 1:
        return "[x > c] is x where it is more than a cache of c bytes holds, and nothing where it is less."
    name, level = caches[0]
    return f"[x] is x where the {name.upper()} of {format_bytes(level.capacity)} cannot hold it, and nothing where it can."


def _symbols(found: Explanation) -> RenderableType:
    rows = [(str(one.symbol), one.title, _value(one.value, one.unit)) for one in found.symbols.values()]
    return table("", ("symbol", "stands for", "here"), rows, words=(0, 1))


def _forms(found: Explanation) -> RenderableType:
    values = found.evaluate()
    rows = []
    for name, form in found.forms.items():
        expression = "by bisection" if form.expression is None else in_words(form.expression)
        if name in TIMES:
            expression = "the sum of the operators below" if name != "tpot_s" else "the mean of a step over the output"
        rows.append((form.title, expression, _value(values[name], form.unit)))
    return table("", ("quantity", "closed form", "here"), rows, words=(0, 1))


def _operators(found: Explanation, phase: str, title: str) -> RenderableType:
    told = partial(in_words, capacities=_tells_capacities(found))
    rows = [
        (one.layer, one.name, *map(told, (one.matrix_flops, one.memory_bytes, one.time)))
        for one in found.operators
        if one.phase == phase
    ]
    header = ("layer", "operator", "FLOP", "bytes", "time [s]")
    return table(title, header, rows, words=range(len(header)))


def _value(value: Any, unit: str) -> str:
    if value is None:
        return "never"
    if unit:
        return format_si(value, unit, digits=4)
    return f"{value:,.4g}" if value != int(value) else f"{int(value):,}" if value < 1e6 else format_count(value)


def latex(found: Explanation) -> str:
    """An `align*` environment; times are sums over operators, a line each."""
    lines, told = [], partial(in_latex, capacities=_tells_capacities(found))
    for name, form in found.forms.items():
        if form.expression is None or name == "tpot_s":
            continue
        if name in TIMES:
            phase = "prefill" if name == "ttft_s" else "decode"
            times = [one.time for one in found.operators if one.phase == phase and one.time != 0]
            lines.append(rf"{form.latex} &= " + " \\\\\n&\\quad + ".join(map(told, times)))
        else:
            lines.append(rf"{form.latex} &= {told(form.expression)}")
    if any(r"\left[" in line for line in lines):
        lines.append(r"[x] &= x \text{ where the cache cannot hold it, else } 0")
    return "\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}"
