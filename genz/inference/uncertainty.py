"""How far off a prediction may be: bands of its kernels, put together to bands of a phase.

Kernels of one family err alike (a constant that is off is off for all of them), families independently of each other: with
t the time of an operator and [a, b] the band of its family,

    up = sqrt( sum over families ( sum of t (e^b - 1) )^2 ),    down likewise with 1 - e^a.

What the engine adds is a family of its own. The band of a family is the conformal one of its calibration (see
`genz.timing.kernels.selection`), wider where the time lies beyond what was fitted or the constants were borrowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from genz.inference.evaluate import Outcome
from genz.inference.phase import OperatorCost, PhaseCost
from genz.numerics import Number, every, exp, maximum, safe_divide, total
from genz.specs.calibration import ANY_ENGINE, Factors
from genz.specs.calibrations import bands

# Bands of what no calibration speaks of, as logarithms: kernels priced by the engine file's flat efficiencies (measured
# over predicted between 0.5 and 2 in the static batches of the accuracy page), and its host times.
UNCALIBRATED = (-0.7, 0.7)
UNCALIBRATED_HOST = (-1.0, 1.0)


class Interval(NamedTuple):
    """Bounds that hold nine times in ten."""

    low: Number
    high: Number


class Spread(NamedTuple):
    """Seconds by which a time may be shorter or longer, family by family."""

    down: dict[str, Number]
    up: dict[str, Number]


def spread_of(cost: PhaseCost) -> Spread:
    """How much shorter or longer a phase may be, by family."""
    down: dict[str, Number] = {}
    up: dict[str, Number] = {}

    def add(family: str, seconds: Number, band: tuple[Number, Number]) -> None:
        down[family] = down.get(family, 0.0) + seconds * (1 - exp(band[0]))
        up[family] = up.get(family, 0.0) + seconds * (exp(band[1]) - 1)

    for item in cost.operators:
        add(*_family_of(item))
    engine = cost.engine_constants
    add("engine", cost.host_time, UNCALIBRATED_HOST if engine is None else engine.band)
    return Spread(down, up)


def _family_of(item: OperatorCost) -> tuple[str, Number, tuple[Number, Number]]:
    """The family, seconds and band of an operator."""
    found = item.constants
    if found is None:
        return item.operator.category, item.device_time, UNCALIBRATED
    mean_call = safe_divide(item.device_time, item.calls, 0.0)
    return item.operator.category, item.device_time, found.band_at(mean_call)


def together(spreads: Iterable[Spread]) -> Spread:
    """Spreads of times that add up: families err alike in all of them."""
    down: dict[str, Number] = {}
    up: dict[str, Number] = {}
    for spread in spreads:
        for family in spread.up:
            down[family] = down.get(family, 0.0) + spread.down[family]
            up[family] = up.get(family, 0.0) + spread.up[family]
    return Spread(down, up)


# A bound never lies below this share of the time itself, whatever the factors.
LEAST_SHARE = 0.05


def interval(time: Number, spread: Spread, factors: Factors | None = None) -> Interval:
    """Bounds of a time from the spread of its parts, stretched by what whole requests have shown (`factors`)."""
    down, up = _norm(spread.down), _norm(spread.up)
    if factors is not None:
        down, up = factors.down * down, factors.up * up
    return Interval(maximum(time - down, LEAST_SHARE * time), time + up)


def request_factors(engine: str, metric: str) -> Factors | None:
    """How whole requests on an engine stretch the spread of a metric; those of all engines where it has none of its own."""
    known = bands()
    if known is None:
        return None
    by_metric = known.requests.get(engine, {})
    return by_metric.get(metric) or known.requests.get(ANY_ENGINE, {}).get(metric)


def _norm(parts: Mapping[str, Number]) -> Number:
    squared: Number = total([part * part for part in parts.values()])
    return squared**0.5  # type: ignore[no-any-return]


def _bounds(found: Interval) -> tuple[Number, Number]:
    return found.low, found.high


def intervals(outcome: Outcome) -> dict[str, tuple[Number, Number]]:
    """90 % intervals of a calibrated outcome, by the keys of a prediction's own figures."""
    engine, prefill, decode = outcome.question.engine.name, spread_of(outcome.prefill), spread_of(outcome.decode)
    whole = interval(outcome.e2e, together((prefill, decode)), request_factors(engine, "e2e"))
    found: dict[str, tuple[Number, Number]] = {
        "ttft_s": _bounds(interval(outcome.ttft, prefill, request_factors(engine, "ttft"))),
        "e2e_s": _bounds(whole),
        "output_tokens_per_s": (outcome.output_tokens / whole.high, outcome.output_tokens / whole.low),
    }
    steps = outcome.decode.steps
    if every(steps > 0):
        low, high = interval(outcome.decode.time, decode, request_factors(engine, "tpot"))
        found["tpot_s"] = (low / steps, high / steps)
    return found
