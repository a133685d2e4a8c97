"""vLLM's blocks: the pages of each layer, the groups that share a block table, and how many blocks a request needs.

Source: vLLM's V1 engine, vllm/v1/kv_cache_interface.py and vllm/v1/core/kv_cache_utils.py as of commit 001cabc1 (2026), and
the page "Hybrid KV Cache Manager" of its documentation.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Literal

from genz.errors import UnsupportedError
from genz.numerics import Number
from genz.specs.linear import ceil_div
from genz.specs.model import ModelSpec
from genz.specs.parallelism import Stage
from genz.specs.token_mixers import Attention, LatentAttention, TokenMixer

# Kinds of layers whose numbers differ by less than this factor are padded to the larger number, not cut to the smaller
# (1.25 in vLLM of 2025).
PADDING_LIMIT = 1.5


def cached_elements(mixer: TokenMixer, tensor: int) -> int:
    """Elements of one token in one layer on one rank: the latent, or keys and values of max(1, KV heads // ranks) heads.

    Latents come with the indexer's key where there is one.
    """
    if isinstance(mixer, LatentAttention):
        return mixer.cached_width(tensor)
    if not isinstance(mixer, Attention):
        return 0
    return max(1, mixer.kv_heads // tensor) * 2 * mixer.head_dim


def blocks_of_beams(prompt: int, length: int, beams: int, block_size: int) -> int:
    """Blocks of a request of `length` tokens, `prompt` of them given; its beams share the full blocks of the prompt."""
    shared = prompt // block_size if beams > 1 else 0
    return shared + beams * (ceil_div(length, block_size) - shared)


@dataclass(frozen=True)
class Page:
    """What a block is in one layer: `block_size` tokens in `bytes`, kept for all, a window's or a chunk's positions."""

    kind: Literal["full", "window", "chunk"]
    reach: int | None
    block_size: int
    bytes: Number

    def blocks_in_step(self, length: int, step_tokens: int, shares: int) -> int:
        """Blocks that vLLM counts for one request of `length` tokens, of which it may prefill `step_tokens` in a step.

        full: ceil(length / shares / block); chunk: ceil(min(chunk + step, length) / block); window: ceil(min(window - 1 +
        step, length) / block) + 1, as a window may begin inside of a block.
        """
        if self.kind == "full":
            return ceil_div(ceil_div(length, shares), self.block_size)
        if self.kind == "chunk":
            return ceil_div(min((self.reach or 0) + step_tokens, length), self.block_size)
        return ceil_div(min((self.reach or 0) - 1 + step_tokens, length), self.block_size) + 1

    def blocks_at_end(self, prompt: int, length: int, beams: int, shares: int) -> int:
        """Blocks of one request that generates its last token; its beams share the full blocks of the prompt."""
        if self.kind == "full":
            return blocks_of_beams(prompt, length, beams, self.block_size * shares)
        edge = 1 if self.kind == "window" else 0
        return beams * (ceil_div(min(self.reach or 0, length), self.block_size) + edge)


@dataclass(frozen=True)
class Group:
    """Layers that share a block table; every group has the same bytes per block, which the cache's blocks are of."""

    page: Page
    layers: tuple[int, ...]


def _page(mixer: TokenMixer, tensor: int, block_size: int, element_bytes: Number) -> Page:
    kind: Literal["full", "window", "chunk"] = "window" if mixer.window else "chunk" if mixer.chunk else "full"
    size = block_size * cached_elements(mixer, tensor) * element_bytes
    return Page(kind, mixer.window or mixer.chunk, block_size, size)


def groups_of(model: ModelSpec, *, tensor: int, block_size: int, element_bytes: Number) -> tuple[Group, ...]:
    """The groups of layers that vLLM forms.

    Layers of one kind and reach are one group. Else all pages are made equal by longer blocks, and each kind is split into
    groups of as many layers as the rarest kind has (as the commonest, where it has less than 1.5 times as many), the last
    one padded. Raises `UnsupportedError` where pages are no multiples of each other.
    """
    pages = {
        index: _page(layer.token_mixer, tensor, block_size, element_bytes)
        for index, layer in enumerate(model.layers) if layer.token_mixer is not None
    }  # fmt: skip
    if len({(page.kind, page.reach) for page in pages.values()}) <= 1:
        return (Group(next(iter(pages.values())), tuple(pages)),) if pages else ()
    kinds: dict[Page, list[int]] = defaultdict(list)
    largest = max(page.bytes for page in pages.values())
    for index, page in pages.items():
        kinds[_lengthened(page, largest, model)].append(index)
    fewest, most = (pick(len(layers) for layers in kinds.values()) for pick in (min, max))
    size = most if most < fewest * PADDING_LIMIT else fewest
    found = []
    for page, layers in kinds.items():
        count = ceil_div(len(layers), size)
        found += [Group(page, tuple(layers[first::count])) for first in range(count)]
    return tuple(found)


def _lengthened(page: Page, largest: Number, model: ModelSpec) -> Page:
    if largest % page.bytes:
        raise UnsupportedError(
            f"model: vLLM cannot page {model.name}: the caches of its layers are no multiples of each other", field="model",
            value=model.name, allowed="layers whose cached bytes per token divide the largest",
        )  # fmt: skip
    ratio = int(largest // page.bytes)
    return replace(page, block_size=page.block_size * ratio, bytes=largest)


def bytes_per_block(model: ModelSpec, groups: tuple[Group, ...], stage: Stage, *, tensor: int, element_bytes: Number) -> Number:
    """Bytes of one block on a device of a stage: the pages of its layers of the group that has most of them there [B]."""

    def group_bytes(group: Group) -> Number:
        held = [i for i in group.layers if stage.start <= i < stage.end]
        if len(groups) > 1:
            return len(held) * group.page.bytes
        elements = sum(cached_elements(mixer, tensor) for i in held if (mixer := model.layers[i].token_mixer) is not None)
        return group.page.block_size * elements * element_bytes

    return max((group_bytes(group) for group in groups), default=0)
