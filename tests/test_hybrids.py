"""Hybrids of attention and layers with a state: the catalogue at full size, caches and states together, and bad input."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from oracle_states import TINY, parameter_count

import genz
from genz.errors import SpecError
from genz.footprint import kv_bytes_per_token, request_cache_bytes, request_state_bytes
from genz.graph.builder import build, matrix_flops
from genz.graph.step import Group, Operator, Step
from genz.specs import catalog
from genz.specs.huggingface import model_from_config
from genz.specs.model import ModelSpec
from genz.specs.parallelism import Parallelism
from genz.specs.token_mixers import Attention, LatentAttention, StateSpace
from genz.specs.workload import Workload

FAMILY = {config["model_type"] for config in TINY.values()}
# Of the catalogue, the types of this family that transformers builds, and those that it lacks or spells otherwise.
ELSEWHERE = {"mamba_ssm", "minimax_text_01", "minimax_m1", "rwkv5", "rwkv6", "rwkv7"}
HALF_PERCENT = 0.005


def text_of(name: str) -> str:
    return Path(catalog.files("model")[name]).read_text(encoding="utf-8")


def config_of(name: str) -> dict[str, Any]:
    return yaml.safe_load(text_of(name))["config"]  # type: ignore[no-any-return]


TYPES = {name: re.findall(r"^  model_type: (\w+)$", text_of(name), re.MULTILINE) for name in catalog.names("model")}
MODELS = [name for name, types in TYPES.items() if set(types) & (FAMILY | ELSEWHERE)]


def read(config: dict[str, Any]) -> ModelSpec:
    return model_from_config({"max_position_embeddings": 256, **config}, name="tiny")


def test_the_catalogue_holds_the_family() -> None:
    assert len(MODELS) >= 50
    assert {kind for name in MODELS for kind in TYPES[name]} >= (FAMILY | ELSEWHERE) - {"minimax"}


@pytest.mark.parametrize("name", [name for name in MODELS if set(TYPES[name]) & FAMILY])
def test_catalog_parameters(name: str) -> None:
    """To the integer, on the meta device at full size."""
    assert catalog.model(name).parameters == parameter_count(config_of(name))


def test_minimax_is_what_transformers_builds_of_its_newer_spelling() -> None:
    config = config_of("minimax-text-01")
    kinds = {0: "linear_attention", 1: "full_attention"}
    spelled = {**config, "model_type": "minimax", "layer_types": [kinds[code] for code in config["attn_type_list"]]}
    assert catalog.model("minimax-text-01").parameters == parameter_count(spelled)


@pytest.mark.parametrize("name", MODELS)
def test_catalog_agrees_with_its_published_total(name: str) -> None:
    model = catalog.model(name)
    assert model.published is not None
    if model.published.estimate:
        pytest.skip("its makers round its size to two digits")
    assert model.parameters == pytest.approx(model.published.total, rel=HALF_PERCENT)


# name: (published, whether the maker counts the tables, tolerance: half a unit of the last digit)
ACTIVE = {
    "jamba-1.5-large": (94e9, True, 0.5e9),  # arXiv:2408.12570, abstract
    "minimax-text-01": (45.9e9, False, 0.06e9),  # arXiv:2501.08313, abstract; 45.95 was cut, not rounded
    "nemotron-3-nano-30b-a3b": (3.6e9, True, 0.05e9),  # its technical report, embeddings included
    "granite-4.0-h-small": (9e9, True, 0.5e9),  # model card
    "qwen3-next-80b-a3b": (3e9, False, 0.5e9),  # model card
    "lfm2-8b-a1b": (1.5e9, True, 0.06e9),  # model card; 1.557 was cut
}


@pytest.mark.parametrize("name", ACTIVE)
def test_published_active_parameters(name: str) -> None:
    published, counts_tables, tolerance = ACTIVE[name]
    model = catalog.model(name)
    tables = 0 if counts_tables else model.embedding.parameters
    assert model.active_parameters - tables == pytest.approx(published, abs=tolerance)


# Caches and states.


@pytest.mark.parametrize(
    ("name", "layers", "width"),
    [
        ("jamba-v0.1", 4, 2 * 8 * 128),  # one attention layer in eight, 8 KV heads of 128
        ("jamba-1.5-large", 9, 2 * 8 * 128),
        ("bamba-9b", 3, 2 * 8 * 128),
        ("nemotron-h-8b", 4, 2 * 8 * 128),
        ("nemotron-3-nano-30b-a3b", 6, 2 * 2 * 128),
        ("granite-4.0-h-small", 4, 2 * 8 * 128),
        ("falcon-h1-7b", 44, 2 * 2 * 128),  # attention in every layer, beside Mamba
        ("qwen3-next-80b-a3b", 12, 2 * 2 * 256),
        ("kimi-linear-48b-a3b", 7, 512 + 64),
        ("minimax-text-01", 10, 2 * 8 * 128),
        ("lfm2-1.2b", 6, 2 * 8 * 64),
        ("zamba2-7b", 13, 2 * 32 * 224),  # a cache for each use of the two shared blocks
    ],
)
def test_the_cache_is_what_attention_layers_hold(name: str, layers: int, width: int, bf16: Any) -> None:
    model = catalog.model(name)
    assert kv_bytes_per_token(model, bf16) == layers * width * 2
    assert request_cache_bytes(model, bf16, Workload(900, 100)) == 1000 * layers * width * 2


def test_jamba_caches_an_eighth_of_what_an_attention_model_would(bf16: Any) -> None:
    """arXiv:2403.19887, table 1: 4 GB at 256K tokens, where Mixtral, of as many layers and heads, takes 32 GB."""
    jamba, mixtral = (kv_bytes_per_token(catalog.model(name), bf16) for name in ("jamba-v0.1", "mixtral-8x7b"))
    assert mixtral == 8 * jamba
    assert jamba * 2**18 == 4 * 2**30


def test_memory_is_cache_and_states() -> None:
    """Twice the context: twice the cache, the same states."""
    short, long = (
        genz.predict("nemotron-h-8b", "h100-sxm", input=tokens - 64, output=64, batch=8).memory for tokens in (4096, 8192)
    )
    assert long.kv_cache_bytes == 2 * short.kv_cache_bytes
    # vLLM keeps states in the model's type: 24 layers of 128 heads x 64 x 128, and 3 tokens of 8192 + 2 x 8 x 128 channels.
    states = 8 * 24 * 2 * (128 * 64 * 128 + 3 * (8192 + 2048))
    engine = genz.predict("nemotron-h-8b", "h100-sxm", input=4032, output=64, batch=8, engine="vllm").memory
    assert engine.state_bytes == states
    assert short.state_bytes == long.state_bytes
    assert short.persistent_bytes == short.weights_bytes + short.kv_cache_bytes + short.state_bytes


def test_states_of_qwen3_next_by_hand(bf16: Any) -> None:
    """36 layers of 32 heads x 128 x 128 in fp32, and 3 tokens of 2 x 16 x 128 + 32 x 128 channels."""
    model = catalog.model("qwen3-next-80b-a3b")
    assert request_state_bytes(model, bf16, Workload(8, 8)) == 36 * (32 * 128 * 128 * 4 + 3 * 8192 * 2)


def test_the_state_of_kimi_linear_is_never_narrowed(bf16: Any) -> None:
    """20 layers of 32 heads x 128 x 128 in fp32, as its kernels ask for, and 3 tokens of 3 x 4096 channels."""
    model = catalog.model("kimi-linear-48b-a3b")
    assert request_state_bytes(model, bf16, Workload(8, 8), narrow=True) == 20 * (32 * 128 * 128 * 4 + 3 * 12288 * 2)


def operators(name: str, step: Step, widths: Any, *, ranks: int = 1) -> tuple[Operator, ...]:
    return build(catalog.model(name), step, parallelism=Parallelism(ranks), widths=widths, engine=catalog.engine("vllm"))


def test_shared_blocks_are_worked_through_each_time(bf16: Any) -> None:
    """Zamba2-7B: 13 uses of two blocks, which read 2 x 3584 features; each has adapters and a matrix of its own."""
    built = {o.name: [] for o in operators("zamba2-7b", Step("decode", (Group(1, 1, 64),)), bf16)}  # type: ignore[var-annotated]
    for operator in operators("zamba2-7b", Step("decode", (Group(1, 1, 64),)), bf16):
        built[operator.name].append(operator)
    wide = 2 * 3584
    assert matrix_flops(built["qkv_gemm"]) == 13 * 2 * 3 * wide * wide
    assert matrix_flops(built["linear_gemm"]) == 13 * 2 * 3584 * 3584
    assert matrix_flops(built["gate_up_adapter_up_gemm"]) == 13 * 2 * 128 * 2 * 14336
    assert sum(operator.count for operator in built["recurrence"]) == 81


def test_falcon_h1_has_both_mixers_in_each_layer(bf16: Any) -> None:
    built = operators("falcon-h1-7b", Step("decode", (Group(1, 1, 64),)), bf16)
    counts = {operator.name: operator.count for operator in built if operator.name in ("attention", "recurrence", "residual")}
    assert counts == {"attention": 44, "recurrence": 44}
    assert [type(mixer) for mixer in catalog.model("falcon-h1-7b").layers[0].token_mixers] == [StateSpace, Attention]


def test_gated_attention_makes_its_gate_with_the_queries(bf16: Any) -> None:
    """Qwen3-Next: 16 heads of 256, twice, and 2 KV heads, twice; on two ranks half of each."""
    step = Step("decode", (Group(1, 1, 64),))
    for ranks in (1, 2):
        built = {o.name: o for o in operators("qwen3-next-80b-a3b", step, bf16, ranks=ranks)}
        assert matrix_flops([built["qkv_gemm"]]) == 12 * 2 * 2048 * (2 * 16 * 256 + 2 * 2 * 256) / ranks
        assert matrix_flops([built["query_key_value_gate_gemm"]]) == 36 * 2 * 2048 * 12288 / ranks
        assert "output_gate" in built


def test_kimi_linear_attends_without_positions(bf16: Any) -> None:
    mixers = [mixer for layer in catalog.model("kimi-linear-48b-a3b").layers for mixer in layer.token_mixers]
    assert [i + 1 for i, mixer in enumerate(mixers) if isinstance(mixer, LatentAttention)] == [4, 8, 12, 16, 20, 24, 27]
    assert "rope" not in {o.name for o in operators("kimi-linear-48b-a3b", Step("decode", (Group(1, 1, 64),)), bf16)}


@pytest.mark.parametrize("name", ["jamba-v0.1", "nemotron-h-8b", "qwen3-next-80b-a3b", "lfm2-8b-a1b"])
def test_decode_grows_with_the_context_by_the_cache_alone(name: str, bf16: Any) -> None:
    """Bytes of a decode step: those of attention layers grow, all others stay."""

    def moved(context: int) -> dict[str, float]:
        built = operators(name, Step("decode", (Group(4, 1, context),)), bf16)
        return {
            kind: sum(o.count * o.runs[0].first.memory_bytes for o in built if (o.category == "attention") == is_attention)
            for kind, is_attention in (("attention", True), ("others", False))
        }

    short, long = moved(1000), moved(9000)
    assert long["others"] == short["others"]
    assert long["attention"] - short["attention"] == 4 * 8000 * kv_bytes_per_token(catalog.model(name), bf16)


# Old and new spellings of one configuration.


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (
            "nemotron_h",
            {"hybrid_override_pattern": None, "layers_block_type": ["mamba", "mlp", "mamba", "attention", "mamba", "mlp"]},
        ),
        ("granitemoehybrid", {"layer_types": ["linear_attention", "full_attention", "linear_attention", "linear_attention"]}),
        ("granitemoehybrid", {"layer_types": None, "layers_block_type": ["mamba", "attention", "mamba", "mamba"]}),
        ("bamba", {"attn_layer_indices": None, "layers_block_type": ["mamba", "mamba", "attention", "mamba"]}),
        ("minimax", {"layer_types": None, "attn_type_list": [0, 0, 1, 0]}),
        (
            "qwen3_next",
            {"full_attention_interval": None, "layer_types": ["linear_attention"] * 2 + ["full_attention", "linear_attention"]},
        ),
        ("lfm2", {"full_attn_idxs": None, "layer_types": ["conv", "full_attention", "conv", "conv"]}),
        ("lfm2", {"intermediate_size": None, "block_ff_dim": 91, "tie_embedding": True}),
        (
            "kimi_linear",
            {
                "linear_attn_config": None,
                "layer_types": ["linear_attention"] * 2 + ["full_attention", "linear_attention", "full_attention"],
                "linear_head_dim": 14,
                "linear_num_heads": 3,
                "linear_conv_kernel_dim": 3,
                "mlp_layer_types": ["dense", *["sparse"] * 4],
            },
        ),
        ("recurrent_gemma", {"_block_types": ["recurrent", "recurrent", "attention"]}),
        ("jamba", {"num_experts": None, "num_local_experts": 5}),
    ],
)
def test_spellings(base: str, changes: dict[str, Any]) -> None:
    assert read({**TINY[base], **changes}).layers == read(TINY[base]).layers


BROKEN = [
    ("nemotron_h", {"hybrid_override_pattern": "M-M*M"}, "hybrid_override_pattern"),
    ("nemotron_h", {"hybrid_override_pattern": "M-MXM-"}, "hybrid_override_pattern"),
    ("nemotron_h", {"hybrid_override_pattern": None}, "hybrid_override_pattern"),
    ("nemotron_h", {"layers_block_type": ["mamba"]}, "layers_block_type"),
    ("nemotron_h", {"n_groups": 3}, "n_groups"),
    ("nemotron_h", {"mlp_hidden_act": "silu"}, "mlp_hidden_act"),
    ("nemotron_h-experts", {"num_experts_per_tok": 9}, "num_experts_per_tok"),
    ("granitemoehybrid", {"layer_types": ["mamba"] * 3}, "layer_types"),
    ("granitemoehybrid", {"layer_types": ["mamba"] * 3 + ["hyena"]}, "layer_types"),
    ("granitemoehybrid", {"mamba_n_heads": 7}, "mamba_n_heads"),
    ("granitemoehybrid", {"mamba_d_head": 13}, "mamba_d_head"),
    ("falcon_h1", {"mamba_n_groups": 4}, "mamba_n_groups"),
    ("falcon_h1", {"mamba_d_head": 13}, "mamba_d_head"),
    ("bamba", {"attn_layer_indices": [4]}, "attn_layer_indices"),
    ("jamba", {"attn_layer_offset": 3}, "attn_layer_offset"),
    ("jamba", {"expert_layer_period": 0}, "expert_layer_period"),
    ("zamba", {"n_mamba_heads": 3}, "n_mamba_heads"),
    ("zamba", {"attn_layer_offset": 5}, "attn_layer_offset"),
    ("zamba2", {"layers_block_type": ["mamba", "hybrid"]}, "layers_block_type"),
    ("zamba2", {"layers_block_type": None}, "layers_block_type"),
    ("zamba2", {"use_conv_bias": False}, "use_conv_bias"),
    ("qwen3_next", {"linear_num_key_heads": 4}, "linear_num_key_heads"),
    ("qwen3_next", {"layer_types": ["full_attention"] * 5}, "layer_types"),
    ("kimi_linear", {"linear_attn_config": {"full_attn_layers": [3], "kda_layers": [1, 2, 3, 4, 5]}}, "kda_layers"),
    ("kimi_linear", {"linear_attn_config": [1]}, "linear_attn_config"),
    ("kimi_linear", {"routed_expert_hidden_size": 64}, "routed_expert_hidden_size"),
    ("kimi_linear", {"moe_layer_freq": 2}, "moe_layer_freq"),
    ("minimax", {"layer_types": None, "attn_type_list": [0, 1]}, "attn_type_list"),
    ("minimax", {"layer_types": None, "attn_type_list": [0, 1, 2, 0]}, "attn_type_list"),
    ("minimax", {"shared_intermediate_size": 64}, "shared_intermediate_size"),
    ("lfm2", {"block_ffn_dim_multiplier": "wide"}, "block_ffn_dim_multiplier"),
    ("lfm2_moe", {"layer_types": None}, "layer_types"),
    ("recurrent_gemma", {"block_types": ["attention", "attend"]}, "block_types"),
    ("recurrent_gemma", {"lru_width": 30}, "lru_width"),
]


@pytest.mark.parametrize(
    ("base", "changes", "field"), BROKEN, ids=[f"{base}-{field}-{i}" for i, (base, _, field) in enumerate(BROKEN)]
)
def test_impossible_configurations_name_the_key(base: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        read({**TINY[base], **changes})
    assert caught.value.field == field
