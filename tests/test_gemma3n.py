"""Gemma 3n's text model against transformers: parameters, FLOPs, windows, and a cache that fewer layers keep than attend.

GenZ leaves out two small products of each layer, which are worked out by hand here: the second pass of the streams' router
and the sum of all streams that predicts each (2 x hidden x streams x (1 + streams) FLOPs a token).
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from oracle import default_config, flops_by_module, layer_windows, parameter_count
from oracle_dense import kept_cache_bytes

from genz.errors import SpecError
from genz.footprint import request_cache_bytes, weight_bytes
from genz.graph.builder import build, matrix_flops
from genz.graph.step import Group, Step
from genz.specs import catalog
from genz.specs.huggingface import model_from_config
from genz.specs.parallelism import Parallelism
from genz.specs.workload import Workload

HIDDEN, STREAMS, LAYERS = 48, 3, 7
TINY: dict[str, Any] = {
    "model_type": "gemma3n_text",
    "vocab_size": 103,
    "vocab_size_per_layer_input": 97,
    "hidden_size": HIDDEN,
    "hidden_size_per_layer_input": 10,
    "intermediate_size": [70, 71, 72, 73, 74, 75, 76],
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 14,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"] * 3 + ["sliding_attention"],
    "num_kv_shared_layers": 3,
    "altup_num_inputs": STREAMS,
    "laurel_rank": 5,
    "activation_sparsity_pattern": [0.0] * LAYERS,
    "max_position_embeddings": 128,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
UNSHARED = {**TINY, "num_kv_shared_layers": 0, "intermediate_size": 70, "tie_word_embeddings": False, "attention_bias": True}


def built(model: Any, step: Step, widths: Any, engine: str = "pytorch") -> tuple[Any, ...]:
    return build(model, step, parallelism=Parallelism(), widths=widths, engine=catalog.engine(engine))


@pytest.mark.parametrize("config", [TINY, UNSHARED, default_config("gemma3n_text")], ids=["tiny", "unshared", "default"])
def test_parameters_and_windows(config: dict[str, Any], bf16: Any) -> None:
    model = model_from_config(config, name="gemma3n")
    assert model.parameters == parameter_count(config)
    assert weight_bytes(model, bf16, Parallelism()) == 2 * model.parameters
    windows = [layer.token_mixer.window for layer in model.layers]  # type: ignore[union-attr]
    kept = len(windows) - config["num_kv_shared_layers"]  # transformers' cache tells of these alone
    assert windows[:kept] == layer_windows(config)[:kept]


@pytest.mark.parametrize("name", ["gemma-3n-e2b", "gemma-3n-e4b"])
def test_catalog_parameters(name: str) -> None:
    config = yaml.safe_load(Path(catalog.files("model")[name]).read_text(encoding="utf-8"))["config"]
    assert catalog.model(name).parameters == parameter_count(config)


@pytest.mark.parametrize("config", [TINY, UNSHARED], ids=["shared", "unshared"])
@pytest.mark.parametrize("context", [0, 5])
def test_flops(config: dict[str, Any], context: int, bf16: Any) -> None:
    """A decode step that no window cuts: one new token sees every key."""
    step = Step("decode", (Group(3, 1, context),))
    found = matrix_flops(built(model_from_config(config, name="gemma3n"), step, bf16))
    left_out = 3 * LAYERS * 2 * HIDDEN * STREAMS * (1 + STREAMS)
    assert found + left_out == sum(flops_by_module(config, 3, 1, context).values())


def test_what_is_left_out_is_small(bf16: Any) -> None:
    """Below a thousandth at the published size."""
    config = default_config("gemma3n_text")
    model = model_from_config(config, name="gemma3n")
    step = Step("decode", (Group(1, 1, 1000),))
    left_out = 35 * 2 * 2048 * 4 * 5
    assert left_out < 1e-3 * matrix_flops(built(model, step, bf16))


@pytest.mark.parametrize("tokens", [6, 15])
@pytest.mark.parametrize("config", [TINY, UNSHARED], ids=["shared", "unshared"])
def test_cache(config: dict[str, Any], tokens: int, bf16: Any) -> None:
    """Four of seven layers keep keys and values; transformers keeps one token fewer of a window that is full."""
    model = model_from_config(config, name="gemma3n")
    mixers = [layer.token_mixer for layer in model.layers]
    full = [m for m in mixers if m is not None and m.window is not None and m.window <= tokens]
    kept_less = 2 * sum(mixer.cached_width() for mixer in full)
    assert request_cache_bytes(model, bf16, Workload(tokens - 1, 1)) - kept_less == kept_cache_bytes(config, 1, tokens)


def test_borrowed_keys_are_read_and_not_written(bf16: Any) -> None:
    """Seven layers read 2 x 2 heads of 14 of each key in sight: 6 at most; four write them for the new token."""
    model = model_from_config(TINY, name="gemma3n")
    operators = built(model, Step("decode", (Group(1, 1, 5),)), bf16, "vllm")
    read_and_written = sum(o.count * o.runs[0].first.cache_bytes for o in operators)
    assert read_and_written == (7 * 6 + 4) * 2 * 2 * 14 * 2
    assert {o.name for o in operators if o.layer == "embedding"} >= {"layer_embedding"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"intermediate_size": [70] * 6}, "intermediate_size"),
        ({"intermediate_size": [70] * 6 + [0]}, "intermediate_size"),
        ({"num_kv_shared_layers": 6}, "num_kv_shared_layers"),
        ({"num_kv_shared_layers": 8}, "num_kv_shared_layers"),
        ({"layer_types": ["full_attention"] * 6}, "layer_types"),
    ],
    ids=str,
)
def test_impossible_configurations_name_the_key(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        model_from_config({**TINY, **changes}, name="broken")
    assert caught.value.field == field
