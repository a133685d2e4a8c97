"""Models with a state against transformers: parameters, FLOPs and state bytes; and what a state means for time and memory."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_states import DEFAULT_TYPES, TINY, default_config, flops_by_module, parameter_count, state_bytes

import genz
from genz.errors import SpecError
from genz.footprint import request_state_bytes, weight_bytes
from genz.graph.builder import build, matrix_flops
from genz.graph.step import Group, Operator, Step
from genz.specs import catalog
from genz.specs.huggingface import model_from_config
from genz.specs.model import ModelSpec
from genz.specs.parallelism import Parallelism
from genz.specs.token_mixers import LatentAttention, StateSpace
from genz.specs.workload import Workload

# Modules of transformers that multiply matrices by themselves: scans, attention, and what they hold as bare parameters.
MIXING = {"mamba", "mixer", "linear_attn", "self_attn", "temporal_block", "rg_lru", "mlstm_backend"}
# What GenZ counts as matrices of their own and transformers multiplies inside of these modules.
INSIDE = {
    "mamba": ("time_step",),
    "falcon_mamba": ("time_step",),
    "jamba": ("time_step",),
    "zamba": ("time_step", "state_parameters"),
    "recurrent_gemma": ("input_gate", "recurrence_gate"),
}
# Two whole chunks of the delta rule: transformers pads a prompt to whole chunks.
STEPS = {"prefill": ("prefill", 2, 128, 0), "decode": ("decode", 3, 1, 13)}


def read(config: dict[str, Any]) -> ModelSpec:
    return model_from_config({"max_position_embeddings": 256, **config}, name="tiny")


def operators(model: ModelSpec, step: Step, widths: Any, *, ranks: int = 1, engine: str = "pytorch") -> tuple[Operator, ...]:
    return build(model, step, parallelism=Parallelism(ranks), widths=widths, engine=catalog.engine(engine))


def step_of(phase: str, config: dict[str, Any]) -> tuple[str, int, int, int]:
    """Transformers' RWKV mixes up the sequences of a batch in decode (its state lacks an axis): one sequence there."""
    name, batch, new_tokens, context = STEPS[phase]
    return name, 1 if config["model_type"] == "rwkv" else batch, new_tokens, context


@pytest.mark.parametrize("name", TINY)
def test_tiny_parameters(name: str) -> None:
    assert read(TINY[name]).parameters == parameter_count(TINY[name])


@pytest.mark.parametrize("model_type", DEFAULT_TYPES)
def test_default_parameters(model_type: str) -> None:
    config = default_config(model_type)
    assert read(config).parameters == parameter_count(config)


@pytest.mark.parametrize("phase", STEPS)
@pytest.mark.parametrize("name", TINY)
def test_projections(name: str, phase: str, bf16: Any) -> None:
    """Every matrix, experts by their routed rows, the head on one token a sequence (xLSTM's on all)."""
    config = TINY[name]
    step, batch, new_tokens, context = step_of(phase, config)
    counted = flops_by_module(config, batch, new_tokens, context)
    expected = sum(flops for module, flops in counted.items() if module.rpartition(".")[2] not in MIXING)
    model = read(config)
    built = operators(model, Step(step, (Group(batch, new_tokens, context),)), bf16)
    inside = tuple(f"{each}_gemm" for each in INSIDE.get(config["model_type"], ()))
    found = matrix_flops([o for o in built if o.category in ("gemm", "experts") and o.name not in inside])
    if config["model_type"] == "xlstm":
        found += 2 * batch * (new_tokens - 1) * config["hidden_size"] * config["vocab_size"]
    assert found == expected


@pytest.mark.parametrize("phase", STEPS)
@pytest.mark.parametrize("name", TINY)
def test_scans_and_attention(name: str, phase: str, bf16: Any) -> None:
    """Scans are what transformers multiplies, but for what its reference code does by other means (`otherwise`)."""
    config = TINY[name]
    step, batch, new_tokens, context = step_of(phase, config)
    counted = flops_by_module(config, batch, new_tokens, context)
    expected = sum(flops for module, flops in counted.items() if module.rpartition(".")[2] in MIXING)
    model = read(config)
    built = operators(model, Step(step, (Group(batch, new_tokens, context),)), bf16)
    inside = tuple(f"{each}_gemm" for each in INSIDE.get(config["model_type"], ()))
    found = matrix_flops([o for o in built if o.category == "state_space" or o.name in inside])
    for layer in model.layers:
        for mixer in layer.token_mixers:
            if isinstance(mixer, StateSpace):
                found += otherwise(config["model_type"], mixer, step, batch, new_tokens)
            else:
                latent = isinstance(mixer, LatentAttention)
                width = mixer.query_key_dim + mixer.value_dim if latent else 2 * mixer.head_dim
                keys = context if mixer.window is None else min(context, mixer.window - 1)
                found += 2 * batch * mixer.heads * new_tokens * (keys + new_tokens) * width
    assert found == expected


def otherwise(model_type: str, mixer: StateSpace, step: str, batch: int, new_tokens: int) -> int:
    """What transformers' reference code multiplies beyond GenZ's scan of one layer, by hand.

    Mamba-1 reads its output from the state by a product of matrices (GenZ counts it on the vector units). Mamba-2 hands
    states on by a product over all pairs of chunks, in decode it reads the state by one. Kimi's scores are sums of
    elementwise products, two of n x n in each chunk. Gated delta nets apply no inverse but solve triangular systems, which is
    not counted. mLSTM normalises by one more product with each query.
    """
    sequences_heads, state = batch * mixer.heads, mixer.key_dim * mixer.value_dim
    chunks = new_tokens // mixer.scan_chunk
    if mixer.scan == "selective":
        return 0 if model_type in ("rwkv", "recurrent_gemma") else 2 * sequences_heads * new_tokens * state
    if model_type == "kimi_linear":
        return -4 * sequences_heads * new_tokens * mixer.scan_chunk * mixer.key_dim if step == "prefill" else 0
    if mixer.scan == "delta":
        return (
            -2 * sequences_heads * new_tokens * mixer.scan_chunk * (mixer.key_dim + mixer.value_dim) if step == "prefill" else 0
        )
    if model_type == "xlstm":
        return sequences_heads * (2 * new_tokens * mixer.key_dim + (4 * state if step == "decode" else 0))
    if model_type == "minimax":
        return 4 * sequences_heads * state if step == "decode" else 0
    if mixer.scan == "chunked":
        return 2 * sequences_heads * state * ((chunks + 1) ** 2 if step == "prefill" else 1)
    return 0


@pytest.mark.parametrize("name", TINY)
def test_state_bytes(name: str, bf16: Any) -> None:
    """States, convolutions and caches of a real model on the CPU.

    Transformers keeps one token more than a convolution looks back at, and of a window one token less; the state of an
    mLSTM in bfloat16 where its configuration says float32.
    """
    config, batch, tokens = TINY[name], 2, 11
    expected = state_bytes(config, batch, tokens)
    found: Counter[str] = Counter()
    for layer in read(config).layers:
        for mixer in layer.token_mixers:
            for buffer in mixer.state():
                stored = 1.0
                if buffer.name == "convolution" and config["model_type"] != "recurrent_gemma":
                    stored = mixer.convolution_width / (mixer.convolution_width - 1)
                found[buffer.name] += batch * buffer.bytes(bf16.base_bytes, narrow=config["model_type"] == "xlstm") * stored
            kept = tokens if mixer.reach is None else min(tokens, mixer.reach - 1)
            found["keys"] += batch * kept * mixer.cached_width() * bf16.base_bytes
    assert {kind: size for kind, size in found.items() if size} == expected


@pytest.mark.parametrize("name", TINY)
def test_weights_are_held_once(name: str, bf16: Any) -> None:
    """On one device the weights are two bytes a parameter, blocks that layers share once."""
    model = read(TINY[name])
    assert weight_bytes(model, bf16, Parallelism()) == 2 * model.parameters


# Random shapes, so that no formula fits the hand-picked configurations alone.

COMMON = {
    "vocab_size": st.integers(3, 200),
    "num_hidden_layers": st.integers(1, 5),
    "tie_word_embeddings": st.booleans(),
}
WIDTH = st.integers(1, 8).map(lambda n: 24 * n)
MAMBA_1 = {"mamba_d_state": st.integers(1, 20), "mamba_d_conv": st.integers(2, 5), "mamba_expand": st.integers(1, 3)}
ATTENTION = {"num_attention_heads": st.just(6), "num_key_value_heads": st.sampled_from([1, 2, 3, 6])}
SHAPES: dict[str, dict[str, Any]] = {
    "mamba": {
        **COMMON,
        "hidden_size": st.integers(1, 99),
        "state_size": st.integers(1, 20),
        "expand": st.integers(1, 3),
        "conv_kernel": st.integers(2, 5),
        "use_bias": st.booleans(),
        "use_conv_bias": st.booleans(),
    },
    "mamba2": {
        **COMMON,
        "num_heads": st.just(6),
        "hidden_size": st.just(48),
        "head_dim": st.just(16),
        "n_groups": st.sampled_from([1, 2, 3, 6]),
        "state_size": st.integers(1, 40),
        "conv_kernel": st.integers(2, 5),
        "use_bias": st.booleans(),
        "use_conv_bias": st.booleans(),
    },
    "jamba": {
        **COMMON,
        **MAMBA_1,
        **ATTENTION,
        "hidden_size": WIDTH,
        "intermediate_size": st.integers(1, 90),
        "num_experts": st.integers(2, 5),
        "attn_layer_period": st.integers(2, 4),
        "attn_layer_offset": st.integers(0, 1),
        "expert_layer_period": st.integers(1, 3),
        "expert_layer_offset": st.just(0),
        "mamba_dt_rank": st.integers(1, 9),
    },
    "nemotron_h": {
        "vocab_size": st.integers(3, 200),  # transformers ties its head in no case
        **ATTENTION,
        "hidden_size": WIDTH,
        "head_dim": st.integers(1, 9).map(lambda n: 2 * n),
        "intermediate_size": st.integers(1, 90),
        "hybrid_override_pattern": st.text("M*-E", min_size=1, max_size=7),
        "mamba_num_heads": st.just(8),
        "mamba_head_dim": st.integers(1, 20),
        "ssm_state_size": st.integers(1, 20),
        "n_groups": st.sampled_from([1, 2, 4, 8]),
        "n_routed_experts": st.integers(2, 6),
        "moe_intermediate_size": st.integers(1, 40),
        "moe_shared_expert_intermediate_size": st.integers(1, 40),
        "moe_latent_size": st.none() | st.integers(1, 20),
    },
    "qwen3_next": {
        **COMMON,
        **ATTENTION,
        "hidden_size": WIDTH,
        "intermediate_size": st.integers(1, 90),
        "head_dim": st.integers(1, 9).map(lambda n: 8 * n),
        "linear_num_key_heads": st.sampled_from([1, 2, 3]),
        "linear_num_value_heads": st.just(6),
        "linear_key_head_dim": st.integers(1, 20),
        "linear_value_head_dim": st.integers(1, 20),
        "num_experts": st.integers(3, 9),
        "num_experts_per_tok": st.integers(1, 3),
        "moe_intermediate_size": st.integers(1, 20),
        "shared_expert_intermediate_size": st.integers(1, 20),
        "decoder_sparse_step": st.integers(1, 3),
        "full_attention_interval": st.integers(1, 4),
    },
    "zamba2": {
        "vocab_size": st.integers(3, 200),  # transformers shares blocks only where the head is tied, too
        "layers_block_type": st.lists(st.sampled_from(["mamba", "hybrid"]), min_size=1, max_size=7),
        "num_attention_heads": st.just(6),
        "hidden_size": WIDTH,
        "intermediate_size": st.integers(1, 90),
        "n_mamba_heads": st.just(6),
        "mamba_ngroups": st.sampled_from([1, 2]),
        "num_mem_blocks": st.integers(1, 3),
        "adapter_rank": st.integers(1, 20),
        "use_shared_attention_adapter": st.booleans(),
        "add_bias_linear": st.booleans(),
    },
    "xlstm": {
        "vocab_size": st.integers(3, 200),  # transformers ties its head in no case
        "num_hidden_layers": st.integers(1, 3),
        "hidden_size": st.integers(1, 20).map(lambda n: 16 * n),
        "num_heads": st.sampled_from([1, 2, 4]),
        "qk_dim_factor": st.sampled_from([0.25, 0.5, 1.0]),
        "v_dim_factor": st.sampled_from([0.5, 1.0, 1.25]),
        "ffn_proj_factor": st.floats(1, 4),
        "ffn_round_up_to_multiple_of": st.integers(1, 70),
        "use_bias": st.booleans(),
    },
}


@pytest.mark.parametrize("model_type", SHAPES)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_parameters(model_type: str, data: st.DataObject) -> None:
    config = {"model_type": model_type, **data.draw(st.fixed_dictionaries(SHAPES[model_type]))}
    if model_type == "zamba2":
        config["num_hidden_layers"] = len(config["layers_block_type"])
    assert read(config).parameters == parameter_count(config)


# What a state means for time and memory.


@pytest.mark.parametrize("fidelity", ["roofline", "engine", "calibrated"])
@pytest.mark.parametrize("name", ["mamba-2.8b", "mamba2-2.7b", "rwkv-7-2.9b"])
def test_decode_does_not_depend_on_context(name: str, fidelity: str) -> None:
    """Exactly: a state does not grow."""
    short, long = (
        genz.predict(name, "h100-sxm", input=tokens, output=64, batch=4, fidelity=fidelity) for tokens in (128, 65536)
    )
    assert short.tpot == long.tpot
    assert short.memory.state_bytes == long.memory.state_bytes > 0
    assert short.memory.kv_cache_bytes == long.memory.kv_cache_bytes == 0


def test_states_of_mamba_2_by_hand(bf16: Any) -> None:
    """64 layers of 80 heads x 64 x 128 in fp32, and 3 tokens of 5120 + 2 x 128 channels in two bytes."""
    model, workload = catalog.model("mamba2-2.7b"), Workload(1024, 1024)
    assert request_state_bytes(model, bf16, workload) == 64 * (80 * 64 * 128 * 4 + 3 * 5376 * 2)
    assert request_state_bytes(model, bf16, workload, narrow=True) == 64 * (80 * 64 * 128 * 2 + 3 * 5376 * 2)


def test_a_scan_is_linear_in_tokens(bf16: Any) -> None:
    """Twice the prompt, twice the work, chunk by chunk; attention's would be four times as much."""
    model = catalog.model("mamba2-2.7b")
    flops = [
        matrix_flops([o for o in operators(model, Step("prefill", (Group(1, tokens),)), bf16) if o.name == "scan"])
        for tokens in (4096, 8192)
    ]
    assert flops[1] == 2 * flops[0]
    # A chunk of 256 tokens: scores and sums inside of it, and the state read and written.
    assert flops[0] == 64 * 4096 * 80 * (2 * 256 * (128 + 64) + 4 * 128 * 64)


def test_a_state_named_by_the_configuration_stays_as_it_is(bf16: Any) -> None:
    """An engine that narrows states keeps the type that `mamba_ssm_cache_dtype` names."""
    base = TINY["nemotron_h"]
    workload = Workload(8, 8)
    sizes = {
        kind: request_state_bytes(read({**base, "mamba_ssm_cache_dtype": kind}), bf16, workload, narrow=True)
        for kind in ("float32", "bfloat16", "auto")
    }
    recurrence = 3 * 8 * 9 * 10
    assert sizes["float32"] - sizes["bfloat16"] == 2 * recurrence
    assert sizes["auto"] == sizes["bfloat16"]
    with pytest.raises(SpecError) as caught:
        read({**base, "mamba_ssm_cache_dtype": "float33"})
    assert caught.value.field == "mamba_ssm_cache_dtype"


# Tensor parallelism.


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_ranks_share_mamba_2_as_in_vllm(ranks: int) -> None:
    """Heads are divided, the one group of B and C is on every rank: 5120 / r twice, 2 x 128, 80 / r."""
    mixer = catalog.model("mamba2-2.7b").layers[0].token_mixer
    assert isinstance(mixer, StateSpace)
    (projection,) = mixer.inputs
    inner = 5120 // ranks
    assert projection.local(ranks) == (2560, 2 * inner + 2 * 128 + 80 // ranks)
    assert mixer.output.local(ranks) == (inner, 2560)
    assert mixer.local_channels(ranks) == inner + 2 * 128
    recurrence = next(buffer for buffer in mixer.state(ranks) if buffer.name == "recurrence")
    assert recurrence.elements == 80 // ranks * 64 * 128


def test_ranks_add_up_what_mamba_1_makes_of_its_channels(bf16: Any) -> None:
    """Time step, B and C read all channels: a sum of 160 + 2 x 16 features a token besides that of the output."""
    model, step = catalog.model("mamba-2.8b"), Step("decode", (Group(3, 1, 100),))
    sums = {o.name: o.runs[0].first.message_bytes for o in operators(model, step, bf16, ranks=2) if o.category == "collective"}
    assert sums["state_parameters_all_reduce"] == 3 * 2 * (160 + 2 * 16)
    assert sums["state_space_all_reduce"] == 3 * 2 * 2560


def test_ranks_share_the_blocks_of_a_block_diagonal_matrix(bf16: Any) -> None:
    """RecurrentGemma-2B: ten blocks of 256 x 256, five on each of two ranks: 2 x 5 x 256 x 256 a token."""
    model, step = catalog.model("recurrentgemma-2b"), Step("decode", (Group(3, 1, 100),))
    gate = next(o for o in operators(model, step, bf16, ranks=2) if o.name == "input_gate_gemm")
    assert matrix_flops([gate]) == 18 * 3 * 2 * 5 * 256 * 256
    assert gate.runs[0].first.weight_bytes == 2 * 5 * 256 * 256


# Files of the authors of Mamba, and types that transformers lacks, by published totals.


def test_files_of_the_authors_of_mamba() -> None:
    """They have no model_type; a vocabulary of 50,277 is padded to a multiple of 8 or 16."""
    raw = {
        "d_model": 2560,
        "n_layer": 64,
        "vocab_size": 50277,
        "ssm_cfg": {},
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 8,
    }
    model = model_from_config(raw, name="mamba-2.8b")
    assert model.embedding.vocabulary == 50280
    assert model.parameters == catalog.model("mamba-2.8b").parameters
    as_transformers = {"model_type": "mamba2", "hidden_size": 2560, "num_hidden_layers": 64, "vocab_size": 50288}
    as_transformers |= {"num_heads": 80, "head_dim": 64, "n_groups": 1, "tie_word_embeddings": True}
    assert catalog.model("mamba2-2.7b").parameters == parameter_count(as_transformers)


PUBLISHED = {
    "rwkv-5-3b": 3.06e9,  # arXiv:2404.05892, table of model sizes, as are the next four
    "rwkv-5-7b": 7.52e9,
    "rwkv-6-1.6b": 1.60e9,
    "rwkv-6-3b": 3.10e9,
    "rwkv-6-7b": 7.64e9,
    "rwkv-7-0.1b": 191_034_624,  # arXiv:2503.14456, table of model sizes, as are the next two
    "rwkv-7-1.5b": 1_527_404_544,
    "rwkv-7-2.9b": 2_947_735_040,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_totals(name: str) -> None:
    tolerance = 0 if name.startswith("rwkv-7") else 0.002
    assert catalog.model(name).parameters == pytest.approx(PUBLISHED[name], rel=tolerance, abs=0)


@pytest.mark.parametrize(
    ("base", "changes", "field"),
    [
        ("mamba2", {"num_heads": 5}, "num_heads"),
        ("mamba2", {"n_groups": 4}, "n_groups"),
        ("mamba", {"time_step_rank": "some"}, "time_step_rank"),
        ("mamba", {"state_size": 0}, "state_size"),
        ("xlstm", {"num_heads": 5}, "qk_dim_factor"),
        ("xlstm", {"ffn_proj_factor": -1}, "ffn_proj_factor"),
    ],
)
def test_impossible_configurations_name_the_key(base: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        read({**TINY[base], **changes})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ssm_cfg": {"layer": "Mamba3"}}, "layer"),
        ({"ssm_cfg": []}, "ssm_cfg"),
        ({"ssm_cfg": {"layer": "Mamba2", "headdim": 60}}, "headdim"),
        ({"attn_layer_idx": [3]}, "attn_layer_idx"),
        ({"d_intermediate": 64}, "d_intermediate"),
    ],
)
def test_files_of_the_authors_that_cannot_be_read(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        model_from_config({"d_model": 128, "n_layer": 2, "vocab_size": 97, "ssm_cfg": {}, **changes}, name="broken")
    assert caught.value.field == field
