"""The designed set of shapes: few, each telling a constant from another, in an order that may end anywhere.

A GEMM of one row tells the bandwidth of weights, of many rows the rate of compute, and of few rows what packing and
waves cost in between; attention's lengths tell its rates and its floor; small elementwise work tells the launch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import md5
from itertools import product

from genz.specs.precision import DATA_TYPES

# Names of types in measurement files and in PyTorch.
TYPES = {"fp32": "float32", "bfloat16": "bfloat16", "fp16": "float16"}
_SPELLED = {"bfloat16": "bf16"}
TRANSFERS = ("host_to_device", "device_to_host")


@dataclass(frozen=True)
class Case:
    """One measurement: an operator, its type, its shape in columns of the tidy schema, and what work it is.

    `flops` [FLOP] and `moved_bytes` [B] bound its time from below; `is_cold` ones find their weights or cache in memory.
    """

    op: str
    dtype: str
    shape: dict[str, int] = field(hash=False)
    flops: float = 0.0
    moved_bytes: float = 0.0
    is_cold: bool = False

    @property
    def name(self) -> str:
        """A text that no other case shares."""
        return " ".join([self.op, self.dtype, *(f"{key}={value}" for key, value in self.shape.items())])


@dataclass(frozen=True)
class Grid:
    """Sizes that the design spans on one kind of device: a GPU's must be larger to keep it busy."""

    rows: tuple[int, ...]
    matrices: tuple[tuple[int, int], ...]
    lengths: tuple[int, ...]
    batches: tuple[int, ...]
    contexts: tuple[int, ...]
    decode_batches: tuple[int, ...]
    heads: tuple[tuple[int, int, int], ...]
    tokens: tuple[int, ...]
    widths: tuple[int, ...]
    experts: tuple[tuple[int, int, int, int], ...]
    transfers: tuple[int, ...] = (4_096, 65_536, 2**20, 2**24, 2**27)


CPU_GRID = Grid(
    rows=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048),
    matrices=((1024, 1024), (4096, 1024), (1024, 4096), (768, 768), (3072, 768), (768, 3072), (256, 1024), (32768, 1024)),
    lengths=(16, 64, 128, 256, 512, 1024),
    batches=(1, 4),
    contexts=(31, 127, 255, 511, 1023, 2047),
    decode_batches=(1, 4),
    heads=((16, 4, 64), (12, 12, 64), (8, 8, 128)),
    tokens=(1, 4, 16, 64, 256, 1024, 2048),
    # Results of 32 MiB and more are mapped anew for every call (glibc's largest threshold): a cliff of its own, left out.
    widths=(256, 1024, 3072),
    experts=((768, 384, 16, 4), (512, 256, 32, 4), (1024, 512, 8, 2)),
)
GPU_GRID = Grid(
    rows=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
    matrices=(
        (4096, 4096),
        (14336, 4096),
        (4096, 14336),
        (6144, 4096),
        (1024, 8192),
        (8192, 1024),
        (28672, 8192),
    ),
    lengths=(64, 256, 1024, 2048, 4096, 8192),
    batches=(1, 4, 16),
    contexts=(127, 511, 2047, 8191, 32767),
    decode_batches=(1, 8, 64),
    heads=((32, 8, 128), (32, 32, 128), (16, 2, 64)),
    tokens=(1, 16, 128, 1024, 4096, 16384),
    widths=(1024, 4096, 8192),
    experts=((2048, 768, 128, 8), (4096, 14336, 8, 2)),
)
# Sums of half of the cases identify the constants as well as all: every second point of a grid is measured.
EVERY = 2
# Width of a head where an operator's time hardly depends on it.
HEAD = 64
# Bytes of the buffers that the bandwidth sweep reads and copies.
SWEEP = tuple(2**power for power in range(14, 29))
SWEEP_WIDTH = 1024


def design(grid: Grid, dtypes: tuple[str, ...], *, is_host: bool, most_flops: float, most_bytes: float) -> list[Case]:
    """The cases for a device, those that would take too long or too much memory left out, in the order of measurement.

    The first of every operator come first, so that a run cut short still says something about each. `is_host`: the
    device is the processor itself, to and from which nothing is transferred.
    """
    cases = [case for dtype in dtypes for case in _of_type(grid, dtype)]
    # Plain bandwidth, launches and transfers are alike for all types.
    cases += [*_sweep(), *_floors(), *(() if is_host else _transfers(grid))]
    kept = [case for case in cases if case.flops <= most_flops and case.moved_bytes <= most_bytes]
    return _interleaved(kept)


def _interleaved(cases: list[Case]) -> list[Case]:
    """Operators in turn; within each, an order that looks random and is the same in every run."""
    ranks: dict[str, int] = {}
    keyed = []
    for case in sorted(cases, key=lambda c: md5(c.name.encode(), usedforsecurity=False).digest()):
        group = f"{case.op} {case.dtype}"
        ranks[group] = ranks.get(group, 0) + 1
        keyed.append((ranks[group], group, case))
    return [case for _, _, case in sorted(keyed, key=lambda entry: entry[:2])]


def element_bytes(dtype: str) -> float:
    """Width of an element [B] of a type as measurement files name it."""
    return float(DATA_TYPES[_SPELLED.get(dtype, dtype)].bytes_per_element)


def _of_type(grid: Grid, dtype: str) -> Iterator[Case]:
    yield from _gemms(grid, dtype)
    yield from _attentions(grid, dtype)
    yield from _elementwise(grid, dtype)
    yield from _mixtures(grid, dtype)


def _gemms(grid: Grid, dtype: str) -> Iterator[Case]:
    width = element_bytes(dtype)
    for (i, m), (j, (n, k)) in product(enumerate(grid.rows), enumerate(grid.matrices)):
        # The first matrices are measured at every number of rows: they carry the shape of the curve.
        if j < 3 or (i + j) % EVERY == 0:
            shape = {"m": m, "n": n, "k": k}
            yield Case("gemm", dtype, shape, 2.0 * m * n * k, width * (m * k + n * k + m * n), is_cold=True)


def _attentions(grid: Grid, dtype: str) -> Iterator[Case]:
    for (i, length), (j, batch), (h, heads) in product(enumerate(grid.lengths), enumerate(grid.batches), enumerate(grid.heads)):
        if h == 0 or (i + j + h) % EVERY == 0:
            yield _attention(dtype, batch, length, 0, heads)
    decodes = product(enumerate(grid.contexts), enumerate(grid.decode_batches), enumerate(grid.heads))
    for (i, context), (j, batch), (h, heads) in decodes:
        if h == 0 or (i + j + h) % EVERY == 0:
            yield _attention(dtype, batch, 1, context, heads)


def _attention(dtype: str, batch: int, new: int, past: int, heads: tuple[int, int, int]) -> Case:
    queries, cached, dimension = heads
    op = "prefill_attention" if new > 1 else "decode_attention"
    names = ("batch", "q_len", "past_kv", "n_heads", "n_kv_heads", "head_dim")
    shape = dict(zip(names, (batch, new, past, queries, cached, dimension), strict=True))
    pairs = new * past + new * (new + 1) / 2
    moved = batch * dimension * (2 * queries * new + 2 * cached * (past + new)) * element_bytes(dtype)
    # Also over a cache: it has just been copied for the new token to be appended, see `cache_append`.
    return Case(op, dtype, shape, 4.0 * batch * queries * dimension * pairs, moved)


def _elementwise(grid: Grid, dtype: str) -> Iterator[Case]:
    width = element_bytes(dtype)
    for tokens, hidden in product(grid.tokens, grid.widths):
        moved = tokens * hidden * width
        for op, passes in (("norm", 2), ("layer_norm", 2), ("residual_add", 3), ("embedding", 2)):
            yield Case(op, dtype, {"num_tokens": tokens, "hidden": hidden}, moved_bytes=passes * moved)
        yield Case("activation", dtype, {"num_tokens": tokens, "hidden": hidden, "inter": hidden}, moved_bytes=3 * moved)
        yield Case("rope", dtype, {"num_tokens": tokens, "hidden": hidden, "head_dim": HEAD}, moved_bytes=2 * moved)
    cached = sorted({*grid.tokens, *(context + 1 for context in grid.contexts)} - {1})
    for tokens, hidden in product(cached, grid.widths):
        shape = {"num_tokens": tokens, "hidden": hidden, "head_dim": HEAD}
        yield Case("cache_append", dtype, shape, moved_bytes=2 * tokens * hidden * width, is_cold=True)


def _mixtures(grid: Grid, dtype: str) -> Iterator[Case]:
    names = ("num_tokens", "hidden", "inter", "topk", "n_experts", "moe_tp", "moe_ep")
    for tokens, (hidden, inner, experts, chosen) in product(grid.tokens, grid.experts):
        shape = dict(zip(names, (tokens, hidden, inner, chosen, experts, 1, 1), strict=True))
        matrices = 3 * hidden * inner
        touched = min(experts, tokens * chosen)
        moved = touched * matrices * element_bytes(dtype)
        yield Case("moe", dtype, shape, 2.0 * tokens * chosen * matrices, moved, is_cold=True)


def _sweep() -> Iterator[Case]:
    for size in SWEEP:
        rows = size // (4 * SWEEP_WIDTH)
        shape = {"num_tokens": rows, "hidden": SWEEP_WIDTH}
        yield Case("read", "fp32", shape, moved_bytes=size)
        yield Case("copy", "fp32", shape, moved_bytes=2 * size)


def _floors() -> Iterator[Case]:
    for op in ("launch", "module_call"):
        yield Case(op, "fp32", {"num_tokens": 1, "hidden": 1})


def _transfers(grid: Grid) -> Iterator[Case]:
    for op, size in product(TRANSFERS, grid.transfers):
        yield Case(op, "fp32", {"message_bytes": size}, moved_bytes=size)
