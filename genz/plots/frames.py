"""Tables as figures need them: columns that exist, rows that can be drawn, one row a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genz.errors import InvalidValueError, shown, unknown_name

if TYPE_CHECKING:
    import pandas as pd

    from genz.inference.prediction import Prediction


FEASIBLE = ("fits", "feasible")  # what tables of `compare` and `sweep` call it


def check_prediction(value: Any) -> Prediction:
    """A prediction as it is. Raises `InvalidValueError` for anything else."""
    from genz.inference.prediction import Prediction

    if not isinstance(value, Prediction):
        raise InvalidValueError(
            f"prediction: {shown(value)} is none", field="prediction", value=value, allowed="what genz.predict returns"
        )
    return value


def table_of(source: Any) -> pd.DataFrame:
    """A DataFrame as it is, or that of anything with `to_frame()`. Raises `InvalidValueError` where there are no rows."""
    import pandas as pd

    frame = source.to_frame() if not isinstance(source, pd.DataFrame) and hasattr(source, "to_frame") else source
    if not isinstance(frame, pd.DataFrame):
        raise InvalidValueError(
            f"frame: {shown(source)} is no table", field="frame", value=source, allowed="a DataFrame, or what has to_frame()"
        )
    if not len(frame):
        raise InvalidValueError("the table has no rows, so there is nothing to draw", field="frame", hint="widen the study")
    return frame


def units_of(frame: pd.DataFrame) -> dict[str, str]:
    """Units of columns that the table itself tells, as that of a sweep does of its axes."""
    return dict(frame.attrs.get("units", {}))


def check_columns(frame: pd.DataFrame, *names: str | None) -> None:
    """Raise `UnknownNameError` for a column that is not there."""
    for name in names:
        if name is not None and (not isinstance(name, str) or name not in frame.columns):
            raise unknown_name("column", str(name), map(str, frame.columns))


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A column as floats, with NaN where nothing is known or the row does not fit. Raises for text."""
    import pandas as pd

    check_columns(frame, column)
    try:
        values = pd.to_numeric(frame[column]).to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError):
        raise InvalidValueError(
            f"column {column!r} holds {shown(frame[column].iloc[0])}, which is no number", field=column, allowed="numbers"
        ) from None
    finite = np.where(np.isfinite(values), values, np.nan)
    return np.where(feasible(frame), finite, np.nan)


def feasible(frame: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows can be: all of them where the table does not say."""
    found = np.ones(len(frame), dtype=bool)
    for column in FEASIBLE:
        if column in frame.columns:
            found &= frame[column].fillna(False).to_numpy(dtype=bool)
    return found


def check_some(values: np.ndarray[Any, Any], column: str) -> None:
    """Raise `InvalidValueError` where a column holds no number that could be drawn."""
    if not np.isfinite(values).any():
        raise InvalidValueError(
            f"no row has a value of {column!r}: every configuration is infeasible or undefined",
            field=column,
            hint="look at why rows are infeasible, or widen the study",
        )


def is_numeric(frame: pd.DataFrame, column: str) -> bool:
    """Whether a column holds numbers, and can be an axis with distances."""
    import pandas as pd

    return pd.api.types.is_numeric_dtype(frame[column]) and not pd.api.types.is_bool_dtype(frame[column])


def grid(frame: pd.DataFrame, x: str, y: str, values: np.ndarray[Any, Any]) -> pd.DataFrame:
    """Values laid out over two columns, y downwards. Raises `InvalidValueError` where a cell would hold several rows."""
    import pandas as pd

    check_columns(frame, x, y)
    if x == y:
        raise InvalidValueError(f"x and y are both {x!r}", field="y", value=y, allowed="another column than x")
    for column in (x, y):
        if frame[column].isna().any():
            raise InvalidValueError(f"column {column!r} has rows without a value", field=column, hint="drop these rows first")
    check_distinct(frame, x, y)
    keys = frame[[x, y]].reset_index(drop=True)
    laid = pd.DataFrame({x: keys[x], y: keys[y], "value": values}).pivot(index=y, columns=x, values="value")
    if not is_numeric(frame, x):  # names keep the order of the table
        laid = laid[list(dict.fromkeys(keys[x]))]
    return laid if is_numeric(frame, y) else laid.loc[list(dict.fromkeys(keys[y]))]


def check_distinct(frame: pd.DataFrame, *columns: str) -> None:
    """Raise `InvalidValueError` where several rows have the same values in the columns: which one is meant?"""
    if frame.duplicated(subset=list(columns)).any():
        raise InvalidValueError(
            f"several rows have the same {' and '.join(columns)}",
            field="frame",
            allowed="one row for each",
            hint=f"keep one value of {_varied(frame, *columns)}",
        )


def _varied(frame: pd.DataFrame, *axes: str) -> str:
    """The columns, of those that describe a configuration, that vary beside the axes."""
    described = [c for c in configuration(frame) if c not in axes and frame[c].astype(str).nunique() > 1]
    return ", ".join(described[:4]) or "the columns that vary"


def configuration(frame: pd.DataFrame) -> list[str]:
    """Columns that say what was asked, not what came out."""
    from genz.inference.metrics import METRICS

    results = {*METRICS, *FEASIBLE, "why", "prefill_bound", "decode_bound"}
    return [str(column) for column in frame.columns if column not in results]
