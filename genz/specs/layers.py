"""Layers: what mixes tokens, what mixes channels, and the norms around them; and the way in and out of a model.

Each part lists its matrices (`linears`) and its other parameters (`vectors`), from which everything
else follows: parameter counts, weight bytes, and the GEMMs of the graph. A new architecture is a new
way to assemble these parts, or a new part beside them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from genz.specs.channel_mixers import ChannelMixer, Matrices, MixtureOfExperts
from genz.specs.linear import Linear
from genz.specs.token_mixers import TokenMixer


@dataclass(frozen=True)
class Layer:
    """One block: a token mixer, a channel mixer, and norms around them.

    `norms` is how many norms of the hidden width it has and `norm_parameters` how many parameters
    each holds. `parallel`: both mixers read the same input and add to the residual once. `beside` are further mixers of
    tokens: heads of another kind that read the same input, or cross attention. `further` are matrices besides the mixers.
    Layers of one `shared` name have their parameters in common, all but those of `further`, and each has a cache of its own.
    Of several residual `streams` the mixers see one, and all are predicted before and corrected behind them.
    """

    token_mixer: TokenMixer | None
    channel_mixer: ChannelMixer | None
    hidden: int
    norms: int = 2
    norm_parameters: int = 0
    parallel: bool = False
    beside: tuple[TokenMixer, ...] = ()
    further: tuple[Matrices, ...] = ()
    shared: str | None = None
    streams: int = 1

    @property
    def token_mixers(self) -> tuple[TokenMixer, ...]:
        """All that mixes tokens."""
        return (*(() if self.token_mixer is None else (self.token_mixer,)), *self.beside)

    @property
    def parts(self) -> tuple[TokenMixer | ChannelMixer, ...]:
        """All that has matrices."""
        return (*self.token_mixers, *(() if self.channel_mixer is None else (self.channel_mixer,)), *self.further)

    @property
    def own_parts(self) -> tuple[TokenMixer | ChannelMixer, ...]:
        """The parts that no other layer shares."""
        return self.parts if self.shared is None else self.further

    @property
    def residuals(self) -> int:
        """Additions to the residual stream: one behind each half that is there and cross attention, one where parallel."""
        mixes_tokens = bool(self.token_mixers or self.further)
        crosses = sum(mixer.source is not None for mixer in self.beside) if self.token_mixer is not None else 0
        halves = mixes_tokens + crosses + (self.channel_mixer is not None)
        return min(halves, 1) if self.parallel else halves

    @cached_property
    def parameters(self) -> int:
        """Parameters of the layer, all experts included."""
        return self._count(self.parts, all_experts=True)

    @cached_property
    def own_parameters(self) -> int:
        """Parameters that no other layer shares."""
        return self.parameters if self.shared is None else self._count(self.further, all_experts=True, norms=0)

    @cached_property
    def active_parameters(self) -> int:
        """Parameters of the layer that one token uses."""
        return self._count(self.parts, all_experts=False)

    def _count(self, parts: tuple[TokenMixer | ChannelMixer, ...], *, all_experts: bool, norms: int | None = None) -> int:
        total = (self.norms if norms is None else norms) * self.norm_parameters
        for part in parts:
            total += part.vectors + sum(linear.parameters for linear in part.linears)
            if isinstance(part, MixtureOfExperts):
                experts = part.experts if all_experts else part.picked
                total += round(experts * sum(linear.parameters for linear in part.expert.linears))
        return total


@dataclass(frozen=True)
class Embedding:
    """The way in and out: token and position tables, projections, final norm and language-model head.

    A `headless` model, an encoder, gives back what its last layer makes. A `layer_table` of (rows, width) holds what each
    token gives to every layer besides (per-layer embeddings). `exits` are matrices that stand in the place of a head: a pooler
    and a classifier, which see one token of each sequence if it `pools`, or a projection of every token. Of each sequence
    `class_tokens` come by no matrix of the way in.
    """

    vocabulary: int
    width: int
    hidden: int
    positions: int = 0
    tied: bool = False
    head_bias: bool = False
    final_norm_parameters: int = 0
    projections: tuple[Linear, ...] = field(default=())
    embedding_norm_parameters: int = 0
    headless: bool = False
    layer_table: tuple[int, int] = (0, 0)
    exits: tuple[Linear, ...] = ()
    pools: bool = True
    class_tokens: int = 0

    @property
    def table_parameters(self) -> int:
        """Parameters of the tables that are read by row."""
        rows, width = self.layer_table
        return self.vocabulary * self.width + self.positions * self.hidden + rows * width

    @cached_property
    def head(self) -> Linear:
        """The language-model head; its matrix is the token table where they are tied."""
        return Linear("lm_head", self.width, self.vocabulary, bias=self.head_bias, split="column", quantised=False)

    @property
    def parameters(self) -> int:
        head = 0 if self.headless else self.head.parameters - (self.width * self.vocabulary if self.tied else 0)
        projections = sum(linear.parameters for linear in (*self.projections, *self.exits))
        return self.table_parameters + head + projections + self.final_norm_parameters + self.embedding_norm_parameters


@dataclass(frozen=True)
class Encoder:
    """A tower that turns an image, a clip or a text into what a decoder reads: a stack of layers with a way in and out.

    `entry` are the matrices that make its tokens of patches or frames; `exit` those
    behind its layers (projector, resampler), over one of `merge` tokens. `vectors` are its further parameters: position
    tables, norms at its ends. Each sequence has `class_tokens` (registers, padding) that come by no matrix and do not leave.
    `entry_rates` and `exit_rates` are the rows of each matrix for one other token where they are not one, and 1 / `merge`.
    An encoder of text looks its tokens up in `tables` of the model's.
    """

    name: str
    hidden: int
    layers: tuple[Layer, ...]
    entry: tuple[Linear, ...] = ()
    exit: tuple[Linear, ...] = ()
    merge: int = 1
    vectors: int = 0
    class_tokens: int = 0
    entry_rates: tuple[float, ...] = ()
    exit_rates: tuple[float, ...] = ()
    tables: int = 0

    @property
    def entry_rows(self) -> tuple[tuple[Linear, float], ...]:
        """Each matrix of the way in, and its rows for one token."""
        return tuple(zip(self.entry, self.entry_rates or (1.0,) * len(self.entry), strict=True))

    @property
    def exit_rows(self) -> tuple[tuple[Linear, float], ...]:
        """Each matrix of the way out, and its rows for one token."""
        return tuple(zip(self.exit, self.exit_rates or (1.0 / self.merge,) * len(self.exit), strict=True))

    @cached_property
    def layer_groups(self) -> tuple[tuple[Layer, int], ...]:
        """Each distinct layer with the number of times it occurs."""
        return tuple(Counter(self.layers).items())

    @cached_property
    def ends(self) -> Layer:
        """The way in and out as a layer of matrices alone, for what holds and counts weights."""
        matrices = Matrices(self.hidden, (*self.entry, *self.exit), self.vectors)
        return Layer(None, None, self.hidden, norms=0, further=(matrices,))

    @property
    def all_layers(self) -> tuple[tuple[Layer, int], ...]:
        """Its layers and its ends."""
        return (*self.layer_groups, (self.ends, 1))

    @cached_property
    def parameters(self) -> int:
        """Parameters of the tower, its projector included [count]."""
        return sum(layer.parameters * count for layer, count in self.all_layers)
