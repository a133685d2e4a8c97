"""Symbols in the place of a question's numbers: what they are called, and what they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy

from genz.errors import UnknownNameError, unknown_name
from genz.inference.question import Question
from genz.specs.binding import bind
from genz.timing.machine import VECTOR_TYPE


@dataclass(frozen=True)
class Meaning:
    """A symbol: its letters, what it stands for, its unit, and the value that the question has in its place."""

    symbol: sympy.Symbol
    title: str
    unit: str
    value: float


# Names, letters, what they stand for, units; counts are whole and at least one.
_COUNTS = {"batch": ("B", "requests", ""), "context": ("S", "tokens of the prompt", ""), "output": ("O", "output tokens", "")}
_RATES = {
    "bandwidth": ("W", "bandwidth of main memory", "B/s"),
    "flops": ("F", "rate of the matrix units", "FLOP/s"),
    "vector_flops": ("V", "rate of the vector units", "FLOP/s"),
    "cache_bandwidth": ("W_c", "bandwidth of the cache", "B/s"),
    "capacity": ("M", "capacity of main memory", "B"),
    "link_bandwidth": ("L", "bandwidth of the innermost link", "B/s"),
    "link_latency": ("lambda", "latency of the innermost link", "s"),
}
SYMBOLS = (*_COUNTS, *_RATES)


def meanings(question: Question) -> dict[str, Meaning]:
    """Every symbol that a question can have, by name; what its machine lacks is left out."""
    chip, workload = question.platform.chip, question.workload
    ranks = question.parallelism.data
    levels = list(chip.memory.values())
    values: dict[str, Any] = {
        "batch": -(-workload.batch // ranks),
        "context": workload.input_tokens,
        "output": workload.output_tokens,
        "bandwidth": levels[0].bandwidth,
        "flops": chip.multiply_rate(question.widths.matrix_type(quantised=True)),
        "vector_flops": chip.vector_flops[VECTOR_TYPE],
        "capacity": levels[0].capacity,
    }
    if len(levels) > 1:
        values["cache_bandwidth"] = levels[1].bandwidth
    if question.platform.network:
        innermost = question.platform.network[0]
        values |= {"link_bandwidth": innermost.bandwidth, "link_latency": innermost.latency}
    found = {}
    for name, (letters, title, unit) in (_COUNTS | _RATES).items():
        if name in values:
            symbol = sympy.Symbol(letters, positive=True, integer=name in _COUNTS or None)
            told = f"{title} on each data-parallel rank" if name == "batch" and ranks > 1 else title
            found[name] = Meaning(symbol, told, unit, values[name])
    return found


def check_names(names: tuple[str, ...], known: Mapping[str, Meaning]) -> None:
    """Raise `UnknownNameError` for a name that is no symbol of this question."""
    for name in names:
        if name not in known:
            raise _unknown(name, known)


def _unknown(name: str, known: Mapping[str, Meaning]) -> UnknownNameError:
    hint = "this machine has no such part" if name in SYMBOLS else None
    return unknown_name("symbol", str(name), known, hint=hint)


def put(question: Question, values: Mapping[str, Any], known: Mapping[str, Meaning]) -> Question:
    """The question with symbols, or numbers, by their names in the place of its own.

    Of the batch each data-parallel rank has as many requests as are given. The rates of all data types keep their ratio.
    Raises `InvalidValueError` for a number that cannot be.
    """
    chip, lengths = question.platform.chip, {"context": "input_tokens", "output": "output_tokens"}
    workload = {lengths[name]: value for name, value in values.items() if name in lengths}
    if "batch" in values:
        workload["batch"] = question.parallelism.data * values["batch"]
    main, *inner = chip.memory
    paths = {
        "bandwidth": f"chip.memory.{main}.bandwidth",
        "capacity": f"chip.memory.{main}.capacity",
        "link_bandwidth": "network.0.bandwidth",
        "link_latency": "network.0.latency",
    }
    if inner:
        paths["cache_bandwidth"] = f"chip.memory.{inner[0]}.bandwidth"
    figures = {paths[name]: value for name, value in values.items() if name in paths}
    for name, field in (("flops", "matrix_flops"), ("vector_flops", "vector_flops")):
        if name in values:
            rates: dict[str, float] = getattr(chip, field)
            figures |= {f"chip.{field}.{key}": values[name] * (rate / known[name].value) for key, rate in rates.items()}
    return question.with_workload(**workload).on(bind(question.platform, figures))
