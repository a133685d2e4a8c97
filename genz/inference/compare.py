"""Several deployments side by side."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from genz.errors import DoesNotFitError, InvalidValueError
from genz.inference.metrics import METRICS
from genz.inference.predict import predict

if TYPE_CHECKING:
    import pandas as pd

FIGURES = (
    "ttft_s",
    "tpot_s",
    "e2e_s",
    "output_tokens_per_s",
    "energy_j_per_output_token",
    "power_w",
    "memory_total_bytes",
    "usd_per_million_output_tokens",
)
SINGULAR = {"model": "models", "platform": "platforms", "precision": "precisions", "engine": "engines", "tp": "tps"}


def compare(
    models: str | Iterable[str],
    platforms: str | Iterable[str],
    *,
    precisions: str | Iterable[str] = "auto",
    engines: str | Iterable[str] = "vllm",
    tps: int | Iterable[int] = 1,
    **asked: Any,
) -> pd.DataFrame:
    """Predict every combination of models, platforms, precisions, engines and tensor-parallel degrees.

    One row a combination, in the order given; the other arguments are those of `predict`. A row that does not
    fit keeps its place, with empty metrics and `fits` false; any other error stops the comparison. Raises
    `InvalidValueError` for an argument of `predict` that is compared here under its plural.
    """
    import pandas as pd

    for name in SINGULAR.keys() & asked.keys():
        raise InvalidValueError(f"{name} is what compare varies", field=name, value=asked[name], hint=f"give {SINGULAR[name]}=")
    rows = [
        _row(dict(zip(SINGULAR, combination, strict=True)), asked)
        for combination in product(_listed(models), _listed(platforms), _listed(precisions), _listed(engines), _listed(tps))
    ]
    return pd.DataFrame(rows)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, (str, BaseModel)) else [value]


def _row(chosen: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    names = {key: getattr(value, "name", value) for key, value in chosen.items()}
    try:
        prediction = predict(**chosen, **asked)
    except DoesNotFitError as error:
        empty = dict.fromkeys((*FIGURES, "prefill_bound", "decode_bound"))
        return {**names, "fits": False, **empty, "memory_total_bytes": error.memory.total_bytes}
    figures = {name: METRICS[name].of(prediction.outcome, prediction.prices) for name in FIGURES}
    bounds = {f"{phase}_bound": bound for phase, bound in prediction.bound.items()}
    return {**names, "fits": True, **figures, **bounds}
