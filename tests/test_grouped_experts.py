"""Experts in groups with equal load, zero experts, shortcuts: formulas against simulated routers and figures by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import genz
from genz.graph.builder import build
from genz.graph.step import Group, Step
from genz.operators.exchange import Routing
from genz.operators.moe import rank_load, touched_experts
from genz.specs import catalog
from genz.specs.channel_mixers import FeedForward, MixtureOfExperts
from genz.specs.parallelism import Parallelism
from genz.timing.network import span
from genz.timing.network.dispatch import copies, distinct_groups

PANGU = {"experts": 64, "top_k": 8, "even_groups": 8}


def simulated(tokens: int, *, experts: int, top_k: int, even_groups: int = 1, zero_experts: int = 0, rounds: int = 400) -> Any:
    """Pairs of each expert in `rounds` batches: k / G different ones of each group for every token, at random."""
    generator = np.random.default_rng(20250521)
    pool = (experts + zero_experts) // even_groups
    scores = generator.random((rounds, tokens, even_groups, pool))
    picked = np.argpartition(scores, top_k // even_groups, axis=-1)[..., : top_k // even_groups]
    hits = np.zeros((rounds, even_groups, pool), dtype=int)
    for group in range(even_groups):
        for expert in range(pool):
            hits[:, group, expert] = (picked[:, :, group] == expert).sum(axis=(1, 2))
    return hits.reshape(rounds, -1)[:, :experts]


# How many experts a batch touches.


def test_touched_experts_of_pangu_by_hand() -> None:
    """One of eight experts in each of eight groups: 64 (1 - (7/8)^4) = 26.484375 at four tokens, 8 at one."""
    assert touched_experts(1, **PANGU) == pytest.approx(8, rel=1e-9)
    assert touched_experts(4, **PANGU) == pytest.approx(26.484375, rel=1e-9)
    assert touched_experts(4, **PANGU, local_experts=16) == pytest.approx(26.484375 / 4, rel=1e-9)


@pytest.mark.parametrize("tokens", [3, 16])
@pytest.mark.parametrize(
    "mixture", [PANGU, {"experts": 24, "top_k": 6, "even_groups": 3}, {"experts": 16, "top_k": 6, "zero_experts": 8}]
)
def test_touched_experts_as_simulated(mixture: dict[str, int], tokens: int) -> None:
    touched = (simulated(tokens, **mixture) > 0).sum(axis=1)
    assert touched_experts(tokens, **mixture) == pytest.approx(touched.mean(), rel=0.02)


def test_longcat_touches_a_share_of_its_experts() -> None:
    """512 experts and 256 zero ones, 12 picked: 512 (1 - (1 - 12/768)^T) is 8 at one token and 323.9 at 64."""
    longcat = {"experts": 512, "top_k": 12, "zero_experts": 256}
    assert touched_experts(1, **longcat) == pytest.approx(8, rel=1e-9)
    assert touched_experts(64, **longcat) == pytest.approx(512 * (1 - (63 / 64) ** 64), rel=1e-9)


# How loaded the fullest rank is.


@pytest.mark.parametrize("routing", ["balanced", "uniform", "worst", "identical", "power_law_1.2"])
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_ranks_with_whole_groups_have_the_same_load_whatever_the_routing(routing: str, ranks: int) -> None:
    assert rank_load(routing, 7, ranks=ranks, **PANGU) == 1.0
    per_rank = simulated(7, **PANGU).reshape(400, ranks, -1).sum(axis=2)
    assert (per_rank == 7 * 8 / ranks).all()


@pytest.mark.parametrize(
    ("mixture", "ranks"),
    [
        (PANGU, 16),
        ({"experts": 64, "top_k": 8, "even_groups": 2}, 8),
        ({"experts": 32, "top_k": 4, "zero_experts": 16}, 8),
        ({"experts": 64, "top_k": 8}, 8),
    ],
)
def test_load_of_the_fullest_rank_as_simulated(mixture: dict[str, int], ranks: int) -> None:
    """A normal maximum stands for that of sums of few draws: within a few per cent at 256 tokens."""
    per_rank = simulated(256, **mixture, rounds=200).reshape(200, ranks, -1).sum(axis=2)
    mean = per_rank.mean()
    assert rank_load("uniform", 256, ranks=ranks, **mixture) == pytest.approx((per_rank.max(axis=1) / mean).mean(), rel=0.02)


def test_groups_bound_the_worst_case() -> None:
    """Sixteen ranks of four experts: ungrouped, a token's eight picks can put four on one rank, 4 x 16 / 8 times the mean;
    with one pick a group, one, on one of the two ranks that share the group: twice the mean."""
    assert rank_load("worst", 1, experts=64, top_k=8, ranks=16) == 8
    assert rank_load("worst", 1, ranks=16, **PANGU) == 2


def test_a_power_law_skews_ranks_within_a_group_alone() -> None:
    grouped = rank_load("power_law_1.2", 256, ranks=16, **PANGU)
    assert 1 < grouped < rank_load("power_law_1.2", 256, experts=64, top_k=8, ranks=16)
    assert grouped <= 2


def test_zero_experts_leave_their_share_of_the_pairs() -> None:
    """16 experts and 8 zero ones, 6 picked: 4 have weights; all 6 on a rank of 4 experts are 4, of a mean of one."""
    mixture = MixtureOfExperts(48, 16, 6, FeedForward(48, 16), zero_experts=8)
    assert mixture.picked == 4
    assert simulated(50, experts=16, top_k=6, zero_experts=8).sum(axis=1).mean() / 50 == pytest.approx(4, rel=0.01)
    assert rank_load("worst", 1, experts=16, top_k=6, zero_experts=8, ranks=4) == 4
    assert mixture.router.outputs == 24


# Where tokens are sent.


def test_every_rank_of_pangu_receives_each_token() -> None:
    """Two groups to each of four ranks: a token has two experts on every one. Picked at random it would reach
    4 (1 - C(48, 8) / C(64, 8)) = 3.66 of them."""
    grouped = Routing(8, experts=64, even_groups=8)
    random = Routing(8, experts=64)
    ranks = node(4)
    assert copies(grouped, ranks) == pytest.approx((3.0,))
    reached = 4 * (1 - np.prod([(48 - i) / (64 - i) for i in range(8)]))
    assert copies(random, ranks) == pytest.approx((reached * 3 / 4,))


def node(ranks: int) -> Any:
    return span(catalog.platform("dgx-h100").network, ranks, 1)


def test_zero_experts_lie_on_no_rank() -> None:
    """Of 2 experts on 2 ranks and 2 zero ones one is picked: one in four of each, so that half a rank is reached."""
    assert distinct_groups(2, 1, 2, zero_experts=2) == pytest.approx(0.5)
    assert distinct_groups(1, 2, 2, zero_experts=2) == pytest.approx(1 - (2 / 4) * (1 / 3))
    assert Routing(12, experts=512, zero_experts=256).sent == 8


# In the graph.


def operators(name: str, tokens: int, parallelism: Parallelism, widths: Any, routing: str = "balanced") -> dict[str, Any]:
    built = build(
        catalog.model(name),
        Step("decode", (Group(tokens, 1, 100),)),
        parallelism=parallelism,
        widths=widths,
        engine=catalog.engine("vllm"),
        routing=routing,
    )
    return {operator.name: operator for operator in built if "experts" in operator.layer or operator.category == "experts"}


def test_pangu_on_four_ranks_reads_the_same_experts_whatever_the_routing(bf16: Any) -> None:
    """Sixteen local experts, of which a batch of 4 touches 16 (1 - (7/8)^4) = 6.62; up and gate are 2 x 1344 x 5120 each."""
    for routing in ("balanced", "uniform", "worst"):
        built = operators("pangu-pro-moe-72b", 4, Parallelism(4, expert=4), bf16, routing)
        first = built["experts_gate_up_gemm"].runs[0].first
        assert first.weight_bytes == pytest.approx(16 * (1 - (7 / 8) ** 4) * 2 * 1344 * 5120 * 2, rel=1e-9)
        assert first.matrix_flops == pytest.approx(2 * (4 * 8 / 4) * 2 * 1344 * 5120, rel=1e-9)


def test_longcat_hides_its_exchange_behind_its_dense_network(bf16: Any) -> None:
    built = operators("longcat-flash", 64, Parallelism(1, data=8, expert=8), bf16)
    assert built["dispatch"].hides_behind == "gate_up_gemm" and built["combine"].hides_behind == "down_gemm"
    assert {"gate_up_gemm", "down_gemm"} <= set(built)
    assert built["router_gemm"].runs[0].first.matrix_flops == 2 * 64 * 6144 * 768


@pytest.mark.parametrize("fidelity", ["roofline", "calibrated"])
def test_a_shortcut_hides_no_more_than_the_exchange(fidelity: str) -> None:
    """The same model without the shortcut pays for the exchange in full: slower, by at most what dispatch and combine take."""
    model = catalog.model("longcat-flash")
    plain = replace(
        model, layers=tuple(replace(layer, channel_mixer=without_shortcut(layer.channel_mixer)) for layer in model.layers)
    )
    asked = {"input": 512, "output": 64, "batch": 512, "dp": 8, "ep": 8, "precision": "fp8", "fidelity": fidelity}
    hidden, exposed = (genz.predict(each, "dgx-h200", **asked) for each in (model, plain))
    exchanges = [cost for cost in exposed.outcome.decode.operators if cost.operator.name in ("dispatch", "combine")]
    exchanged = sum(cost.device_time for cost in exchanges)
    assert 0 < (exposed.tpot - hidden.tpot) * 63 <= exchanged * 1.001


def without_shortcut(mixer: Any) -> Any:
    return replace(mixer, shortcut=False) if isinstance(mixer, MixtureOfExperts) else mixer
