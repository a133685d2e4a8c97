"""Models whose layers differ: searched ones (nemotron-nas), scaled ones (OpenELM), and layer lists of one's own.

transformers has none of them, so the figures stand against published totals, against what llama.cpp prints of their
files, against closed forms, and, where the layers happen to be those of another architecture, against transformers.
"""

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from oracle import cache_bytes, flops_by_kind, parameter_count

import genz
from genz.errors import SpecError
from genz.footprint import footprint, kv_bytes_per_token, request_cache_bytes, weight_bytes
from genz.graph.builder import build, matrix_flops
from genz.graph.step import Group, Step
from genz.specs import catalog
from genz.specs.channel_mixers import Matrices
from genz.specs.huggingface import model_from_config
from genz.specs.parallelism import Parallelism
from genz.specs.workload import Workload

NAS: dict[str, Any] = {
    "model_type": "nemotron-nas",
    "vocab_size": 101,
    "hidden_size": 48,
    "num_attention_heads": 6,
    "num_hidden_layers": 4,
    "max_position_embeddings": 128,
    "block_configs": [
        {"attention": {"n_heads_in_group": 3, "no_op": False}, "ffn": {"ffn_mult": 5.25}},
        {"attention": {"no_op": True}, "ffn": {"intermediate_size": 70}},
        {"attention": {"replace_with_linear": True}, "ffn": {"no_op": True}},
        {"attention": {"no_op": True}, "ffn": {"no_op": True}},
    ],
}


def flops(model: Any, step: tuple[Any, ...], widths: Any, *, ranks: int = 1) -> float:
    phase, sequences, new_tokens, context = step
    return matrix_flops(operators(model, Step(phase, (Group(sequences, new_tokens, context),)), widths, ranks=ranks))


def operators(model: Any, step: Step, widths: Any, *, ranks: int = 1) -> tuple[Any, ...]:
    engine = catalog.engine("pytorch")
    return build(model, step, parallelism=Parallelism(tensor=ranks), widths=widths, engine=engine)


# Nemotron: what is published of it.


def test_nemotron_49b_has_the_published_parameters() -> None:
    """The hub counts 49,867,145,216 weights; 49 of 80 layers attend."""
    model = catalog.model("nvidia/Llama-3_3-Nemotron-Super-49B-v1")
    assert model.parameters == 49_867_145_216
    assert len(model.layers) == 80
    assert sum(layer.token_mixer is not None for layer in model.layers) == 49


def test_nemotron_253b_has_what_llama_cpp_prints() -> None:
    """253.401 B parameters in 162 blocks; keys of 12,288 tokens in 64 layers of 1,024 at 34 bytes a 32 are 816.00 MiB."""
    model = catalog.model("nemotron-253b")
    assert round(model.parameters / 1e9, 3) == 253.401
    assert len(model.layers) == 162
    keys = sum(layer.token_mixer.cached_width() // 2 for layer in model.layers if layer.token_mixer)
    assert keys * 12_288 * 34 / 32 / 2**20 == 816.0


@pytest.mark.parametrize(
    ("layer", "attention", "network"),
    [
        (0, 570_441_728, 264_257_536),
        (1, 570_441_728, 528_498_688),
        (2, 570_441_728, 792_739_840),
        (8, 570_441_728, 1_056_980_992),
    ],
)
def test_layers_of_nemotron_253b(layer: int, attention: int, network: int) -> None:
    """Parameters of each half with its norm, as llama.cpp's pull request 12843 lists them; layers are counted from 1 there."""
    assert catalog.model("nemotron-253b").layers[layer].parameters == attention + network


def test_nemotron_51b_has_51_5b() -> None:
    """The published total; its block list is an estimate, which the file says."""
    model = catalog.model("nvidia/Llama-3_1-Nemotron-51B-Instruct")
    assert round(model.parameters / 1e9, 1) == 51.5
    assert model.published is not None and model.published.estimate
    assert "estimate" in model.sources["config"]


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("openelm-270m", 271_527_168),
        ("openelm-450m", 457_179_136),
        ("openelm-1.1b", 1_079_891_456),
        ("openelm-3b", 3_036_647_424),
    ],
)
def test_openelm_has_the_published_parameters(name: str, total: int) -> None:
    assert catalog.model(name).parameters == total


def test_openelm_3b_heads_grow_with_depth() -> None:
    """The lists that its published config.json has (recalled): 12 to 24 query heads, 3 to 6 key heads."""
    layers = catalog.model("openelm-3b").layers
    assert [layers[i].token_mixer.heads for i in (0, -1)] == [12, 24]  # type: ignore[union-attr]
    assert [layers[i].token_mixer.kv_heads for i in (0, -1)] == [3, 6]  # type: ignore[union-attr]
    assert [layers[i].channel_mixer.intermediate for i in (0, -1)] == [1536, 12288]  # type: ignore[union-attr]


# Closed forms, by hand from the modeling code.


def test_blocks_by_hand() -> None:
    """6 heads of 8, 2 key heads; 5.25 x 48 x 2 / 3 = 168 becomes 256; a norm of 48 goes with each mixer that is there."""
    model = model_from_config(NAS, name="nas")
    first = 2 * 48 * 48 + 2 * 48 * 16 + 3 * 48 * 256 + 2 * 48
    second = 3 * 48 * 70 + 48
    third = 48 * 48 + 48
    assert [layer.parameters for layer in model.layers] == [first, second, third, 0]
    assert model.parameters == first + second + third + 2 * 101 * 48 + 48


@pytest.mark.parametrize("step", [("prefill", 2, 11, 0), ("prefill", 2, 5, 20), ("decode", 3, 1, 13)], ids=str)
def test_flops_of_blocks_by_hand(step: tuple[Any, ...], bf16: Any) -> None:
    """2 FLOPs a matrix element and token, 4 x heads x width for each pair of the one layer that attends, the head once."""
    _, sequences, new_tokens, context = step
    matrices = 2 * 48 * 48 + 2 * 48 * 16 + 3 * 48 * 256 + 3 * 48 * 70 + 48 * 48
    pairs = sum(context + i + 1 for i in range(new_tokens))
    expected = 2 * sequences * new_tokens * matrices + 4 * 6 * 8 * sequences * pairs + 2 * sequences * 48 * 101
    assert flops(model_from_config(NAS, name="nas"), step, bf16) == expected


def test_only_layers_that_attend_keep_a_cache(bf16: Any) -> None:
    """Keys and values of 2 heads of 8 in one layer of four, in 2 bytes."""
    model = model_from_config(NAS, name="nas")
    assert kv_bytes_per_token(model, bf16) == 2 * 2 * 8 * 2
    assert request_cache_bytes(model, bf16, Workload(10, 5)) == 15 * 2 * 2 * 8 * 2


def test_an_empty_layer_costs_nothing(bf16: Any) -> None:
    empty = {**NAS, "num_hidden_layers": 1, "block_configs": NAS["block_configs"][3:]}
    step = Step("decode", (Group(3, 1, 13),))
    built = operators(model_from_config(empty, name="empty"), step, bf16)
    assert {operator.layer for operator in built if operator.count} <= {"embedding", "head"}


def test_replacements_are_split_over_ranks(bf16: Any) -> None:
    """The matrix in the place of attention is split by its inputs, and one sum follows."""
    one = {**NAS, "num_hidden_layers": 1, "block_configs": NAS["block_configs"][2:3]}
    model = model_from_config(one, name="linear")
    built = operators(model, Step("decode", (Group(4, 1, 13),)), bf16, ranks=2)
    assert [o.name for o in built if o.layer == "matrices"] == [
        "norm",
        "attention_linear_gemm",
        "matrices_all_reduce",
        "residual",
    ]
    (product,) = [o for o in built if o.name == "attention_linear_gemm"]
    assert matrix_flops([product]) == 2 * 4 * 24 * 48
    assert weight_bytes(model, bf16, Parallelism()) == 2 * model.parameters


def test_a_searched_model_is_predicted_and_fits(bf16: Any) -> None:
    """Nemotron 49B in 16 bits holds 99.7 GB of weights, which two devices of 80 GB share."""
    model = catalog.model("nemotron-49b")
    held = footprint(
        model,
        Workload(1024, 128),
        requests=8,
        parallelism=Parallelism(tensor=2),
        widths=bf16,
        engine=catalog.engine("vllm"),
        capacity_bytes=80e9,
    )
    assert held.weights_bytes == pytest.approx(49_867_145_216, rel=1e-3)
    assert held.fits


# Searched models whose blocks are all alike are LLaMA, and transformers knows that one.

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 107,
    "hidden_size": 48,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


@pytest.mark.parametrize("bias", [False, True])
def test_blocks_that_are_alike_are_llama(bias: bool, bf16: Any) -> None:
    biases = {"attention_bias": bias, "mlp_bias": bias}
    block = {"attention": {"num_key_value_heads": 2}, "ffn": {"ffn_mult": 5.25}}
    config = {**NAS, **biases, "vocab_size": 107, "num_hidden_layers": 3, "block_configs": [block] * 3}
    model, same = model_from_config(config, name="nas"), {**LLAMA, **biases}
    assert model.parameters == parameter_count(same)
    assert request_cache_bytes(model, bf16, Workload(9, 1)) == cache_bytes(same, 1, 10)
    counted = flops_by_kind(same, 3, 1, 13)  # one new token sees every key, so its rectangle is what it sees
    assert flops(model, ("decode", 3, 1, 13), bf16) == sum(counted.values())


def test_decilm_lists_key_heads_alone() -> None:
    config = {**LLAMA, "model_type": "deci", "num_key_value_heads_per_layer": [2, 1, 6]}
    totals = [parameter_count({**LLAMA, "num_hidden_layers": 1, "num_key_value_heads": n}) for n in (2, 1, 6)]
    outside = 2 * 107 * 48 + 48
    assert model_from_config(config, name="deci").parameters == sum(totals) - 2 * outside


def changed(**changes: Any) -> dict[str, Any]:
    """The blocks with the first one's halves changed."""
    first = NAS["block_configs"][0]
    block = {half: {**first[half], **changes.get(half, {})} for half in ("attention", "ffn")}
    return {**NAS, "block_configs": [block, *NAS["block_configs"][1:]]}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({**NAS, "num_hidden_layers": 5}, "block_configs"),
        ({**NAS, "block_configs": None}, "block_configs"),
        ({**NAS, "block_configs": [None] * 4}, "block_configs[0].attention"),
        ({**NAS, "block_configs": [{"attention": {"no_op": True}}] * 4}, "block_configs[0].ffn"),
        (changed(attention={"n_heads_in_group": 4}), "block_configs[0].attention.n_heads_in_group"),
        (changed(attention={"n_heads_in_group": None}), "n_heads_in_group"),
        (changed(attention={"num_key_value_heads": 4}), "block_configs[0].attention"),
        (changed(attention={"num_sink_tokens": 4}), "block_configs[0].attention.num_sink_tokens"),
        (changed(attention={"sparsify": ["q_proj"]}), "block_configs[0].attention.sparsify"),
        (changed(attention={"mamba": {"state_dim": 128}}), "block_configs[0].attention.mamba"),
        (changed(attention={"no_op": "yes"}), "block_configs[0].attention.no_op"),
        (changed(ffn={"no_op": True, "replace_with_linear": True}), "block_configs[0].ffn.no_op"),
        (changed(ffn={"ffn_mult": None}), "block_configs[0].ffn.ffn_mult"),
        (changed(ffn={"ffn_mult": -1.0}), "block_configs[0].ffn.ffn_mult"),
        (changed(ffn={"moe": {"num_local_experts": 8}}), "block_configs[0].ffn.moe"),
        ({**LLAMA, "model_type": "deci", "num_key_value_heads_per_layer": [2, 2]}, "num_key_value_heads_per_layer"),
        ({**LLAMA, "model_type": "deci", "num_key_value_heads_per_layer": [2, 4, 2]}, "num_key_value_heads_per_layer[1]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_blocks_name_the_key(config: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        model_from_config(config, name="broken")
    assert caught.value.field == field


OPENELM: dict[str, Any] = {
    "model_type": "openelm",
    "vocab_size": 101,
    "model_dim": 1280,
    "num_transformer_layers": 16,
    "head_dim": 64,
    "num_gqa_groups": 4,
    "max_context_length": 2048,
    "qkv_multipliers": [0.5, 1.0],
    "ffn_multipliers": [0.5, 4.0],
}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ffn_multipliers": [0.5, 1.0, 4.0]}, "ffn_multipliers"),
        ({"ffn_multipliers": [0.5, "4"]}, "ffn_multipliers"),
        ({"qkv_multipliers": 0}, "qkv_multipliers"),
        ({"num_query_heads": [12] * 15}, "num_query_heads"),
        ({"num_query_heads": [12] * 16}, "num_query_heads[5]"),
        ({"model_dim": None}, "hidden_size"),
    ],
    ids=str,
)
def test_impossible_openelm_names_the_key(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        model_from_config({**OPENELM, **changes}, name="broken")
    assert caught.value.field == field


# The lists of the published config.json of apple/OpenELM-1_1B-Instruct, where its configuration class would take two ends.
OPENELM_1B_LISTS = {
    "ffn_multipliers": [
        *(0.5, 0.63, 0.76, 0.89, 1.02, 1.15, 1.28, 1.41, 1.54, 1.67, 1.8, 1.93, 2.06, 2.19),
        *(2.31, 2.44, 2.57, 2.7, 2.83, 2.96, 3.09, 3.22, 3.35, 3.48, 3.61, 3.74, 3.87, 4.0),
    ],
    "num_query_heads": [16] * 3 + [20] * 7 + [24] * 8 + [28] * 6 + [32] * 4,
    "num_kv_heads": [4] * 3 + [5] * 7 + [6] * 8 + [7] * 6 + [8] * 4,
}


def test_openelm_lists_are_what_follows_from_the_ends() -> None:
    config = {**OPENELM, "model_dim": 2048, "num_transformer_layers": 28}
    ends, listed = (model_from_config({**config, **lists}, name="openelm") for lists in ({}, OPENELM_1B_LISTS))
    assert ends.layers == listed.layers
    assert [layer.token_mixer.heads for layer in ends.layers] == OPENELM_1B_LISTS["num_query_heads"]  # type: ignore[union-attr]


# Layer lists of one's own. What they describe, transformers knows under other names.

OWN: dict[str, Any] = {
    "model_type": "layer_list",
    "vocab_size": 107,
    "hidden_size": 48,
    "max_position_embeddings": 128,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 83,
}
SAME = {key: value for key, value in OWN.items() if key != "model_type"}
TIES: dict[str, Any] = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
TWINS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "llama": (
        {"layers": [{"count": 3}]},
        {"model_type": "llama", **SAME, "num_hidden_layers": 3},
    ),
    "llama with biases": (
        {"num_hidden_layers": 4, "layer_period": [{}], "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
        {
            "model_type": "llama",
            **SAME,
            "num_hidden_layers": 4,
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
        },
    ),
    "gemma 3": (
        {
            "head_dim": 10,
            "norms": 4,
            "use_qk_norm": True,
            "num_hidden_layers": 8,
            "layer_period": [{"count": 3, "sliding_window": 8}, {}],
            "tie_word_embeddings": True,
        },
        {
            "model_type": "gemma3_text",
            **SAME,
            "head_dim": 10,
            "num_hidden_layers": 8,
            "sliding_window": 8,
            "sliding_window_pattern": 4,
        },
    ),
    "command r7b": (
        {
            "norm": "rms_norm",
            "parallel": True,
            "num_hidden_layers": 4,
            "layer_period": [{"count": 3, "sliding_window": 8}, {"use_rope": False}],
            "tie_word_embeddings": True,
        },
        {"model_type": "cohere2", **SAME, **TIES, "num_hidden_layers": 4, "sliding_window": 8},
    ),
    "starcoder 2": (
        {
            "norm": "layer_norm",
            "gated": False,
            "attention_bias": True,
            "mlp_bias": True,
            "layers": [{"count": 2}],
            "tie_word_embeddings": True,
        },
        {"model_type": "starcoder2", **SAME, **TIES, "num_hidden_layers": 2},
    ),
    "olmo": (
        {"norm": "unweighted", "layers": [{"count": 2}]},
        {"model_type": "olmo", **SAME, **TIES, "num_hidden_layers": 2},
    ),
    "mixtral": (
        {
            "num_experts": 5,
            "num_experts_per_tok": 2,
            "layers": [{"count": 3, "channel_mixer": "mixture_of_experts"}],
        },
        {
            "model_type": "mixtral",
            **SAME,
            "num_hidden_layers": 3,
            "num_local_experts": 5,
            "num_experts_per_tok": 2,
            "sliding_window": None,
        },
    ),
    "qwen 3 moe with dense layers": (
        {
            "head_dim": 12,
            "use_qk_norm": True,
            "num_experts": 5,
            "num_experts_per_tok": 2,
            "layers": [{}],
            "layer_period": [{"channel_mixer": "mixture_of_experts", "moe_intermediate_size": 23}, {}],
            "num_hidden_layers": 5,
        },
        {
            "model_type": "qwen3_moe",
            **SAME,
            "head_dim": 12,
            "num_experts": 5,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 23,
            "num_hidden_layers": 5,
            "decoder_sparse_step": 2,
        },
    ),
    "mamba": (
        {"layers": [{"count": 2, "token_mixer": "mamba", "channel_mixer": "none"}], "tie_word_embeddings": True},
        {"model_type": "mamba", "vocab_size": 107, "hidden_size": 48, "num_hidden_layers": 2, **TIES},
    ),
    "mamba 2": (
        {
            "layers": [{"count": 2, "token_mixer": "mamba2", "channel_mixer": "none", "mamba_head_dim": 16, "n_groups": 2}],
        },
        {
            "model_type": "mamba2",
            "vocab_size": 107,
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_heads": 6,
            "head_dim": 16,
            "n_groups": 2,
            **TIES,
        },
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_own_layers_have_the_parameters_of_their_twin(name: str) -> None:
    own, twin = TWINS[name]
    assert model_from_config({**OWN, **own}, name="own").parameters == parameter_count(twin)


@pytest.mark.parametrize("name", [name for name in TWINS if not name.startswith("mamba")])
def test_own_layers_have_the_flops_of_their_twin(name: str, bf16: Any) -> None:
    """A decode step before any window is full: one new token sees every key, so the rectangle is what it sees."""
    own, twin = TWINS[name]
    assert flops(model_from_config({**OWN, **own}, name="own"), ("decode", 3, 1, 5), bf16) == sum(
        flops_by_kind(twin, 3, 1, 5).values()
    )


@pytest.mark.parametrize("name", [name for name in TWINS if not name.startswith("mamba")])
def test_own_layers_have_the_cache_of_their_twin(name: str, bf16: Any) -> None:
    own, twin = TWINS[name]
    assert request_cache_bytes(model_from_config({**OWN, **own}, name="own"), bf16, Workload(5, 1)) == cache_bytes(twin, 1, 6)


def test_llama_3_8b_written_out() -> None:
    """The published 8,030,261,248 parameters, from the keys at the top and one group."""
    own = {
        "model_type": "layer_list",
        "vocab_size": 128256,
        "hidden_size": 4096,
        "max_position_embeddings": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "layers": [{"count": 32}],
    }
    assert model_from_config(own, name="own").parameters == 8_030_261_248


def test_every_kind_of_mixer_can_be_asked_for(bf16: Any) -> None:
    """A model that does not exist: each layer another mixer, two of them side by side, one block shared by two layers."""
    config = {
        **OWN,
        "kv_lora_rank": 26,
        "qk_nope_head_dim": 14,
        "qk_rope_head_dim": 6,
        "v_head_dim": 11,
        "linear_num_value_heads": 4,
        "linear_value_head_dim": 16,
        "linear_key_head_dim": 16,
        "layers": [
            {"count": 2, "shared": "block"},
            {"token_mixer": "latent_attention"},
            {"token_mixer": ["attention", "mamba2"], "mamba_head_dim": 16},
            {"token_mixer": "gated_delta_net", "linear_num_key_heads": 2},
            {"token_mixer": "kimi_delta_attention"},
            {"token_mixer": "lightning_attention"},
            {"token_mixer": "short_convolution", "conv_kernel": 3},
            {"token_mixer": "mamba", "channel_mixer": "linear"},
            {"token_mixer": "linear"},
            {"token_mixer": "none"},
            {"attention_chunk_size": 8, "attention_sinks": True, "channel_mixer": "none"},
        ],
    }
    model = model_from_config(config, name="chimera")
    assert len(model.layers) == 12
    assert model.parameters == sum(layer.parameters for layer in model.layers[1:]) + model.embedding.parameters
    assert isinstance(model.layers[9].further[0], Matrices)
    for phase, new_tokens in (("prefill", 16), ("decode", 1)):
        assert flops(model, (phase, 2, new_tokens, 16), bf16) > 0


def test_the_examples_of_the_documentation_are_predicted() -> None:
    """Both blocks of docs/models.md; the second goes with the keys at the top of the first."""
    text = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    first, second = (yaml.safe_load(dedent(block)) for block in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE))
    top = {key: value for key, value in first.items() if key != "layers"}
    written, repeated = (model_from_config(config, name="example") for config in (first, {**top, **second}))
    assert [len(model.layers) for model in (written, repeated)] == [32, 33]
    for model in (written, repeated):
        assert genz.predict(model, "8x h100-sxm", input=1024, output=64, tp=8).tpot > 0


@pytest.mark.parametrize(
    ("changes", "field", "word"),
    [
        ({}, "layers", "missing"),
        ({"layers": [{"count": 3}], "num_hidden_layers": 4}, "num_hidden_layers", "add up"),
        ({"layer_period": [{"count": 3}], "num_hidden_layers": 4}, "num_hidden_layers", "whole number of periods"),
        ({"layers": [{}], "layer_period": [{"count": 3}], "num_hidden_layers": 6}, "num_hidden_layers", "behind the 1"),
        ({"layers": [{}] * 3, "layer_period": [{}], "num_hidden_layers": 3}, "num_hidden_layers", "whole number of periods"),
        ({"layer_period": [{}]}, "num_hidden_layers", "missing"),
        ({"layers": [{"token_mixer": "atention"}]}, "token_mixer", "'attention'"),
        ({"layers": [{"token_mixer": 7}]}, "token_mixer", "attention"),
        ({"layers": [{"token_mixer": ["attention", "none"]}]}, "token_mixer", "side by side"),
        ({"layers": [{"channel_mixer": "moe"}]}, "channel_mixer", "mixture_of_experts"),
        ({"layers": [{"norm": "rmsnorm"}]}, "norm", "'rms_norm'"),
        ({"layers": [{"slidng_window": 8}]}, "slidng_window", "'sliding_window'"),
        ({"layers": [{"token_mixer": "mamba", "sliding_window": 8}]}, "sliding_window", "nothing takes"),
        ({"layers": [{}], "num_kv_heads": 2}, "num_kv_heads", "nothing takes"),
        ({"layers": ["attention"]}, "layers[0]", "mapping"),
        ({"layers": "attention"}, "layers", "list"),
        ({"layers": [{"count": 0}]}, "count", "whole number"),
        ({"layers": [{"count": 9000}, {"count": 9000}]}, "layers", "at most 10,000"),
        ({"layers": [{"sliding_window": 8, "attention_chunk_size": 8}]}, "attention_chunk_size", "sliding_window"),
        ({"layers": [{"num_key_value_heads": 4}]}, "num_key_value_heads", "divisor"),
        ({"layers": [{"token_mixer": "mamba2", "mamba_head_dim": 36}]}, "mamba_head_dim", "divisor"),
        (
            {"layers": [{"channel_mixer": "mixture_of_experts", "num_experts": 2, "num_experts_per_tok": 3}]},
            "num_experts_per_tok",
            "at most",
        ),
    ],
    ids=str,
)
def test_impossible_lists_name_the_key(changes: dict[str, Any], field: str, word: str) -> None:
    with pytest.raises(SpecError) as caught:
        model_from_config({**OWN, **changes}, name="broken")
    assert caught.value.field == field
    assert word in str(caught.value)


def test_errors_say_which_group_it_was() -> None:
    with pytest.raises(SpecError, match=r"layers\[1\]"):
        model_from_config({**OWN, "layers": [{}, {"num_attention_heads": -1}]}, name="broken")
