"""The fit: robust least squares of log(predicted / measured), constants in log space within their bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from genz.timing.kernels.constants import Definition, definitions

Array = npt.NDArray[np.float64]
# Residuals beyond this are taken for what no constant explains (another kernel, a disturbed run): they count linearly.
SOFT_SCALE = 0.08
# Constants keep to their priors unless the data pull them off: one unit of log here weighs as much as this many residuals.
PRIOR_WEIGHT = 0.02
# Closer to a bound than this (in log) a constant is said to sit on it.
ON_BOUND = 1e-3


@dataclass(frozen=True)
class Fitted:
    """Constants fitted to one cell, and how well the rows determine each.

    `errors` are relative standard errors (of the logarithm), infinite where the rows say nothing; `on_bounds` names
    constants that ended on a bound. `loss` is the mean of the robust loss.
    """

    constants: Any
    errors: dict[str, float]
    on_bounds: tuple[str, ...]
    loss: float


def fit(
    predict: Callable[[Any], Array],
    measured: Array,
    start: Any,
    free: Sequence[str],
    *,
    weights: Array | None = None,
    evaluations: int = 60,
    scale: float = SOFT_SCALE,
    pull: float = PRIOR_WEIGHT,
) -> Fitted:
    """Constants (a dataclass, starting from `start`) that bring `predict(constants)` [s] closest to `measured` [s].

    Minimises sum rho(w log(predicted / measured)) with rho of soft-L1 shape, plus a weak `pull` of each free constant to where
    it starts. Standard errors come from the Jacobian at the solution: sqrt(diag((J^T J)^-1)) times the residuals' robust
    spread. Raises `ImportError` where SciPy is missing.
    """
    from scipy.optimize import least_squares

    limits = {d.name: d for d in definitions(type(start))}
    chosen: list[Definition] = [limits[name] for name in free]
    low, high = (np.log([getattr(d, side) for d in chosen]) for side in ("low", "high"))
    origin = np.clip(np.log([getattr(start, d.name) for d in chosen]), low + 1e-9, high - 1e-9)
    target = np.log(measured)
    root = np.ones_like(measured) if weights is None else np.sqrt(weights / weights.mean())

    def constants_at(logs: Array) -> Any:
        return replace(start, **{d.name: float(v) for d, v in zip(chosen, np.exp(logs), strict=True)})

    def residuals(logs: Array) -> Array:
        misfit = root * (np.log(predict(constants_at(logs))) - target)
        return np.concatenate([misfit, pull * (logs - origin)])

    if not chosen:
        misfit = root * (np.log(predict(start)) - target)
        return Fitted(start, {}, (), float(np.mean(_soft(misfit / scale))))
    solution = least_squares(
        residuals, origin, bounds=(low, high), loss="soft_l1", f_scale=scale, max_nfev=evaluations, x_scale=1.0, diff_step=1e-4
    )
    misfit = residuals(solution.x)[: len(measured)]
    jacobian = solution.jac[: len(measured)]
    return Fitted(
        constants_at(solution.x),
        dict(zip((d.name for d in chosen), _standard_errors(jacobian, misfit), strict=True)),
        tuple(d.name for d, x, a, b in zip(chosen, solution.x, low, high, strict=True) if min(x - a, b - x) < ON_BOUND),
        float(np.mean(_soft(misfit / scale))),
    )


def _soft(z: Array) -> Array:
    return 2.0 * (np.sqrt(1.0 + z**2) - 1.0)


def _standard_errors(jacobian: Array, misfit: Array) -> list[float]:
    """Standard error of each logarithm: infinite for one that no row moves."""
    spread = 1.4826 * float(np.median(np.abs(misfit - np.median(misfit)))) or float(np.std(misfit))
    moved = np.linalg.norm(jacobian, axis=0) > 1e-9
    errors = np.full(jacobian.shape[1], np.inf)
    if moved.any():
        inner = jacobian[:, moved]
        covariance = np.linalg.pinv(inner.T @ inner)
        errors[moved] = spread * np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return [float(e) for e in errors]
