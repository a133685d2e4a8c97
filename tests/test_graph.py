"""FLOPs of GenZ's operators against transformers' own matrix multiplications, and against closed forms worked by hand."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import (
    INCOMPLETE_DEFAULTS,
    MODEL_TYPES,
    TINY,
    default_config,
    flops_by_kind,
    flops_by_module,
    key_lengths,
    layer_windows,
    matmul_flops,
    routed_flops,
)
from transformers.masking_utils import causal_mask_function, chunked_causal_mask_function, sliding_window_causal_mask_function

from genz.graph.builder import build, matrix_flops
from genz.graph.step import Group, Operator, Step
from genz.operators.visibility import sight
from genz.specs import catalog
from genz.specs.parallelism import Parallelism
from genz.specs.token_mixers import LatentAttention

COMPLETE = [model_type for model_type in MODEL_TYPES if model_type not in INCOMPLETE_DEFAULTS]
KINDS = ("attention", "expansion", "experts", "router", "head", "linear")
# Phase, sequences, new tokens of each, context of each: beyond the tiny models' windows and chunks of 8.
STEPS = {"prefill": ("prefill", 2, 11, 0), "chunk": ("prefill", 2, 5, 20), "decode": ("decode", 3, 1, 13)}
KIND_OF_OPERATOR = {
    "router_gemm": "router",
    "shared_gate_gemm": "router",
    "lm_head_gemm": "head",
    "latent_expand_gemm": "expansion",
}
CHUNKED_TYPE = "llama4_text"


def operators(model: Any, step: Step, widths: Any, *, engine: str = "pytorch", ranks: int = 1) -> tuple[Operator, ...]:
    return build(model, step, parallelism=Parallelism(ranks), widths=widths, engine=catalog.engine(engine))


def one_step(phase: str, sequences: int, new_tokens: int, context: int) -> Step:
    return Step(phase, (Group(sequences, new_tokens, context),))  # type: ignore[arg-type]


def by_kind(built: Iterable[Operator]) -> dict[str, float]:
    """GenZ's matrix FLOPs under the oracle's kinds."""
    counted = Counter(dict.fromkeys(KINDS, 0.0))
    for operator in built:
        kind = KIND_OF_OPERATOR.get(operator.name) or ("linear" if operator.category == "gemm" else operator.category)
        flops = matrix_flops([operator])
        if flops:
            counted[kind] += flops
    return dict(counted)


@cache
def visible(model_type: str, window: int | None, new_tokens: int, context: int) -> torch.Tensor:
    """Which key each new query sees, by the mask functions of transformers."""
    if window is None:
        function = causal_mask_function
    elif model_type == CHUNKED_TYPE:
        function = chunked_causal_mask_function(window, torch.zeros(1, dtype=torch.long))
    else:
        function = sliding_window_causal_mask_function(window)
    queries = torch.arange(context, context + new_tokens)
    keys = torch.arange(context + new_tokens)
    return function(torch.tensor(0), torch.tensor(0), queries[:, None], keys[None, :])


def attention_rectangles(config: dict[str, Any], batch: int, new_tokens: int, context: int) -> list[int]:
    """By layer, the oracle's FLOPs of scores and values: full rectangles of new tokens x keys."""
    found: dict[int, int] = Counter()
    for name, flops in flops_by_module(config, batch, new_tokens, context).items():
        match = re.search(r"\.(?:layers|h)\.(\d+)\.(?:self_attn|attn|self_attention|attention)$", name)
        if match:
            found[int(match[1])] += flops
    return [found[layer] for layer in range(len(found))]


def expected_by_kind(config: dict[str, Any], batch: int, new_tokens: int, context: int) -> dict[str, int]:
    """The oracle's FLOPs, with attention cut down to the pairs that are seen and llama4's experts to the routed ones."""
    step = (config, batch, new_tokens, context)
    flops = flops_by_kind(*step)
    flops["experts"] -= matmul_flops(*step) - routed_flops(*step)
    flops["attention"] = 0
    for rectangle, keys, window in zip(
        attention_rectangles(*step), key_lengths(config, new_tokens, context), layer_windows(config), strict=True
    ):
        pairs = int(visible(config["model_type"], window, new_tokens, context).sum())
        flops_per_pair, rest = divmod(rectangle, new_tokens * keys)
        assert rest == 0
        flops["attention"] += flops_per_pair * pairs
    return flops


# Every kind of matrix multiplication, in every architecture.


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", TINY)
def test_tiny_flops(name: str, step: str, read_model: Any, bf16: Any) -> None:
    config = TINY[name]
    found = by_kind(operators(read_model(config), one_step(*STEPS[step]), bf16))
    assert found == expected_by_kind(config, *STEPS[step][1:])


@pytest.mark.parametrize("step", ["prefill", *(pytest.param(step, marks=pytest.mark.slow) for step in ("chunk", "decode"))])
@pytest.mark.parametrize("model_type", COMPLETE)
def test_default_flops(model_type: str, step: str, read_model: Any, bf16: Any) -> None:
    config = default_config(model_type)
    found = by_kind(operators(read_model(config), one_step(*STEPS[step]), bf16))
    assert found == expected_by_kind(config, *STEPS[step][1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", catalog.names("model"))
def test_catalog_flops(name: str, bf16: Any) -> None:
    config = yaml.safe_load(Path(catalog.files("model")[name]).read_text(encoding="utf-8"))["config"]
    if config["model_type"] not in MODEL_TYPES:
        pytest.skip("it stands in the tests of its own reader")
    if not catalog.model(name).generates:
        pytest.skip("it gives embeddings: it has no head")
    if not config.get("gated", True):
        pytest.skip("transformers has no network without a gate under this model_type ('gated' is GenZ's own key)")
    config.pop("quantization_config", None)
    found = by_kind(operators(catalog.model(name), one_step(*STEPS["chunk"]), bf16))
    assert found == expected_by_kind(config, *STEPS["chunk"][1:])


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", TINY)
def test_attention_of_each_layer_as_a_rectangle(name: str, step: str, read_model: Any) -> None:
    """2 B h n K (d_k + d_v) of each layer that GenZ read, over all K keys, is what transformers multiplies."""
    config = TINY[name]
    _, batch, new_tokens, context = STEPS[step]
    lengths = key_lengths(config, new_tokens, context)
    found = []
    for layer, keys in zip(read_model(config).layers, lengths, strict=True):
        mixer = layer.token_mixer
        latent = isinstance(mixer, LatentAttention)
        width = mixer.query_key_dim + mixer.value_dim if latent else 2 * mixer.head_dim
        found.append(2 * batch * mixer.heads * new_tokens * keys * width)
    assert found == attention_rectangles(config, batch, new_tokens, context)


STEPPED = ["llama-3.2-style", "mistral-sliding", "qwen2-layer-types", "llama4_text-scout-style", "deepseek_v3"]


@pytest.mark.parametrize("name", STEPPED)
def test_repeated_decode_steps_add_up(name: str, read_model: Any, bf16: Any) -> None:
    """Thirteen steps in one, which fill a window of 8 and enter two chunks of 8, hold what thirteen passes of the oracle do."""
    config, context, repeats = TINY[name], 5, 13
    found = by_kind(operators(read_model(config), Step("decode", (Group(2, 1, context),), repeats), bf16))
    expected: Counter[str] = Counter()
    for step in range(repeats):
        expected.update(expected_by_kind(config, 2, 1, context + step))
    assert found == pytest.approx(dict(expected), rel=1e-12)


# The pairs that attention may skip.


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    context=st.integers(0, 40),
    new_tokens=st.integers(1, 30),
    limit=st.none() | st.integers(1, 20),
    chunked=st.booleans(),
)
def test_sight_is_what_the_masks_of_transformers_show(context: int, new_tokens: int, limit: int | None, chunked: bool) -> None:
    mask = visible(CHUNKED_TYPE if chunked else "mistral", limit, new_tokens, context)
    seen = sight(context, new_tokens, **{"chunk" if chunked else "window": limit})
    assert seen.pairs == int(mask.sum())
    assert seen.keys == int(mask.any(dim=0).sum())


@pytest.mark.parametrize("new_tokens", [1, 11, 4096])
def test_causal_share_of_a_prompt(new_tokens: int) -> None:
    """(n + 1) / 2n of the square: one half for long prompts, not the whole of it."""
    share = sight(0, new_tokens).pairs / new_tokens**2
    assert share == pytest.approx((new_tokens + 1) / (2 * new_tokens), rel=1e-15)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["llama-3.2-style", "gpt2-inner", "falcon-7b-style", "qwen3_moe", "deepseek_v2"])
def test_causal_share_of_full_attention(name: str, step: str, read_model: Any, bf16: Any) -> None:
    """GenZ's attention over the oracle's rectangle: (c + (n + 1) / 2) / (c + n)."""
    phase, batch, new_tokens, context = STEPS[step]
    found = by_kind(operators(read_model(TINY[name]), one_step(phase, batch, new_tokens, context), bf16))["attention"]
    share = found / sum(attention_rectangles(TINY[name], batch, new_tokens, context))
    assert share == pytest.approx((context + (new_tokens + 1) / 2) / (context + new_tokens), rel=1e-15)


# Closed forms, worked by hand from the published shapes.


def test_llama_3_70b_decode(bf16: Any) -> None:
    """One token at 8192 keys: 2 FLOPs a matrix parameter, and attention 4 x layers x heads x head width x keys.

    Of 70,553,706,496 parameters 128256 x 8192 are the table and 161 x 8192 norms; 69,501,714,432 are left.
    """
    built = operators(catalog.model("llama-3-70b"), one_step("decode", 1, 1, 8191), bf16)
    found = by_kind(built)
    matrices = 70_553_706_496 - 128_256 * 8_192 - 161 * 8_192
    assert matrices == 69_501_714_432
    assert found["attention"] == 4 * 80 * 64 * 128 * 8_192 == 21_474_836_480
    assert found["linear"] + found["head"] == 2 * matrices
    assert matrix_flops(built) == pytest.approx(2 * (70_553_706_496 - 128_256 * 8_192) + 21_474_836_480, rel=2e-5)


def test_llama_3_70b_decode_bytes(bf16: Any) -> None:
    """Every matrix is read once and a row of the table for each token; the cache is read once and one token written."""
    built = operators(catalog.model("llama-3-70b"), one_step("decode", 4, 1, 8191), bf16, engine="vllm")
    weights = sum(operator.count * operator.runs[0].first.weight_bytes for operator in built)
    cache = sum(operator.count * operator.runs[0].first.cache_bytes for operator in built)
    assert weights == 2 * 69_501_714_432 + 4 * 2 * 8_192
    assert cache == 4 * (8_192 + 1) * 327_680


def test_an_engine_that_concatenates_copies_the_cache_in_every_decode_step(bf16: Any) -> None:
    """80 layers of 2 x 8 heads x 128 in 2 bytes make 327,680 bytes a token: all are read and written, over four steps too."""
    model = catalog.model("llama-3-70b")
    (copied,) = [o for o in operators(model, one_step("decode", 4, 1, 8191), bf16) if o.name == "cache_append"]
    assert copied.count * copied.runs[0].first.cache_bytes == 2 * 4 * 8_192 * 327_680
    assert not [o for o in operators(model, one_step("prefill", 4, 64, 0), bf16) if o.name == "cache_append"]
    (grown,) = [o for o in operators(model, Step("decode", (Group(4, 1, 8191),), 4), bf16) if o.name == "cache_append"]
    (run,) = grown.runs
    assert run.last is not None and run.last.cache_bytes * 80 == 2 * 4 * 8_195 * 327_680


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
def test_deepseek_v3_decodes_on_the_latent(engine: str, bf16: Any) -> None:
    """The absorbed form at 4096 keys, by hand.

    A layer of 128 heads: 2 x 128 x 128 x 512 to bring a query into the latent space (nope 128, rank 512), 2 x 4096 x
    (512 + 64) for its scores, 2 x 4096 x 512 for its values, 2 x 128 x 512 to leave that space (value 128).
    """
    built = operators(catalog.model("deepseek-v3"), one_step("decode", 1, 1, 4095), bf16, engine=engine)
    by_name = {operator.name: matrix_flops([operator]) for operator in built if operator.layer.endswith("dense")}
    absorb = 2 * 128 * 128 * 512
    assert absorb == 16_777_216
    assert by_name["query_absorb_gemm"] == by_name["value_expand_gemm"] == 3 * absorb
    assert by_name["latent_attention"] == 3 * 2 * 128 * 4096 * (576 + 512) == 3 * 1_140_850_688
    projections = 61 * 2 * (7168 * 1536 + 1536 * 128 * 192 + 7168 * 576 + 128 * 128 * 7168)
    dense = 3 * 2 * 3 * 7168 * 18432
    shared = 58 * 2 * 3 * 7168 * 2048
    found = by_kind(built)
    assert found["linear"] == projections + dense + shared + 61 * 2 * absorb
    assert found["attention"] == 61 * 1_140_850_688
    assert found["experts"] == 8 * shared
    assert found["router"] == 58 * 2 * 7168 * 256
    assert found["head"] == 2 * 7168 * 129_280
    assert found["expansion"] == 0


def test_deepseek_v3_expands_every_key_in_transformers(bf16: Any) -> None:
    """2 x 4096 keys x rank 512 x 128 heads x (128 + 128), then attention over widths of 192 and 128."""
    built = operators(catalog.model("deepseek-v3"), one_step("decode", 1, 1, 4095), bf16, engine="pytorch")
    found = by_kind(built)
    assert found["expansion"] == 61 * 2 * 4096 * 512 * 128 * 256
    assert found["attention"] == 61 * 2 * 128 * 4096 * (192 + 128)


@pytest.mark.parametrize("name", TINY)
def test_fusion_moves_no_flops(name: str, read_model: Any, bf16: Any) -> None:
    """An engine that fuses projections multiplies as much as one that does not; a prefill expands latents in all."""
    step = one_step(*STEPS["chunk"])
    model = read_model(TINY[name])
    assert by_kind(operators(model, step, bf16, engine="vllm")) == by_kind(operators(model, step, bf16))


def test_tensor_parallel_ranks_share_the_work(bf16: Any) -> None:
    """Llama-3-8B has 32 heads, 8 KV heads and 128256 tokens: eight ranks do an eighth each."""
    model, step = catalog.model("llama-3-8b"), one_step(*STEPS["chunk"])
    whole = by_kind(operators(model, step, bf16))
    assert by_kind(operators(model, step, bf16, ranks=8)) == {kind: flops / 8 for kind, flops in whole.items()}


def test_replicated_key_heads_cost_every_rank(bf16: Any) -> None:
    """On 16 ranks each holds one of 8 KV heads, so keys are projected twice: 2 x 4096 x 128 a token, rank and layer."""
    model, step = catalog.model("llama-3-8b"), one_step("decode", 1, 1, 100)
    built = {operator.name: operator for operator in operators(model, step, bf16, ranks=16)}
    assert matrix_flops([built["key_gemm"]]) == 32 * 2 * 4096 * 128
    assert matrix_flops([built["query_gemm"]]) == 32 * 2 * 4096 * 256


def test_mixture_reads_the_experts_that_it_touches(bf16: Any) -> None:
    """Mixtral, 8 tokens: 8 (1 - 0.75^8) = 7.199 of 8 experts, each of 3 x 4096 x 14336 in 32 layers; FLOPs of 2 a token."""
    built = operators(catalog.model("mixtral-8x7b"), one_step("decode", 8, 1, 100), bf16)
    experts = [operator for operator in built if operator.category == "experts"]
    read = sum(operator.count * operator.runs[0].first.weight_bytes for operator in experts)
    assert read == pytest.approx(32 * 8 * (1 - 0.75**8) * 3 * 4096 * 14336 * 2, rel=1e-12)
    assert matrix_flops(experts) == 32 * 8 * 2 * 2 * 3 * 4096 * 14336


def test_head_sees_one_position_of_each_sequence(bf16: Any) -> None:
    """GPT-2's head is tied to its table, which changes no FLOPs: 2 x 768 x 50257 for each of two prompts."""
    found = by_kind(operators(catalog.model("gpt2"), one_step("prefill", 2, 64, 0), bf16))
    assert found["head"] == 2 * 2 * 768 * 50_257
