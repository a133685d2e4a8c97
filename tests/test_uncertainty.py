"""Intervals, against bands put together by hand."""

from math import exp, sqrt

import pytest

from genz.graph.step import Operator
from genz.inference.phase import OperatorCost, PhaseCost
from genz.inference.uncertainty import Spread, interval, spread_of, together
from genz.specs.calibration import Factors
from genz.timing.kernels.selection import Selected


def selected(low: float, high: float, span=(1e-9, 1e3)) -> Selected:
    return Selected({}, "", "own", (low, high), span, "", "here")


def operator(category: str, seconds: float, band: Selected | None, calls: float = 1.0) -> OperatorCost:
    return OperatorCost(Operator(category, "", category, 1, ()), seconds, 0.0, (), 0.0, 0.0, 0.0, calls, band)


def phase(*costs: OperatorCost, host: float = 0.0) -> PhaseCost:
    time = sum(cost.device_time for cost in costs)
    return PhaseCost(costs, 1, time, host, time + host, 0.0, False)


def test_one_family_errs_alike_and_families_on_their_own():
    cost = phase(
        operator("gemm", 1.0, selected(-0.1, 0.2)),
        operator("gemm", 2.0, selected(-0.1, 0.2)),
        operator("attention", 4.0, selected(-0.3, 0.1)),
    )
    spread = spread_of(cost)
    assert spread.up["gemm"] == pytest.approx(3 * (exp(0.2) - 1))
    found = interval(7.0, spread)
    up = sqrt((3 * (exp(0.2) - 1)) ** 2 + (4 * (exp(0.1) - 1)) ** 2)
    down = sqrt((3 * (1 - exp(-0.1))) ** 2 + (4 * (1 - exp(-0.3))) ** 2)
    assert found.high == pytest.approx(7 + up)
    assert found.low == pytest.approx(7 - down)


def test_a_decade_beyond_what_was_fitted_widens_by_half():
    near = selected(-0.1, 0.1, span=(1e-6, 1e-3))
    assert near.band_at(1e-4) == (-0.1, 0.1)
    assert near.band_at(1e-2) == pytest.approx((-0.15, 0.15))
    assert near.band_at(1e-7) == pytest.approx((-0.15, 0.15))


def test_the_mean_call_is_what_is_compared_with_the_fitted_times():
    # 10 s in 1e5 calls are calls of 0.1 ms, within the span.
    band = selected(-0.1, 0.1, span=(1e-6, 1e-3))
    assert spread_of(phase(operator("gemm", 10.0, band, calls=1e5))).up["gemm"] == pytest.approx(10 * (exp(0.1) - 1))


def test_factors_of_whole_requests_stretch_and_bound_from_below():
    spread = Spread({"gemm": 1.0}, {"gemm": 2.0})
    found = interval(10.0, spread, Factors(down=3.0, up=0.5, rows=10))
    assert (found.low, found.high) == (7.0, 11.0)
    assert interval(10.0, spread, Factors(down=30.0, up=1.0, rows=10)).low == 0.5


def test_phases_err_alike_by_family():
    both = together((Spread({"gemm": 1.0}, {"gemm": 2.0}), Spread({"gemm": 3.0, "host": 1.0}, {"gemm": 4.0, "host": 1.0})))
    assert both.up == {"gemm": 6.0, "host": 1.0}
    assert both.down == {"gemm": 4.0, "host": 1.0}


def test_what_is_not_calibrated_is_uncertain_by_a_factor_of_two():
    spread = spread_of(phase(operator("gemm", 1.0, None), host=1.0))
    assert spread.up["gemm"] == pytest.approx(exp(0.7) - 1)
    assert spread.up["engine"] == pytest.approx(exp(1.0) - 1)
