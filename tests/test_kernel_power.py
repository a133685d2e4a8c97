"""Power of kernels: by hand, within the limit, and measured rows turned into terms of the model."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genz.calibration.power import figures, fit_power
from genz.measurements.power import TERMS, PowerRows, kernel_rows, low_readings, refusals
from genz.timing.kernels.constants import definitions
from genz.timing.kernels.power import PowerConstants, kernel_power

ROUND = PowerConstants(active=0.4, waiting=0.5, experts=0.1, held=1.0, throttle=2.0)


def test_power_by_hand() -> None:
    # 100 W idle, 1000 W of range: 400 W active, half of it and more while waiting for a quarter of the time, 100 W a second of
    # experts for half of it, and 100 J in half a second.
    drawn = kernel_power(100.0, 0.5, idle=100.0, limit=1100.0, constants=ROUND, busy=0.75, in_experts=0.5)
    assert drawn.power == pytest.approx(100 + 400 * (0.5 + 0.5 * 0.75) + 50 + 200)
    assert drawn.time == 0.5


def test_a_chip_at_its_limit_slows_by_the_root_of_what_is_too_much() -> None:
    # 600 W are left for dynamic power; four times as much at beta = 2 takes twice as long.
    drawn = kernel_power(2400.0, 1.0, idle=100.0, limit=1100.0, constants=ROUND)
    assert drawn.power == 1100.0
    assert drawn.time == pytest.approx(2.0)


powers = st.floats(0, 1e6, allow_subnormal=False)
constants = st.builds(PowerConstants, **{d.name: st.floats(d.low, d.high) for d in definitions(PowerConstants)})


@settings(max_examples=200, deadline=None)
@given(dynamic=powers, more=powers, time=st.floats(1e-6, 1e3), busy=st.floats(0, 1), limit=st.floats(60, 1500), known=constants)
def test_power_grows_with_work_and_never_passes_the_limit(
    dynamic: float, more: float, time: float, busy: float, limit: float, known: PowerConstants
) -> None:
    one = kernel_power(dynamic, time, idle=50.0, limit=limit, constants=known, busy=busy)
    other = kernel_power(dynamic + more, time, idle=50.0, limit=limit, constants=known, busy=busy)
    assert min(50.0, known.held * limit) <= one.power <= other.power <= limit
    assert time <= one.time <= other.time


def test_arrays_give_what_scalars_give() -> None:
    dynamic, time, limit = np.array([0.0, 5.0, 900.0]), np.array([1.0, 0.01, 1.0]), np.array([300.0, 700.0, 700.0])
    both = kernel_power(dynamic, time, idle=60.0, limit=limit, constants=PowerConstants())
    for i in range(3):
        one = kernel_power(float(dynamic[i]), float(time[i]), idle=60.0, limit=float(limit[i]), constants=PowerConstants())
        assert (both.power[i], both.time[i]) == pytest.approx(one)


def table(**columns: object) -> pd.DataFrame:
    """One GEMM of [4096, 4096] by [4096, 4096] on an H200 in a millisecond, and what is changed."""
    text = {"hardware": "H200-SXM-141GB", "op": "gemm", "dtype": "bfloat16", "kv_dtype": None, "kernel": None}
    empty = (
        "batch",
        "q_len",
        "past_kv",
        "n_heads",
        "n_kv_heads",
        "head_dim",
        "window",
        "num_tokens",
        "hidden",
        "inter",
        "topk",
    )
    numbers = dict.fromkeys((*empty, "n_experts", "moe_tp", "moe_ep", "tp", "power_limit_w"), np.nan)
    shape = {"m": 4096.0, "n": 4096.0, "k": 4096.0, "measured_s": 1e-3, "power_w": 500.0, "distribution": None}
    return pd.DataFrame([{**text, **numbers, **shape, **columns}])


def test_terms_of_a_gemm_by_hand() -> None:
    rows = kernel_rows(table())
    (row,) = rows.frame.to_dict("records")
    # 2 x 4096^3 FLOPs at 0.55 pJ (4N) and 3 x 4096^2 x 2 bytes at 5.5 pJ/bit (HBM3e) in a millisecond; L2: 1.5 pJ/bit.
    assert row["flop"] == pytest.approx(2 * 4096**3 * 0.55e-12 / 1e-3)
    assert row["byte"] == pytest.approx(6 * 4096**2 * 44e-12 / 1e-3)
    assert row["fixed"] == pytest.approx(6 * 4096**2 * 12e-12 / 1e-3)
    assert (row["busy"], row["in_experts"], row["limit"], row["measured"]) == (1.0, 0.0, 700.0, 500.0)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"power_w": np.nan}, "not measured"),
        ({"power_w": -3.0}, "not measured"),
        ({"measured_s": 2e-4}, "steady state"),
        ({"measured_s": np.nan}, "steady state"),
        ({"op": "gdn"}, "several kernels"),
        ({"hardware": "a toaster"}, "catalog"),
        ({"m": np.nan}, "missing"),
        ({"op": "moe", "distribution": "power_law_1.2", "moe_ep": 8.0}, "load"),
    ],
)
def test_rows_that_tell_nothing_are_refused(changed: dict[str, object], reason: str) -> None:
    rows = table(**changed)
    assert reason in refusals(rows).iloc[0]
    assert kernel_rows(rows).frame.empty


def made(count: int, known: PowerConstants, seed: int = 0) -> PowerRows:
    """Kernels on an H200 with the power that the constants give, to within 1 %."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({name: np.zeros(count) for name in TERMS})
    frame["flop"], frame["byte"] = random.uniform(0, 500, count), random.uniform(0, 200, count)
    frame = frame.assign(idle=115.0, limit=700.0, busy=1.0, chip="h200", source="gemm", format="bfloat16", measured=0.0)
    frame = frame.assign(shape=[f"{i}x{seed}" for i in range(count)], is_run=False, is_captured=True)
    watts = PowerRows(frame).predicted(known) * random.normal(1, 0.01, count)
    return PowerRows(frame.assign(measured=watts))


def test_a_fit_finds_the_constants_that_made_the_rows() -> None:
    truth = PowerConstants(active=0.3, flop=1.3, byte=0.8, held=0.97)
    (found,) = fit_power(made(300, truth))
    for name in ("active", "flop", "byte", "held"):
        assert getattr(found.fitted.constants, name) == pytest.approx(getattr(truth, name), rel=0.1)
    assert found.held_out["gemm bfloat16"].mean < 0.02
    assert figures("h200", found.fitted.constants)["active_watts"] == pytest.approx(0.3 * 585, rel=0.1)


def test_low_readings_are_found_and_kept_from_the_fit() -> None:
    truth = PowerConstants(active=0.3)
    rows = made(300, truth)
    spoilt = rows.frame["flop"].to_numpy() > 350
    spoilt[::2] = False
    low = PowerRows(rows.frame.assign(measured=np.where(spoilt, 0.5, 1.0) * rows.measured))
    assert (low_readings(low) == spoilt).mean() > 0.97
    assert not low_readings(rows).any()
    (found,) = fit_power(low)
    assert found.fitted.constants.active == pytest.approx(0.3, rel=0.1)


def test_too_few_rows_fit_nothing() -> None:
    assert fit_power(made(10, PowerConstants())) == []
