"""Time of a matrix multiplication: by hand, against what no kernel can beat, and over scalars, arrays and tracers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genz.operators.shapes import GemmShape
from genz.specs import catalog
from genz.specs.binding import bind
from genz.timing.kernels.gemm import VARIANTS, GemmConstants, gemm_time
from genz.timing.kernels.residency import residency
from tests.tracer import Tracer, traced

CHIP = catalog.chip("h100-sxm")
PRIOR = GemmConstants()
# Nothing costs anything but FLOPs, operands and bytes at the data sheet's rates; what overlaps hides entirely.
IDEAL = GemmConstants(
    launch=1e-3,
    latency=1e-6,
    feed=1e3,
    store=1e3,
    compute=1.0,
    power=1.0,
    memory=1.0,
    waves=1e-9,
    split=1e-3,
    exposed=1e-6,
    vector=1e6,
)
# Of a nanosecond.
CYCLES = CHIP.cores.clock * 1e-9
SIZES = st.integers(1, 20_000).map(float)


def shape(m: float, n: float, k: float, *, batch: float = 1, kind: str = "bfloat16") -> GemmShape:
    widths = {"bfloat16": (2.0, 2.0, "bf16"), "fp8": (1.0, 1.0, "fp8"), "int4_wo": (0.5 + 2 / 128, 2.0, "bf16")}
    weight, inputs, matrix_type = widths[kind]
    return GemmShape(m, n, k, weight, inputs, 2.0, matrix_type, kind, batch)


def roofline(s: GemmShape) -> float:
    moved = s.weight_bytes * s.n * s.k + s.input_bytes * s.m * s.k + s.output_bytes * s.m * s.n
    return max(2 * s.batch * s.m * s.n * s.k / CHIP.matrix_flops[s.matrix_type], s.batch * moved / CHIP.main_memory.bandwidth)


def test_whole_waves_of_large_tiles_run_at_the_power_limit_or_the_rate_of_the_cores() -> None:
    # 132 tiles of 256 x 256, k = 8192: 2 x 8192 x 256 x 256 x 132 FLOPs at 989.4 TFLOP/s.
    s = shape(256 * 12, 256 * 11, 8192)
    seconds = 2 * 8192 * 256 * 256 * 132 / 989.4e12
    # The power limit equals the rate of the cores here, and both meet: 9 % on top of either.
    assert gemm_time(s, CHIP, IDEAL, "whole") == pytest.approx(seconds * 1.09, rel=2e-3)
    limited = replace(IDEAL, power=0.5)
    assert gemm_time(s, CHIP, limited, "whole") == pytest.approx(2 * seconds, rel=0.02)


def test_a_narrow_product_streams_its_weights() -> None:
    # One token, 8192 x 8192 weights of 2 bytes: 134 MB at 3.35 TB/s are 40.1 us.
    assert gemm_time(shape(1, 8192, 8192), CHIP, IDEAL, "split") == pytest.approx(8192**2 * 2 / 3.35e12, rel=1e-3)


def test_a_wave_that_is_not_full_counts_by_how_hard_waves_are() -> None:
    # 133 tiles of 256 x 256 on 132 cores: a second wave where waves are whole, 133/132 of one where they are not.
    constants = replace(IDEAL, power=100.0, memory=1e3, feed=1 / 128, waves=1.0)
    one, two = (gemm_time(shape(256.0, 256.0 * tiles, 65536.0), CHIP, constants, "whole") for tiles in (132, 133))
    assert two / one == pytest.approx(2.0, rel=1e-3)
    soft = replace(constants, waves=1e-9)
    one, two = (gemm_time(shape(256.0, 256.0 * tiles, 65536.0), CHIP, soft, "whole") for tiles in (132, 133))
    assert two / one == pytest.approx(133 / 132, rel=1e-3)


def test_splitting_k_fills_idle_cores() -> None:
    # One tile: alone it runs k in a row; in 32 pieces it takes a 32nd of that, a launch of the reduction and partial sums.
    constants = replace(IDEAL, latency=CYCLES, split=3000 * CYCLES)
    s = shape(16, 64, 65536)
    assert gemm_time(s, CHIP, constants, "whole") == pytest.approx(65536e-9, rel=0.01)
    assert gemm_time(s, CHIP, constants, "split") == pytest.approx(65536e-9 / 32 + 3e-6, rel=0.02)


def test_nothing_is_split_that_fills_the_cores() -> None:
    huge = shape(2.0**20, 2.0**20, 1024)
    assert gemm_time(huge, CHIP, PRIOR, "split") == gemm_time(huge, CHIP, PRIOR, "whole")


def test_a_core_can_be_fed_only_so_fast() -> None:
    # A tile of 256 x 256 takes in a byte for 128 FLOPs: with 1/256 of a byte per FLOP it is fed at half of its rate.
    constants = replace(IDEAL, power=100.0, feed=1 / 256)
    s = shape(256 * 12, 256 * 11, 8192)
    assert gemm_time(s, CHIP, constants, "whole") == pytest.approx(2 * 2 * 8192 * 256 * 256 * 132 / 989.4e12, rel=0.01)


def test_rows_alone_choose_the_tile() -> None:
    # Up to 16 rows a tile has 64 columns; 128 x 128 above 128 rows: 16 columns of those, and 2 rows, are 32 tiles.
    constants = replace(IDEAL, latency=CYCLES, power=100.0)
    assert gemm_time(shape(16, 2048, 4096), CHIP, constants, "by_rows") == pytest.approx(4096e-9, rel=0.35)
    tall = 4096 * 2 * 128 * 128 / (989.4e12 / 132)
    assert gemm_time(shape(129, 2048, 4096), CHIP, replace(IDEAL, power=100.0), "by_rows") == pytest.approx(tall, rel=0.01)


def test_quantising_activations_is_a_kernel_of_its_own() -> None:
    constants = replace(IDEAL, quantise=4.0, quantise_row=1e-9)
    with_it, without = (gemm_time(shape(4096, 4096, 4096, kind=k), CHIP, constants, "whole") for k in ("fp8", "bfloat16"))
    extra = 4096 * 4096 * 4 / 3.35e12 + 4096e-9
    plain = gemm_time(replace(shape(4096, 4096, 4096, kind="fp8"), format="other"), CHIP, constants, "whole")
    assert with_it - plain == pytest.approx(extra, rel=1e-6)
    assert without == gemm_time(shape(4096, 4096, 4096), CHIP, IDEAL, "whole")


def test_calls_that_no_graph_holds_wait_for_the_host() -> None:
    s = shape(16, 4096, 4096)
    constants = replace(PRIOR, host=1e-4)
    assert gemm_time(s, CHIP, constants, "split", captured=False) == pytest.approx(1e-4, rel=0.01)
    assert gemm_time(s, CHIP, constants, "split") < 3e-5


def test_what_fits_the_cache_is_read_there_when_warm_and_only_then() -> None:
    small, large = shape(16, 1024, 1024), shape(16, 65536, 16384)
    constants = replace(PRIOR, cache=1.0, copies=1.0)
    assert gemm_time(small, CHIP, constants, "split", warm=True) < gemm_time(small, CHIP, constants, "split")
    assert gemm_time(large, CHIP, constants, "split", warm=True) == pytest.approx(gemm_time(large, CHIP, constants, "split"))
    # So many copies of 2 MiB never fit 50 MiB together.
    rotating = replace(constants, copies=100.0)
    assert gemm_time(small, CHIP, rotating, "split", warm=True) == pytest.approx(
        gemm_time(small, CHIP, rotating, "split"), rel=0.05
    )


def test_a_cache_half_hits_at_its_capacity() -> None:
    assert residency(1.0) == 0.5
    assert residency(0.5) > 0.999
    assert residency(1e30) == pytest.approx(0.0, abs=1e-60)


@pytest.mark.parametrize(("chip", "side"), [("tpu-v5e", 128), ("tpu-v6e", 256)])
def test_systolic_arrays_are_filled_whole(chip: str, side: int) -> None:
    tpu = catalog.chip(chip)
    constants = replace(IDEAL, memory=1e3, power=100.0)

    def time(n: float, k: float) -> float:
        return gemm_time(shape(4096.0, n, k), tpu, constants, "split")

    assert time(side * 8.0, side * 8.0) == pytest.approx(2 * 4096 * 64 * side**2 / tpu.matrix_flops["bf16"], rel=1e-3)
    assert time(side * 8 - 1.0, side * 8.0) == pytest.approx(time(side * 8.0, side * 8.0), rel=1e-3)
    assert time(side * 8 + 1.0, side * 8.0) == pytest.approx(time(side * 9.0, side * 8.0), rel=1e-3)
    assert time(side * 8.0, side * 8 + 1.0) == pytest.approx(time(side * 8.0, side * 9.0), rel=1e-3)


@settings(max_examples=150, deadline=None)
@given(m=SIZES, n=SIZES, k=SIZES, variant=st.sampled_from(VARIANTS), kind=st.sampled_from(["bfloat16", "fp8", "int4_wo"]))
def test_no_shape_beats_the_data_sheet(m: float, n: float, k: float, variant: str, kind: str) -> None:
    s = shape(m, n, k, kind=kind)
    assert gemm_time(s, CHIP, PRIOR, variant) > roofline(s)


@settings(max_examples=100, deadline=None)
@given(m=SIZES, n=SIZES, k=SIZES)
def test_more_choices_are_never_slower_and_faster_chips_never_either(m: float, n: float, k: float) -> None:
    s = shape(m, n, k)
    whole = gemm_time(s, CHIP, PRIOR, "whole")
    assert gemm_time(s, CHIP, PRIOR, "split") <= whole
    faster = bind(CHIP, {"memory.hbm.bandwidth": 6.7e12})
    assert gemm_time(s, faster, PRIOR, "whole") <= whole


@settings(max_examples=100, deadline=None)
@given(m=SIZES, n=SIZES, k=SIZES, more=st.integers(1, 500), which=st.sampled_from(["m", "n", "k"]))
def test_a_larger_product_in_whole_pieces_takes_no_less(m: float, n: float, k: float, more: int, which: str) -> None:
    s = shape(max(m, 2.0), n, k)
    larger = replace(s, **{which: getattr(s, which) + more})
    assert gemm_time(larger, CHIP, PRIOR, "whole") >= gemm_time(s, CHIP, PRIOR, "whole") * (1 - 1e-12)


@settings(max_examples=50, deadline=None)
@given(m=SIZES, n=SIZES, k=SIZES, batch=st.integers(2, 64))
def test_a_batch_takes_no_longer_than_its_products_one_by_one(m: float, n: float, k: float, batch: int) -> None:
    one = gemm_time(shape(m, n, k), CHIP, PRIOR, "whole")
    many = gemm_time(shape(m, n, k, batch=float(batch)), CHIP, PRIOR, "whole")
    assert one <= many * (1 + 1e-9)
    assert many <= batch * one * (1 + 1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("warm", [False, True])
def test_arrays_are_scalars_element_by_element(variant: str, warm: bool) -> None:
    generator = np.random.default_rng(5)
    m, n, k = np.exp(generator.uniform(0, 10, (3, 200))).round()
    m[:20] = 1
    together = gemm_time(shape(m, n, k), CHIP, PRIOR, variant, warm=warm)  # type: ignore[arg-type]
    single = [gemm_time(shape(*map(float, sizes)), CHIP, PRIOR, variant, warm=warm) for sizes in zip(m, n, k, strict=True)]
    np.testing.assert_allclose(together, single, rtol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_chips_figures_may_be_arrays(variant: str) -> None:
    bandwidths = np.array([2e12, 3.35e12, 8e12])
    many = gemm_time(shape(16.0, 8192.0, 8192.0), bind(CHIP, {"memory.hbm.bandwidth": bandwidths}), PRIOR, variant)
    single = [
        gemm_time(shape(16.0, 8192.0, 8192.0), bind(CHIP, {"memory.hbm.bandwidth": b}), PRIOR, variant) for b in bandwidths
    ]
    np.testing.assert_allclose(many, single)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("chip", ["h100-sxm", "tpu-v6e"])
def test_no_value_is_looked_at(variant: str, chip: str) -> None:
    m, n, k = Tracer(48.0), Tracer(4096.0), Tracer(1024.0)
    found = gemm_time(shape(m, n, k), catalog.chip(chip), PRIOR, variant, warm=True, captured=False)  # type: ignore[arg-type]
    plain = gemm_time(shape(48.0, 4096.0, 1024.0), catalog.chip(chip), PRIOR, variant, warm=True, captured=False)
    assert traced(found) == pytest.approx(plain)


def test_every_chip_that_multiplies_is_priced() -> None:
    for name in catalog.names("chip"):
        chip = catalog.chip(name)
        kind = chip.computable[0]
        s = GemmShape(512.0, 4096.0, 4096.0, 2.0, 2.0, 2.0, kind, "bfloat16")
        time = gemm_time(s, chip, PRIOR, "split", warm=True)
        assert 2 * 512 * 4096 * 4096 / chip.multiply_rate(kind) < time < 1000, name


def test_times_scale_when_all_rates_and_times_do() -> None:
    # The same machine in other units: rates and clock twice as high halve every time.
    fast = bind(
        CHIP,
        {
            "memory.hbm.bandwidth": CHIP.main_memory.bandwidth * 2,
            "matrix_flops.bf16": CHIP.matrix_flops["bf16"] * 2,
            "cores.clock": CHIP.cores.clock * 2,
        },
    )
    for s in (shape(1, 4096, 4096), shape(64, 512, 8192), shape(3000, 5000, 7000)):
        assert gemm_time(s, fast, PRIOR, "split") == pytest.approx(gemm_time(s, CHIP, PRIOR, "split") / 2)
