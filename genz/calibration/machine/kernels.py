"""Operators as PyTorch runs them in eager mode, ready to be timed: one function each, over the columns of the tidy schema.

Norms, rotary positions and experts are written as the models of Hugging Face transformers write them, one kernel after
another, as that is what a user of the engine "pytorch" waits for.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Keeps the root mean square of a row of zeros away from zero; its size does not change the time.
EPSILON = 1e-6


@dataclass(frozen=True)
class Prepared:
    """A call, and the tensors that the operator before it would have left in the caches."""

    call: Callable[[], object]
    warm: tuple[Any, ...]


@dataclass(frozen=True)
class Maker:
    """Makes tensors of one type on one device; equal seeds give equal numbers."""

    torch: Any
    device: str
    dtype: Any

    def normal(self, *sizes: int) -> Any:
        """Normally distributed numbers."""
        return self.torch.randn(*sizes, device=self.device).to(self.dtype)

    def indices(self, count: int, below: int) -> Any:
        """Whole numbers from 0 to below - 1."""
        return self.torch.randint(0, below, (count,), device=self.device)


Columns = dict[str, int]
Preparation = Callable[[Maker, Columns], Prepared]


def _gemm(make: Maker, c: Columns) -> Prepared:
    """y = x W^T, weights as a linear layer holds them."""
    linear = make.torch.nn.functional.linear
    inputs, weights = make.normal(c["m"], c["k"]), make.normal(c["n"], c["k"])
    return Prepared(lambda: linear(inputs, weights), (inputs,))


def _attention(make: Maker, c: Columns) -> Prepared:
    """Scaled dot-product attention of the new tokens over the cached ones and themselves."""
    attend = make.torch.nn.functional.scaled_dot_product_attention
    keys = c["past_kv"] + c["q_len"]
    query = make.normal(c["batch"], c["n_heads"], c["q_len"], c["head_dim"])
    key, value = (make.normal(c["batch"], c["n_kv_heads"], keys, c["head_dim"]) for _ in range(2))
    causal, grouped = c["q_len"] > 1, c["n_heads"] != c["n_kv_heads"]
    return Prepared(lambda: attend(query, key, value, is_causal=causal, enable_gqa=grouped), (query,))


def _rms_norm(make: Maker, c: Columns) -> Prepared:
    """Root-mean-square norm in float32, as transformers' modules compute it: six kernels."""
    torch = make.torch
    states, weight = make.normal(c["num_tokens"], c["hidden"]), make.normal(c["hidden"])

    def call() -> Any:
        wide = states.to(torch.float32)
        variance = wide.pow(2).mean(-1, keepdim=True)
        return weight * (wide * torch.rsqrt(variance + EPSILON)).to(states.dtype)

    return Prepared(call, (states,))


def _layer_norm(make: Maker, c: Columns) -> Prepared:
    """Layer norm with weight and bias: one kernel."""
    width = c["hidden"]
    states, weight, bias = make.normal(c["num_tokens"], width), make.normal(width), make.normal(width)
    norm = make.torch.nn.functional.layer_norm
    return Prepared(lambda: norm(states, (width,), weight, bias, EPSILON), (states,))


def _rope(make: Maker, c: Columns) -> Prepared:
    """Rotary positions of queries and keys together, in halves: five kernels."""
    torch, width = make.torch, c["head_dim"]
    states = make.normal(1, c["hidden"] // width, c["num_tokens"], width)
    cosine, sine = (make.normal(1, 1, c["num_tokens"], width) for _ in range(2))

    def call() -> Any:
        first, second = states[..., : width // 2], states[..., width // 2 :]
        return states * cosine + torch.cat((-second, first), dim=-1) * sine

    return Prepared(call, (states, cosine, sine))


def _activation(make: Maker, c: Columns) -> Prepared:
    """SiLU of the gate times the up projection: two kernels."""
    gate, up = (make.normal(c["num_tokens"], c["inter"]) for _ in range(2))
    silu = make.torch.nn.functional.silu
    return Prepared(lambda: silu(gate) * up, (gate, up))


def _residual_add(make: Maker, c: Columns) -> Prepared:
    """The sum of two streams."""
    left, right = (make.normal(c["num_tokens"], c["hidden"]) for _ in range(2))
    return Prepared(lambda: left + right, (left, right))


def _cache_append(make: Maker, c: Columns) -> Prepared:
    """Keys and values copied to where one more token's stand behind them, as transformers' DynamicCache does in every step.

    `hidden` is the width of both together. Tensors that grow do not fit the holes that those of the last step have left: on
    a processor about every other one gets pages that the system has to map and clear first, so here the keys get those.
    """
    torch, width, tokens = make.torch, c["head_dim"], c["num_tokens"]
    heads = c["hidden"] // (2 * width)
    keys, values = (make.normal(1, heads, tokens - 1, width) for _ in range(2))
    new = make.normal(1, heads, 1, width)
    size = heads * tokens * width * make.dtype.itemsize

    def call() -> Any:
        return torch.cat((keys, new), dim=-2), torch.cat((values, new), dim=-2)

    def call_with_fresh_pages() -> Any:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        fresh = torch.frombuffer(pages, dtype=make.dtype).view(1, heads, tokens, width)
        return torch.cat((keys, new), dim=-2, out=fresh), torch.cat((values, new), dim=-2)

    return Prepared(call_with_fresh_pages if make.device == "cpu" and os.name == "posix" else call, (new,))


# Rows of the embedding's table: more than any cache holds at the widths measured.
VOCABULARY = 32_768


def _embedding(make: Maker, c: Columns) -> Prepared:
    """Rows gathered from a table."""
    table, rows = make.normal(VOCABULARY, c["hidden"]), make.indices(c["num_tokens"], VOCABULARY)
    lookup = make.torch.nn.functional.embedding
    return Prepared(lambda: lookup(rows, table), (rows,))


def _copy(make: Maker, c: Columns) -> Prepared:
    """Every byte read once and written once."""
    source = make.normal(c["num_tokens"], c["hidden"])
    target = make.torch.empty_like(source)
    return Prepared(lambda: target.copy_(source), (source, target))


def _read(make: Maker, c: Columns) -> Prepared:
    """Every byte read once: a sum."""
    source = make.normal(c["num_tokens"], c["hidden"])
    return Prepared(source.sum, (source,))


def _launch(make: Maker, _: Columns) -> Prepared:
    """One addition of one element: nothing but the way to it and back."""
    one = make.normal(1)
    return Prepared(lambda: one + one, (one,))


def _module_call(make: Maker, _: Columns) -> Prepared:
    """A module around nothing: what Python takes before any kernel is asked for."""
    module = make.torch.nn.Identity()
    one = make.normal(1)
    return Prepared(lambda: module(one), (one,))


def _transfer(make: Maker, c: Columns, *, to_device: bool) -> Prepared:
    """A copy between host (pinned where the device is CUDA's) and device."""
    host = Maker(make.torch, "cpu", make.dtype).normal(c["message_bytes"] // make.dtype.itemsize)
    host = host.pin_memory() if make.device == "cuda" else host
    device = host.to(make.device)
    return Prepared((lambda: device.copy_(host)) if to_device else (lambda: host.copy_(device)), ())


def _experts(make: Maker, c: Columns) -> Prepared:
    """Gated experts over tokens sorted by their expert, as transformers groups them (integrations/moe.py)."""
    torch = make.torch
    experts, hidden, inner = c["n_experts"], c["hidden"], c["inter"]
    states = make.normal(c["num_tokens"], hidden)
    gate_up, down = make.normal(experts, 2 * inner, hidden), make.normal(experts, hidden, inner)
    # Every expert gets as many of the pairs as any other, the distribution that the row names.
    pairs = torch.arange(c["num_tokens"] * c["topk"], device=make.device) % experts
    shares = make.normal(c["num_tokens"] * c["topk"], 1)
    product = _grouped_product(torch, states, gate_up)

    def call() -> Any:
        by_expert, order = torch.sort(pairs)
        ends = torch.cumsum(torch.bincount(by_expert, minlength=experts), dim=0).to(torch.int32)
        gate, up = product(states[order // c["topk"]], gate_up.transpose(1, 2), ends).chunk(2, dim=-1)
        rows = product(torch.nn.functional.silu(gate) * up, down.transpose(1, 2), ends) * shares[order]
        restored = torch.empty_like(rows)
        restored[order] = rows
        return restored.view(c["num_tokens"], c["topk"], hidden).sum(dim=1)

    return Prepared(call, (states,))


def _grouped_product(torch: Any, states: Any, weights: Any) -> Callable[[Any, Any, Any], Any]:
    """PyTorch's grouped product where it runs for this type and device, or else a loop over the experts."""

    def loop(rows: Any, matrices: Any, ends: Any) -> Any:
        edges = [0, *ends.tolist()]
        return torch.cat([rows[a:b] @ matrix for a, b, matrix in zip(edges, edges[1:], matrices, strict=False)])

    grouped = getattr(torch.nn.functional, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)
    if grouped is None:
        return loop
    try:
        ends = torch.full((weights.shape[0],), states.shape[0], dtype=torch.int32, device=states.device)
        grouped(states, weights.transpose(1, 2), offs=ends)
    except (RuntimeError, NotImplementedError, TypeError):
        return loop
    return lambda rows, matrices, ends: grouped(rows, matrices, offs=ends)


KERNELS: dict[str, Preparation] = {
    "gemm": _gemm,
    "prefill_attention": _attention,
    "decode_attention": _attention,
    "norm": _rms_norm,
    "layer_norm": _layer_norm,
    "rope": _rope,
    "activation": _activation,
    "residual_add": _residual_add,
    "embedding": _embedding,
    "cache_append": _cache_append,
    "copy": _copy,
    "read": _read,
    "launch": _launch,
    "module_call": _module_call,
    "moe": _experts,
    "host_to_device": lambda make, c: _transfer(make, c, to_device=True),
    "device_to_host": lambda make, c: _transfer(make, c, to_device=False),
}
