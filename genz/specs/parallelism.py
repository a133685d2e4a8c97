"""How a model is laid over devices: one small type, and what it allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

from genz.errors import InvalidValueError, UnsupportedError, unknown_name
from genz.specs.channel_mixers import MixtureOfExperts
from genz.specs.linear import ceil_div as whole_ceil_div
from genz.specs.model import ModelSpec
from genz.specs.token_mixers import TokenMixer
from genz.specs.workload import check_count

FLAGS = {
    "tensor": "tensor_parallel_size",
    "pipeline": "pipeline_parallel_size",
    "data": "data_parallel_size",
    "context": "context_parallel_size",
    "expert": "expert_parallel_size",
    "decode_context": "decode_context_parallel_size",
    "redundant_experts": "num_redundant_experts",
    "micro_batches": "micro_batches",
}

CONTEXT_EXCHANGES = ("ring", "all_gather")


@dataclass(frozen=True)
class Parallelism:
    """Degrees of parallelism; devices = tensor x pipeline x data x context.

    Ranks count through `tensor` first, then through data-parallel ranks that share experts, `context`, `pipeline`, and
    last through replicas, which do not talk to each other.

    - `tensor`: each matrix and each group of heads is split over that many devices.
    - `pipeline`: the layers are split into that many stages; a batch goes through as `micro_batches` (as many as stages
      unless told).
    - `data`: copies of the attention layers, each with its share of the batch. Where experts are spread over several of
      them they step together, else each is a replica of its own.
    - `context`: a prompt's tokens, and in decode its cache, are split over that many devices.
    - `expert`: ranks over which a layer's experts are spread. It divides tensor x data; experts spread over fewer ranks
      than `tensor` are split further inside.
    - `redundant_experts`: further copies of experts in each layer, spread over the ranks like the others.
    - `decode_context`: tensor ranks that hold different parts of the cache of the same heads, in decode.
    - `sequence_parallel`: norms and residuals are split over the tensor ranks, and each sum over them becomes a
      reduce-scatter and an all-gather (Korthikanti et al., arXiv:2205.05198).
    - `context_exchange`: in prefill, keys and values go around a ring behind attention (Liu et al., Ring Attention,
      arXiv:2310.01889), or are gathered before it.
    """

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    context: int = 1
    expert: int = 1
    decode_context: int = 1
    redundant_experts: int = 0
    micro_batches: int | None = None
    sequence_parallel: bool = False
    context_exchange: str = "ring"

    @property
    def devices(self) -> int:
        """Devices of the deployment."""
        return self.tensor * self.pipeline * self.data * self.context

    @property
    def coupled_data(self) -> int:
        """Data-parallel ranks that share their experts, and so step together."""
        return max(1, self.expert // self.tensor)

    @property
    def replicas(self) -> int:
        """Copies of the model that run on their own."""
        return self.data // self.coupled_data

    @property
    def context_stride(self) -> int:
        """Ranks between two of a context-parallel group."""
        return self.tensor * self.coupled_data

    @property
    def pipeline_stride(self) -> int:
        """Ranks between a stage and the next."""
        return self.context_stride * self.context

    @property
    def expert_tensor(self) -> int:
        """Devices that share the matrices of one expert."""
        return max(1, self.tensor // self.expert)

    @property
    def stages_in_flight(self) -> int:
        """Micro-batches that a batch is cut into."""
        return self.pipeline if self.micro_batches is None else self.micro_batches

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """(ranks, stride) of each group of more than one rank that exchanges something."""
        found = (
            (self.tensor, 1),
            (self.expert, 1),
            (self.decode_context, 1),
            (self.context, self.context_stride),
            (min(self.pipeline, 2), self.pipeline_stride),
        )
        return tuple((ranks, stride) for ranks, stride in found if ranks > 1)

    def check(self, model: ModelSpec, *, devices: int, joined: int) -> None:
        """Raise a typed error for a degree that the model, the devices or the network (`joined` of them) do not allow."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in FLAGS and value is not None:
                check_count(value, FLAGS[field.name], least=0 if field.name == "redundant_experts" else 1)
        if self.context_exchange not in CONTEXT_EXCHANGES:
            raise unknown_name("context_exchange", str(self.context_exchange), CONTEXT_EXCHANGES)
        self._check_model(model)
        self._check_experts(model)
        self._check_devices(devices, joined)

    def _check_model(self, model: ModelSpec) -> None:
        heads = model.attention_heads
        if self.tensor > heads:
            raise _refusal("tensor", self.tensor, f"{model.name} has {heads} attention heads", f"1 to {heads}", nearest=heads)
        if self.pipeline > len(model.layers):
            raise _refusal(
                "pipeline",
                self.pipeline,
                f"{model.name} has {len(model.layers)} layers",
                f"1 to {len(model.layers)}",
                nearest=len(model.layers),
            )
        if self.decode_context > 1:
            mixers = [mixer for layer, _ in model.layer_groups for mixer in layer.token_mixers if mixer.cache_heads]
            copies = min((_cache_copies(mixer, self.tensor) for mixer in mixers), default=1)
            legal = [d for d in range(1, copies + 1) if copies % d == 0]
            if self.decode_context not in legal:
                raise _refusal(
                    "decode_context",
                    self.decode_context,
                    f"the cache of a head of {model.name} is on {copies} of the {self.tensor} tensor ranks",
                    _listed(legal),
                    nearest=_closest(legal, self.decode_context),
                )

    def _check_experts(self, model: ModelSpec) -> None:
        if self.redundant_experts and self.expert == 1:
            raise InvalidValueError(
                f"{FLAGS['redundant_experts']}: copies of experts need ranks to spread them over",
                field=FLAGS["redundant_experts"],
                value=self.redundant_experts,
                allowed="0 where expert_parallel_size is 1",
            )
        if self.expert == 1:
            return
        if not model.is_mixture_of_experts:
            raise UnsupportedError(
                f"{FLAGS['expert']}: {model.name} has no experts", field=FLAGS["expert"], value=self.expert, allowed="1"
            )
        experts = min(
            layer.channel_mixer.experts for layer, _ in model.layer_groups if isinstance(layer.channel_mixer, MixtureOfExperts)
        )
        ranks = self.tensor * self.data
        legal = [
            d
            for d in range(1, min(ranks, experts) + 1)
            if ranks % d == 0 and (self.tensor % d == 0 or (d % self.tensor == 0 and self.data % (d // self.tensor) == 0))
        ]
        if self.expert not in legal:
            raise _refusal(
                "expert",
                self.expert,
                f"it must divide the {self.tensor} tensor x {self.data} data ranks, a whole number of "
                f"tensor groups or a part of one, and {model.name} has {experts} experts",
                _listed(legal),
                nearest=_closest(legal, self.expert),
            )

    def _check_devices(self, devices: int, joined: int) -> None:
        if self.devices != devices:
            product = f"tensor {self.tensor} x pipeline {self.pipeline} x data {self.data} x context {self.context}"
            inner = self.tensor * self.pipeline * self.context
            remedy = f"the nearest platform has {inner * max(1, round(devices / inner))} devices"
            raise InvalidValueError(
                f"{product} = {self.devices} devices, but the platform has {devices}",
                field=FLAGS["tensor"],
                value=self.devices,
                allowed=f"degrees whose product is {devices}",
                hint=remedy,
            )
        together = self.devices // self.replicas
        if together > max(joined, 1):
            raise InvalidValueError(
                f"{FLAGS['tensor']}: a copy over {together} devices is more than the {joined} that the network joins",
                field=FLAGS["tensor"],
                value=together,
                allowed=f"at most {joined} devices in one copy of the model",
            )


def fill(
    *, devices: int, tensor: int, pipeline: int, context: int, data: int | None, **others: int | bool | str | None
) -> Parallelism:
    """The parallelism in which `data`, if it is left out, is what remains of the devices.

    Raises `InvalidValueError` where the other degrees do not divide the devices.
    """
    for name, value in (("tensor", tensor), ("pipeline", pipeline), ("context", context)):
        check_count(value, FLAGS[name], least=1)
    inner = tensor * pipeline * context
    if data is None:
        if inner > devices:
            raise InvalidValueError(
                f"{FLAGS['tensor']}: tensor {tensor} x pipeline {pipeline} x context {context} is more than the platform's "
                f"{devices} devices",
                field=FLAGS["tensor"],
                value=inner,
                allowed=f"degrees whose product divides {devices}",
                hint=f"ask for a platform of {inner} devices, as in '{inner}x CHIP'",
            )
        if devices % inner:
            legal = [d for d in range(1, devices + 1) if devices % (d * pipeline * context) == 0]
            raise InvalidValueError(
                f"{FLAGS['tensor']}: {devices} devices are no whole number of copies of {inner}",
                field=FLAGS["tensor"],
                value=tensor,
                allowed=_listed(legal) if legal else f"degrees whose product divides {devices}",
            )
        data = devices // inner
    return Parallelism(tensor=tensor, pipeline=pipeline, data=data, context=context, **others)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Stage:
    """Layers `start` up to `end` of a pipeline; the first stage has the embedding, the last the head."""

    start: int
    end: int
    is_first: bool
    is_last: bool


@lru_cache(maxsize=1024)
def stages(layers: int, count: int) -> tuple[Stage, ...]:
    """The stages of a pipeline, as even as they can be; layers left over go to the middle, as the ends have the tables."""
    base, over = divmod(layers, count)
    first = (count - over) // 2
    sizes = [base + (first <= i < first + over) for i in range(count)]
    starts = [sum(sizes[:i]) for i in range(count)]
    return tuple(
        Stage(start, start + size, is_first=i == 0, is_last=i == count - 1)
        for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
    )


def whole_model(model: ModelSpec) -> Stage:
    """The one stage of a model that is not split into stages."""
    return Stage(0, len(model.layers), is_first=True, is_last=True)


def distinct_stages(model: ModelSpec, count: int) -> tuple[tuple[Stage, int], ...]:
    """The stages of a pipeline that differ in their layers or tables, each with the number of stages alike."""
    found: dict[object, tuple[Stage, int]] = {}
    for stage in stages(len(model.layers), count):
        kind = (model.groups_between(stage.start, stage.end), stage.is_first, stage.is_last)
        first, alike = found.get(kind, (stage, 0))
        found[kind] = (first, alike + 1)
    return tuple(found.values())


def _cache_copies(mixer: TokenMixer, tensor: int) -> int:
    """Tensor ranks that would hold the same cache."""
    kv_heads = mixer.cache_heads
    return max(1, tensor // math.gcd(kv_heads, tensor)) if kv_heads < tensor else 1


def _refusal(name: str, value: int, reason: str, allowed: str, *, nearest: int) -> InvalidValueError:
    return InvalidValueError(
        f"{FLAGS[name]}: {value} is not possible: {reason}",
        field=FLAGS[name],
        value=value,
        allowed=allowed,
        hint=f"the nearest is {nearest}",
    )


def _closest(legal: list[int], value: int) -> int:
    return min(legal, key=lambda degree: (abs(degree - value), degree))


def _listed(legal: list[int]) -> str:
    shown = ", ".join(str(degree) for degree in legal[:16])
    return shown + (", ..." if len(legal) > 16 else "")


def local_experts(experts: int, ranks: int) -> int:
    """Experts on the fullest of `ranks`."""
    return whole_ceil_div(experts, ranks)
