"""Experts: what a batch touches, how loaded the fullest rank is, and what the exchange of tokens costs."""

import numpy as np
import pytest

import genz
from genz.errors import UnknownNameError
from genz.inference.evaluate import decode_step, operators, prefill_step
from genz.operators.moe import rank_load, touched_experts


@pytest.mark.parametrize(("tokens", "expected"), [(1, 2.0), (8, 7.2), (64, 8.0)])
def test_mixtral_reads_its_experts_by_hand(tokens: int, expected: float) -> None:
    # 8 (1 - (3/4)^T)
    assert touched_experts(tokens, experts=8, top_k=2) == pytest.approx(expected, abs=0.01)


def draw(tokens: int, experts: int, top_k: int, ranks: int, *, trials: int = 400) -> tuple[float, float]:
    """(distinct experts, pairs on the fullest rank over the mean), averaged over random routings."""
    generator = np.random.default_rng(7)
    distinct, load = [], []
    for _ in range(trials):
        chosen = generator.random((tokens, experts)).argpartition(top_k, axis=1)[:, :top_k]
        counts = np.bincount(chosen.ravel(), minlength=experts)
        distinct.append((counts > 0).sum())
        by_rank = counts.reshape(ranks, -1).sum(axis=1)
        load.append(by_rank.max() / by_rank.mean())
    return float(np.mean(distinct)), float(np.mean(load))


@pytest.mark.parametrize(("tokens", "experts", "top_k", "ranks"), [(16, 64, 6, 8), (128, 256, 8, 32), (500, 8, 2, 4)])
def test_uniform_routing_against_random_draws(tokens: int, experts: int, top_k: int, ranks: int) -> None:
    distinct, load = draw(tokens, experts, top_k, ranks)
    assert touched_experts(tokens, experts=experts, top_k=top_k) == pytest.approx(distinct, rel=0.02)
    found = rank_load("uniform", tokens, experts=experts, top_k=top_k, ranks=ranks)
    assert found == pytest.approx(load, rel=0.06)


def test_the_worst_routing_sends_all_tokens_to_one_rank() -> None:
    # Mixtral on 4 ranks of 2 experts: both experts of every token on one rank, four times the mean.
    assert rank_load("worst", 32, experts=8, top_k=2, ranks=4) == 4.0
    # DeepSeek-V3 on 256 ranks of 1: a token's eight experts differ, so a rank gets one of them.
    assert rank_load("worst", 32, experts=256, top_k=8, ranks=256) == 32.0
    assert rank_load("balanced", 32, experts=8, top_k=2, ranks=4) == 1.0


def test_an_unknown_routing_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"balanced|uniform"):
        rank_load("unifrom", 1, experts=8, top_k=2, ranks=4)


def test_a_skewed_load_never_helps() -> None:
    times = [
        genz.predict("mixtral-8x7b", "4x h100-sxm", ep=4, dp=4, batch=64, input=500, output=50, routing=routing).ttft
        for routing in ("balanced", "uniform", "worst")
    ]
    assert times == sorted(times) and times[0] < times[-1]


def test_experts_in_one_tensor_group_need_no_exchange_of_tokens() -> None:
    names = {
        layout: [op.name for op in operators(question, decode_step(question)) if op.collective and op.layer.endswith("experts")]
        for layout, question in {
            "tensor": genz.settle_question("mixtral-8x7b", "4x h100-sxm", tp=4, ep=4, input=100, output=10),
            "data": genz.settle_question("mixtral-8x7b", "4x h100-sxm", tp=1, ep=4, input=100, output=10),
            "both": genz.settle_question("mixtral-8x7b", "4x h100-sxm", tp=2, ep=4, input=100, output=10),
        }.items()
    }
    assert names["tensor"] == ["attention_all_reduce", "feed_forward_all_reduce"]
    assert names["data"] == ["dispatch", "combine"]
    assert names["both"] == ["attention_all_reduce", "dispatch", "combine", "experts_all_gather"]


def test_expert_work_is_conserved_over_ranks() -> None:
    """All ranks together multiply as much as one device that had all tokens."""
    alone = genz.settle_question("mixtral-8x7b", "b200", batch=16, input=256, output=2)
    spread = genz.settle_question("mixtral-8x7b", "8x b200", ep=8, batch=16, input=256, output=2)
    work = [
        sum(
            op.count * run.first.matrix_flops
            for op in operators(q, prefill_step(q))
            if op.category == "experts"
            for run in op.runs
        )
        for q in (alone, spread)
    ]
    assert 8 * work[1] == pytest.approx(work[0])


def test_redundant_experts_take_memory_and_lower_the_load() -> None:
    plain = genz.settle_question("deepseek-v3", "dgx-h200-x4", ep=32, batch=64, input=256, output=2)
    copied = genz.settle_question("deepseek-v3", "dgx-h200-x4", ep=32, batch=64, input=256, output=2, redundant_experts=32)
    # 256 experts on 32 ranks are 8 each; 32 more make 9: one more of 58 layers' experts on every rank, in FP8 blocks.
    one_expert = 58 * 3 * 7168 * 2048 * (1 + 4 / 16384)
    held = [genz.evaluate(question).memory.weights_bytes for question in (plain, copied)]
    assert held[1] - held[0] == pytest.approx(one_expert, rel=1e-9)


def test_redundant_experts_need_ranks() -> None:
    with pytest.raises(genz.InvalidValueError, match="num_redundant_experts"):
        genz.settle_question("mixtral-8x7b", "4x h100-sxm", tp=4, input=10, output=2, redundant_experts=8)


def popular(tokens: int, experts: int, top_k: int, ranks: int, alpha: float, *, trials: int = 300) -> tuple[float, float]:
    """(experts at work and pairs, over the mean, of the fullest rank): popularity drawn by a power law, then pairs by it."""
    generator = np.random.default_rng(3)
    low, high = (1.0, 0.8 * tokens) if tokens * top_k > experts else (0.01, 2.0)
    power = 1 - alpha
    touched, load = [], []
    for _ in range(trials):
        drawn = ((high**power - low**power) * generator.random(experts) + low**power) ** (1 / power)
        counts = generator.poisson(drawn / drawn.sum() * tokens * top_k)
        by_rank = counts.reshape(ranks, -1)
        fullest = by_rank[by_rank.sum(axis=1).argmax()]
        touched.append((fullest > 0).sum())
        load.append(fullest.sum() * ranks / (tokens * top_k))
    return float(np.mean(touched)), float(np.mean(load))


@pytest.mark.parametrize(
    ("tokens", "experts", "top_k", "ranks"), [(16, 256, 8, 8), (256, 128, 8, 16), (2048, 256, 8, 32), (4096, 256, 8, 64)]
)
@pytest.mark.parametrize("alpha", [1.01, 1.2])
def test_a_power_law_against_draws_by_it(tokens: int, experts: int, top_k: int, ranks: int, alpha: float) -> None:
    touched, load = popular(tokens, experts, top_k, ranks, alpha)
    routing = f"power_law_{alpha}"
    found = rank_load(routing, tokens, experts=experts, top_k=top_k, ranks=ranks)
    assert found == pytest.approx(load, rel=0.1)
    local = experts // ranks
    distinct = touched_experts(tokens, experts=experts, top_k=top_k, local_experts=local, load=found, routing=routing)
    assert distinct == pytest.approx(touched, rel=0.12)


def test_a_power_law_over_arrays_is_that_of_its_elements() -> None:
    tokens = np.array([1.0, 3.0, 50.0, 7000.0])
    loads = rank_load("power_law_1", tokens, experts=64, top_k=4, ranks=8)
    assert loads == pytest.approx([rank_load("power_law_1.0", float(t), experts=64, top_k=4, ranks=8) for t in tokens])
    touched = touched_experts(tokens, experts=64, top_k=4, routing="power_law_1")
    assert (np.diff(touched) > 0).all() and (touched <= 64).all() and (touched <= 4 * tokens).all()


def test_the_popular_experts_are_fewer_than_all_alike() -> None:
    skewed, alike = (touched_experts(64, experts=128, top_k=8, routing=r) for r in ("power_law_1.2", "uniform"))
    assert skewed < alike


@pytest.mark.parametrize(
    "routing", ["power_law", "power_law_", "power_law_x", "power_law_-1", "power_law_nan", "power_law_9", ""]
)
def test_a_power_law_needs_an_exponent(routing: str) -> None:
    with pytest.raises(UnknownNameError, match="power_law_ALPHA"):
        rank_load(routing, 1, experts=8, top_k=2, ranks=4)
    with pytest.raises(UnknownNameError, match="power_law_ALPHA"):
        genz.settle_question("mixtral-8x7b", "4x h100-sxm", ep=4, input=10, output=2, routing=routing)


def test_predictions_take_a_power_law() -> None:
    question = {"ep": 4, "dp": 4, "batch": 512, "input": 500, "output": 50}
    even, skewed = (
        genz.predict("mixtral-8x7b", "4x h100-sxm", routing=routing, **question).ttft
        for routing in ("balanced", "power_law_1.2")
    )
    assert skewed > even
