"""A model: its layers one by one, its embedding, and what its files say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True)
class Source:
    """What an encoder-decoder reads by its `encoder`, at most `longest` tokens; its decoder starts from `start` tokens."""

    encoder: str
    start: int = 1
    longest: int | None = None


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """One model, layer by layer.

    `dtype` is the type its weights are stored in where they are not quantised, `precision` what its
    `quantization_config` asks for, `stored_weight_bytes` the size of its weight files where known. `images` and `audio` say
    what a model that takes them makes of one. The input of an encoder-decoder is its `source`. One that `denoises` makes all
    of its output at once, in several passes over all of it.
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
    source: Source | None = None
    denoises: bool = False

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
        return self._count(lambda layer: layer.parameters)

    @cached_property
    def active_parameters(self) -> int:
        """Parameters that one token uses, each once: all but the experts that its router leaves out [count]."""
        return self._count(lambda layer: layer.active_parameters)

    def _count(self, parameters_of: Callable[[Layer], int]) -> int:
        total, seen = self.embedding.parameters + self._encoder_parameters, set[str]()
        for layer, count in self.layer_groups:
            if layer.shared is None:
                total += count * parameters_of(layer)
                continue
            total += count * layer.own_parameters
            if layer.shared not in seen:
                seen.add(layer.shared)
                total += parameters_of(layer) - layer.own_parameters
        return total

    @property
    def _encoder_parameters(self) -> int:
        return sum(encoder.parameters for encoder in self.encoders)

    @cached_property
    def generates(self) -> bool:
        """Whether it makes tokens one after the other; an encoder gives back what it made of its input at once."""
        return not self.embedding.headless and not self.denoises

    @property
    def takes_text(self) -> bool:
        """Whether its input can be text: whether it has a table of tokens."""
        return self.embedding.vocabulary > 0

    @cached_property
    def headless(self) -> ModelSpec:
        """The same model without its head: what an embedding is made by."""
        if self.embedding.headless:
            return self
        return replace(self, embedding=replace(self.embedding, headless=True, head_bias=False), stored_weight_bytes=None)

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
