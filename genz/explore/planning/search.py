"""`genz.plan`: every deployment of the space under the load, ranked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from genz.explore.planning.asked import Asked, settle
from genz.explore.planning.deployments import Deployment, deployments, option_at, points_of
from genz.explore.planning.option import Option
from genz.explore.planning.points import Points, feasible
from genz.explore.planning.relaxing import no_plan
from genz.explore.planning.result import Plan
from genz.explore.planning.space import build_space
from genz.inference.question import DEFAULT_ENGINE, DEFAULT_FIDELITY
from genz.specs.engine import Engine
from genz.specs.hardware import Chip, Platform
from genz.specs.model import ModelSpec
from genz.specs.precision import Precision
from genz.specs.workload import SLO, UseCase

SAME = 1e-9  # relative difference within which two deployments are as good as each other


def plan(
    model: str | ModelSpec,
    *,
    use_case: str | UseCase | None = None,
    input: int | None = None,  # noqa: A002
    output: int | None = None,
    beams: int | None = None,
    cached: int = 0,
    slo: Mapping[str, Any] | SLO | None = None,
    requests_per_second: float | None = None,
    concurrent_users: int | None = None,
    platforms: str | Platform | Chip | Iterable[str | Platform | Chip] | None = None,
    max_devices: int | None = None,
    max_usd_per_hour: str | float | None = None,
    max_watts: str | float | None = None,
    max_devices_per_replica: int | None = None,
    max_num_seqs: int | None = None,
    precisions: str | Precision | Iterable[str | Precision] = "auto",
    engines: str | Engine | Iterable[str | Engine] = DEFAULT_ENGINE,
    fidelity: str = DEFAULT_FIDELITY,
    objective: str = "usd_per_million_tokens",
    disaggregated: bool = True,
    mixed_pools: bool = False,
    price: str | float | Mapping[str, str | float] | None = None,
    energy_price: str | float | None = None,
    kv_cache_dtype: str | None = None,
    routing: str = "balanced",
    max_model_len: int | None = None,
    gpu_memory_utilization: float | None = None,
    treat_as: str | None = None,
    images: int = 0,
    image_size: str | tuple[int, int] | None = None,
    image_tokens: int | None = None,
    embed: bool = False,
) -> Plan:
    """Find the deployments that serve a load within objectives of latency and budgets, the best first.

    Every replica size, layout (`genz.layouts`), precision, engine and batch is searched, with prefill and decode on the
    same devices or in pools of their own; nothing is cut short by a guess. Under load a server is in steady state, by the
    formulas of `genz.explore.planning.steady_state`: all figures are means.

    Args:
        model: name, hub id, or path of a `config.json`; or a `ModelSpec`.
        use_case: lengths, beams and objectives from the catalog.
        input, output, beams, cached, images, image_size, image_tokens, embed: a request, as of `genz.predict`.
        slo: {"ttft": "500 ms", "tpot": "30 ms", "e2e": "20 s"}, any of them; numbers are seconds. They replace those of the
            use case one by one, None lifts one.
        requests_per_second, concurrent_users: the load, one of the two: requests that arrive, or that are in flight.
        platforms: chips, of which any number may be taken in nodes of their scale-up domain, and platforms, of which a
            replica takes a part; every chip of the catalog with a price and a scale-out link unless told.
        max_devices, max_usd_per_hour, max_watts: budgets of the whole: devices, rent (USD/h), and mean power at the load (W).
        max_devices_per_replica: the largest replica that is searched; 16 unless told, more where the model needs more.
        max_num_seqs: sequences that an engine runs at once at most; 1024 unless told.
        precisions, engines: one or several; a precision that a chip cannot compute is passed over on it, with a note.
        fidelity: as of `genz.predict`.
        objective: "usd_per_million_tokens" (input and output), "devices", "energy" (J per output token), or
            "throughput_per_device" (output tokens/s and device at capacity).
        disaggregated: whether pools for prefill and decode are searched, too.
        mixed_pools: whether their replicas may be of different platforms.
        price: rent of one device, or {platform: rent}; list prices if left out. energy_price: "0.10 USD/kWh".
        kv_cache_dtype, routing, max_model_len, gpu_memory_utilization, treat_as: as of `genz.predict`.

    Raises:
        NoPlanError: nothing serves the load within all constraints; it names the binding constraint, and the smallest
            change of each constraint alone that admits a deployment.
        UnknownNameError, InvalidValueError, UnitError, SpecError, UnsupportedError: the question is not sound.
    """
    asked = settle(
        model,
        use_case=use_case,
        slo=slo,
        requests_per_second=requests_per_second,
        concurrent_users=concurrent_users,
        platforms=platforms,
        max_devices=max_devices,
        max_usd_per_hour=max_usd_per_hour,
        max_watts=max_watts,
        max_devices_per_replica=max_devices_per_replica,
        max_num_seqs=max_num_seqs,
        precisions=precisions,
        engines=engines,
        objective=objective,
        disaggregated=disaggregated,
        mixed_pools=mixed_pools,
        price=price,
        energy_price=energy_price,
        treat_as=treat_as,
        input=input,
        output=output,
        beams=beams,
        cached=cached,
        fidelity=fidelity,
        kv_cache_dtype=kv_cache_dtype,
        routing=routing,
        max_model_len=max_model_len,
        gpu_memory_utilization=gpu_memory_utilization,
        images=images,
        image_size=image_size,
        image_tokens=image_tokens,
        embed=embed,
    )
    space = build_space(asked)
    options = [option for found in deployments(asked, space) if (option := _best_of(asked, found)) is not None]
    if not options:
        raise no_plan(asked, space)
    return Plan(asked, space, tuple(sorted(options, key=lambda option: _rank(asked, option))))


def _best_of(asked: Asked, deployment: Deployment) -> Option | None:
    """The best point of a deployment that meets everything, or none. Of equals, fewer devices, then a shorter E2E."""
    points = points_of(asked, deployment)
    counted = np.flatnonzero(feasible(points, asked.constraints))
    if not len(counted):
        return None
    return option_at(asked, deployment, points, _first(asked, points, counted))


def _first(asked: Asked, points: Points, counted: np.ndarray) -> int:
    costs = asked.objective.cost(points[asked.objective.figure].flat[counted])
    least = costs.min()
    equal = counted[costs <= least + SAME * abs(least)]
    devices, e2e = (points[name].flat[equal] for name in ("devices", "e2e_s"))
    return int(equal[np.lexsort((e2e, devices))[0]])


def _rank(asked: Asked, option: Option) -> tuple[float, float, float, bool]:
    """The objective to nine digits, so that rounding orders nothing; then devices, E2E, and what is simpler."""
    cost = -option.figures[asked.objective.figure] if asked.objective.grows else option.figures[asked.objective.figure]
    return float(f"{cost:.9g}"), option.devices, option.figures["e2e_s"], option.is_disaggregated
