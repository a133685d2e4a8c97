"""Time of routed experts: by hand, against what no kernel can beat, and over scalars, arrays and tracers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genz.errors import UnknownNameError
from genz.operators.shapes import ExpertsShape
from genz.specs import catalog
from genz.specs.binding import bind
from genz.timing.kernels.experts import VARIANTS, ExpertsConstants, experts_parts, experts_time
from tests.tracer import Tracer, traced

CHIP = catalog.chip("h100-sxm")
PRIOR = ExpertsConstants()
# The data sheet's rates, and nothing else that costs anything.
IDEAL = ExpertsConstants(
    launch=0.0, expert=0.0, sort=0.0, memory=1.0, stream=1e9, compute=1.0, padding=0.0, passes=0.0, pair_passes=0.0
)
SIZES = st.integers(1, 20_000).map(float)


def mixtral(tokens: float = 16.0, *, gated: bool = True, **changes: object) -> ExpertsShape:
    """Mixtral 8x7B on one device: 8 experts of 4096 by 14336, two to a token."""
    shape = ExpertsShape(tokens, 2 * tokens, 2 * tokens, 8.0, 4096, 14336, gated, 2.0, 2.0, 2.0, "bf16", "bfloat16")
    return replace(shape, **changes)


def test_few_tokens_stream_the_weights_of_their_experts() -> None:
    # 8 x 3 x 4096 x 14336 x 2 B = 2.818 GB at 3.35 TB/s are 841 us; 32 pairs are 11 GFLOP, which hide.
    assert experts_time(mixtral(), CHIP, IDEAL, "as_named") == pytest.approx(2.818572e9 / 3.35e12, rel=1e-3)


def test_many_tokens_run_at_the_rate_of_the_matrix_units() -> None:
    # 2 x 32768 x 3 x 4096 x 14336 FLOPs at 989.4 TFLOP/s are 11.67 ms; memory is busy for 7 % of it.
    seconds = experts_time(mixtral(16384.0), CHIP, IDEAL, "as_named")
    assert seconds == pytest.approx(2 * 32768 * 3 * 4096 * 14336 / 989.4e12, rel=0.01)


def test_without_a_gate_a_third_of_the_work_is_gone() -> None:
    gated, plain = (experts_time(mixtral(gated=gate), CHIP, IDEAL, "as_named") for gate in (True, False))
    assert plain == pytest.approx(gated * 2 / 3)


def test_one_expert_on_few_tiles_cannot_use_all_of_the_bandwidth() -> None:
    # 512 columns are 4 tiles, at 25 B a cycle and 1.83 GHz: 183 GB/s of 3.35 TB/s.
    shape = mixtral(1.0, touched=1.0, inner=256, rows=1.0)
    first, _, _ = experts_parts(shape, CHIP, replace(IDEAL, stream=25.0), "as_named")
    rate = 1 / (1 / 3.35e12 + 1 / (4 * 25 * CHIP.cores.clock))
    assert first == pytest.approx(512 * 4096 * 2 / rate, rel=1e-3)


def test_the_parts_hold_what_belongs_to_them() -> None:
    shape = mixtral(64.0)
    plain = experts_parts(shape, CHIP, PRIOR, "as_named")
    assert sum(plain) == pytest.approx(experts_time(shape, CHIP, PRIOR, "as_named"))
    changed = {
        name: [
            other != one
            for one, other in zip(plain, experts_parts(shape, CHIP, replace(PRIOR, **{name: 9e-6}), "as_named"), strict=True)
        ]
        for name in ("launch", "expert", "sort")
    }
    assert all(parts == [True, False, False] for parts in changed.values())
    pairs = experts_parts(shape, CHIP, replace(PRIOR, pair_passes=5.0), "as_named")
    assert [one != other for one, other in zip(plain, pairs, strict=True)] == [False, False, True]


def test_a_loop_keeps_in_its_cache_what_fits() -> None:
    # One expert of 4096 x 128 is 3 MB, in 50 MiB of cache; eight of Mixtral's are 2.8 GB.
    small = mixtral(1.0, touched=1.0, inner=128)
    warm, cold = (experts_time(small, CHIP, IDEAL, "as_named", warm=w) for w in (True, False))
    # Next to all of it comes from the cache, at 6.6 instead of 3.35 TB/s.
    assert cold / warm == pytest.approx(6.6 / 3.35, rel=0.01)
    large = [experts_time(mixtral(), CHIP, PRIOR, "as_named", warm=w) for w in (True, False)]
    assert large[0] == pytest.approx(large[1])


@settings(max_examples=60, deadline=None)
@given(
    tokens=SIZES, touched=st.integers(1, 128), hidden=st.integers(64, 8192), inner=st.integers(16, 8192), gated=st.booleans()
)
def test_nothing_beats_the_slowest_resource(tokens: float, touched: int, hidden: int, inner: int, gated: bool) -> None:
    rows = max(8 * tokens, float(touched))
    shape = ExpertsShape(tokens, rows, rows, float(touched), hidden, inner, gated, 0.5625, 2.0, 2.0, "bf16", "int4_wo")
    matrices = 3 if gated else 2
    bound = max(
        touched * matrices * hidden * inner * 0.5625 / CHIP.main_memory.bandwidth,
        2 * rows * matrices * hidden * inner / CHIP.matrix_flops["bf16"],
    )
    assert experts_time(shape, CHIP, PRIOR, "as_named") >= bound


@settings(max_examples=60, deadline=None)
@given(tokens=SIZES, touched=st.integers(1, 64), more=st.floats(1.01, 10))
def test_more_of_anything_takes_longer(tokens: float, touched: int, more: float) -> None:
    shape = mixtral(tokens, touched=float(touched))
    before = experts_time(shape, CHIP, PRIOR, "as_named")
    for name in ("tokens", "pairs", "rows", "touched", "hidden", "inner", "weight_bytes"):
        grown = replace(shape, **{name: getattr(shape, name) * more})
        assert experts_time(grown, CHIP, PRIOR, "as_named") >= before


def test_arrays_are_scalars_element_by_element_and_chips_may_be_arrays() -> None:
    tokens = np.array([1.0, 7.0, 300.0, 9000.0])
    bandwidths = np.array([1e12, 2e12, 3.35e12, 8e12])
    chip = bind(CHIP, {"memory.hbm.bandwidth": bandwidths})
    many = experts_time(mixtral(tokens), chip, PRIOR, "as_named", warm=True)
    one = [
        experts_time(mixtral(float(t)), bind(CHIP, {"memory.hbm.bandwidth": float(b)}), PRIOR, "as_named", warm=True)
        for t, b in zip(tokens, bandwidths, strict=True)
    ]
    assert many == pytest.approx(one, rel=1e-12)


def test_no_value_is_looked_at() -> None:
    shape = mixtral(40.0)
    hidden = replace(shape, tokens=Tracer(40.0), pairs=Tracer(80.0), rows=Tracer(80.0), touched=Tracer(8.0))
    found = traced(experts_time(hidden, CHIP, PRIOR, "as_named", warm=True))
    assert found == pytest.approx(experts_time(shape, CHIP, PRIOR, "as_named", warm=True))


def test_a_chip_without_a_cache_is_priced() -> None:
    levels = {"hbm": CHIP.main_memory}
    bare = CHIP.model_copy(update={"memory": levels})
    assert experts_time(mixtral(), bare, IDEAL, "as_named", warm=True) == pytest.approx(2.818572e9 / 3.35e12, rel=1e-3)


def test_an_unknown_variant_is_refused() -> None:
    assert all(experts_time(mixtral(), CHIP, PRIOR, v) == experts_time(mixtral(), CHIP, PRIOR, "as_named") for v in VARIANTS)
    with pytest.raises(UnknownNameError, match="as_named"):
        experts_time(mixtral(), CHIP, PRIOR, "as-named")
