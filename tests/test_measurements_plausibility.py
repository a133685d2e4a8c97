"""Demands worked by hand, and units caught by physics."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from genz.measurements.demands import demands
from genz.measurements.plausibility import judge_operators, ratio_warning, suspect_transfers
from genz.measurements.table import SCHEMAS
from genz.specs import catalog

CHIP = catalog.chip("h100-sxm")


def rows(kind: str, *given: dict[str, Any]) -> pd.DataFrame:
    """Rows with every column of the schema."""
    return pd.DataFrame([{"hardware": "h100-sxm", "source": "mine", **row} for row in given]).reindex(
        columns=list(SCHEMAS[kind].columns)
    )


@pytest.mark.parametrize(
    ("row", "flops", "moved"),
    [
        # 2 x 16 x 64 x 32; weights 64 x 32 x 2, inputs 16 x 32 x 2, outputs 16 x 64 x 2 bytes
        ({"op": "gemm", "dtype": "bfloat16", "m": 16, "n": 64, "k": 32}, 65_536, 4096 + 1024 + 2048),
        ({"op": "gemm", "dtype": "fp8", "m": 16, "n": 64, "k": 32}, 65_536, 2048 + 512 + 2048),
        # 4 heads of 8, 3 queries: 1 + 2 + 3 pairs, 4 FLOPs each and dimension; q and o, k and v of 2 heads
        (
            {"op": "prefill_attention", "batch": 2, "q_len": 3, "past_kv": 0, "n_heads": 4, "n_kv_heads": 2, "head_dim": 8},
            2 * 4 * 4 * 8 * 6,
            2 * 8 * (2 * 2 * 4 * 3 + 2 * 2 * 2 * 3),
        ),
        # past 10 of which a window of 4 shows 4: one query
        (
            {"op": "decode_attention", "batch": 1, "past_kv": 10, "n_heads": 4, "n_kv_heads": 1, "head_dim": 8, "window": 4},
            4 * 4 * 8 * 4,
            8 * (2 * 2 * 4 + 2 * 2 * 5),
        ),
        # 4 queries of a window of 2, nothing cached: 1 + 2 + 2 + 2 pairs
        (
            {"op": "prefill_attention", "batch": 1, "q_len": 4, "past_kv": 0, "n_heads": 1, "head_dim": 8, "window": 2},
            4 * 8 * 7,
            8 * (2 * 2 * 4 + 2 * 2 * 4),
        ),
        ({"op": "norm", "num_tokens": 10, "hidden": 100}, 0, 4000),
        ({"op": "activation", "num_tokens": 10, "inter": 100, "tp": 2}, 0, 3000),
        # one expert of one: three matrices of 8 x 4
        (
            {"op": "moe", "num_tokens": 5, "hidden": 8, "inter": 4, "topk": 1, "n_experts": 1, "moe_tp": 1, "moe_ep": 1},
            2 * 5 * 3 * 32,
            2 * 96 + 2 * 5 * 8,
        ),
    ],
)
def test_demands_by_hand(row: dict[str, Any], flops: float, moved: float) -> None:
    found = demands(rows("ops", row))
    assert found.flops[0] == pytest.approx(flops)
    assert found.moved[0] == pytest.approx(moved)


def test_what_columns_do_not_tell_has_no_demand() -> None:
    found = demands(rows("ops", {"op": "layer:act_fn", "num_tokens": 4}, {"op": "gemm", "dtype": "bf16", "m": 1, "n": 2}))
    assert np.isnan(found.flops).all()


BIG = {"op": "gemm", "dtype": "bfloat16", "m": 8192, "n": 8192, "k": 8192}
SECONDS = 2 * 8192**3 / CHIP.matrix_flops["bf16"]


def test_a_row_is_suspect_only_beyond_compute_and_cache() -> None:
    """A GEMM of little work may be faster than main memory, from a cache, and a large one a little faster than its clock."""
    cached = {"op": "gemm", "dtype": "bfloat16", "m": 16, "n": 2048, "k": 2048}
    from_memory = 2 * 2048**2 / CHIP.main_memory.bandwidth
    given = rows(
        "ops",
        {**BIG, "measured_s": SECONDS * 1.3},
        {**BIG, "measured_s": SECONDS / 1.2},
        {**BIG, "measured_s": SECONDS / 1000},
        {**cached, "measured_s": from_memory / 1.5},
        {**BIG, "measured_s": SECONDS / 1000, "hardware": "a chip that nobody knows"},
    )
    assert judge_operators(given)[0].tolist() == [False, False, True, False, False]


def test_milliseconds_and_bytes_are_noticed() -> None:
    sizes = [1024, 2048, 4096, 6144, 8192, 12288]
    bounds = [2 * n**3 / CHIP.matrix_flops["bf16"] for n in sizes]
    square = [{"op": "gemm", "dtype": "bfloat16", "m": n, "n": n, "k": n} for n in sizes]
    sound = rows("ops", *({**shape, "measured_s": 1.25 * t + 1e-6} for shape, t in zip(square, bounds, strict=True)))
    assert judge_operators(sound)[1] == []
    milliseconds = sound.assign(measured_s=sound["measured_s"] * 1e3)
    assert "measured_s looks like milliseconds: divide by 1,000" in judge_operators(milliseconds)[1][0]
    microseconds = sound.assign(measured_s=sound["measured_s"] * 1e6)
    assert "measured_s looks like microseconds: divide by 1,000,000" in judge_operators(microseconds)[1][0]
    small = sound.assign(measured_s=sound["measured_s"] / 1e3)
    assert "is measured_s in seconds?" in judge_operators(small)[1][0]
    doubled = sound.assign(k=sound["k"] * 2)
    assert "bytes where elements are due" in judge_operators(doubled)[1][0]


def test_transfers_faster_than_their_links() -> None:
    bandwidth = CHIP.links["scale_up"].bandwidth
    message = {"collective": "all_gather", "n_devices": 8, "message_bytes": 8e9}
    least = 7e9 / bandwidth
    given = rows(
        "collectives",
        {**message, "measured_s": least * 1.1},
        {**message, "measured_s": least / 1.1},
        {**message, "measured_s": least / 2},
        {**message, "measured_s": least / 2, "collective": "moe_dispatch"},
        {**message, "measured_s": least / 2, "hardware": "nothing known"},
    )
    assert suspect_transfers(given).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(("factor", "says"), [(1.0, ""), (30.0, ""), (1100.0, "milliseconds"), (0.9e6, "microseconds")])
def test_ratios_near_a_power_of_a_thousand(factor: float, says: str) -> None:
    said = ratio_warning(np.full(9, factor))
    assert (says in said) if says else said == ""
    assert ratio_warning(np.full(2, 1000.0)) == ""
