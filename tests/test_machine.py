"""Where data lives and what each resource takes, by hand on an H100."""

import pytest

import genz
from genz.operators.demand import Demand
from genz.operators.gemm import gemm
from genz.timing.machine import Machine

MIB = 2**20


def machine(persistent: float, engine: str = "ideal", fidelity: str = "roofline") -> Machine:
    return Machine(genz.platform("h100-sxm"), genz.engine(engine), fidelity, persistent)  # type: ignore[arg-type]


def components(device: Machine, demand: Demand) -> tuple[float, ...]:
    return device.components(demand, device.level_bytes(demand))


def test_gemm_demand_by_hand() -> None:
    demand = gemm(16, 4096, 1024, weight_bytes=1, input_bytes=1, output_bytes=2, matrix_type="fp8", format="fp8")
    assert demand.matrix_flops == 2 * 16 * 4096 * 1024
    assert demand.weight_bytes == 4096 * 1024
    assert demand.activation_bytes == 16 * 1024 + 2 * 16 * 4096


def test_what_fits_no_cache_streams_from_main_memory() -> None:
    demand = Demand(weight_bytes=1e9, activation_bytes=100 * MIB)
    main, cache = machine(80e9).level_bytes(demand)
    assert main == cache == 1e9 + 100 * MIB


def test_activations_that_fit_the_cache_stay_there() -> None:
    demand = Demand(weight_bytes=1e9, activation_bytes=10 * MIB)
    assert machine(80e9).level_bytes(demand) == (1e9, 1e9 + 10 * MIB)


def test_weights_and_cache_that_fit_together_stream_from_the_cache() -> None:
    demand = Demand(weight_bytes=1 * MIB, cache_bytes=1 * MIB)
    assert machine(40 * MIB).level_bytes(demand) == (0.0, 2 * MIB)
    assert machine(51 * MIB).level_bytes(demand) == (2 * MIB, 2 * MIB)


def test_components_by_hand() -> None:
    demand = Demand(matrix_flops=989.4e12, vector_flops=66.9e12, weight_bytes=3.35e12, matrix_type="bf16")
    matrix, vector, main, _ = components(machine(80e9), demand)
    assert (matrix, vector, main) == pytest.approx((1.0, 1.0, 1.0))


def test_engine_fidelity_takes_the_engine_s_efficiency() -> None:
    demand = Demand(weight_bytes=3.35e12)
    assert components(machine(80e9, "vllm", "engine"), demand)[2] == pytest.approx(1 / 0.8)
    assert components(machine(80e9, "vllm", "roofline"), demand)[2] == pytest.approx(1.0)


def test_an_engine_waits_for_what_it_does_not_overlap() -> None:
    platform = genz.platform("8x h100-sxm")
    engine = genz.bind(genz.engine("vllm"), {"efficiency.overlap": 0.25})
    plain, overlapped = (Machine(platform, e, "engine", 80e9) for e in (genz.engine("vllm"), engine))
    group = plain.group(8)
    times = [machine.collective("all_reduce", 1e8, group)[0] for machine in (plain, overlapped)]
    assert times[1] == pytest.approx(0.75 * times[0])
