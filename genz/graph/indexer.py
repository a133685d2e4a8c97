"""Operators of the indexer of sparse attention: it scores every cached token, and the best are what attention reads.

Source: DeepSeek-AI, DeepSeek-V3.2-Exp: Boosting Long-Context Efficiency with DeepSeek Sparse Attention, 2025, section 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from genz.graph.context import Context
from genz.graph.step import Group, Operator, Run
from genz.operators.demand import Demand
from genz.operators.visibility import Sight, stretches
from genz.specs.token_mixers import Indexer

# Scores, and what ranks exchange of the best (a score and a position), are in words of four bytes.
SCORE_BYTES = 4
CANDIDATE_BYTES = 8


def indexer_operators(indexer: Indexer, context: Context, *, selected: int) -> Iterable[Operator]:
    """Projections of every new token, its scores with all keys before it, and the choice of the `selected` best.

    Every rank does all of it: queries have few heads and share one key. Ranks that split the cache score their own part
    of it, and agree on the best of all.
    """
    for linear in indexer.linears:
        yield context.linear(linear, context.tokens)
    for part in context.by_phase():
        yield _over_groups("index_scores", part, partial(_scores, indexer, part))
        yield replace(_over_groups("index_top_k", part, _choice), category="elementwise")
        yield from _agreement(part, selected)


def _scores(indexer: Indexer, context: Context, sight: Sight, group: Group) -> Demand:
    """Scores I = sum over heads of w ReLU(q k) of P pairs: FLOPs = 2 P h (d + 1), and one of the vector units a product.

    Keys are read once in the type of the cache, those of new tokens are written; a score is written out for each pair.
    """
    widths, pairs = context.widths, group.sequences * sight.pairs
    tokens = group.sequences * context.local_new_tokens(group)
    return Demand(
        matrix_flops=2.0 * pairs * indexer.heads * (indexer.head_dim + 1),
        vector_flops=pairs * indexer.heads,
        cache_bytes=(group.sequences * sight.keys + tokens) * indexer.head_dim * widths.kv_cache_bytes,
        activation_bytes=tokens * indexer.heads * (indexer.head_dim + 1) * widths.base_bytes + pairs * SCORE_BYTES,
        matrix_type=widths.matrix_type(quantised=True),
    )


def _choice(sight: Sight, group: Group) -> Demand:
    """One pass over all scores."""
    pairs = group.sequences * sight.pairs
    return Demand(vector_flops=pairs, activation_bytes=pairs * SCORE_BYTES)


def _agreement(context: Context, selected: int) -> Iterable[Operator]:
    """Ranks that hold a part of the cache each gather the best of all parts."""
    parallelism = context.parallelism
    if context.step.phase == "prefill":
        return
    for ranks, stride in ((parallelism.decode_context, 1), (parallelism.context, parallelism.context_stride)):
        if ranks > 1:
            candidates = context.tokens * selected * ranks * CANDIDATE_BYTES
            yield context.collective("index_all_gather", "all_gather", candidates, ranks=ranks, stride=stride)


def _over_groups(name: str, context: Context, demand: Callable[[Sight, Group], Demand]) -> Operator:
    """An operator that is done group by group over all keys before each query, over the repeats of the step."""
    runs = tuple(
        Run(
            demand(context.local_sight(stretch.first), group),
            demand(context.local_sight(stretch.last), group),
            stretch.length,
            stretch.weight,
        )
        for group in context.step.groups
        for stretch in stretches(group.context, group.new_tokens, context.step.repeats, advance=group.advance)
    )
    return Operator(name, context.layer, "attention", context.count, runs)
