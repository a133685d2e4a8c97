"""What a plan is asked: settled and checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genz.errors import InvalidValueError, shown, unknown_name
from genz.explore.planning.constraints import DEVICES, RENT, TPOT, settle_constraints
from genz.explore.planning.machines import Candidate, settle_candidates
from genz.inference.lengths import refuse_denoiser
from genz.inference.prices import Prices, settle_prices
from genz.inference.question import use_case_of
from genz.specs import catalog
from genz.specs.engine import Engine
from genz.specs.hardware import Platform
from genz.specs.model import ModelSpec
from genz.specs.precision import Precision
from genz.specs.workload import SLO, UseCase, check_count

# Sequences that one engine runs at once at most, unless told: vLLM's default on large devices (Engine Arguments, V1).
MAX_NUM_SEQS = 1024


@dataclass(frozen=True)
class Objective:
    """What options are ranked by: a figure, and whether more of it is better."""

    name: str
    figure: str
    grows: bool = False

    def cost(self, values: np.ndarray) -> np.ndarray:
        """The figure such that less is better."""
        return -values if self.grows else values


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("usd_per_million_tokens", "usd_per_million_tokens"),
        Objective("devices", "devices"),
        Objective("energy", "energy_j_per_output_token"),
        Objective("throughput_per_device", "capacity_output_tokens_per_s_per_device", grows=True),
    )
}


@dataclass(frozen=True)
class Load:
    """Requests that arrive a second, or requests that are in flight at any time: one of the two."""

    requests_per_second: float | None = None
    concurrent_users: int | None = None

    def __str__(self) -> str:
        if self.requests_per_second is not None:
            return f"{self.requests_per_second:g} requests/s"
        return f"{self.concurrent_users:,} concurrent users"


@dataclass(frozen=True)
class Asked:
    """Everything that a plan depends on: `constraints` are {figure: limit}, `settled` is what questions are settled with."""

    model: ModelSpec
    candidates: tuple[Candidate, ...]
    prices: Mapping[str, Prices]
    load: Load
    constraints: Mapping[str, float]
    objective: Objective
    precisions: tuple[str | Precision, ...]
    engines: tuple[str | Engine, ...]
    settled: Mapping[str, Any]
    max_num_seqs: int
    max_devices_per_replica: int | None
    disaggregated: bool
    mixed_pools: bool
    use_case: str | None

    @property
    def most_devices(self) -> float:
        """Devices that the budget allows."""
        return self.constraints.get(DEVICES.figure, math.inf)


def settle(
    model: str | ModelSpec,
    *,
    use_case: str | UseCase | None,
    slo: Mapping[str, Any] | SLO | None,
    requests_per_second: float | None,
    concurrent_users: int | None,
    platforms: Any,
    max_devices: int | None,
    max_usd_per_hour: str | float | None,
    max_watts: str | float | None,
    max_devices_per_replica: int | None,
    max_num_seqs: int | None,
    precisions: Any,
    engines: Any,
    objective: str,
    disaggregated: bool,
    mixed_pools: bool,
    price: Any,
    energy_price: str | float | None,
    treat_as: str | None,
    **settled: Any,
) -> Asked:
    """Resolve names and check values; see `genz.plan`."""
    case = use_case_of(use_case)
    if objective not in OBJECTIVES:
        raise unknown_name("objective", str(objective), OBJECTIVES)
    constraints = settle_constraints(
        case.slo if case else None,
        slo,
        max_devices=_whole(max_devices, "max_devices"),
        max_usd_per_hour=max_usd_per_hour,
        max_watts=max_watts,
    )
    load = _load(requests_per_second, concurrent_users)
    model_spec = model if isinstance(model, ModelSpec) else catalog.model(model, treat_as=treat_as)
    refuse_denoiser(model_spec)
    candidates = settle_candidates(platforms)
    prices = {candidate.name: _prices(candidate, price, energy_price) for candidate in candidates}
    _check_price_names(price, candidates)
    if objective == "usd_per_million_tokens" or RENT.figure in constraints:
        _check_priced(candidates, prices)
    return Asked(
        model=model_spec,
        candidates=candidates,
        prices=prices,
        load=load,
        constraints=_without_decode(constraints, case, slo, settled.get("output")),
        objective=OBJECTIVES[objective],
        precisions=_names(precisions, "precision", catalog.precision, Precision, free=("auto",)),
        engines=_names(engines, "engine", catalog.engine, Engine),
        settled={**settled, "use_case": case},
        max_num_seqs=_whole(max_num_seqs, "max_num_seqs") or MAX_NUM_SEQS,
        max_devices_per_replica=_whole(max_devices_per_replica, "max_devices_per_replica"),
        disaggregated=disaggregated,
        mixed_pools=mixed_pools,
        use_case=case.name if case else None,
    )


def _whole(value: Any, field: str) -> int | None:
    """One whole number from 1, or none."""
    if value is None:
        return None
    if np.ndim(value):
        raise InvalidValueError(f"{field}: {shown(value)} is not allowed", field=field, value=value, allowed="one whole number")
    check_count(value, field, least=1)
    return int(value)


def _load(requests_per_second: Any, concurrent_users: Any) -> Load:
    if (requests_per_second is None) == (concurrent_users is None):
        both = requests_per_second is not None
        raise InvalidValueError(
            "load: requests_per_second and concurrent_users exclude each other" if both else "load: none is given",
            field="load",
            value=(requests_per_second, concurrent_users) if both else None,
            allowed="one of requests_per_second (--rps) and concurrent_users (--users)",
        )
    if requests_per_second is None:
        return Load(concurrent_users=_whole(concurrent_users, "concurrent_users"))
    number = isinstance(requests_per_second, (int, float, np.number)) and not isinstance(requests_per_second, bool)
    if not number or not 0 < requests_per_second < math.inf:
        raise InvalidValueError(
            f"requests_per_second: {shown(requests_per_second)} is not allowed",
            field="requests_per_second",
            value=requests_per_second,
            allowed="a number above 0",
        )
    return Load(requests_per_second=float(requests_per_second))


def _prices(candidate: Candidate, price: Any, energy_price: Any) -> Prices:
    own = price.get(candidate.name) if isinstance(price, Mapping) else price
    platform = Platform(name=candidate.chip.name, chip=candidate.chip, devices=1)
    return settle_prices(platform, own, energy_price)


def _check_price_names(price: Any, candidates: tuple[Candidate, ...]) -> None:
    """Prices by name are of candidates."""
    names = [candidate.name for candidate in candidates]
    for name in price if isinstance(price, Mapping) else ():
        if name not in names:
            raise unknown_name("platform of the price", str(name), names)


def _check_priced(candidates: tuple[Candidate, ...], prices: Mapping[str, Prices]) -> None:
    """Cost is compared only where every candidate has a price."""
    missing = [candidate.name for candidate in candidates if prices[candidate.name].device is None]
    if missing:
        raise InvalidValueError(
            f"price: no price of {', '.join(missing)} is known",
            field="price",
            allowed="a price of one device, such as '2.5 USD/h', or a mapping of them by platform",
            hint="or rank by another objective: " + ", ".join(name for name in OBJECTIVES if not name.startswith("usd")),
        )


def _names(given: Any, kind: str, find: Any, spec: type, *, free: tuple[str, ...] = ()) -> tuple[Any, ...]:
    """Names that exist, or specs, each once."""
    listed = [given] if isinstance(given, (str, spec)) or not isinstance(given, Iterable) else list(given)
    if not listed:
        raise InvalidValueError(f"{kind}s: none are given", field=f"{kind}s", value=given, allowed=f"one {kind}, or more")
    for item in listed:
        if not isinstance(item, spec) and item not in free:
            find(item)
    return tuple({getattr(item, "name", item): item for item in listed}.values())


def _without_decode(constraints: dict[str, float], case: UseCase | None, slo: Any, output: Any) -> dict[str, float]:
    """A request of one output token has no TPOT: that of a use case is dropped, one that was asked for is an error."""
    tokens = output if output is not None else case.output_tokens if case else None
    if tokens != 1:
        return constraints
    asked = slo.get("tpot") if isinstance(slo, Mapping) else getattr(slo, "tpot", None)
    if asked is not None:
        raise InvalidValueError(
            "slo tpot: a request of one output token has none", field="slo tpot", value=asked, allowed="2 or more output tokens"
        )
    return {name: limit for name, limit in constraints.items() if name != TPOT.figure}
