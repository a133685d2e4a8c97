"""Every way in which a model can be laid over a number of devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from genz.specs.channel_mixers import MixtureOfExperts
from genz.specs.model import ModelSpec
from genz.specs.parallelism import Parallelism


@lru_cache(maxsize=4096)
def divisors(number: int) -> tuple[int, ...]:
    """The divisors of a whole number, upwards."""
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return tuple(dict.fromkeys([*small, *(number // d for d in reversed(small))]))


def layouts(
    model: ModelSpec,
    devices: int,
    *,
    joined: int | None = None,
    context: Sequence[int] = (1,),
    uneven_heads: bool = False,
) -> Iterator[Parallelism]:
    """All parallelisms of a model on exactly `devices` devices, of which the network joins `joined` (all, unless told).

    Tensor degrees divide the attention heads unless `uneven_heads` are allowed; pipeline stages are at most the layers;
    experts are spread over every number of ranks that `Parallelism` allows; data parallelism takes what remains.
    """
    heads, layers = model.attention_heads, len(model.layers)
    experts = _experts(model)
    together = devices if joined is None else joined
    for tensor in divisors(devices):
        if tensor > heads or (heads % tensor and not uneven_heads):
            continue
        for pipeline in divisors(devices // tensor):
            if pipeline > layers:
                break
            for split in context:
                if devices // (tensor * pipeline) % split:
                    continue
                data = devices // (tensor * pipeline * split)
                for expert in _expert_degrees(tensor, data, experts):
                    found = Parallelism(tensor=tensor, pipeline=pipeline, data=data, context=split, expert=expert)
                    if found.devices // found.replicas <= together:
                        yield found


def _experts(model: ModelSpec) -> int:
    mixtures = [layer.channel_mixer for layer, _ in model.layer_groups if isinstance(layer.channel_mixer, MixtureOfExperts)]
    return min((mixture.experts for mixture in mixtures), default=1)


def _expert_degrees(tensor: int, data: int, experts: int) -> list[int]:
    """Degrees that are a part of one tensor group, or a whole number of them that divides the data ranks."""
    within = [d for d in divisors(tensor) if d <= experts]
    across = [tensor * d for d in divisors(data) if d > 1 and tensor * d <= experts]
    return within + across
