"""Bytes of weights and KV cache against transformers' real tensors, published files, and figures worked by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import MLA_TYPES, TINY, cache_bytes, default_config, layer_windows, mla_latent_bytes, parameter_count

from genz.footprint import footprint, kv_bytes_per_token, request_cache_bytes, weight_bytes
from genz.operators.moe import touched_experts
from genz.specs import catalog
from genz.specs.huggingface import model_from_config
from genz.specs.parallelism import Parallelism
from genz.specs.precision import DATA_TYPES, Widths, settle
from genz.specs.workload import Workload

ONE = Parallelism(1)
GIB = 2**30


def widths_of(name: str, precision: str = "auto") -> Widths:
    """A precision on a chip that computes in everything; "auto" is what the model's own files say."""
    model = catalog.model(name)
    if precision != "auto":
        chosen = catalog.precision(precision)
    else:
        assert model.precision is not None
        chosen = model.precision
    return settle(chosen, model_type="bf16", chip_name="any", computable=list(DATA_TYPES))


# Weights.


@pytest.mark.parametrize("name", TINY)
def test_16_bit_weights_are_two_bytes_a_parameter(name: str, read_model: Any, bf16: Widths) -> None:
    """Tied heads once."""
    assert weight_bytes(read_model(TINY[name]), bf16, ONE) == 2 * parameter_count(TINY[name])


@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("name", TINY)
def test_ranks_together_hold_the_whole_model(name: str, ranks: int, read_model: Any, bf16: Widths) -> None:
    model = read_model(TINY[name])
    local = weight_bytes(model, bf16, Parallelism(ranks))
    assert 2 * parameter_count(TINY[name]) <= ranks * local
    assert local <= 2 * parameter_count(TINY[name])


def test_what_eight_ranks_hold_of_llama_3_70b(bf16: Widths) -> None:
    """An eighth of each matrix (64 heads, 8 KV heads, 28672 and 128256 features divide by 8), and all 161 norms."""
    model = catalog.model("llama-3-70b")
    norms = 161 * 8_192
    assert weight_bytes(model, bf16, Parallelism(8)) == 2 * ((70_553_706_496 - norms) // 8 + norms)


# total_size in the model.safetensors.index.json that the makers put on the hub: bytes of all tensors.
PUBLISHED_16_BIT = {
    "llama-3.1-8b": 16_060_522_496,
    "llama-3.1-70b": 141_107_412_992,
    "mistral-7b-v0.1": 14_483_464_192,
    "mixtral-8x7b": 93_405_585_408,
    "qwen2.5-7b": 15_231_233_024,
    "qwen2.5-72b": 145_412_407_296,
    "qwen3-30b-a3b": 61_064_245_248,
    "qwen3-235b-a22b": 470_187_269_120,
    "deepseek-v2-lite": 31_412_968_448,
}


@pytest.mark.parametrize("name", PUBLISHED_16_BIT)
def test_published_16_bit_files(name: str, bf16: Widths) -> None:
    assert weight_bytes(catalog.model(name), bf16, ONE) == PUBLISHED_16_BIT[name]


@pytest.mark.parametrize(
    ("name", "tensors", "card"),
    [
        # Tensors: total_size of the index on the hub. Card: gpt-oss model card, arXiv:2508.10925, table 1.
        ("gpt-oss-120b", 65_248_815_744, 60.8),
        ("gpt-oss-20b", 13_761_264_768, 12.8),
    ],
    ids=["120b", "20b"],
)
def test_published_mxfp4_files(name: str, tensors: int, card: float) -> None:
    """Routed experts in 4.25 bits (an 8-bit scale to 32 elements), their biases and all else in 16."""
    found = weight_bytes(catalog.model(name), widths_of(name), ONE)
    assert found == tensors
    assert found / GIB == pytest.approx(card, abs=0.05)


def test_gpt_oss_120b_by_hand() -> None:
    """36 layers x 128 experts x 3 x 2880^2 in 4.25 bits; the rest of the 116,829,156,672 in 16 bits."""
    experts = 36 * 128 * 3 * 2880 * 2880
    expected = experts * 4.25 / 8 + 2 * (116_829_156_672 - experts)
    assert weight_bytes(catalog.model("gpt-oss-120b"), widths_of("gpt-oss-120b"), ONE) == expected


def test_deepseek_v3_fp8_files() -> None:
    """The hub's 688,586,727,753 bytes are the main model and its multi-token-prediction module, which GenZ leaves out.

    That module, from README_WEIGHTS.md: one more mixture layer in FP8 with an FP32 scale to each 128 x 128 block, its
    router, a projection of 2 x 7168 to 7168, and copies of table and head, in 16 bits. The 12 MB that are then missing
    (2 in 100,000) are about what the headers of 163 files of 91,000 tensors take.
    """
    main = weight_bytes(catalog.model("deepseek-v3"), widths_of("deepseek-v3"), ONE)
    attention = 7168 * 1536 + 1536 * 24_576 + 7168 * 576 + 512 * 32_768 + 16_384 * 7168
    experts = 257 * 3 * 7168 * 2048
    in_8_bits = (attention + experts) * (1 + 4 / 128**2)
    in_16_bits = 2 * (256 * 7168 + 2 * 7168 * 7168 + 2 * 129_280 * 7168)
    assert main + in_8_bits + in_16_bits == pytest.approx(688_586_727_753, rel=5e-5)


# Llama-3.1-8B by hand: the matrices of 32 layers are quantised; table, head and 65 norms stay in 16 bits.
QUANTISED = 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14_336)
OTHERS = 2 * 128_256 * 4096 + 65 * 4096


@pytest.mark.parametrize(
    ("precision", "bits", "total"),
    [
        ("bf16", 16, 16_060_522_496),
        ("fp8", 8, 9_081_200_640),  # a scale a channel, neglected
        ("fp8_block", 8 + 32 / 128**2, 9_082_904_576),  # FP32 scale to 128 x 128
        ("int8", 8, 9_081_200_640),
        ("int4", 4 + 16 / 128, 5_700_591_616),  # FP16 scale to 128
        ("awq", 4 + 16 / 128 + 4 / 128, 5_727_854_592),  # and a 4-bit zero point
        ("gptq", 4 + 16 / 128 + 4 / 128, 5_727_854_592),
        ("mxfp4", 4 + 8 / 32, 5_809_643_520),  # OCP MX: an 8-bit scale to 32
        ("nvfp4", 4 + 8 / 16, 6_027_747_328),  # an FP8 scale to 16
    ],
)
def test_llama_8b_by_hand(precision: str, bits: float, total: int) -> None:
    found = weight_bytes(catalog.model("llama-3.1-8b"), widths_of("llama-3.1-8b", precision), ONE)
    assert found == QUANTISED * bits / 8 + 2 * OTHERS == total


# KV cache against the tensors that transformers really keeps.


def bytes_per_token_and_layer(config: dict[str, Any], batch: int) -> int:
    """From the cache of one token: all layers of these models keep as much for it."""
    layers = len(layer_windows(config))
    total, rest = divmod(cache_bytes(config, batch, 1), layers)
    assert rest == 0
    return total


@pytest.mark.parametrize("tokens", [6, 23])
@pytest.mark.parametrize("name", TINY)
def test_tiny_cache(name: str, tokens: int, read_model: Any, bf16: Widths) -> None:
    """Three requests of 6 tokens (within the windows and chunks of 8) and of 23 (beyond).

    Two known differences: (1) a full window or chunk of w holds w tokens in GenZ, all that a query sees, itself
    included; transformers keeps w - 1, for the next token brings its own. (2) transformers repeats the KV heads of
    Falcon's new architecture to all query heads before it caches them, which no serving engine does.
    """
    config, batch = TINY[name], 3
    found = batch * request_cache_bytes(read_model(config), bf16, Workload(tokens - 2, 2))
    if config.get("new_decoder_architecture"):
        found = found * config["num_attention_heads"] / config["num_kv_heads"]
    one_more = sum(window is not None and tokens >= window for window in layer_windows(config))
    assert found == cache_bytes(config, batch, tokens) + one_more * bytes_per_token_and_layer(config, batch)


@pytest.mark.parametrize("name", [name for name, config in TINY.items() if config["model_type"] in MLA_TYPES])
def test_tiny_latents(name: str, read_model: Any, bf16: Widths) -> None:
    found = 2 * request_cache_bytes(read_model(TINY[name]), bf16, Workload(9, 5))
    assert found == mla_latent_bytes(TINY[name], 2, 14)


# KV cache by hand.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-3-70b", 80 * 2 * 8 * 128 * 2),
        ("llama-3.1-405b", 126 * 2 * 8 * 128 * 2),
        ("llama-2-7b", 32 * 2 * 32 * 128 * 2),  # 524,288: as many KV heads as query heads
        ("falcon-7b", 32 * 2 * 1 * 64 * 2),  # 8,192: one KV head
        ("mixtral-8x7b", 32 * 2 * 8 * 128 * 2),
        ("deepseek-v3", 61 * (512 + 64) * 2),  # latent and rotary key: arXiv:2412.19437, section 2.1.1
        ("qwen3-235b-a22b", 94 * 2 * 4 * 128 * 2),
    ],
)
def test_bytes_per_token(name: str, expected: int, bf16: Widths) -> None:
    model = catalog.model(name)
    assert kv_bytes_per_token(model, bf16) == expected
    assert request_cache_bytes(model, bf16, Workload(1023, 1)) == 1024 * expected


@pytest.mark.parametrize(
    ("name", "published"), [("deepseek-v3", 70.272e3), ("qwen2.5-72b", 327.680e3), ("llama-3.1-405b", 516.096e3)]
)
def test_published_bytes_per_token(name: str, published: float, bf16: Widths) -> None:
    """Table 1 of "Insights into DeepSeek-V3", arXiv:2505.09343."""
    assert kv_bytes_per_token(catalog.model(name), bf16) == published


def test_an_8_bit_cache_is_half(bf16: Widths) -> None:
    model, workload = catalog.model("llama-3-70b"), Workload(1000, 24)
    narrow = settle(catalog.precision("bf16"), model_type="bf16", chip_name="any", computable=["bf16"], kv_cache_dtype="fp8")
    assert request_cache_bytes(model, narrow, workload) == 1024 * 163_840
    assert weight_bytes(model, narrow, ONE) == weight_bytes(model, bf16, ONE)


def test_gemma_3_27b_local_and_global_layers(bf16: Widths) -> None:
    """62 layers, each sixth global: 10 keep all 32,768 tokens, 52 their window of 1024; 2 x 16 x 128 x 2 bytes a token."""
    model = catalog.model("gemma-3-27b")
    sees_all = [layer.token_mixer.window is None for layer in model.layers]
    assert (sum(sees_all), len(sees_all)) == (10, 62)
    expected = (10 * 32_768 + 52 * 1_024) * 8_192
    assert expected == 3_120_562_176
    assert request_cache_bytes(model, bf16, Workload(32_000, 768)) == expected
    # Were all layers global it would be 5.3 times as much.
    assert 62 * 32_768 * 8_192 / expected == pytest.approx(5.333, abs=0.001)


def test_blocks_are_whole(bf16: Widths) -> None:
    """1000 tokens are 62.5 blocks of 16, so 63: 1008 tokens; 577 blocks of one latent layer likewise."""
    assert request_cache_bytes(catalog.model("llama-3-70b"), bf16, Workload(990, 10), block_size=16) == 1008 * 327_680
    assert request_cache_bytes(catalog.model("deepseek-v3"), bf16, Workload(9220, 2), block_size=16) == 577 * 16 * 70_272


def test_ranks_share_key_heads_and_copy_latents(bf16: Widths) -> None:
    """8 KV heads on 8 ranks are one each, on 16 ranks one each too; the latent has no heads to split."""
    grouped, latent, workload = catalog.model("llama-3-70b"), catalog.model("deepseek-v3"), Workload(500, 12)
    assert request_cache_bytes(grouped, bf16, workload, parallelism=Parallelism(tensor=8)) == 512 * 327_680 / 8
    assert request_cache_bytes(grouped, bf16, workload, parallelism=Parallelism(tensor=16)) == 512 * 327_680 / 8
    assert request_cache_bytes(latent, bf16, workload, parallelism=Parallelism(tensor=8)) == 512 * 70_272


def test_beams_share_the_prompt(bf16: Widths) -> None:
    """Four beams of a prompt of 1000 and 100 tokens each: 1400 tokens, not 4400; in blocks of 16: 69 + 3 x 7."""
    model = catalog.model("llama-3-70b")
    assert request_cache_bytes(model, bf16, Workload(1000, 100, beams=4)) == 1400 * 327_680
    assert request_cache_bytes(model, bf16, Workload(1000, 100, beams=4), block_size=16) == (69 + 3 * 7) * 16 * 327_680


def test_beams_share_what_a_window_leaves_of_the_prompt(bf16: Widths) -> None:
    """Gemma 3 27B, 2000 and 100 tokens: its local layers still see 924 tokens of the prompt beside each beam's own 100."""
    found = request_cache_bytes(catalog.model("gemma-3-27b"), bf16, Workload(2000, 100, beams=4))
    assert found == (10 * (2000 + 4 * 100) + 52 * (924 + 4 * 100)) * 8_192


LENGTHS = st.integers(1, 60)
SIZES = st.sampled_from([1, 4, 16])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(TINY)),
    prompt=LENGTHS,
    output=LENGTHS,
    beams=st.integers(1, 4),
    block=SIZES,
    grown=st.sampled_from(["input_tokens", "output_tokens", "beams"]),
)
def test_cache_never_shrinks(
    name: str, prompt: int, output: int, beams: int, block: int, grown: str, read_model: Any, bf16: Widths
) -> None:
    """One more token or beam takes no less, and at most another block of every layer for each beam."""
    model = read_model(TINY[name])
    asked = {"input_tokens": prompt, "output_tokens": output, "beams": beams}
    before = request_cache_bytes(model, bf16, Workload(**asked), block_size=block)
    after = request_cache_bytes(model, bf16, Workload(**{**asked, grown: asked[grown] + 1}), block_size=block)
    assert before <= after
    if grown != "beams":
        a_block = request_cache_bytes(model, bf16, Workload(1, 1), block_size=max(block, 2)) * (block / max(block, 2))
        assert after - before <= beams * a_block


@settings(max_examples=150, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(TINY)), prompt=LENGTHS, output=LENGTHS, beams=st.integers(2, 5))
def test_beams_cost_only_what_they_generate(
    name: str, prompt: int, output: int, beams: int, read_model: Any, bf16: Widths
) -> None:
    """Each further beam takes what a request of its own output alone would: the prompt, however long, is there already."""
    model = read_model(TINY[name])
    shared = request_cache_bytes(model, bf16, Workload(prompt, output, beams=beams))
    alone = request_cache_bytes(model, bf16, Workload(prompt, output))
    own = 0
    for mixer in (layer.token_mixer for layer in model.layers):
        width = mixer.latent_rank + mixer.rope_dim if mixer.kind == "latent_attention" else 2 * mixer.kv_heads * mixer.head_dim
        own += 2 * width * min(output, mixer.window or mixer.chunk or output)
    assert shared == alone + (beams - 1) * own
    assert shared <= beams * alone


def test_arrays_equal_scalars(bf16: Widths) -> None:
    model = catalog.model("gemma-3-27b")
    prompts, outputs = np.array([1, 900, 1024, 5000]), np.array([200, 200, 1, 2000])
    found = request_cache_bytes(model, bf16, Workload(prompts, outputs, beams=3), block_size=16)
    one_by_one = [
        request_cache_bytes(model, bf16, Workload(int(p), int(o), beams=3), block_size=16)
        for p, o in zip(prompts, outputs, strict=True)
    ]
    assert found.tolist() == one_by_one


# Experts that a batch touches.


@pytest.mark.parametrize(("tokens", "expected"), [(1, 2.0), (8, 7.2), (64, 8.0)])
def test_mixtral_touches(tokens: int, expected: float) -> None:
    assert touched_experts(tokens, experts=8, top_k=2) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    ("tokens", "experts", "top_k"),
    [(1, 8, 2), (8, 8, 2), (64, 8, 2), (3, 60, 4), (16, 128, 8), (32, 256, 8), (5, 16, 1), (4, 4, 4)],
    ids=str,
)
def test_touched_experts_by_drawing_them(tokens: int, experts: int, top_k: int) -> None:
    """The mean of 4000 draws of `top_k` different experts a token, within five standard errors and half a draw."""
    generator = np.random.default_rng(20240607)
    draws = 4000
    ranks = generator.random((draws, tokens, experts)).argpartition(top_k - 1, axis=2)[:, :, :top_k]
    touched = np.zeros((draws, experts), dtype=bool)
    for token in range(tokens):
        np.put_along_axis(touched, ranks[:, token], values=True, axis=1)
    counts = touched.sum(axis=1)
    error = counts.std(ddof=1) / draws**0.5
    assert touched_experts(tokens, experts=experts, top_k=top_k) == pytest.approx(counts.mean(), abs=5 * error + 0.5 / draws)


# The whole device.


def test_all_terms_of_llama_3_70b_on_a_rank_of_eight(bf16: Widths) -> None:
    """16 requests of 1000 + 24 tokens under vLLM (blocks of 16, 90 % of the memory) on eight devices of 80 GB."""
    model, engine = catalog.model("llama-3-70b"), catalog.engine("vllm")
    memory = footprint(
        model, Workload(1000, 24), requests=16, parallelism=Parallelism(8), widths=bf16, engine=engine, capacity_bytes=80e9
    )
    norms = 161 * 8_192
    assert memory.weights_bytes == 2 * ((70_553_706_496 - norms) // 8 + norms)
    assert memory.kv_cache_bytes == 16 * 1024 * 327_680 / 8
    assert memory.logits_bytes == 16 * 128_256 / 8 * (4 + 2)
    assert memory.reserve_bytes == 1.5 * GIB
    assert memory.budget_bytes == pytest.approx(0.9 * 80e9)
    # 8192 tokens a step at most, each in two buffers of the hidden width.
    assert memory.communication_bytes == 2 * 8192 * 8192 * 2
    terms = ("weights", "kv_cache", "activations", "logits", "communication", "reserve")
    assert memory.total_bytes == sum(getattr(memory, f"{term}_bytes") for term in terms)
    assert memory.fits


def test_weight_files_overrule_the_formula(bf16: Widths) -> None:
    """A model whose files are 10 % larger than the formula says takes 10 % more on each rank."""
    config = {**TINY["llama-3.2-style"], "dtype": "bfloat16"}
    stored = int(2 * parameter_count(config) * 1.1)
    asked = {
        "workload": Workload(8, 8),
        "requests": 1,
        "parallelism": Parallelism(2),
        "widths": bf16,
        "engine": catalog.engine("vllm"),
        "capacity_bytes": 1e9,
    }
    plain = footprint(model_from_config(config, name="plain"), **asked)
    files = footprint(model_from_config(config, name="files", stored_bytes=stored), **asked)
    assert files.weights_bytes == pytest.approx(1.1 * plain.weights_bytes, rel=1e-4)


def test_full_attention_defaults_hold_every_token(bf16: Widths, read_model: Any) -> None:
    """Transformers' default Llama: 32 layers of 32 heads of 128, 524,288 bytes a token."""
    assert kv_bytes_per_token(read_model(default_config("llama")), bf16) == 524_288
