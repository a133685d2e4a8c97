"""What kernels of attention have in common: heads of other widths, what a cache holds, work that hides other work."""

from __future__ import annotations

import math
from typing import Protocol

from genz.numerics import Condition, Number, maximum, minimum, where
from genz.operators.shapes import AttentionShape
from genz.specs.hardware import Chip

# A window so wide that it hides nothing, where some elements of an array have one and others have none.
NO_WINDOW = math.inf
# Scores are computed in blocks of so many keys.
BLOCK_KEYS = 64
# A kernel is compiled for a few head dimensions; a head runs in the narrowest that holds it. One of 128 is the reference.
NARROW, REFERENCE, MEDIUM, WIDE = 64, 128, 192, 256


class HeadFactors(Protocol):
    """Time of a head's work relative to that of a kernel for 128 dimensions, per dimension."""

    @property
    def head_64(self) -> float: ...
    @property
    def head_192(self) -> float: ...
    @property
    def head_256(self) -> float: ...
    @property
    def head_512(self) -> float: ...


def head_factor(key_dim: Number, factors: HeadFactors) -> Number:
    """The factor of the kernel that heads of `key_dim` run in [1]."""
    wide = where(key_dim <= WIDE, factors.head_256, factors.head_512)
    return where(
        key_dim <= REFERENCE,
        where(key_dim <= NARROW, factors.head_64, 1.0),
        where(key_dim <= MEDIUM, factors.head_192, wide),
    )


def all_keys(shape: AttentionShape) -> Number:
    """Keys of one sequence, cached and new [1]."""
    return shape.context + shape.new_tokens


def window_of(shape: AttentionShape) -> Number:
    """Keys that a query sees at most, never more than there are [1]."""
    keys = all_keys(shape)
    return keys if shape.window is None else minimum(shape.window, keys)


def is_windowed(shape: AttentionShape) -> Condition:
    """Whether a window is asked for, wider than the sequence or not: an array of answers where windows are an array."""
    return shape.window is not None and shape.window < NO_WINDOW


def query_bytes(shape: AttentionShape) -> Number:
    """Queries read and outputs written, once each [B]."""
    width = shape.query_heads * (shape.key_dim + shape.value_dim)
    return shape.sequences * shape.new_tokens * width * shape.activation_bytes


def transfer_times(footprint: Number, chip: Chip, share: float, sharpness: int) -> Number:
    """Time of a byte of what is used again and again and takes `footprint` [B] in all [s/B].

    It sits in the cache beyond main memory as far as it fits in a `share` C of it: hit = 1 / (1 + (footprint / share C)^p),
    where p = 2^`sharpness` tells how sudden the end is. What does not hit comes from main memory.
    """
    levels = list(chip.memory.values())
    main = 1.0 / levels[0].bandwidth
    if len(levels) == 1:
        return main
    crowding = footprint / (share * levels[1].capacity)
    for _ in range(sharpness):
        crowding = crowding * crowding
    return main - (main - minimum(1.0 / levels[1].bandwidth, main)) / (1.0 + crowding)


def overlapped(one: Number, other: Number, exposed: float) -> Number:
    """Time of two kinds of work that run at once: the longer, and of the shorter the share that it does not hide [s]."""
    return maximum(one, other) + exposed * minimum(one, other)
