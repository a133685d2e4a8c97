"""Shapes of a layer's parts where a table names the part and the model, not the numbers.

The model is a remark of the form "model=Llama-3.1-8B"; its shapes come from the catalog. Matrices go by the names that they
have in the models' files ("q_proj", "down_proj"), cut by tensor parallelism.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from genz.errors import UnknownNameError
from genz.specs import catalog
from genz.specs.channel_mixers import MixtureOfExperts
from genz.specs.linear import Linear
from genz.specs.model import ModelSpec

_MODEL = re.compile(r"\bmodel=([^;\s]+)")
_EXPERT = "expert "
# Names in the models' files, and those of `Linear`. A router ("gate") is timed with its choice of experts and is no matrix
# alone. Experts are not cut: the tables place whole ones on a rank.
_NAMES = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "o_proj": "output",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
    "lm_head": "lm_head",
    "expert.w1": _EXPERT + "gate",
    "expert.w2": _EXPERT + "down",
    "expert.w3": _EXPERT + "up",
}
MATRICES = tuple(f"layer:{name}" for name in _NAMES)


@cache
def model_in(remark: str) -> ModelSpec | str:
    """The model that a remark names, or why there is none."""
    found = _MODEL.search(remark)
    if found is None:
        return "the notes name no model ('model=...'), so the shape is not known"
    try:
        return catalog.model(found[1])
    except UnknownNameError:
        return f"model {found[1]!r} is not in the catalog, so the shape is not known"


@cache
def matrix(op: str, remark: str, tensor_parallel: int) -> tuple[int, int] | str:
    """(n, k) of a matrix on one rank, or why it is not known."""
    model = model_in(remark)
    if isinstance(model, str):
        return model
    wanted = _NAMES[op.removeprefix("layer:")]
    for name, linear in _matrices(model):
        if name == wanted:
            inputs, outputs = linear.local(1 if wanted.startswith(_EXPERT) else tensor_parallel)
            return outputs, inputs
    return f"{model.name} has no {op.removeprefix('layer:')}"


class Widths(NamedTuple):
    """Elements a token that passes over memory see on one rank.

    `inner` is between the two matrices of a feed-forward network, `gated` whether a gate of that width multiplies it,
    `rotary` those of queries and keys together.
    """

    hidden: int
    inner: int
    gated: bool
    rotary: int


@cache
def widths(remark: str, tensor_parallel: int) -> Widths | str:
    """Widths of the model that a remark names, or why they are not known."""
    model = model_in(remark)
    if isinstance(model, str):
        return model
    found = dict(_matrices(model))
    down = next((found[name] for name in ("down", _EXPERT + "down") if name in found), None)
    query, key = found.get("query"), found.get("key")
    if down is None or query is None or key is None:
        return f"{model.name} is no stack of attention and feed-forward networks"
    ranks = tensor_parallel if down.name in found else 1
    return Widths(
        hidden=model.hidden,
        inner=down.local(ranks)[0],
        gated=any(name in found for name in ("gate", _EXPERT + "gate")),
        rotary=query.local(tensor_parallel)[1] + key.local(tensor_parallel)[1],
    )


def _matrices(model: ModelSpec) -> Iterator[tuple[str, Linear]]:
    for layer, _ in model.layer_groups:
        for part in layer.parts:
            yield from ((linear.name, linear) for linear in part.linears)
            if isinstance(part, MixtureOfExperts):
                yield from ((_EXPERT + linear.name, linear) for linear in part.expert.linears)
    yield "lm_head", model.embedding.head
