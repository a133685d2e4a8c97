"""How SGLang and TensorRT-LLM divide a device's memory, by hand, and what holds of every engine."""

from math import ceil, floor
from typing import Any

import numpy as np
import pytest
import sympy
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import genz
from genz.export import ENGINES, Launch, launch_for
from genz.export.memory import (
    loads,
    sglang_cache_bytes,
    sglang_fraction,
    tensorrt_llm_cache_bytes,
    tensorrt_llm_fraction,
    vllm_cache_bytes,
)
from genz.specs import catalog

H100 = 81_559 * 2**20  # nvidia-smi
RESERVE = 1.5 * 2**30
LLAMA = 16_060_522_496  # bytes of Llama-3.1-8B in 16 bits
TOKEN = 32 * 2 * 8 * 128 * 2  # bytes of a token in its layers


def launch(name: str, engine: str, platform: str = "h100-sxm", **asked: Any) -> Launch:
    question = genz.settle_question(name, platform, **{"input": 2000, "output": 48, "batch": 4, **asked})
    return launch_for(question, engine)


def peak_of(name: str, engine: str, platform: str = "h100-sxm", **asked: Any) -> float:
    question = genz.settle_question(name, platform, **{"input": 2000, "output": 48, "batch": 4, "engine": engine, **asked})
    return float(loads(question, step_tokens=8192, sequences=4)[0].step)


def value_of(found: Launch, flag: str) -> str:
    return found.command[found.command.index(flag) + 1]


def options_of(found: Launch) -> Any:
    (text,) = found.files.values()
    return yaml.safe_load(text)


# SGLang: tokens = (0.88 x what was free before - weights) / bytes of a token.


def test_sglang_pool_by_hand() -> None:
    found = launch("llama-3.1-8b", "sglang")
    assert value_of(found, "--mem-fraction-static") == "0.88"
    assert found.kv_cache.tokens == floor((0.88 * (H100 - RESERVE) - LLAMA) / TOKEN)
    assert (found.kv_cache.block_size, found.kv_cache.bytes_per_block) == (1, TOKEN)
    assert found.kv_cache.concurrency == found.kv_cache.tokens // 2048


def test_sglang_keeps_a_pool_of_windowed_layers_of_gpt_oss() -> None:
    """12 layers count whole and 12 in windows of 128 by 0.8; 0.8 as many tokens of those are kept."""
    found, per_layer = launch("gpt-oss-20b", "sglang"), 2 * 8 * 64 * 2
    assert found.kv_cache.bytes_per_block == pytest.approx((12 + 0.8 * 12) * per_layer)
    assert value_of(found, "--swa-full-tokens-ratio") == "0.8"
    assert found.kv_cache.concurrency == found.kv_cache.tokens // 2048


def test_sglang_keeps_all_tokens_of_gemma_3() -> None:
    found = launch("gemma-3-12b", "sglang")
    assert found.kv_cache.bytes_per_block == 48 * 2 * 8 * 256 * 2
    assert any("keeps all tokens" in note for note in found.notes)


def test_sglang_latent_has_one_vector_a_token() -> None:
    found = launch("deepseek-v3", "sglang", "dgx-h200", tp=8)
    assert found.kv_cache.bytes_per_block == 61 * 576 * 2


def test_sglang_needs_room_for_steps_beside_its_fraction() -> None:
    """8192 tokens a step have no room in the last 3 % of a 16 GB card; the 256 of the question's prompt have."""
    engine = catalog.engine("sglang")
    for share, tokens in ((0.88, "8192"), (0.97, "256")):
        fixed = engine.model_copy(update={"memory": engine.memory.model_copy(update={"utilization": share})})
        asked = {"input": 256, "output": 16, "precision": "fp16", "engine": fixed}
        found = launch_for(genz.settle_question("llama-3.2-1b", "v100-sxm-16gb", **asked), "sglang")
        assert value_of(found, "--chunked-prefill-size") == tokens


# TensorRT-LLM: tokens = 0.9 x (total - weights - peak - the rest) / bytes of a token, in blocks of 32.


def test_tensorrt_llm_blocks_by_hand() -> None:
    found = launch("llama-3.1-8b", "tensorrt-llm")
    free = H100 - LLAMA - peak_of("llama-3.1-8b", "tensorrt-llm") - RESERVE
    assert options_of(found)["kv_cache_config"] == {"free_gpu_memory_fraction": 0.9, "tokens_per_block": 32}
    assert found.kv_cache.blocks == ceil(floor(0.9 * free / TOKEN) / 32)
    assert found.kv_cache.bytes_per_block == 32 * TOKEN
    assert found.kv_cache.concurrency == found.kv_cache.blocks // 64


def test_tensorrt_llm_latent_and_replicated_heads() -> None:
    assert launch("deepseek-v3", "trtllm", "dgx-h200", tp=8).kv_cache.bytes_per_block == 32 * 61 * 576 * 2
    assert launch("gemma-3-4b", "trtllm", "dgx-h200", tp=8).kv_cache.bytes_per_block == 32 * 34 * 2 * 1 * 256 * 2


# A share of the whole memory means the same for all three.


@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_a_share_of_the_memory_leaves_every_engine_the_same_cache(share: float) -> None:
    """Fractions are rounded down to four decimals: up to a ten-thousandth of the memory less."""
    exact = H100 * share - LLAMA - peak_of("llama-3.1-8b", "vllm") - RESERVE
    for engine in ENGINES:
        cache = launch("llama-3.1-8b", engine, gpu_memory_utilization=share).kv_cache
        held = cache.blocks * cache.bytes_per_block
        assert exact - 1e-4 * H100 - cache.bytes_per_block <= held <= exact + cache.bytes_per_block


def test_fractions_by_hand() -> None:
    """Of 100 with 10 in weights, 4 a step and 2 of reserve: 0.8 of it is 64 for the cache, of 84 free, and 74 of 98."""
    assert vllm_cache_bytes(100, 0.8, weights=10, step=4, reserve=2) == 64
    assert tensorrt_llm_fraction(100, 0.8, held=16) == 64 / 84
    assert tensorrt_llm_cache_bytes(100, 64 / 84, weights=10, step=4, reserve=2) == pytest.approx(64)
    assert sglang_fraction(100, 0.8, step=4, reserve=2) == 74 / 98
    assert sglang_cache_bytes(98, 74 / 98, weights=10, step=4) == pytest.approx(64)
    assert sglang_cache_bytes(98, 0.97, weights=10, step=4) == 0


def test_rules_over_arrays_and_symbols() -> None:
    shares = np.array([0.5, 0.9])
    rule = vllm_cache_bytes(100.0, shares, weights=10.0, step=4.0, reserve=2.0)
    assert rule.tolist() == [vllm_cache_bytes(100.0, float(s), weights=10.0, step=4.0, reserve=2.0) for s in shares]
    pool = sglang_cache_bytes(98.0, shares, weights=10.0, step=20.0)
    assert pool.tolist() == [39.0, 0.0]
    total = sympy.Symbol("total", positive=True)
    assert sympy.diff(tensorrt_llm_cache_bytes(total, 0.9, weights=10, step=4, reserve=2), total) == 0.9


# What holds of every engine.

MODELS = ("llama-3.1-8b", "mixtral-8x7b", "gemma-3-12b", "gpt-oss-20b", "deepseek-v2-lite", "opt-6.7b", "qwen2.5-7b")


@given(
    name=st.sampled_from(MODELS),
    engine=st.sampled_from(ENGINES),
    input_tokens=st.integers(1, 1900),
    output_tokens=st.integers(1, 100),
    batch=st.integers(1, 600),
    laid=st.sampled_from([(1, 8, 1), (2, 4, 1), (4, 2, 1), (1, 4, 2), (2, 2, 2)]),
)
@settings(max_examples=60, deadline=None)
def test_what_was_asked_for_fits_the_blocks(
    name: str, engine: str, input_tokens: int, output_tokens: int, batch: int, laid: tuple[int, int, int]
) -> None:
    tp, dp, pp = laid
    asked = {"input": input_tokens, "output": output_tokens, "batch": batch, "tp": tp, "dp": dp, "pp": pp}
    try:
        cache = launch(name, engine, "dgx-h100", **asked).kv_cache
    except genz.DoesNotFitError:
        return
    requests = -(-batch // dp)
    assert cache.concurrency >= requests
    windowed = name in ("gemma-3-12b", "gpt-oss-20b") and engine != "tensorrt-llm"
    if not windowed:
        assert cache.blocks >= requests * -(-(input_tokens + output_tokens) // cache.block_size)
    assert cache.reported > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_more_memory_is_more_blocks(engine: str) -> None:
    found = [launch("llama-3.1-8b", engine, gpu_memory_utilization=u).kv_cache.blocks for u in (0.4, 0.6, 0.8, 0.99)]
    assert found == sorted(set(found))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_fullest_batch_fits(engine: str) -> None:
    """The largest batch that GenZ knows for an engine is one that its export takes."""
    batch = genz.largest_batch("llama-3.1-8b", "h100-sxm", input=2000, output=48, engine=engine)
    assert launch("llama-3.1-8b", engine, batch=batch).kv_cache.concurrency >= batch


def test_what_the_windows_of_an_engine_do_not_save_is_refused() -> None:
    """TensorRT-LLM keeps all tokens of Gemma's windows: fewer requests of 32k tokens than a windowed cache holds."""
    asked = {"input": 32_000, "output": 768, "platform": "h100-sxm"}
    batch = genz.largest_batch("gemma-3-12b", **asked)
    with pytest.raises(genz.UnsupportedError) as refusal:
        launch("gemma-3-12b", "tensorrt-llm", input=32_000, output=768, batch=batch)
    assert refusal.value.field == "batch"
    assert refusal.value.value == batch
    most = int(str(refusal.value.allowed).rsplit(maxsplit=1)[-1])
    assert launch("gemma-3-12b", "tensorrt-llm", input=32_000, output=768, batch=most).kv_cache.concurrency == most
