"""Which cached tokens the queries of a step can see, and how that grows from step to step.

A query at position p (counted from 0) sees min(p + 1, window) keys under a sliding window, and
(p mod chunk) + 1 keys where attention is local to chunks; both counts include its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.numerics import Number, ceil, clip, floor, minimum


@dataclass(frozen=True, slots=True)
class Sight:
    """Query-key pairs and distinct keys of one sequence in one step; `shared` of the keys lie in a shared prompt."""

    pairs: Number
    keys: Number
    shared: Number = 0.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """`length` successive steps over which sight grows evenly from `first` to `last`, counted `weight` times."""

    first: Sight
    last: Sight
    length: Number
    weight: Number = 1.0


def sight(
    context: Number,
    new_tokens: Number,
    *,
    window: int | None = None,
    chunk: int | None = None,
    shared: Number = 0,
    causal: bool = True,
    selected: int | None = None,
) -> Sight:
    """What `new_tokens` queries see on top of `context` cached tokens.

    Full attention: pairs = n c + n (n + 1) / 2, keys = c + n. Window w: with m = clip(w - c, 0, n) queries
    below the window, pairs = m c + m (m + 1) / 2 + (n - m) w, keys = min(c + n, w + n - 1). Chunk C:
    pairs = P(c + n) - P(c), with P the pairs of a prompt of that length; keys from the first chunk on.
    `shared` tokens of the context belong to a prompt that other beams share (full attention only). Attention that is not
    causal sees all keys from every query, or those of its chunk: pairs = n min(c + n, C); a window lies around a query, with
    half of it on each side: pairs = n + S(c + n) - S(c) + S(n) with S(x) = min(0, h) + ... + min(x - 1, h) and h = w // 2.
    A query that sees the `selected` best of the keys before it has as many pairs as under a window of that size; the keys
    that are read at all are min(c + n, n selected) at most, as queries may choose different ones.
    """
    if selected is not None:
        seen_by_each = sight(context, new_tokens, window=selected)
        return Sight(seen_by_each.pairs, minimum(context + new_tokens, new_tokens * selected))
    if not causal:
        if window is not None:
            return Sight(_pairs_both_ways(context, new_tokens, window // 2), context + new_tokens)
        seen = context + new_tokens if chunk is None else minimum(context + new_tokens, chunk)
        return Sight(new_tokens * seen, context + new_tokens)
    if chunk is not None:
        pairs = _chunked_pairs(context + new_tokens, chunk) - _chunked_pairs(context, chunk)
        return Sight(pairs, context + new_tokens - floor(context / chunk) * chunk)
    if window is None:
        return Sight(new_tokens * (context + (new_tokens + 1) / 2), context + new_tokens, shared)
    below = clip(window - context, 0, new_tokens)
    pairs = below * (context + (below + 1) / 2) + (new_tokens - below) * window
    return Sight(pairs, minimum(context + new_tokens, window + new_tokens - 1))


def _pairs_both_ways(context: Number, new_tokens: Number, half: int) -> Number:
    """Pairs of the last `new_tokens` queries with themselves and up to `half` keys on either side."""

    def sides(tokens: Number) -> Number:
        near = minimum(tokens, half)
        return near * (near - 1) / 2 + (tokens - near) * half

    return new_tokens + sides(context + new_tokens) - sides(context) + sides(new_tokens)


def _chunked_pairs(tokens: Number, chunk: int) -> Number:
    """Pairs of a prompt of `tokens` whose attention is local to chunks."""
    whole = floor(tokens / chunk)
    rest = tokens - whole * chunk
    return whole * (chunk * (chunk + 1) / 2) + rest * (rest + 1) / 2


def stretches(
    context: Number,
    new_tokens: Number,
    steps: Number,
    *,
    window: int | None = None,
    chunk: int | None = None,
    shared: Number = 0,
    advance: Number | None = None,
    causal: bool = True,
    selected: int | None = None,
) -> tuple[Stretch, ...]:
    """The sight of `steps` successive steps of `new_tokens`, cut where its growth changes.

    The context grows by `advance` a step: by the new tokens unless told (a verified draft keeps fewer, steps over other
    sequences none). Exact for one new token that advances by one, and for any number without window or chunk: within each
    stretch, pairs and keys grow linearly. A chunk is a sawtooth: whole teeth are counted, then their ends.
    """
    is_plain_decode = isinstance(new_tokens, int) and new_tokens == 1 and advance is None
    if chunk is not None and is_plain_decode:
        return _teeth(context, steps, chunk)
    growth = new_tokens if advance is None else advance

    def see(step: Number) -> Sight:
        position = context + step * growth
        return sight(position, new_tokens, window=window, chunk=chunk, shared=shared, causal=causal, selected=selected)

    if isinstance(advance, int) and advance == 0:
        still = see(0)
        return (Stretch(still, still, steps),)
    limit = window if selected is None else selected
    if limit is None:
        return (Stretch(see(0), see(steps - 1), steps),)
    growing = clip(floor((limit - new_tokens - context) / growth) + 1, 0, steps)
    settled = clip(ceil((limit - 1 - context) / growth), growing, steps)
    full = see(steps - 1)
    parts = [Stretch(see(0), see(growing - 1), growing)]
    if not is_plain_decode:
        parts.append(Stretch(see(growing), see(settled - 1), settled - growing))
        if selected is not None:
            # Several queries go on to read more keys together when each has its fill.
            widest = clip(ceil((new_tokens * (selected - 1) - context) / growth), settled, steps)
            parts.append(Stretch(see(settled), see(widest - 1), widest - settled))
            settled = widest
    return (*parts, Stretch(full, full, steps - settled))


def _teeth(context: Number, steps: Number, chunk: int) -> tuple[Stretch, ...]:
    """Decode steps from position `context` on: sum over [0, end) less sum over [0, context), each in whole teeth and a rest."""

    def tooth(length: Number, weight: Number) -> Stretch:
        return Stretch(Sight(1.0, 1.0), Sight(length, length), length, weight)

    end = context + steps
    return (
        tooth(chunk, floor(end / chunk) - floor(context / chunk)),
        tooth(end - floor(end / chunk) * chunk, 1.0),
        tooth(context - floor(context / chunk) * chunk, -1.0),
    )
