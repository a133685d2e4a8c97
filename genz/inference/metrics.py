"""The figures that deployments are compared by: one name, one unit and one formula each, over scalars, arrays and symbols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from genz.errors import unknown_name
from genz.inference.evaluate import Outcome
from genz.inference.prices import SECONDS_PER_HOUR, TOKENS_PER_PRICE, Prices
from genz.numerics import Number


@dataclass(frozen=True)
class Metric:
    """One figure of an outcome. The name ends in its unit; `title` and `unit` are for people, `grows` tells what is better."""

    name: str
    title: str
    unit: str
    of: Callable[[Outcome, Prices], Number | None]
    grows: bool = False


def _usd_per_s(outcome: Outcome, prices: Prices) -> Number | None:
    """Rent of all devices, and electricity, where prices are known [USD/s]."""
    rent = None if prices.device is None else prices.device * outcome.question.platform.devices
    electricity = None if prices.energy is None else prices.energy * outcome.power
    known = [part for part in (rent, electricity) if part is not None]
    return sum(known[1:], start=known[0]) if known else None


def _usd_per_hour(outcome: Outcome, prices: Prices) -> Number | None:
    rate = _usd_per_s(outcome, prices)
    return None if rate is None else rate * SECONDS_PER_HOUR


def _usd_per_million(outcome: Outcome, prices: Prices) -> Number | None:
    rate = _usd_per_s(outcome, prices)
    return None if rate is None else rate * outcome.e2e * TOKENS_PER_PRICE / outcome.output_tokens


def _carbon_per_million(outcome: Outcome, prices: Prices) -> Number | None:
    return None if prices.carbon is None else prices.carbon * outcome.energy * TOKENS_PER_PRICE / outcome.output_tokens


_ALL = (
    Metric("ttft_s", "time to first token", "s", lambda o, _: o.ttft),
    Metric("tpot_s", "time per output token", "s", lambda o, _: o.tpot),
    Metric("e2e_s", "end to end", "s", lambda o, _: o.e2e),
    Metric("output_tokens_per_s", "throughput", "token/s", lambda o, _: o.output_tokens_per_s, grows=True),
    Metric(
        "output_tokens_per_s_per_device",
        "throughput per device",
        "token/s",
        lambda o, _: o.output_tokens_per_s / o.question.platform.devices,
        grows=True,
    ),
    Metric("output_tokens_per_s_per_user", "interactivity", "token/s", lambda o, _: 1 / o.tpot, grows=True),
    Metric("energy_j_per_output_token", "energy per output token", "J", lambda o, _: o.energy_per_output_token),
    Metric("power_w", "average power", "W", lambda o, _: o.power),
    Metric("memory_total_bytes", "memory of the fullest device", "B", lambda o, _: o.memory.total_bytes),
    Metric("memory_budget_bytes", "memory that the engine may take", "B", lambda o, _: o.memory.budget_bytes, grows=True),
    Metric("usd_per_hour", "cost per hour", "USD/h", _usd_per_hour),
    Metric("usd_per_million_output_tokens", "cost per million output tokens", "USD", _usd_per_million),
    Metric("carbon_g_per_million_output_tokens", "carbon per million output tokens", "g", _carbon_per_million),
)
METRICS = {metric.name: metric for metric in _ALL}


def metric(name: str) -> Metric:
    """A metric by its name. Raises `UnknownNameError`."""
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]
