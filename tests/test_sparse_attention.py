"""Latent attention that reads the tokens an indexer chooses: pairs, FLOPs, bytes and caches against counts and transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_experts import SPARSE_ATTENTION, TINY, rectangles_by_kind

import genz
from genz.footprint import kv_bytes_per_token, request_cache_bytes
from genz.graph.builder import build, matrix_flops
from genz.graph.step import Group, Operator, Step
from genz.inference.evaluate import evaluate
from genz.operators.visibility import sight, stretches
from genz.specs import catalog
from genz.specs.huggingface import model_from_config
from genz.specs.parallelism import Parallelism
from genz.specs.workload import Workload

SPARSE = [name for name in TINY if name.partition("-")[0] in SPARSE_ATTENTION]
STEPS = {"prefill": ("prefill", 2, 11, 0), "chunk": ("prefill", 2, 5, 20), "decode": ("decode", 3, 1, 13)}
SELECTED = 7  # index_topk of the tiny models


def graph(model: Any, step: Step, widths: Any, engine: str = "vllm", **degrees: int) -> tuple[Operator, ...]:
    return build(
        model, step, parallelism=Parallelism(**(degrees or {"tensor": 1})), widths=widths, engine=catalog.engine(engine)
    )


def operators(model: Any, step: Step, widths: Any, **degrees: int) -> dict[str, Operator]:
    """The operators of the last kind of layers by name."""
    return {operator.name: operator for operator in graph(model, step, widths, **degrees)}


def counted(context: int, new_tokens: int, selected: int) -> int:
    """Pairs by going through the queries: each sees all keys up to its own, or as many as it may choose."""
    return sum(min(position + 1, selected) for position in range(context, context + new_tokens))


# What is seen.


@settings(max_examples=200, deadline=None, derandomize=True)
@given(context=st.integers(0, 40), new_tokens=st.integers(1, 30), selected=st.integers(1, 20))
def test_a_query_sees_what_it_may_choose(context: int, new_tokens: int, selected: int) -> None:
    seen = sight(context, new_tokens, selected=selected)
    assert seen.pairs == counted(context, new_tokens, selected)
    assert seen.keys == min(context + new_tokens, new_tokens * selected)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(context=st.integers(0, 30), steps=st.integers(1, 40), selected=st.integers(1, 20))
def test_decode_steps_add_up(context: int, steps: int, selected: int) -> None:
    """Each step's sight lies on its stretch's line, so that the ends of the stretches give the sums."""
    pairs = keys = 0.0
    for stretch in stretches(context, 1, steps, selected=selected):
        pairs += stretch.weight * stretch.length * (stretch.first.pairs + stretch.last.pairs) / 2
        keys += stretch.weight * stretch.length * (stretch.first.keys + stretch.last.keys) / 2
    assert pairs == keys == counted(context, steps, selected)


# FLOPs against transformers, which multiplies everything and masks what was not chosen.


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", SPARSE)
def test_flops_but_for_attention(name: str, step: str, bf16: Any) -> None:
    """Projections of attention and of the indexer, experts, routers and the head are equal; the indexer's scores are those
    of the keys before each query: its rectangle of new tokens x keys, cut down to the pairs."""
    phase, batch, new_tokens, context = STEPS[step]
    model = model_from_config(TINY[name], name=name)
    built = graph(model, Step(phase, (Group(batch, new_tokens, context),)), bf16, "pytorch")  # type: ignore[arg-type]
    expected, _ = rectangles_by_kind(TINY[name], batch, new_tokens, context)
    share = sight(context, new_tokens).pairs / (new_tokens * (context + new_tokens))
    scores = matrix_flops(o for o in built if o.name == "index_scores")
    assert scores == pytest.approx(expected["index"] * share, rel=1e-12)
    own = {"latent_expand_gemm": "expansion", "router_gemm": "router", "lm_head_gemm": "head"}
    assert matrix_flops(o for o in built if o.category == "gemm" and o.name not in own) == expected["linear"]
    assert matrix_flops(o for o in built if o.category == "experts") == expected["experts"]
    for operator, kind in own.items():
        if operator != "latent_expand_gemm" or new_tokens * SELECTED >= context + new_tokens:
            assert matrix_flops(o for o in built if o.name == operator) == expected[kind]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", SPARSE)
def test_attention_of_the_chosen_tokens(name: str, step: str, bf16: Any) -> None:
    """Where nothing is absorbed, the oracle's rectangle of each layer cut down to min(position + 1, 7) keys a query."""
    phase, batch, new_tokens, context = STEPS[step]
    model = model_from_config(TINY[name], name=name)
    built = graph(model, Step(phase, (Group(batch, new_tokens, context),)), bf16, "pytorch")  # type: ignore[arg-type]
    _, rectangles = rectangles_by_kind(TINY[name], batch, new_tokens, context)
    expected = sum(rectangles) / (new_tokens * (context + new_tokens)) * counted(context, new_tokens, SELECTED)
    found = matrix_flops(o for o in built if o.category == "attention" and o.name != "index_scores")
    assert found == pytest.approx(expected, rel=1e-12)


# DeepSeek-V3.2 by hand.


def test_a_decode_step_of_deepseek_v32_by_hand(bf16: Any) -> None:
    """One token at 65,536 keys: scores of 64 heads x 128 over all of them, attention of 128 heads over 2,048 latents."""
    step = Step("decode", (Group(1, 1, 65_535),))
    built = operators(catalog.model("deepseek-v3.2-exp"), step, bf16)
    scores, chosen = built["index_scores"], built["latent_attention"]
    per_layer = scores.runs[-1].first
    assert matrix_flops([scores]) == scores.count * 2 * 65_536 * 64 * 129
    assert per_layer.cache_bytes == (65_536 + 1) * 128 * 2
    assert matrix_flops([chosen]) == chosen.count * 2 * 2_048 * 128 * (576 + 512)
    assert chosen.runs[-1].first.cache_bytes == (2_048 + 1) * 576 * 2
    assert sum(o.count for o in graph(catalog.model("deepseek-v3.2-exp"), step, bf16) if o.name == "index_scores") == 61
    shape = chosen.runs[-1].first.shape
    assert shape is not None and shape.context == 2_047  # type: ignore[union-attr]


def test_short_contexts_are_read_whole(bf16: Any) -> None:
    sparse, whole = (catalog.model(name) for name in ("deepseek-v3.2-exp", "deepseek-v3"))
    for context in (0, 1_000, 2_047):
        step = Step("decode", (Group(4, 1, context),))
        found, expected = (operators(model, step, bf16)["latent_attention"] for model in (sparse, whole))
        assert matrix_flops([found]) == matrix_flops([expected])
        assert found.runs[0].first.cache_bytes == expected.runs[0].first.cache_bytes


def test_prefill_works_on_latents_where_each_query_chooses(bf16: Any) -> None:
    """4,096 new tokens: 2,048 x 2,049 / 2 pairs before the choice begins to bind, 2,048 x 2,048 behind."""
    built = operators(catalog.model("deepseek-v3.2-exp"), Step("prefill", (Group(1, 4_096),)), bf16)
    pairs = 2_048 * 2_049 // 2 + 2_048 * 2_048
    chosen = built["latent_attention"]
    assert matrix_flops([chosen]) == chosen.count * 2 * pairs * 128 * (576 + 512)
    assert "latent_expand_gemm" not in built
    assert chosen.runs[0].first.shape is None
    assert matrix_flops([built["index_scores"]]) == chosen.count * 2 * (4_096 * 4_097 // 2) * 64 * 129
    top_k = built["index_top_k"]
    assert top_k.category == "elementwise"
    assert top_k.runs[0].first.activation_bytes == 4_096 * 4_097 // 2 * 4


def test_every_rank_scores_for_itself_and_splits_attention(bf16: Any) -> None:
    model, step = catalog.model("deepseek-v3.2-exp"), Step("decode", (Group(4, 1, 10_000),))
    one, eight = operators(model, step, bf16), operators(model, step, bf16, tensor=8)
    assert matrix_flops([one["index_scores"]]) == matrix_flops([eight["index_scores"]])
    assert matrix_flops([one["index_query_gemm"]]) == matrix_flops([eight["index_query_gemm"]])
    assert matrix_flops([one["latent_attention"]]) == 8 * matrix_flops([eight["latent_attention"]])


def test_ranks_that_split_the_cache_agree_on_what_they_read(bf16: Any) -> None:
    """Each of 8 scores an eighth of the keys; 2,048 candidates of 8 bytes from each of them go round."""
    model, step = catalog.model("deepseek-v3.2-exp"), Step("decode", (Group(4, 1, 10_000),))
    one, split = operators(model, step, bf16, tensor=8), operators(model, step, bf16, tensor=8, decode_context=8)
    assert matrix_flops([split["index_scores"]]) == pytest.approx(matrix_flops([one["index_scores"]]) / 8)
    gathered = split["index_all_gather"]
    assert gathered.ranks == 8
    assert gathered.runs[0].first.message_bytes == 4 * 8 * 2_048 * 8
    assert "index_all_gather" not in one


def test_layers_may_take_over_what_an_earlier_one_chose(bf16: Any) -> None:
    """GLM-5 with one indexer to four layers: 21 of 78 have keys of their own in the cache, as GLM-5.2's file lists them."""
    config = {**catalog_config("glm-5"), "index_topk_freq": 4, "index_skip_topk_offset": 3}
    model = model_from_config(config, name="shared")
    own = [i for i, layer in enumerate(model.layers) if layer.token_mixer.indexer is not None]  # type: ignore[union-attr]
    assert own == [0, 1, 2, *range(6, 78, 4)] and len(own) == 21
    assert kv_bytes_per_token(model, bf16) == (78 * 576 + 21 * 128) * 2
    assert kv_bytes_per_token(catalog.model("glm-5"), bf16) == 78 * (576 + 128) * 2


def catalog_config(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(Path(catalog.files("model")[name]).read_text(encoding="utf-8"))["config"]
    return config


# What it comes to.


def test_the_cache_holds_the_indexers_keys(bf16: Any) -> None:
    model = catalog.model("deepseek-v3.2-exp")
    assert request_cache_bytes(model, bf16, Workload(1_000, 24)) == 1_024 * 61 * (512 + 64 + 128) * 2


def test_attention_stops_to_grow_with_context_and_scores_go_on(bf16: Any) -> None:
    """From 32k to 128k keys the dense model's attention takes four times as much, the sparse one's not a byte more."""
    near, far = (Step("decode", (Group(1, 1, context),)) for context in (32_767, 131_071))
    sparse, dense = catalog.model("deepseek-v3.2-exp"), catalog.model("deepseek-v3")

    def moved(model: Any, step: Step, name: str) -> float:
        return float(operators(model, step, bf16)[name].runs[-1].first.cache_bytes)

    assert moved(sparse, near, "latent_attention") == moved(sparse, far, "latent_attention")
    assert moved(dense, far, "latent_attention") == pytest.approx(4 * moved(dense, near, "latent_attention"), rel=1e-3)
    assert moved(sparse, far, "index_scores") == pytest.approx(4 * moved(sparse, near, "index_scores"), rel=1e-3)


@pytest.mark.parametrize("fidelity", ["roofline", "engine", "calibrated"])
def test_long_decodes_are_faster_than_the_dense_models(fidelity: str) -> None:
    asked = {"input": 131_072, "output": 1_000, "batch": 8, "tp": 8, "fidelity": fidelity, "kv_cache_dtype": "fp8"}
    sparse, dense = (genz.predict(name, "dgx-h200", **asked) for name in ("deepseek-v3.2-exp", "deepseek-v3"))
    assert sparse.tpot < dense.tpot
    assert sparse.memory.kv_cache_bytes > dense.memory.kv_cache_bytes


def test_over_arrays_of_context() -> None:
    contexts = np.array([1_024, 8_192, 131_072])
    question = genz.predict("deepseek-v3.2-exp", "dgx-h200", input=1_024, output=100, tp=8, fidelity="roofline").question
    together = evaluate(question.with_workload(input_tokens=contexts))
    alone = [evaluate(question.with_workload(input_tokens=int(context))).e2e for context in contexts]
    assert together.e2e == pytest.approx(np.array(alone), rel=1e-9)
