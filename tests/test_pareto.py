"""Pareto fronts against the definition, row by row."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genz
from genz.explore.pareto import non_dominated


def by_definition(rows: list[tuple[float, ...]]) -> list[bool]:
    """A row is kept unless another is no worse in all and better in one."""

    def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return all(a <= b for a, b in zip(one, other, strict=True)) and one != other

    return [not any(beats(one, row) for one in rows) for row in rows]


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(st.tuples(*[st.integers(0, 5).map(float)] * width), min_size=1, max_size=40),
    ),
)
def test_the_front_is_what_the_definition_says(rows: list[tuple[float, ...]]) -> None:
    assert non_dominated(np.array(rows)).tolist() == by_definition(rows)


def test_the_front_of_a_table() -> None:
    frame = pd.DataFrame({"name": ["slow", "fast", "bad", "even"], "speed": [1, 3, 1, 2], "cost": [1.0, 9.0, 5.0, 4.0]})
    front = genz.pareto_front(frame, maximise="speed", minimise=["cost"])
    assert front.name.tolist() == ["fast", "even", "slow"]
    assert front.index.tolist() == [1, 3, 0]


def test_equal_rows_stay_and_missing_values_leave() -> None:
    frame = pd.DataFrame({"cost": [1.0, 1.0, np.nan, np.inf, 2.0]})
    assert genz.pareto_front(frame, minimise="cost").index.tolist() == [0, 1]
    assert genz.pareto_front(frame.iloc[2:4], minimise="cost").empty


def test_wrong_questions() -> None:
    frame = pd.DataFrame({"cost": [1.0], "name": ["a"]})
    with pytest.raises(genz.UnknownNameError, match="cost"):
        genz.pareto_front(frame, minimise="costs")
    with pytest.raises(genz.InvalidValueError, match="no objective"):
        genz.pareto_front(frame)
    with pytest.raises(genz.InvalidValueError, match="twice"):
        genz.pareto_front(frame, minimise="cost", maximise="cost")
    with pytest.raises(genz.InvalidValueError, match="no numbers"):
        genz.pareto_front(frame, minimise="name")
