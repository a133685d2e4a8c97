"""Serving engines as data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from genz.errors import SpecError
from genz.specs import catalog
from genz.specs.engine import Engine, FusableOperator

ENGINES = catalog.names("engine")
OVERHEADS = ("kernel_gap", "host_launch", "host_per_step", "host_per_sequence")


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_loads_and_is_sourced(name: str) -> None:
    engine = catalog.engine(name)
    assert engine.name == name and engine.title
    figures = {f"overheads.{key}" for key in OVERHEADS} | {f"efficiency.{key}" for key in ("compute", "memory", "network")}
    figures |= {f"memory.{key}" for key in ("utilization", "reserve", "block_size", "max_num_batched_tokens")}
    # Whether states are kept in the width of activations is told where it is known.
    assert set(engine.provenance) - {"narrow_states"} == figures
    assert all(p.source.strip() for p in engine.provenance.values())


@pytest.mark.parametrize("name", ENGINES)
def test_figures_are_of_this_world(name: str) -> None:
    engine = catalog.engine(name)
    assert 0 <= engine.overheads.kernel_gap <= 20e-6 and 0 <= engine.overheads.host_launch <= 50e-6
    assert 0 <= engine.overheads.host_per_step <= 0.1 and 0 <= engine.overheads.host_per_sequence <= 1e-3
    assert all(0.2 <= share <= 1 for share in (engine.efficiency.compute, engine.efficiency.memory, engine.efficiency.network))
    assert 0.5 <= engine.memory.utilization <= 1 and 0 <= engine.memory.reserve <= 8 * 2**30
    assert engine.memory.block_size in (1, 16, 32, 64, 128)
    assert 512 <= engine.memory.max_num_batched_tokens <= 2**20
    assert set(engine.fused) <= set(get_args(FusableOperator)) and len(set(engine.fused)) == len(engine.fused)


def test_the_ideal_engine_loses_nothing() -> None:
    ideal = catalog.engine("ideal")
    assert [getattr(ideal.overheads, key) for key in OVERHEADS] == [0, 0, 0, 0]
    assert (ideal.efficiency.compute, ideal.efficiency.memory, ideal.efficiency.network) == (1, 1, 1)
    assert (ideal.memory.utilization, ideal.memory.reserve, ideal.memory.block_size) == (1, 0, 1)
    assert set(ideal.fused) == set(get_args(FusableOperator)) and ideal.shared_prefix_attention


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "ideal"])
def test_no_engine_is_better_than_the_ideal_one(name: str) -> None:
    engine, ideal = catalog.engine(name), catalog.engine("ideal")
    assert set(engine.fused) <= set(ideal.fused)
    assert engine.efficiency.compute < 1 and engine.efficiency.memory < 1 and engine.efficiency.network < 1
    assert sum(getattr(engine.overheads, key) for key in OVERHEADS) > 0


def test_fuses_tells_what_needs_no_kernel_of_its_own() -> None:
    vllm = catalog.engine("vllm")
    assert vllm.fuses("qkv") and vllm.fuses("attention") and not vllm.fuses("norm")


def test_plain_pytorch_pages_nothing_and_launches_every_kernel() -> None:
    pytorch = catalog.engine("pytorch")
    assert pytorch.memory.block_size == 1
    assert pytorch.overheads.host_launch >= catalog.engine("vllm").overheads.host_launch


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str, str], Engine]:
    def load(old: str, new: str) -> Engine:
        text = catalog.files("engine")["vllm"].read_text()
        assert text.count(old) == 1, old
        path = tmp_path / "mine.yaml"
        path.write_text(text.replace(old, new))
        return catalog.engine(str(path))

    return load


BROKEN: list[tuple[str, str, list[str]]] = [
    ("utilization: 0.9", "utilization: 90", ["memory.utilization = 90", "less than or equal to 1"]),
    ("utilization: 0.9", "utilization: 0", ["memory.utilization = 0", "greater than 0"]),
    ("utilization: 0.9", "utilization: -0.5", ["memory.utilization = -0.5"]),
    ("utilization: 0.9", "utilization: .nan", ["memory.utilization = nan"]),
    ("utilization: 0.9", "utilization: .inf", ["memory.utilization = inf"]),
    ("utilization: 0.9", "utilization: true", ["memory.utilization = True", "number"]),
    ("utilization: 0.9", "utilization: '0.9'", ["memory.utilization = '0.9'", "number"]),
    ("utilization: 0.9", "utilization: 90 %", ["memory.utilization = '90 %'"]),
    ("utilization: 0.9", "utilisation: 0.9", ["memory.utilisation", "did you mean 'utilization'"]),
    ("block_size: 16", "block_size: 0", ["memory.block_size = 0"]),
    ("block_size: 16", "block_size: 16.5", ["memory.block_size = 16.5"]),
    ("block_size: 16", "block_size: true", ["memory.block_size = True"]),
    ("block_size: 16", "block_size: '16'", ["memory.block_size = '16'"]),
    ("{value: 1.5 GiB, source: docs", "{value: 1.5, source: docs", ["memory.reserve", "no unit", "'80 GiB'"]),
    ("{value: 1.5 GiB, source: docs", "{value: -1 GiB, source: docs", ["memory.reserve", "greater than or equal to 0"]),
    ("kernel_gap: 2 us", "kernel_gap: 2 uW", ["overheads.kernel_gap", "'2 uW'"]),
    ("kernel_gap: 2 us", "kernel_gap: 2", ["overheads.kernel_gap", "no unit"]),
    ("kernel_gap: 2 us", "kernel_gap: -2 us", ["overheads.kernel_gap"]),
    ("captures: [decode]", "captures: [decod]", ["overheads.captures.0", "'decod'", "did you mean 'decode'"]),
    ("captures: [decode]", "captures: decode", ["overheads.captures = 'decode'"]),
    ("gate_up, residual]", "gate_up, residul]", ["fused.3", "'residul'", "did you mean 'residual'"]),
    ("latent_attention: absorbed", "latent_attention: absorb", ["latent_attention", "'absorb'", "did you mean 'absorbed'"]),
    ("shared_prefix_attention: false", "shared_prefix_attention: maybe", ["shared_prefix_attention", "'maybe'"]),
    ("latent_attention: absorbed\n", "", ["latent_attention", "missing"]),
    (
        "compute: {value: 0.7, source: kernels",
        "compute: {value: 0.7, source: kernel",
        ["efficiency.compute", "did you mean 'kernels'"],
    ),
    ("compute: {value: 0.7, source: kernels, estimate: true}", "compute: 0.7", ["efficiency.compute has no source"]),
]


@pytest.mark.parametrize(("old", "new", "words"), BROKEN, ids=[row[1][:40] or "nothing" for row in BROKEN])
def test_broken_engines_are_told_what_is_wrong(load: Any, old: str, new: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        load(old, new)
    for word in words:
        assert word in str(caught.value)
