"""Measured routed experts and layers with a state: loads as the benchmark makes them, rows read, odd rows refused."""

import numpy as np
import pandas as pd
import pytest

from genz.calibration.fitting import fit
from genz.measurements.experts import EXPERTS
from genz.measurements.routing import benchmark_load
from genz.measurements.state_space import GATED_DELTA_NET, MAMBA2
from genz.measurements.table import SCHEMAS
from genz.specs import catalog
from genz.timing.kernels.experts import ExpertsConstants

CHIP = catalog.chip("h100-sxm")


def rows(*changes: dict[str, object], **common: object) -> pd.DataFrame:
    """Rows of the tidy schema, everything else empty."""
    schema = SCHEMAS["ops"]
    empty = {**dict.fromkeys(schema.text, None), **dict.fromkeys(schema.numbers, np.nan)}
    return pd.DataFrame([{**empty, "hardware": "H100-SXM-80GB", **common, **change} for change in changes or ({},)])


def experts(*changes: dict[str, object]) -> pd.DataFrame:
    layer = {
        "num_tokens": 64.0,
        "hidden": 2048.0,
        "inter": 768.0,
        "topk": 8.0,
        "n_experts": 128.0,
        "moe_tp": 1.0,
        "moe_ep": 1.0,
    }
    names = {"op": "moe", "dtype": "bfloat16", "framework": "vllm", "framework_version": "1", "kernel": "fused"}
    return rows(*changes, distribution="balanced", measured_s=1e-4, **layer, **names)


def draw_rounded(tokens: int, experts_: int, top_k: int, ranks: int, alpha: float, trials: int = 300) -> tuple[float, float]:
    """Rows and touched experts of the fullest rank, from loads drawn and rounded as the benchmark does it."""
    generator = np.random.default_rng(11)
    low, high = (1.0, 0.8 * tokens) if tokens * top_k > experts_ else (0.01, 2.0)
    power = 1 - alpha
    found = []
    for _ in range(trials):
        drawn = ((high**power - low**power) * generator.random(experts_) + low**power) ** (1 / power)
        counts = np.round(drawn / drawn.sum() * tokens * top_k).astype(int)
        order = np.lexsort((generator.random(experts_), -counts))
        left = tokens * top_k - counts.sum()
        for i in range(abs(left)):
            place = order[i % experts_] if left > 0 else order[-(i % experts_) - 1]
            counts[place if left > 0 or counts[place] else counts.argmax()] += np.sign(left)
        on_ranks = np.minimum(counts, tokens).reshape(ranks, -1)
        fullest = on_ranks[on_ranks.sum(axis=1).argmax()]
        found.append((fullest.sum(), (fullest > 0).sum()))
    return tuple(np.mean(found, axis=0))


@pytest.mark.parametrize(
    ("tokens", "experts_", "top_k", "ranks"),
    [(16, 256, 8, 8), (64, 128, 8, 32), (256, 256, 8, 64), (2048, 128, 8, 16), (4096, 256, 8, 64), (4096, 8, 2, 2)],
)
@pytest.mark.parametrize("alpha", [1.01, 1.2])
def test_power_laws_against_loads_that_are_drawn(tokens: int, experts_: int, top_k: int, ranks: int, alpha: float) -> None:
    pairs, touched = draw_rounded(tokens, experts_, top_k, ranks, alpha)
    columns = (np.array([float(v)]) for v in (tokens, experts_, top_k, ranks))
    load = benchmark_load(f"power_law_{alpha}", *columns)
    assert load.rows[0] == pytest.approx(pairs, rel=0.12)
    assert load.touched[0] == pytest.approx(touched, rel=0.12)


def test_balanced_rows_are_dealt_out_in_turn() -> None:
    tokens, ranks = np.array([1.0, 8.0, 64.0, 4096.0]), np.array([1.0, 32.0, 32.0, 8.0])
    load = benchmark_load("balanced", tokens, np.full(4, 384.0), np.full(4, 8.0), ranks)
    assert load.rows.tolist() == [8, 2, 16, 4096] and load.touched.tolist() == [8, 2, 12, 48]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dtype": "int3"}, "int3"),
        ({"dtype": None}, "not known"),
        ({"distribution": "zipf"}, "zipf"),
        ({"distribution": "worst"}, "no benchmark"),
        ({"distribution": "power_law_x"}, "power_law"),
        ({"num_tokens": np.nan}, "whole numbers"),
        ({"num_tokens": 0.0}, "whole numbers"),
        ({"hidden": -1.0}, "whole numbers"),
        ({"inter": np.inf}, "whole numbers"),
        ({"topk": 1.5}, "whole numbers"),
        ({"topk": 129.0}, "topk"),
        ({"moe_ep": 3.0}, "moe_ep"),
        ({"moe_ep": 0.0}, "whole numbers"),
    ],
)
def test_odd_rows_are_refused_with_a_reason(change: dict[str, object], reason: str) -> None:
    refusals = EXPERTS.refusals(experts({}, change))
    assert refusals.iloc[0] == "" and reason in refusals.iloc[1]


def test_ranks_and_distribution_may_be_left_out() -> None:
    table = experts({}, {"moe_tp": np.nan, "moe_ep": np.nan, "distribution": None})
    assert (EXPERTS.refusals(table) == "").all()
    seconds = EXPERTS.times(table, CHIP, ExpertsConstants(), "as_named")
    assert seconds[0] == seconds[1]


def test_a_shape_is_a_layer_on_its_ranks_whatever_the_batch() -> None:
    names = EXPERTS.shape_names(experts({"num_tokens": 1.0}, {"num_tokens": 512.0}, {"moe_ep": 8.0}))
    assert names[0] == names[1] == "2048x768x8x128x1x1" and names[2] == "2048x768x8x128x1x8"


def test_kernels_that_say_so_and_layers_that_are_known_have_no_gate() -> None:
    relu = {"hidden": 2688.0, "inter": 1856.0, "topk": 6.0}
    table = experts({}, relu)
    seconds = EXPERTS.times(table, CHIP, ExpertsConstants(), "as_named")
    gated = EXPERTS.times(table, CHIP, ExpertsConstants(), "gated")
    named = EXPERTS.times(experts({"kernel": "x_nongated"}), CHIP, ExpertsConstants(), "gated")
    assert seconds[0] == gated[0] > named[0] and seconds[1] < gated[1]


def test_local_rows_hold_the_pairs_of_one_rank() -> None:
    table = experts({"moe_ep": 16.0, "num_tokens": 4096.0}, {"num_tokens": 4096.0})
    everywhere, local = (EXPERTS.times(table, CHIP, ExpertsConstants(), v) for v in ("as_named", "local"))
    assert local[0] < everywhere[0] and local[1] == everywhere[1]


def test_a_chip_without_a_format_computes_in_a_wider_type() -> None:
    table = experts({"dtype": "fp8", "num_tokens": 16384.0})
    assert np.isfinite(EXPERTS.times(table, catalog.chip("a100-sxm"), ExpertsConstants(), "as_named")).all()


def test_constants_come_back_from_times_that_they_made() -> None:
    sizes = [
        {"num_tokens": float(2**i), "moe_ep": float(2 ** (i % 5)), "inter": 768.0 * 2 ** (i % 3)}
        for i in range(15)
        for _ in (0, 1)
    ]
    table = experts(*sizes)
    truth = ExpertsConstants(launch=4e-5, memory=0.7, compute=0.3, pair_passes=3.0)
    made = EXPERTS.times(table, CHIP, truth, "as_named")
    found = fit(lambda c: EXPERTS.times(table, CHIP, c, "as_named"), made, ExpertsConstants(), EXPERTS.free(table, "as_named"))
    again = EXPERTS.times(table, CHIP, found.constants, "as_named")
    assert np.abs(again / made - 1).mean() < 0.01
    assert found.constants.launch == pytest.approx(truth.launch, rel=0.15)


def recurrent(op: str, *changes: dict[str, object]) -> pd.DataFrame:
    kernels = {"mamba2": "causal_conv1d_fn", "gdn": "chunk_gated_delta_rule"}
    models = {"mamba2": "MAMBA2_GENERIC_4K", "gdn": "Qwen/Qwen3.5-9B"}
    notes = f"phase=context; model={models[op]}"
    return rows(*changes, op=op, kernel=kernels[op], notes=notes, batch=4.0, q_len=1024.0, framework="trtllm", measured_s=1e-4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kernel": "wkv"}, "wkv"),
        ({"kernel": None}, "not known"),
        ({"notes": "phase=context; model=nobody/Nothing"}, "nobody/Nothing"),
        ({"notes": None}, "no shape"),
        ({"batch": 0.0}, "whole numbers"),
        ({"q_len": np.nan}, "whole numbers"),
        ({"tp": 0.0}, "tp"),
        ({"framework": "sglang", "framework_version": "0.5.14"}, "slices"),
    ],
)
@pytest.mark.parametrize("op", ["mamba2", "gdn"])
def test_recurrent_rows_without_a_shape_are_refused(op: str, change: dict[str, object], reason: str) -> None:
    family = {"mamba2": MAMBA2, "gdn": GATED_DELTA_NET}[op]
    refusals = family.refusals(recurrent(op, {}, change))
    assert refusals.iloc[0] == "" and reason in refusals.iloc[1]


def test_a_slice_of_a_layer_is_faster_and_a_longer_prompt_slower() -> None:
    for op, family in (("mamba2", MAMBA2), ("gdn", GATED_DELTA_NET)):
        seconds = family.times(recurrent(op, {}, {"tp": 4.0}, {"q_len": 8192.0}), CHIP, family.constants(), "together")
        assert seconds[1] < seconds[0] < seconds[2]


def test_the_convolution_of_the_keys_alone_moves_less() -> None:
    table = recurrent("gdn", {"kernel": "causal_conv1d_fn"})
    together, keys = (GATED_DELTA_NET.times(table, CHIP, GATED_DELTA_NET.constants(), v) for v in ("together", "keys"))
    assert keys[0] < together[0]


def test_each_kind_of_kernel_frees_what_it_feels() -> None:
    free = {
        k: set(GATED_DELTA_NET.free(recurrent("gdn", {"kernel": k}), "together"))
        for k in ("causal_conv1d_update", "chunk_gated_delta_rule")
    }
    assert "compute" not in free["causal_conv1d_update"] and "compute" in free["chunk_gated_delta_rule"]
