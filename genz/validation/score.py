"""How far predictions are from measurements, by group: the one scorer for all kinds of rows.

Errors are relative to what was measured, e = predicted / measured - 1; a row that was not answered counts among the rows and
in nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

FIGURES = ("rows", "answered", "mape", "median_ape", "bias", "p90_ape", "coverage")


def score(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Figures of each group of `rows`, which have `predicted`, `measured`, `low` and `high`; not a number is unanswered.

    `mape` is the mean of |e|, `median_ape` its median, `p90_ape` its ninth decile, `bias` the mean of e; `coverage` is the
    share of the answered rows with an interval [low, high] whose measured value lies in it. All are fractions, and not a
    number for a group without answers.
    """
    error = rows["predicted"].to_numpy(float) / rows["measured"].to_numpy(float) - 1
    low, measured, high = (rows[name].to_numpy(float) for name in ("low", "measured", "high"))
    covered = np.where(np.isnan(low) | np.isnan(high) | np.isnan(error), np.nan, (low <= measured) & (measured <= high))
    keys = list(by) or ["all"]
    frame = rows[list(by)] if by else pd.DataFrame({"all": "all"}, index=rows.index)
    frame = frame.assign(_error=error, _size=np.abs(error), _covered=covered)
    groups = frame.groupby(keys, dropna=False, sort=True)
    table = pd.DataFrame(
        {
            "rows": groups.size(),
            "answered": groups["_error"].count(),
            "mape": groups["_size"].mean(),
            "median_ape": groups["_size"].median(),
            "bias": groups["_error"].mean(),
            "p90_ape": groups["_size"].quantile(0.9),
            "coverage": groups["_covered"].mean(),
        }
    ).reset_index()
    return table if by else table.drop(columns="all")
