"""vLLM's KV blocks, worked out by plain arithmetic from numbers of each config.json, typed here by hand.

vLLM: blocks = floor((utilization x total - weights - peak activations - the rest) / (bytes of a page x layers of a group)).
Weights, pages and groups are summed up below, per rank. The peak of activations is what vLLM measures as it starts: that one
figure is GenZ's estimate.
"""

from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import pytest

import genz
from genz.export import KvBlocks, launch_for
from genz.export.memory import loads
from genz.export.paging import groups_of
from genz.inference.question import Question
from genz.specs.huggingface import model_from_config

H200 = 143_771 * 2**20  # nvidia-smi
RESERVE = 1.5 * 2**30  # CUDA context, graphs and communication buffers
STEP = 8192  # tokens of the step that vLLM profiles
ISL, OSL, BATCH = 2000, 48, 4
LENGTH = ISL + OSL
FP8_BLOCK = 1 + 4 / 128**2  # a byte, and an FP32 scale to 128 x 128 weights
MXFP4 = 4.25 / 8  # four bits, and an 8-bit scale to 32 weights


@dataclass
class Rank:
    """One rank of a model: bytes of its weights, its page and groups of layers."""

    weights: float
    page: float
    layers_per_block: int
    groups: int = 1
    block_size: int = 16

    def blocks(self, peak: float, utilization: float = 0.9) -> int:
        return floor((H200 * utilization - self.weights - peak - RESERVE) / (self.page * self.layers_per_block))


def grouped(hidden: int, heads: int, kv: int, dim: int) -> int:
    """Parameters of query, key, value and output."""
    return 2 * hidden * heads * dim + 2 * hidden * kv * dim


def llama(tp: int) -> Rank:
    """Llama-3.1-8B: 32 layers of GQA, 32 heads over 8, 4096 wide, 14336 inside, 128256 tokens."""
    matrices = 32 * (grouped(4096, 32, 8, 128) + 3 * 4096 * 14_336) + 2 * 128_256 * 4096
    weights = 2 * (matrices / tp + 65 * 4096)
    page = 2 * 16 * (8 // tp) * 128 * 2
    return Rank(weights, page, 32)


def mixtral(tp: int) -> Rank:
    """Mixtral-8x7B: 32 layers, 8 experts of 14336, 2 a token; the router is on every rank."""
    matrices = 32 * (grouped(4096, 32, 8, 128) + 8 * 3 * 4096 * 14_336) + 2 * 32_000 * 4096
    weights = 2 * (matrices / tp + 32 * 8 * 4096 + 65 * 4096)
    page = 2 * 16 * (8 // tp) * 128 * 2
    return Rank(weights, page, 32)


def deepseek_v2_lite(tp: int) -> Rank:
    """27 layers of latent attention (512 + 64 cached, on every rank), 64 experts of 1408 and 2 shared, one dense layer."""
    split = 27 * (2048 * 16 * 192 + 512 * 16 * 256 + 16 * 128 * 2048)
    split += 3 * 2048 * 10_944 + 26 * 66 * 3 * 2048 * 1408 + 2 * 102_400 * 2048
    copied = 27 * (2048 * 576 + 512) + 26 * 64 * 2048 + 55 * 2048
    return Rank(2 * (split / tp + copied), 64 * 576 * 2, 27, block_size=64)


def deepseek_v3(tp: int) -> Rank:
    """61 layers of latent attention with low-rank queries, 256 experts of 2048 and a shared one, three dense layers; FP8."""
    split = 61 * (1536 * 128 * 192 + 512 * 128 * 256 + 128 * 128 * 7168) + 3 * 3 * 7168 * 18_432 + 58 * 257 * 3 * 7168 * 2048
    copied = 61 * 7168 * (1536 + 576)
    in_16_bits = 2 * 129_280 * 7168 / tp + 58 * 256 * 7168 + 61 * (1536 + 512) + 123 * 7168
    weights = (split / tp + copied) * FP8_BLOCK + 2 * in_16_bits
    return Rank(weights, 64 * 576 * 2, 61, block_size=64)


def gemma_3_27b(tp: int) -> Rank:
    """62 layers, every sixth over all positions (10), 52 in windows of 1024: groups of 10 layers, one and ceil(52 / 10)."""
    matrices = 62 * (grouped(5376, 32, 16, 128) + 3 * 5376 * 21_504) + 262_208 * 5376
    assert matrices + 62 * (4 * 5376 + 2 * 128) + 5376 == 27_009_346_304  # published
    weights = 2 * (matrices / tp + 62 * (4 * 5376 + 2 * 128) + 5376)
    page = 2 * 16 * (16 // tp) * 128 * 2
    return Rank(weights, page, 10, groups=1 + 6)


def gemma_3_4b(tp: int) -> Rank:
    """34 layers, 5 over all positions; 4 KV heads, so 8 ranks hold one each, and each head twice."""
    heads = grouped(2560, 8, 0, 256) / tp + 2 * 2560 * max(1, 4 // tp) * 256
    matrices = 34 * (heads + 3 * 2560 * 10_240 / tp) + 262_208 * 2560 / tp
    weights = 2 * (matrices + 34 * (4 * 2560 + 2 * 256) + 2560)
    page = 2 * 16 * max(1, 4 // tp) * 256 * 2
    return Rank(weights, page, 5, groups=1 + 6)


def gpt_oss_20b(tp: int) -> Rank:
    """24 layers, every other in windows of 128: two groups of 12. 32 experts in MXFP4, biases everywhere, sinks."""
    attention = (grouped(2880, 64, 8, 64) + 64 * 64 + 2 * 8 * 64) / tp + 2880 + 64
    experts = 32 * (3 * 2880 * 2880 / tp * MXFP4 + 2 * (2 * 2880 / tp + 2880))
    weights = 24 * (2 * (attention + 32 * 2880 + 32 + 2 * 2880) + experts) + 2 * (2 * 201_088 * 2880 / tp + 2880)
    page = 2 * 16 * (8 // tp) * 64 * 2
    return Rank(weights, page, 12, groups=2)


def falcon_7b(tp: int) -> Rank:
    """32 layers of MQA: 71 heads over one, 64 wide; two matrices of 18176, one norm a layer, and a head tied to the table."""
    assert tp == 1
    parameters = 32 * (grouped(4544, 71, 1, 64) + 2 * 4544 * 18_176 + 2 * 4544) + 65_024 * 4544 + 2 * 4544
    assert parameters == 6_921_720_704  # published
    return Rank(2 * parameters, 2 * 16 * 1 * 64 * 2, 32)


def opt_6_7b(tp: int) -> Rank:
    """32 layers of MHA, 32 heads, biases, learned positions (2048 + 2), a head tied to the table; FP16."""
    split = 32 * (4 * 4096**2 + 2 * 4096 * 16_384 + 3 * 4096 + 16_384) + 50_272 * 4096
    copied = 32 * (2 * 4096 + 2 * 2 * 4096) + 2050 * 4096 + 2 * 4096
    assert split + copied == 6_658_473_984  # published
    page = 2 * 16 * (32 // tp) * 128 * 2
    return Rank(2 * (split / tp + copied), page, 32)


FAMILIES: dict[str, Any] = {
    "llama-3.1-8b": llama,
    "mixtral-8x7b": mixtral,
    "deepseek-v2-lite": deepseek_v2_lite,
    "deepseek-v3": deepseek_v3,
    "gemma-3-27b": gemma_3_27b,
    "gemma-3-4b": gemma_3_4b,
    "gpt-oss-20b": gpt_oss_20b,
    "falcon-7b": falcon_7b,
    "opt-6.7b": opt_6_7b,
}
CASES = [(name, tp) for name in FAMILIES for tp in (1, 8) if (name, tp) not in {("deepseek-v3", 1), ("falcon-7b", 8)}]


def question_of(name: str, platform: str = "8x h200", **asked: Any) -> Question:
    return genz.settle_question(name, platform, **{"input": ISL, "output": OSL, "batch": BATCH, **asked})


def blocks_of(name: str, platform: str = "8x h200", **asked: Any) -> KvBlocks:
    return launch_for(question_of(name, platform, **asked)).kv_cache


def peak_of(name: str, platform: str = "8x h200", **asked: Any) -> float:
    """What a profiled step of 8192 tokens would take, as GenZ estimates it."""
    return float(loads(question_of(name, platform, **asked), step_tokens=STEP, sequences=BATCH)[0].step)


@pytest.mark.parametrize(("name", "tp"), CASES)
def test_blocks_are_those_of_vllm(name: str, tp: int) -> None:
    rank, platform = FAMILIES[name](tp), f"{tp}x h200"
    found = blocks_of(name, platform, tp=tp)
    assert (found.block_size, found.bytes_per_block) == (rank.block_size, rank.page * rank.layers_per_block)
    assert found.blocks == rank.blocks(peak_of(name, platform, tp=tp))
    assert found.tokens == found.blocks // rank.groups * rank.block_size


@pytest.mark.parametrize(("name", "tp"), CASES)
def test_weights_of_a_rank(name: str, tp: int) -> None:
    (load,) = loads(question_of(name, f"{tp}x h200", tp=tp), step_tokens=STEP, sequences=BATCH)
    assert load.weights == pytest.approx(FAMILIES[name](tp).weights, rel=1e-12)


def test_peak_of_a_step() -> None:
    """Llama-3.1-8B: residual, its norm and a copy, then gate, up and their product, in 16 bits; four rows of logits."""
    by_hand = STEP * (3 * 4096 + 3 * 14_336) * 2 + BATCH * 128_256 * (4 + 2)
    assert peak_of("llama-3.1-8b", "h200") == pytest.approx(by_hand, rel=0.3)


def test_share_of_the_memory() -> None:
    found = blocks_of("llama-3.1-8b", "h200", gpu_memory_utilization=0.5)
    assert found.blocks == llama(1).blocks(peak_of("llama-3.1-8b", "h200"), utilization=0.5)


def test_eight_bit_cache_has_twice_the_blocks() -> None:
    rank = llama(1)
    rank.page /= 2
    assert blocks_of("llama-3.1-8b", "h200", kv_cache_dtype="fp8").blocks == rank.blocks(peak_of("llama-3.1-8b", "h200"))


def test_experts_over_data_parallel_ranks() -> None:
    """DeepSeek-V3 with attention on each of 8 ranks and 32 experts on each: a batch of 32 is 4 on a rank."""
    rank, laid = deepseek_v3(1), {"batch": 32, "dp": 8, "ep": 8}
    rank.weights -= 58 * 224 * 3 * 7168 * 2048 * FP8_BLOCK
    assert blocks_of("deepseek-v3", **laid).blocks == rank.blocks(peak_of("deepseek-v3", **laid))


def test_vllm_logs_the_concurrency_of_a_uniform_model() -> None:
    """2048 tokens are 128 blocks; one block stays empty."""
    found = blocks_of("llama-3.1-8b", "h200")
    assert found.reported == found.blocks / 128
    assert found.concurrency == (found.blocks - 1) // 128


def test_vllm_logs_the_concurrency_of_a_windowed_model() -> None:
    """Of each of 6 windowed groups a request may hold all of its 128 blocks while it is prefilled, and one more."""
    found = blocks_of("gemma-3-27b", "h200")
    assert found.reported == found.blocks / (128 + 6 * 129)
    # At its end it holds 1024 / 16 + 1 blocks of them; a step of prompts is 512 blocks of each group.
    assert found.concurrency == (found.blocks - 1 - 6 * 512) // (128 + 6 * 65)


def test_a_sliding_window_in_all_layers_is_one_group() -> None:
    found = blocks_of("mistral-7b-v0.1", "h200", input=8000, output=192)
    assert found.bytes_per_block == 32 * 2 * 16 * 8 * 128 * 2
    assert found.tokens == found.blocks * 16
    assert found.reported == found.blocks / (8192 / 16 + 1)


@pytest.mark.parametrize(
    ("name", "tp", "heads", "dim", "layers", "groups"),
    [
        ("gemma-2-9b", 1, 8, 256, 21, 2),  # 21 and 21
        ("gemma-3-1b", 1, 1, 256, 4, 1 + 6),  # 4 of 26, the sixth windowed group padded: 22 = 5 x 4 + 2
        ("gemma-3-12b", 1, 8, 256, 8, 1 + 5),  # 8 of 48
        ("gpt-oss-120b", 1, 8, 64, 18, 2),
        ("llama-4-scout", 8, 1, 128, 12, 1 + 3),  # 36 in chunks of 8192
    ],
)
def test_groups_of_layers(name: str, tp: int, heads: int, dim: int, layers: int, groups: int) -> None:
    """The design page of vLLM's hybrid KV cache manager: groups as large as the rarest kind of layer."""
    found = blocks_of(name, f"{tp}x h200", tp=tp)
    assert found.bytes_per_block == layers * 2 * 16 * heads * dim * 2
    assert found.tokens == found.blocks // groups * 16


@pytest.mark.parametrize(
    ("full", "windowed", "size", "groups"), [(12, 13, 13, 2), (10, 14, 14, 2), (10, 15, 10, 3), (10, 20, 10, 3)]
)
def test_nearly_as_many_layers_of_both_kinds_are_padded(full: int, windowed: int, size: int, groups: int) -> None:
    """From 1.5 times as many on, the commoner kind is cut instead."""
    kinds = ["full_attention"] * full + ["sliding_attention"] * windowed
    config = {
        "model_type": "gemma3_text", "vocab_size": 1024, "hidden_size": 256, "intermediate_size": 512, "head_dim": 64,
        "num_hidden_layers": len(kinds), "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 128,
        "max_position_embeddings": 8192, "layer_types": kinds, "tie_word_embeddings": True,
    }  # fmt: skip
    found = groups_of(model_from_config(config, name="tiny"), tensor=1, block_size=16, element_bytes=2)
    assert (max(len(group.layers) for group in found), len(found)) == (size, groups)
    assert sorted(i for group in found for i in group.layers) == list(range(full + windowed))


def test_the_fullest_pipeline_stage_decides() -> None:
    """Llama-3.1-8B in three stages of 11, 11 and 10 layers: the first has the table, the last the head and the logits."""
    layer = grouped(4096, 32, 8, 128) + 3 * 4096 * 14_336 + 2 * 4096
    first = Rank(2 * (11 * layer + 128_256 * 4096), 2 * 16 * 8 * 128 * 2, 11)
    found = blocks_of("llama-3.1-8b", "3x h200", pp=3)
    assert found.blocks == first.blocks(peak_of("llama-3.1-8b", "3x h200", pp=3))
    assert found.bytes_per_block == 11 * first.page


def test_decode_context_parallel_ranks_hold_parts_of_a_sequence() -> None:
    """With the latent on 8 ranks once instead of 8 times, the cache has 8 times the tokens."""
    split, copied = blocks_of("deepseek-v3", tp=8, dcp=8), blocks_of("deepseek-v3", tp=8)
    assert split.blocks == copied.blocks
    assert split.tokens == 8 * copied.tokens
    assert split.reported == split.blocks / ceil(LENGTH / 8 / 64)


def test_what_is_offloaded_leaves_room() -> None:
    """30 % of 16.06 GB are 4.487 GiB, rounded up to three decimals."""
    rank = llama(1)
    gib = ceil(0.3 * rank.weights / 2**30 * 1000) / 1000
    rank.weights -= gib * 2**30
    launch = launch_for(question_of("llama-3.1-8b", "dgx-h200", batch=8 * BATCH, offload_weights=0.3))
    assert launch.command[launch.command.index("--cpu-offload-gb") + 1] == f"{gib:.3f}"
    assert launch.kv_cache.blocks == rank.blocks(peak_of("llama-3.1-8b", "h200"))


def test_beams_share_the_full_blocks_of_their_prompt() -> None:
    """2000 tokens are 125 blocks, and each of four beams has 3 of its own."""
    found = blocks_of("llama-3.1-8b", "h200", beams=4, batch=1)
    assert found.concurrency == (found.blocks - 1) // (125 + 4 * 3)
