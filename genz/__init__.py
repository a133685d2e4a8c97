"""GenZ predicts, from formulas, how a large language model runs on hardware.

>>> import genz
>>> print(genz.predict("llama-3.1-8b", "h100-sxm", input=2048, output=256))  # doctest: +SKIP

Names are loaded when they are first used, so that `import genz` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genz.errors import (
        DoesNotFitError, GenZError, InvalidValueError, SpecError, UnitError, UnknownNameError, UnsupportedError,
    )  # fmt: skip
    from genz.inference.compare import compare
    from genz.inference.evaluate import Outcome, evaluate
    from genz.inference.limits import critical_batch
    from genz.inference.predict import largest_batch, predict
    from genz.inference.prediction import Prediction
    from genz.inference.question import Question, settle_question
    from genz.specs.binding import bind
    from genz.specs.catalog import chip, engine, model, names, platform, precision, technology, use_case

__version__ = "0.1.0"

_HOMES = {
    "genz.errors": (
        "DoesNotFitError", "GenZError", "InvalidValueError", "SpecError", "UnitError", "UnknownNameError", "UnsupportedError",
    ),
    "genz.inference.compare": ("compare",),
    "genz.inference.evaluate": ("Outcome", "evaluate"),
    "genz.inference.limits": ("critical_batch",),
    "genz.inference.predict": ("largest_batch", "predict"),
    "genz.inference.prediction": ("Prediction",),
    "genz.inference.question": ("Question", "settle_question"),
    "genz.specs.binding": ("bind",),
    "genz.specs.catalog": ("chip", "engine", "model", "names", "platform", "precision", "technology", "use_case"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DoesNotFitError", "GenZError", "InvalidValueError", "Outcome", "Prediction", "Question", "SpecError", "UnitError",
    "UnknownNameError", "UnsupportedError", "bind", "chip", "compare", "critical_batch", "engine", "evaluate", "largest_batch",
    "model", "names", "platform", "precision", "predict", "settle_question", "technology", "use_case",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'genz' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
