"""A model: its layers one by one, its embedding, and what its files say of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from genz.specs.channel_mixers import MixtureOfExperts
from genz.specs.layers import Embedding, Encoder, Layer
from genz.specs.media.passes import AudioRule, ImageRule
from genz.specs.precision import Precision


@dataclass(frozen=True)
class PublishedSize:
    """Parameter counts as the model's makers state them."""

    total: float
    active: float | None = None
    source: str = ""
    estimate: bool = False


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """One model, layer by layer.

    `dtype` is the type its weights are stored in where they are not quantised, `precision` what its
    `quantization_config` asks for, `stored_weight_bytes` the size of its weight files where known. `images` and `audio` say
    what a model that takes them makes of one.
    """

    name: str
    model_type: str
    layers: tuple[Layer, ...]
    embedding: Embedding
    max_context: int
    dtype: str
    precision: Precision | None = None
    stored_weight_bytes: int | None = None
    title: str = ""
    aliases: tuple[str, ...] = ()
    notes: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    published: PublishedSize | None = None
    encoders: tuple[Encoder, ...] = ()
    images: ImageRule | None = None
    audio: AudioRule | None = None

    @cached_property
    def layer_groups(self) -> tuple[tuple[Layer, int], ...]:
        """Each distinct layer with the number of times it occurs, in order of first appearance."""
        return tuple(Counter(self.layers).items())

    def groups_between(self, start: int, end: int) -> tuple[tuple[Layer, int], ...]:
        """Each distinct layer among those from `start` up to `end`, with its number."""
        if (start, end) == (0, len(self.layers)):
            return self.layer_groups
        return tuple(Counter(self.layers[start:end]).items())

    @cached_property
    def parameters(self) -> int:
        """Parameters, tied weights once and those that layers share once [count]."""
        total, seen = self.embedding.parameters + self._encoder_parameters, set[str]()
        for layer, count in self.layer_groups:
            total += count * layer.own_parameters
            if layer.shared is not None and layer.shared not in seen:
                seen.add(layer.shared)
                total += layer.parameters - layer.own_parameters
        return total

    @cached_property
    def active_parameters(self) -> int:
        """Parameters that one token uses: all but the experts that its router leaves out [count]."""
        active = sum(layer.active_parameters * n for layer, n in self.layer_groups)
        return self.embedding.parameters + self._encoder_parameters + active

    @property
    def _encoder_parameters(self) -> int:
        return sum(encoder.parameters for encoder in self.encoders)

    @cached_property
    def generates(self) -> bool:
        """Whether it makes tokens one after the other; an encoder gives back what it made of its input at once."""
        return not self.embedding.headless

    @property
    def hidden(self) -> int:
        return self.embedding.hidden

    @cached_property
    def attention_heads(self) -> int:
        """The smallest number of heads of any layer: what tensor parallelism can split."""
        return min((mixer.units for layer, _ in self.layer_groups for mixer in layer.token_mixers), default=1)

    @property
    def is_mixture_of_experts(self) -> bool:
        return any(isinstance(layer.channel_mixer, MixtureOfExperts) for layer, _ in self.layer_groups)
