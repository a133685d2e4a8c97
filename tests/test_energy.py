"""Energy adds up, and power keeps its limit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genz
from genz.energy import dynamic_energy, energy_constants
from genz.errors import SpecError
from genz.operators.demand import Demand
from genz.timing.machine import Machine


def test_dynamic_energy_by_hand() -> None:
    platform = genz.platform("h100-sxm")
    constants = energy_constants(platform)
    machine = Machine(platform, genz.engine("ideal"), "roofline", 80e9)
    demand = Demand(matrix_flops=1e12, weight_bytes=1e9, matrix_type="bf16")
    # From the technology files: 0.55 pJ per FLOP in 4N, 6 pJ per bit of HBM3; the L2 passes the bytes on.
    l2 = genz.technology("sram-l2").energy_per_byte
    assert l2 is not None
    assert dynamic_energy(demand, machine.level_bytes(demand), constants) == pytest.approx(0.55 + 1e9 * 48e-12 + 1e9 * l2)


@settings(max_examples=60, deadline=None)
@given(
    chip=st.sampled_from(
        ["h100-sxm", "a100-sxm-80gb", "l4", "mi300x", "rtx-4090", "tpu-v5e", "xeon-6980p", "m2-ultra", "v100-sxm-32gb"]
    ),
    fidelity=st.sampled_from(["roofline", "engine"]),
    batch=st.sampled_from([1, 8]),
    input_tokens=st.integers(1, 4000),
    output_tokens=st.integers(1, 64),
)
def test_power_lies_between_idle_and_the_limit(
    chip: str, fidelity: str, batch: int, input_tokens: int, output_tokens: int
) -> None:
    prediction = genz.predict("llama-3.2-1b", chip, batch=batch, input=input_tokens, output=output_tokens, fidelity=fidelity)
    power = genz.chip(chip).power
    assert power.idle <= prediction.power <= power.tdp * (1 + 1e-12)


def test_a_chip_at_its_power_limit_takes_longer() -> None:
    free = genz.predict("llama-3.1-8b", "h100-sxm", batch=16, input=4096, output=1, fidelity="engine")
    capped_platform = genz.bind(genz.platform("h100-sxm"), {"chip.power.tdp": 300.0})
    capped = genz.predict("llama-3.1-8b", capped_platform, batch=16, input=4096, output=1, fidelity="engine")
    assert capped.ttft > free.ttft
    assert capped.phases["prefill"].is_power_limited
    assert capped.power == pytest.approx(300.0)


def test_energy_is_static_power_for_the_time_plus_every_operator() -> None:
    prediction = genz.predict("llama-3.1-8b", "h100-sxm", batch=4, input=512, output=64, fidelity="engine")
    idle = genz.chip("h100-sxm").power.idle
    rows = prediction.to_frame()
    assert prediction.energy == pytest.approx(idle * prediction.e2e + rows["energy_j"].sum(), rel=1e-12)


def test_a_process_without_a_constant_is_refused() -> None:
    platform = genz.platform("h100-sxm")
    with pytest.raises(SpecError, match="energy per FLOP"):
        energy_constants(platform.model_copy(update={"technologies": {}}))
