"""Which layer is of which kind: lists, letters and periods, checked against the number of layers; and the type of a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genz.errors import UnknownNameError
from genz.specs.channel_mixers import FeedForward, MixtureOfExperts
from genz.specs.config import Config
from genz.specs.precision import DATA_TYPES, data_type

# Kinds of layers, as configuration files of several years spell them.
ATTENTION, STATE, CONVOLUTION, HYBRID = "attention", "state", "convolution", "hybrid"
SPELLINGS = {
    "full_attention": ATTENTION,
    "attention": ATTENTION,
    "linear_attention": STATE,
    "mamba": STATE,
    "recurrent": STATE,
    "conv": CONVOLUTION,
    "hybrid": HYBRID,
}


def kinds_of(config: Config, name: str, entries: Sequence[Any], known: Mapping[str, str], *, layers: int) -> list[str]:
    """The kind of each layer from the entries that a key gives.

    Raises `SpecError` for an entry that is not known, or where they are not as many as there are layers.
    """
    if len(entries) != layers:
        raise config.error(
            name, entries, f"one entry for each of num_hidden_layers = {layers}", problem=f"has {len(entries)} entries"
        )
    for entry in entries:
        if not isinstance(entry, str) or entry not in known:
            raise config.error(name, entry, ", ".join(known))
    return [known[entry] for entry in entries]


def layer_kinds(config: Config, *names: str, allowed: Sequence[str], default: Sequence[str] | None = None) -> list[str]:
    """The kind of each layer: from the first of the named lists that is there, else `default`.

    Raises `SpecError` for a list of another length, a kind that is not among the `allowed`, or where nothing tells.
    """
    known = {spelling: kind for spelling, kind in SPELLINGS.items() if kind in allowed}
    for name in names:
        entries = config.sequence(name)
        if entries is not None:
            return kinds_of(config, name, entries, known, layers=config.layers)
    if default is None:
        raise config.error(names[0], None, f"a list of {', '.join(known)}, one for each layer", problem="is missing")
    return list(default)


def periodic(config: Config, period_name: str, offset_name: str, *, period: int, offset: int) -> list[bool]:
    """Which layers come once in a period, at an offset in it. Raises `SpecError` for an offset beyond the period."""
    length = config.count(period_name, default=period, most=10**4)
    place = config.count(offset_name, default=offset, least=0)
    if place >= length:
        raise config.error(offset_name, place, f"less than {period_name} = {length}")
    return [layer % length == place for layer in range(config.layers)]


def state_type(config: Config, *names: str) -> dict[str, Any]:
    """The type of a recurrent state as fields of `StateSpace`: as a key names it, else fp32, which engines may narrow."""
    for name in names:
        value = config.raw.get(name)
        if value in (None, "auto"):
            continue
        try:
            kind = data_type(config.text(name, default="float32"), field=name)
        except UnknownNameError as error:
            raise config.error(name, value, error.allowed or "a data type") from None
        return {"state_bytes": DATA_TYPES[kind].bits / 8, "names_state_type": True}
    return {}


def mixture(
    config: Config,
    expert: FeedForward,
    *,
    experts: int,
    top_k: int | None = None,
    shared: FeedForward | None = None,
    shared_gate: bool = False,
) -> MixtureOfExperts:
    """A mixture whose router picks `num_experts_per_tok` (`top_k` where the key is absent)."""
    picked = config.count("num_experts_per_tok", "num_experts_per_token", default=top_k)
    if picked > experts:
        raise config.error("num_experts_per_tok", picked, f"at most the number of experts, {experts}")
    return MixtureOfExperts(config.hidden, experts, picked, expert, shared=shared, shared_gate=shared_gate)


def equal(config: Config, name: str, value: int, expected: int, meaning: str) -> None:
    """Raise `SpecError` where a key contradicts the others."""
    if value != expected:
        raise config.error(name, value, f"{meaning} = {expected}")
