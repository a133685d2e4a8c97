"""GenZ predicts, from formulas, how a large language model runs on hardware.

>>> import genz
>>> print(genz.predict("llama-3.1-8b", "h100-sxm", input=2048, output=256))  # doctest: +SKIP

Names are loaded when they are first used, so that `import genz` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genz import plots
    from genz.errors import (
        DoesNotFitError,
        GenZError,
        InvalidValueError,
        SpecError,
        UnitError,
        UnknownNameError,
        UnsupportedError,
    )
    from genz.explore.closed_forms import Explanation, explain
    from genz.explore.pareto import pareto_front
    from genz.explore.planning import NoPlanError, Plan, plan
    from genz.explore.require import Requirement, require
    from genz.explore.sensitivity import Sensitivity, sensitivity
    from genz.explore.study import Study
    from genz.explore.sweep import sweep
    from genz.export import Launch, launch_for
    from genz.inference.chunked import ChunkedPrefill, chunk_prefill, mixed_step
    from genz.inference.compare import compare
    from genz.inference.diffusion import Diffusion, diffuse
    from genz.inference.disaggregated import Disaggregated, disaggregate, match_pools
    from genz.inference.evaluate import Outcome, evaluate
    from genz.inference.limits import critical_batch
    from genz.inference.predict import largest_batch, predict
    from genz.inference.prediction import Prediction
    from genz.inference.question import Question, settle_question
    from genz.inference.speculative import SpeculativeOutcome, speculate
    from genz.specs.binding import bind
    from genz.specs.catalog import chip, engine, model, names, platform, precision, technology, use_case
    from genz.specs.layouts import layouts
    from genz.specs.parallelism import Parallelism
    from genz.validation.validate import Report, validate

__version__ = "0.1.0"

_HOMES = {
    "genz.errors": (
        "DoesNotFitError",
        "GenZError",
        "InvalidValueError",
        "SpecError",
        "UnitError",
        "UnknownNameError",
        "UnsupportedError",
    ),
    "genz.export": ("Launch", "launch_for"),
    "genz.explore.closed_forms": ("Explanation", "explain"),
    "genz.explore.pareto": ("pareto_front",),
    "genz.explore.planning": ("NoPlanError", "Plan", "plan"),
    "genz.explore.require": ("Requirement", "require"),
    "genz.explore.sensitivity": ("Sensitivity", "sensitivity"),
    "genz.explore.study": ("Study",),
    "genz.explore.sweep": ("sweep",),
    "genz.inference.compare": ("compare",),
    "genz.inference.chunked": ("ChunkedPrefill", "chunk_prefill", "mixed_step"),
    "genz.inference.diffusion": ("Diffusion", "diffuse"),
    "genz.inference.disaggregated": ("Disaggregated", "disaggregate", "match_pools"),
    "genz.inference.evaluate": ("Outcome", "evaluate"),
    "genz.inference.limits": ("critical_batch",),
    "genz.inference.predict": ("largest_batch", "predict"),
    "genz.inference.prediction": ("Prediction",),
    "genz.inference.question": ("Question", "settle_question"),
    "genz.inference.speculative": ("SpeculativeOutcome", "speculate"),
    "genz.specs.binding": ("bind",),
    "genz.specs.catalog": ("chip", "engine", "model", "names", "platform", "precision", "technology", "use_case"),
    "genz.specs.layouts": ("layouts",),
    "genz.specs.parallelism": ("Parallelism",),
    "genz.validation.validate": ("Report", "validate"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ChunkedPrefill",
    "Diffusion",
    "Disaggregated",
    "DoesNotFitError",
    "Explanation",
    "GenZError",
    "InvalidValueError",
    "Launch",
    "NoPlanError",
    "Outcome",
    "Parallelism",
    "Plan",
    "Prediction",
    "Question",
    "Report",
    "Requirement",
    "Sensitivity",
    "SpecError",
    "SpeculativeOutcome",
    "Study",
    "UnitError",
    "UnknownNameError",
    "UnsupportedError",
    "bind",
    "chip",
    "chunk_prefill",
    "compare",
    "critical_batch",
    "diffuse",
    "disaggregate",
    "engine",
    "evaluate",
    "explain",
    "largest_batch",
    "launch_for",
    "layouts",
    "match_pools",
    "mixed_step",
    "model",
    "names",
    "pareto_front",
    "plan",
    "platform",
    "plots",
    "precision",
    "predict",
    "require",
    "sensitivity",
    "settle_question",
    "speculate",
    "sweep",
    "technology",
    "use_case",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module("genz.plots")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'genz' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
