"""The time of a collective: every algorithm that its network allows, and the best of them unless one is named."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from genz.errors import InvalidValueError, UnsupportedError, unknown_name
from genz.numerics import Number, minimum
from genz.timing.network import all_reduce, all_to_all, broadcast, gather, hierarchy
from genz.timing.network.layout import Span
from genz.timing.network.patterns import has_paths_between_all
from genz.timing.network.point_to_point import point_to_point

Algorithm = Callable[[Number, Span], Number]
BEST = "best"


def collective_time(
    kind: str, message_bytes: Number, *, span: Span, algorithm: str = BEST, efficiency: Number = 1.0, skew: Number = 1.0
) -> Number:
    """Seconds of a collective over the ranks of a span.

    `message_bytes` [B] is the buffer of each rank for an all-reduce, a broadcast and a message, what each rank sends
    (its own part too) for an all-to-all, and the whole buffer, all ranks' parts together, for an all-gather and a
    reduce-scatter, as in nccl-tests. `efficiency` is the share of the data-sheet bandwidth that is reached. `skew` is
    the most loaded rank's share of an all-to-all over the mean. Raises `UnknownNameError` for a collective or an
    algorithm that does not exist, `UnsupportedError` for an algorithm that this network does not allow.
    """
    _check(kind, algorithm, skew)
    if not span:
        return 0.0 * message_bytes
    # Every cost depends on the bandwidth through bytes over bandwidth alone.
    message_bytes = message_bytes / efficiency
    if algorithm == BEST:
        return _best(kind, message_bytes, span, skew=skew)
    found = _candidates(kind, span, skew)
    if algorithm not in found:
        raise UnsupportedError(
            f"{kind} by {algorithm!r} is not possible on {_described(span)}",
            field="algorithm",
            value=algorithm,
            allowed=", ".join((BEST, *found)),
        )
    return found[algorithm](message_bytes, span)


def algorithms(kind: str, span: Span) -> tuple[str, ...]:
    """Names of the algorithms of a collective that the network of a span allows."""
    _check(kind, BEST, 1.0)
    return tuple(_candidates(kind, span, 1.0)) if span else ()


def _best(kind: str, message_bytes: Number, span: Span, *, skew: Number = 1.0) -> Number:
    return minimum(*[cost(message_bytes, span) for cost in _candidates(kind, span, skew).values()])


def _all_reduce(span: Span, _skew: Number) -> dict[str, Algorithm]:
    if len(span) == 1 and not has_paths_between_all(span):
        return {"ring": all_reduce.ring, "bidirectional_ring": all_reduce.bidirectional_ring}
    found: dict[str, Algorithm] = {}
    if has_paths_between_all(span):
        found = {
            "ring": all_reduce.ring,
            "tree": all_reduce.tree,
            "one_shot": all_reduce.one_shot,
            "two_shot": all_reduce.two_shot,
        }
    if len(span) > 1:
        return {**found, "hierarchical": partial(hierarchy.all_reduce, best=_best)}
    found["recursive_halving_doubling"] = all_reduce.recursive_halving_doubling
    if span[0].dimension.in_network_reduction:
        found["in_network"] = all_reduce.in_network
    return found


def _gather(span: Span, _skew: Number, *, kind: str, recursive: str) -> dict[str, Algorithm]:
    if len(span) == 1 and not has_paths_between_all(span):
        return {"ring": gather.ring, "bidirectional_ring": gather.bidirectional_ring}
    found: dict[str, Algorithm] = {}
    if has_paths_between_all(span):
        found = {"ring": gather.ring, "direct": gather.direct}
    if len(span) > 1:
        return {**found, "hierarchical": partial(hierarchy.gather, best=_best, kind=kind)}
    return {**found, recursive: gather.recursive}


def _all_to_all(span: Span, skew: Number) -> dict[str, Algorithm]:
    found: dict[str, Algorithm] = {"direct": partial(all_to_all.direct, skew=skew)}
    if len(span) > 1:
        found["hierarchical"] = partial(hierarchy.all_to_all, best=partial(_best, skew=skew))
    elif has_paths_between_all(span):
        found["pairwise"] = partial(all_to_all.pairwise, skew=skew)
    elif len(span[0].axes) == 1:
        found["ring"] = partial(all_to_all.ring, skew=skew)
    return found


def _broadcast(span: Span, _skew: Number) -> dict[str, Algorithm]:
    if len(span) > 1:
        return {
            "hierarchical": partial(hierarchy.broadcast, best=_best),
            "scatter_gather": partial(hierarchy.scatter_gather, best=_best),
        }
    found: dict[str, Algorithm] = {"chain": broadcast.chain}
    return {**found, "tree": broadcast.tree, "one_shot": broadcast.one_shot} if has_paths_between_all(span) else found


def _send_receive(_span: Span, _skew: Number) -> dict[str, Algorithm]:
    return {"point_to_point": point_to_point}


_CANDIDATES: dict[str, Callable[[Span, Number], dict[str, Algorithm]]] = {
    "all_reduce": _all_reduce,
    "reduce_scatter": partial(_gather, kind="reduce_scatter", recursive="recursive_halving"),
    "all_gather": partial(_gather, kind="all_gather", recursive="recursive_doubling"),
    "all_to_all": _all_to_all,
    "broadcast": _broadcast,
    "send_receive": _send_receive,
}
KINDS = tuple(_CANDIDATES)
_NAMES = {
    "all_reduce": (
        "ring", "bidirectional_ring", "tree", "one_shot", "two_shot", "recursive_halving_doubling", "in_network",
        "hierarchical",
    ),
    "reduce_scatter": ("ring", "bidirectional_ring", "direct", "recursive_halving", "hierarchical"),
    "all_gather": ("ring", "bidirectional_ring", "direct", "recursive_doubling", "hierarchical"),
    "all_to_all": ("direct", "pairwise", "ring", "hierarchical"),
    "broadcast": ("chain", "tree", "one_shot", "hierarchical", "scatter_gather"),
    "send_receive": ("point_to_point",),
}  # fmt: skip


def _candidates(kind: str, span: Span, skew: Number) -> dict[str, Algorithm]:
    return _CANDIDATES[kind](span, skew)


def _check(kind: str, algorithm: str, skew: Number) -> None:
    if kind not in _CANDIDATES:
        raise unknown_name("collective", kind, KINDS)
    if algorithm != BEST and algorithm not in _NAMES[kind]:
        raise unknown_name("algorithm", algorithm, (BEST, *_NAMES[kind]))
    if not isinstance(skew, (int, float)):
        return
    if skew < 1:
        raise InvalidValueError(f"skew = {skew} is below 1", field="skew", value=skew, allowed="1 (balanced) and more")
    if skew > 1 and kind != "all_to_all":
        raise InvalidValueError(f"{kind} has no skew", field="skew", value=skew, allowed="1")


def _described(span: Span) -> str:
    return " x ".join(f"{hop.dimension.topology} ({hop.ranks} ranks)" for hop in span)
