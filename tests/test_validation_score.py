"""The scorer, against figures worked by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genz.validation.score import FIGURES, score

NAN = float("nan")


def frame(*rows: tuple[str, float, float, float, float]) -> pd.DataFrame:
    """Rows of group, predicted, measured, low, high."""
    return pd.DataFrame(rows, columns=["hardware", "predicted", "measured", "low", "high"])


def test_figures_by_hand() -> None:
    """Errors of +50 %, -50 %, +10 % and -20 %, one row unanswered, of three intervals two hold."""
    table = score(
        frame(
            ("a", 1.5, 1.0, 0.9, 2.0),
            ("a", 1.0, 2.0, 0.5, 1.5),
            ("a", 1.1, 1.0, NAN, NAN),
            ("a", 0.8, 1.0, 0.7, 1.0),
            ("a", NAN, 1.0, NAN, NAN),
            ("b", NAN, 1.0, NAN, NAN),
        ),
        ["hardware"],
    )
    a, b = table.to_dict(orient="records")
    assert (a["hardware"], a["rows"], a["answered"]) == ("a", 5, 4)
    assert a["mape"] == pytest.approx((0.5 + 0.5 + 0.1 + 0.2) / 4)
    assert a["median_ape"] == pytest.approx((0.2 + 0.5) / 2)
    assert a["bias"] == pytest.approx((0.5 - 0.5 + 0.1 - 0.2) / 4)
    assert a["p90_ape"] == pytest.approx(0.5)
    assert a["coverage"] == pytest.approx(2 / 3)
    assert (b["rows"], b["answered"]) == (1, 0)
    assert all(math.isnan(b[name]) for name in FIGURES[2:])


def test_groups_of_many_columns_and_of_none() -> None:
    rows = frame(("a", 2.0, 1.0, NAN, NAN), ("b", 1.0, 1.0, NAN, NAN)).assign(dtype=["fp8", None])
    assert score(rows, ["hardware", "dtype"])["rows"].tolist() == [1, 1]
    assert score(rows, ["dtype"])["mape"].tolist() == [1.0, 0.0]
    whole = score(rows, [])
    assert list(whole.columns) == list(FIGURES) and whole["mape"].tolist() == [0.5]


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=30))
def test_figures_keep_their_order_and_their_unit(pairs: list[tuple[float, float]]) -> None:
    """Nothing changes with the unit; mean and ninth decile lie within the errors; no bias is larger than the mean error."""
    rows = frame(*(("a", p, m, p / 2, p * 2) for p, m in pairs))
    scaled = rows.copy()
    scaled[["predicted", "measured", "low", "high"]] *= 1024.0
    one, other = (score(table, ["hardware"]).iloc[0] for table in (rows, scaled))
    assert all(one[name] == pytest.approx(other[name]) for name in FIGURES)
    errors = np.abs(rows["predicted"] / rows["measured"] - 1)
    assert errors.min() - 1e-12 <= one["median_ape"] <= one["p90_ape"] + 1e-12 <= errors.max() + 1e-9
    assert abs(one["bias"]) <= one["mape"] + 1e-12
    assert 0 <= one["coverage"] <= 1
