"""The fit, against constants that are known because the measurements were made with them."""

from dataclasses import dataclass

import numpy as np
import pytest

from genz.calibration.cells import Score, quantile_band
from genz.calibration.fitting import fit
from genz.timing.kernels.constants import constant, definitions


@dataclass(frozen=True)
class Line:
    """A kernel with a launch and a bandwidth: t = launch + bytes / rate."""

    launch: float = constant(1e-5, "s", 1e-7, 1e-3, "start")
    rate: float = constant(1e12, "B/s", 1e9, 1e14, "bandwidth")
    unused: float = constant(2.0, "1", 0.1, 10.0, "moves nothing")


SIZES = np.logspace(3, 9, 60)


def predict(constants: Line) -> np.ndarray:
    return constants.launch + SIZES / constants.rate


def test_definitions_keep_order_units_and_bounds():
    first, second, _ = definitions(Line)
    assert (first.name, first.unit, first.low, first.prior, first.high) == ("launch", "s", 1e-7, 1e-5, 1e-3)
    assert second.name == "rate"


@pytest.mark.parametrize("launch, rate", [(3e-6, 3e12), (2e-4, 5e10), (5e-7, 8e13)])
def test_known_constants_come_back(launch, rate):
    truth = Line(launch=launch, rate=rate)
    found = fit(predict, predict(truth), Line(), ("launch", "rate"))
    assert found.constants.launch == pytest.approx(launch, rel=0.01)
    assert found.constants.rate == pytest.approx(rate, rel=0.01)
    assert found.constants.unused == 2.0


def test_errors_are_those_of_a_mean_in_log_space():
    # With the launch fixed at nothing, log t = log bytes - log rate: the standard error of the rate is s / sqrt(n).
    draw = np.random.default_rng(1)
    sizes = np.full(400, 1e9)
    noise = draw.normal(0, 0.05, len(sizes))
    found = fit(lambda c: sizes / c.rate, sizes / 2e12 * np.exp(noise), Line(), ("rate",))
    assert found.errors["rate"] == pytest.approx(0.05 / np.sqrt(400), rel=0.15)
    assert found.constants.rate == pytest.approx(2e12, rel=4 * 0.05 / 20)


def test_outliers_hardly_move_a_constant():
    truth = Line(launch=3e-6, rate=3e12)
    measured = predict(truth).copy()
    measured[::10] *= 5.0
    found = fit(predict, measured, Line(), ("launch", "rate"))
    assert found.constants.rate == pytest.approx(3e12, rel=0.05)


def test_a_constant_that_no_row_moves_keeps_its_prior_and_says_so():
    found = fit(predict, predict(Line(launch=2e-6)), Line(), ("launch", "unused"))
    assert found.constants.unused == pytest.approx(2.0, rel=1e-3)
    assert found.errors["unused"] == float("inf")


def test_a_constant_beyond_its_bounds_stops_there_and_is_named():
    found = fit(lambda c: SIZES / c.rate, SIZES / 1e15, Line(), ("rate",))
    assert found.on_bounds == ("rate",)
    assert found.constants.rate == pytest.approx(1e14, rel=1e-3)


def test_scaling_the_measurements_scales_the_constants():
    # Units scale: times in a unit ten times smaller make the launch ten times larger and the rate ten times smaller.
    one = fit(predict, predict(Line(launch=4e-6, rate=2e12)), Line(), ("launch", "rate")).constants
    ten = fit(predict, 10 * predict(Line(launch=4e-6, rate=2e12)), Line(), ("launch", "rate")).constants
    assert ten.launch == pytest.approx(10 * one.launch, rel=0.01)
    assert ten.rate == pytest.approx(one.rate / 10, rel=0.01)


def test_score_by_hand():
    score = Score.of(np.array([1.1, 0.8, 2.0]), np.array([1.0, 1.0, 1.0]))
    assert score.rows == 3
    assert score.mean == pytest.approx((0.1 + 0.2 + 1.0) / 3)
    assert score.median == pytest.approx(0.2)
    assert score.bias == pytest.approx((0.1 - 0.2 + 1.0) / 3)


@pytest.mark.parametrize("rows", [20, 200, 1000])
def test_bands_cover_nine_in_ten_of_what_comes_next(rows):
    draw = np.random.default_rng(rows)
    covered = []
    for _ in range(60):
        low, high = quantile_band(draw.normal(0, 0.1, rows))
        later = draw.normal(0, 0.1, 500)
        covered.append(np.mean((later >= low) & (later <= high)))
    assert 0.88 <= np.mean(covered) <= 0.95


def test_a_band_holds_the_prediction_itself():
    low, high = quantile_band(np.linspace(0.2, 0.4, 50))
    assert low == 0.0
    assert high == pytest.approx(0.4, abs=0.02)
