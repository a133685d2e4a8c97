"""Models of one's own: `model_type: layer_list` says, layer by layer, what mixes tokens and what mixes channels.

`layers` is a list of groups, each a mapping with a `count`; `layer_period` is such a list that repeats until
`num_hidden_layers` are there (behind `layers`, where both are given). A group takes the usual keys from the top of the
file and may set its own: heads, widths, windows, experts. docs/models.md shows examples.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from genz.errors import SpecError, nearest
from genz.specs.channel_mixers import Matrices
from genz.specs.config import MAX_LAYERS, Config
from genz.specs.layers import Embedding, Layer
from genz.specs.readers.heterogeneous import linear_instead
from genz.specs.readers.layer_parts import CHANNEL_MIXERS, TOKEN_MIXERS, Kind
from genz.specs.readers.shared import Reader
from genz.specs.token_mixers import TokenMixer

Built = tuple[tuple[Layer, ...], Embedding]
Groups = list[tuple[str, Any]]  # each group with its place in the file
# Parameters of a norm, as a multiple of the width that it normalises.
NORMS = {"rms_norm": 1, "layer_norm": 2, "unweighted": 0}
GROUP_KEYS = ("count", "token_mixer", "channel_mixer", "norm", "norms", "parallel", "shared")
KNOWN_KEYS = tuple(
    dict.fromkeys([*GROUP_KEYS, *(key for kinds in (TOKEN_MIXERS, CHANNEL_MIXERS) for k in kinds.values() for key in k.keys)])
)
NOT_INHERITED = ("count", "shared", "layers", "layer_period")
FILE_KEYS = (
    *(key for key in KNOWN_KEYS if key not in NOT_INHERITED),
    "layers",
    "layer_period",
    "model_type",
    "architectures",
    "torch_dtype",
    "dtype",
    "quantization_config",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "max_position_embeddings",
    "tie_word_embeddings",
    "learned_positions",
)


def layer_list(config: Config) -> Built:
    """A model written out as groups of layers."""
    _check_keys(config, "at the top", config.raw, FILE_KEYS)
    layers = tuple(layer for where, group in _groups(config) for layer in _group_layers(config, where, group))
    embedding = Embedding(
        vocabulary=config.vocabulary(),
        width=config.hidden,
        hidden=config.hidden,
        positions=config.count("learned_positions", default=0, least=0),
        tied=config.flag("tie_word_embeddings", default=False),
        final_norm_parameters=_norm(config),
    )
    return layers, embedding


# Groups: which there are, and how many layers each has.


def _groups(config: Config) -> Groups:
    """All groups in order: those of `layers`, then those of `layer_period` in turns."""
    first, period = _listed(config, "layers"), _listed(config, "layer_period")
    if not first and not period:
        raise config.error("layers", None, "a list of groups of layers", problem="is missing")
    written = _total(config, first)
    if not period:
        declared = config.optional_count("num_hidden_layers")
        if declared is not None and declared != written:
            raise config.error("num_hidden_layers", declared, f"{written}, which is what layers add up to")
        return first
    repeated, left = _total(config, period), config.layers - written
    if left <= 0 or left % repeated:
        behind = f" behind the {written} of layers" if first else ""
        raise config.error("num_hidden_layers", config.layers, f"a whole number of periods of {repeated} layers{behind}")
    return [*first, *period * (left // repeated)]


def _listed(config: Config, name: str) -> Groups:
    groups = config.sequence(name) or []
    for i, group in enumerate(groups):
        if not isinstance(group, dict):
            raise config.error(f"{name}[{i}]", group, "a mapping such as {count: 4, token_mixer: attention}")
    return [(f"{name}[{i}]", group) for i, group in enumerate(groups)]


def _total(config: Config, groups: Groups) -> int:
    total = sum(_within(config, where, group).count("count", default=1, most=MAX_LAYERS) for where, group in groups)
    if total > MAX_LAYERS:
        raise config.error("layers", total, f"at most {MAX_LAYERS:,} layers", problem="layers in all")
    return total


def _within(config: Config, where: str, group: dict[str, Any]) -> Config:
    """The keys of a group over those of the file. Raises `SpecError` for a key that no group has."""
    _check_keys(config, where, group, KNOWN_KEYS)
    inherited = {key: value for key, value in config.raw.items() if key not in NOT_INHERITED}
    return Config({**inherited, **group}, origin=f"{config.origin}: {where}")


def _check_keys(config: Config, where: str, keys: Iterable[Any], known: tuple[str, ...]) -> None:
    """Raise `SpecError` for a key that nothing reads: it would be silently ignored."""
    for key in keys:
        if key not in known:
            close = nearest(str(key), known)
            raise SpecError(
                f"{config.origin}: {where}: nothing takes the key {key!r}",
                field=str(key),
                allowed=", ".join(known),
                hint=f"did you mean {close[0]!r}?" if close else None,
            )


def _group_layers(config: Config, where: str, group: dict[str, Any]) -> tuple[Layer, ...]:
    own = _within(config, where, group)
    layer = _layer(own)
    kinds = [*(TOKEN_MIXERS[kind] for kind in _token_kinds(own)), _channel_kind(own)]
    _check_keys(config, where, group, (*GROUP_KEYS, *(key for kind in kinds for key in kind.keys)))
    return (layer,) * own.count("count", default=1, most=MAX_LAYERS)


# Layers: what is in them.


def _layer(config: Config) -> Layer:
    mixers, instead = _token_mixers(config)
    channel = _channel_kind(config).make(config)
    halves = bool(mixers or instead) + (channel is not None)
    parallel = config.flag("parallel", default=False)
    return Layer(
        mixers[0] if mixers else None,
        channel,
        config.hidden,
        norms=config.count("norms", default=min(halves, 1) if parallel else halves, least=0, most=64),
        norm_parameters=_norm(config),
        parallel=parallel,
        beside=mixers[1:],
        further=instead,
        shared=config.text("shared", default="") or None,
    )


def _norm(config: Config) -> int:
    multiple: int = _known(config, "norm", config.text("norm", default="rms_norm"), NORMS)
    return multiple * config.hidden


def _token_mixers(config: Config) -> tuple[tuple[TokenMixer, ...], tuple[Matrices, ...]]:
    """What mixes tokens, one or several side by side; or the one matrix in its place."""
    kinds = _token_kinds(config)
    if kinds == ["linear"]:
        return (), (linear_instead(config.hidden, "attention_linear", bias=config.flag("attention_bias", default=False)),)
    made = [TOKEN_MIXERS[kind].make(config) for kind in kinds]
    return tuple(mixer for mixer in made if mixer is not None), ()


def _token_kinds(config: Config) -> list[str]:
    """The kinds of token mixers that a group names: one, or several side by side."""
    named = config.raw.get("token_mixer", "attention")
    kinds = named if isinstance(named, list) and named else [named]
    for kind in kinds:
        _known(config, "token_mixer", kind, TOKEN_MIXERS)
    if len(kinds) > 1 and {"linear", "none"} & set(kinds):
        raise config.error("token_mixer", kinds, "mixers side by side, without linear and none")
    return kinds


def _channel_kind(config: Config) -> Kind[Any]:
    kind: Kind[Any] = _known(config, "channel_mixer", config.raw.get("channel_mixer", "feed_forward"), CHANNEL_MIXERS)
    return kind


def _known(config: Config, name: str, kind: Any, kinds: dict[str, Any]) -> Any:
    """What a name stands for. Raises `SpecError` with the nearest for one that is not known."""
    if isinstance(kind, str) and kind in kinds:
        return kinds[kind]
    close = nearest(kind, kinds) if isinstance(kind, str) else []
    raise SpecError(
        f"{config.origin}: {name} = {kind!r} is not known",
        field=name,
        value=kind,
        allowed=", ".join(kinds),
        hint=f"did you mean {close[0]!r}?" if close else None,
    )


READERS: dict[str, Reader] = {"layer_list": layer_list}
