"""Tiles of a matrix product over the cores of a chip: the time of the busiest core."""

from __future__ import annotations

import math
from dataclasses import dataclass

from genz.numerics import Number, ceil, ceil_div, clip, floor, maximum, minimum, where
from genz.operators.shapes import GemmShape

# Rows and columns of the tiles that a library chooses from, and how many of them a wave takes from each core. Larger ones
# feed their operands with fewer bytes, smaller ones leave fewer cores idle; sets twice as large predict no better. Times of
# large products step with the area of 128 x 256 where their tiles are smaller (Ampere; two of 128 x 128 share a core).
TILES = ((16, 64, 1), (64, 64, 1), (64, 128, 4), (128, 128, 2), (128, 256, 1), (256, 256, 1))
# Kernels that choose their tile by the rows alone: up to so many rows, a tile of these sides (the dispatch of CUTLASS FP8
# kernels in vLLM and SGLang).
TILES_BY_ROWS = ((128, (64, 128)), (64, (64, 64)), (16, (16, 64)))
TALLEST_BY_ROWS = (128, 128)
# The main loop advances by so many elements of k. A piece of k has two such rounds at least.
STEP_OF_K, SHORTEST_PIECE, MOST_PIECES = 64, 128, 32
_NO_PIECE = 1e-9
# Partial sums have 4 bytes, are written once and read once.
PARTIAL_SUM_BYTES = 8
_TILE_ROWS, _TILE_COLUMNS = sorted({u for u, _, _ in TILES}), sorted({v for _, v, _ in TILES})


@dataclass(frozen=True, slots=True)
class Cores:
    """Cores as a matrix product uses them: rates of one, and what its main loop and its last wave cost.

    `flops` [FLOP/s], `feed` of operands and `store` of results [B/s], `latency` [s] of one element of k however small the
    tile, `waves` [1] how far a wave that is not full counts as one that is, `split` [s] to add up partial sums.
    """

    count: Number
    flops: Number
    feed: Number
    store: Number
    latency: Number
    waves: Number
    split: Number

    def step(self, shape: GemmShape, u: Number, v: Number) -> Number:
        """Time of a tile of u x v for one element of k [s]: of its FLOPs or its operands, whichever takes longer."""
        return maximum(2.0 * u * v / self.flops, (u * shape.input_bytes + v * shape.weight_bytes) / self.feed)

    def wave_count(self, load: Number, together: int = 1) -> Number:
        """Tiles one after another on the busiest core, of `load` on the average one.

        At least one; beyond, the last wave of so many `together` counts in part as if it were full.
        """
        if together == 1:
            return maximum(1.0, load + self.waves * (ceil(load) - load))
        last = (ceil(load * (1.0 / together)) * together - load) * (load > 1.0)
        return maximum(1.0, load + self.waves * last)


def tiled_time(shape: GemmShape, cores: Cores, *, may_split: bool) -> Number:
    """Time of the busiest core [s] with the best tile, and if `may_split` the best number of pieces of k."""
    depth = ceil_div(shape.k, STEP_OF_K) * STEP_OF_K
    most = clip(shape.k * (1.0 / SHORTEST_PIECE), 1.0, MOST_PIECES)
    reduction = shape.batch * shape.m * shape.n * (PARTIAL_SUM_BYTES / (cores.count * cores.feed))
    stored = shape.output_bytes / cores.store
    rows = {u: (ceil_div(shape.m, u) * (shape.batch / cores.count), minimum(shape.m, u) * stored) for u in _TILE_ROWS}
    columns = {v: (ceil_div(shape.n, v), minimum(shape.n, v)) for v in _TILE_COLUMNS}
    best: Number = math.inf
    for u, v, together in TILES:
        load, results = rows[u][0] * columns[v][0], rows[u][1] * columns[v][1]
        step = cores.step(shape, u, v)
        waves = cores.wave_count(load, together)
        time = depth * maximum(waves * step, cores.latency) + waves * results
        best = minimum(best, time)
        if may_split:
            time = _split_time(depth, maximum(step, cores.latency), load, most, reduction) + results + cores.split
            best = minimum(best, time)
    return best


def _split_time(depth: Number, step: Number, load: Number, most: Number, reduction: Number) -> Number:
    """Time of one wave of pieces of k, as many as fill the cores, and of adding them up [s]."""
    # What fills the cores already would have less than one piece: so small a part of one takes too long to be chosen.
    pieces = maximum(floor(minimum(1.0 / load, most)), _NO_PIECE)
    return depth / pieces * step + reduction * pieces


def time_by_rows(shape: GemmShape, cores: Cores) -> Number:
    """Time of the busiest core [s] with a tile that the rows alone decide, and k in one piece."""
    u: Number
    v: Number
    u, v = TALLEST_BY_ROWS
    for limit, (low, narrow) in TILES_BY_ROWS:
        u, v = where(shape.m <= limit, low, u), where(shape.m <= limit, narrow, v)
    load = ceil_div(shape.m, u) * ceil_div(shape.n, v) * (shape.batch / cores.count)
    waves = cores.wave_count(load)
    loop = ceil_div(shape.k, STEP_OF_K) * STEP_OF_K * maximum(waves * cores.step(shape, u, v), cores.latency)
    return loop + waves * (minimum(shape.m, u) * minimum(shape.n, v) * (shape.output_bytes / cores.store))


def time_on_arrays(shape: GemmShape, cores: Cores, rows: int, columns: int) -> Number:
    """Time of the busiest core [s] where cores are systolic arrays of `rows` x `columns` multipliers.

    Weights stand still in the array, k over its rows and n over its columns: both fill up whole arrays. As loading a
    tile of weights takes as many cycles as the array has rows, no fewer rows of activations pass through it in that time.
    """
    load = ceil_div(shape.n, columns) * (shape.batch / cores.count)
    waves = maximum(1.0, load + cores.waves * (ceil(load) - load))
    depth, height = ceil_div(shape.k, rows) * rows, maximum(shape.m, rows)
    return waves * (2.0 * height * columns) * depth / cores.flops
