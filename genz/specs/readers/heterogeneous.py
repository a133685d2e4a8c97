"""Models whose layers differ in size: those that a search has cut down layer by layer, and those scaled by depth.

Sources: configuration and modeling code beside the weights of nvidia/Llama-3_3-Nemotron-Super-49B-v1 (DeciLM; Puzzle,
arXiv:2411.19146; FFN fusion, arXiv:2503.18908) and apple/OpenELM-3B (OpenELM, arXiv:2404.14619).
"""

from __future__ import annotations

from typing import Any

from genz.errors import nearest
from genz.specs.channel_mixers import ChannelMixer, FeedForward, Matrices
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import Linear, ceil_div
from genz.specs.readers.shared import Reader, root_mean_square_embedding
from genz.specs.token_mixers import Attention

Built = tuple[tuple[Layer, ...], Embedding]
DECI_FFN_MULTIPLE = 256
ATTENTION_KEYS = ("no_op", "replace_with_linear", "n_heads_in_group", "num_key_value_heads", "window_length")
FFN_KEYS = ("no_op", "replace_with_linear", "ffn_mult", "intermediate_size", "gated", "hidden_act")


def linear_instead(hidden: int, name: str, *, bias: bool) -> Matrices:
    """One matrix in the place of a mixer; tensor-parallel ranks split its inputs and add up."""
    return Matrices(hidden, (Linear(name, hidden, hidden, bias=bias, split="row"),), reduces=True)


def nemotron_nas(config: Config) -> Built:
    """Nemotron 51B, 49B and 253B: each block says what of attention and of the feed-forward network is left of it.

    Attention keeps a number of key heads, becomes one matrix, or goes; the network keeps a share of its width, becomes
    one matrix, or goes. A norm goes with its mixer. DeciLM-7B, an earlier one, only lists key heads.
    """
    blocks = config.sequence("block_configs", length=config.layers)
    if blocks is None:
        layers = _layers_by_key_heads(config)
    else:
        layers = tuple(_block(config, block, i) for i, block in enumerate(blocks))
    return layers, root_mean_square_embedding(config, tied=False)


def _layers_by_key_heads(config: Config) -> tuple[Layer, ...]:
    """The layers of DeciLM-7B: LLaMA's, each with key heads of its own."""
    counts = config.sequence("num_key_value_heads_per_layer", length=config.layers)
    if counts is None:
        raise config.error("block_configs", None, "a block for each layer", problem="is missing")
    network = FeedForward(config.hidden, config.count("intermediate_size"))
    return tuple(
        Layer(_grouped(config, kv_heads, f"num_key_value_heads_per_layer[{i}]"), network, config.hidden, 2, config.hidden)
        for i, kv_heads in enumerate(counts)
    )


def _block(config: Config, block: Any, index: int) -> Layer:
    """One layer of a searched model."""
    where = f"block_configs[{index}]"
    attended = _part(config, block, where, "attention", ATTENTION_KEYS)
    network = _part(config, block, where, "ffn", FFN_KEYS)
    mixer, further = _block_attention(config, attended, f"{where}.attention")
    channel = _block_network(config, network, f"{where}.ffn")
    norms = (mixer is not None or bool(further)) + (channel is not None)
    return Layer(mixer, channel, config.hidden, norms=norms, norm_parameters=config.hidden, further=further)


def _part(config: Config, block: Any, where: str, name: str, known: tuple[str, ...]) -> dict[str, Any]:
    """The half of a block under a name. What it asks for besides the `known` would cost something else."""
    part = block.get(name) if isinstance(block, dict) else None
    if not isinstance(part, dict):
        raise config.error(f"{where}.{name}", part, "a mapping such as {no_op: true}")
    for key, value in part.items():
        if key not in known and value not in (None, False):
            close = nearest(key, known)
            allowed = f"null, or one of {', '.join(known)}" + (f" (such as {close[0]})" if close else "")
            raise config.error(f"{where}.{name}.{key}", value, allowed)
    for key in ("no_op", "replace_with_linear"):
        if not isinstance(part.get(key, False), bool):
            raise config.error(f"{where}.{name}.{key}", part[key], "true or false")
    if part.get("no_op") and part.get("replace_with_linear"):
        raise config.error(f"{where}.{name}.no_op", True, "false, where replace_with_linear is true")
    return part


def _block_attention(config: Config, part: dict[str, Any], where: str) -> tuple[Attention | None, tuple[Matrices, ...]]:
    """What mixes tokens in a block, or the matrix in its place."""
    bias = config.flag("attention_bias", default=False)
    if part.get("no_op"):
        return None, ()
    if part.get("replace_with_linear"):
        return None, (linear_instead(config.hidden, "attention_linear", bias=bias),)
    own = Config(part, origin=f"{config.origin}: {where}")
    if part.get("num_key_value_heads") is not None:
        kv_heads = own.count("num_key_value_heads")
    else:
        in_group = own.count("n_heads_in_group")
        if config.heads % in_group:
            raise config.error(f"{where}.n_heads_in_group", in_group, f"a divisor of num_attention_heads = {config.heads}")
        kv_heads = config.heads // in_group
    return _grouped(config, kv_heads, where, window=own.optional_count("window_length")), ()


def _grouped(config: Config, kv_heads: Any, where: str, *, window: int | None = None) -> Attention:
    """Attention with so many key heads."""
    if isinstance(kv_heads, bool) or not isinstance(kv_heads, int) or kv_heads < 1 or config.heads % kv_heads:
        raise config.error(where, kv_heads, f"a divisor of num_attention_heads = {config.heads}")
    bias = config.flag("attention_bias", default=False)
    return Attention(config.hidden, config.heads, kv_heads, config.head_dim(), window=window, qkv_bias=bias, output_bias=bias)


def _block_network(config: Config, part: dict[str, Any], where: str) -> ChannelMixer | None:
    """What mixes channels in a block; `ffn_mult` is the width that would cost as much without a gate, over the hidden one."""
    bias = config.flag("mlp_bias", default=False)
    if part.get("no_op"):
        return None
    if part.get("replace_with_linear"):
        return linear_instead(config.hidden, "feed_forward_linear", bias=bias)
    own = Config(part, origin=f"{config.origin}: {where}")
    gated = own.flag("gated", default=True)
    if part.get("intermediate_size") is not None:
        return FeedForward(config.hidden, own.count("intermediate_size"), gated=gated, bias=bias)
    multiplier = _positive(config, part.get("ffn_mult"), f"{where}.ffn_mult")
    inner = ceil_div(int(2 * multiplier * config.hidden / 3), DECI_FFN_MULTIPLE) * DECI_FFN_MULTIPLE
    return FeedForward(config.hidden, inner, gated=gated, bias=bias)


def _positive(config: Config, value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 10**4:
        raise config.error(where, value, "a number above 0")
    return float(value)


def openelm(config: Config) -> Built:
    """OpenELM: heads and the width of the network grow with depth, between two multipliers each."""
    count, hidden, width = config.layers, config.hidden, config.count("head_dim", default=128)
    group = config.count("num_gqa_groups", default=1)
    normed = config.flag("normalize_qk_projections", default=False)
    gated = config.flag("ffn_with_glu", default=True)
    divisor = config.count("ffn_dim_divisor", default=256)
    heads = [
        _divisible(multiplier * hidden, width * group) // width
        for multiplier in _by_depth(config, "qkv_multipliers", count, default=1.0)
    ]
    _check_listed_heads(config, "num_query_heads", heads)
    _check_listed_heads(config, "num_kv_heads", [h // group for h in heads])
    layers = tuple(
        Layer(
            Attention(
                hidden,
                h,
                h // group,
                width,
                query_key_norm=2 * width if normed else 0,
                normalises_queries=normed,
            ),
            FeedForward(hidden, _divisible(multiplier * hidden, divisor), gated=gated),
            hidden,
            norms=2,
            norm_parameters=hidden,
        )
        for h, multiplier in zip(heads, _by_depth(config, "ffn_multipliers", count, default=4.0), strict=True)
    )
    embedding = Embedding(
        vocabulary=config.vocabulary(),
        width=hidden,
        hidden=hidden,
        tied=config.flag("share_input_output_layers", default=False),
        final_norm_parameters=hidden,
    )
    return layers, embedding


def _by_depth(config: Config, name: str, count: int, *, default: float) -> list[float]:
    """A multiplier for each layer: one for all, one for each, or evenly from the first to the second of two."""
    given = config.raw.get(name, default)
    values = given if isinstance(given, list) else [given] * count
    numbers = [_positive(config, value, name) for value in values]
    if len(numbers) == 2 != count:
        first, last = numbers
        return [round(first + (last - first) * i / (count - 1), 2) for i in range(count)]
    if len(numbers) != count:
        raise config.error(name, given, f"one number, two, or {count}", problem=f"has {len(numbers)} entries")
    return numbers


def _divisible(value: float, divisor: int) -> int:
    """The multiple of a divisor that is nearest, and not more than a tenth below."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def _check_listed_heads(config: Config, name: str, expected: list[int]) -> None:
    """Published files list the heads that follow from the multipliers; others would be another model."""
    listed = config.sequence(name, length=len(expected))
    if listed is not None and listed != expected:
        index = next(i for i, (one, other) in enumerate(zip(listed, expected, strict=True)) if one != other)
        raise config.error(f"{name}[{index}]", listed[index], f"{expected[index]}, as qkv_multipliers say")


READERS: dict[str, Reader] = {"nemotron-nas": nemotron_nas, "deci": nemotron_nas, "openelm": openelm}
