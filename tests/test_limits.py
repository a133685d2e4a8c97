"""How far a deployment goes, and whether what would make a misfit fit really does."""

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import genz
from genz.inference.evaluate import evaluate, memory_of
from genz.inference.limits import largest_batch, largest_batch_within, largest_whole, longest_context
from genz.inference.question import Question, settle_question
from genz.inference.report import misfit
from genz.specs import catalog

BEYOND = {"max_model_len": 10**9}  # the model's own limit is another matter
MODELS = (
    "llama-3.1-8b",
    "gpt-oss-20b",
    "gemma-3-4b",
    "deepseek-v2-lite",
    "falcon-7b",
    "gpt2-xl",
    "llama-4-scout",
    "qwen3-30b-a3b",
)
PLATFORMS = ("h100-sxm", "8x a100", "l40s", "4x h200", "mi300x", "rtx-4090", "2x b200", "m2-ultra")
QUESTIONS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(MODELS),
        "platform": st.sampled_from(PLATFORMS),
        "engine": st.sampled_from(("vllm", "llama.cpp", "ideal")),
        "input": st.integers(1, 20_000),
        "output": st.integers(1, 2_000),
        "beams": st.integers(1, 4),
        "cached": st.sampled_from((0, 0, 100)),
    }
)


def settled(asked: dict[str, Any], **changed: Any) -> Question:
    return settle_question(**{**asked, **BEYOND, **changed})


# Searching.


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_the_largest_whole_number_is_found_by_halving(most: int) -> None:
    for limit in range(most + 3):
        assert largest_whole(lambda n, limit=limit: n <= limit, most=most) == min(limit, most)


def test_the_search_takes_a_logarithm_of_tries() -> None:
    tried: list[int] = []
    assert largest_whole(lambda n: (tried.append(n), n <= 123_456_789)[1]) == 123_456_789
    assert len(tried) < 60


# Memory.


@settings(max_examples=80, deadline=None)
@given(QUESTIONS)
def test_the_largest_batch_fits_and_one_more_does_not(asked: dict[str, Any]) -> None:
    assume(asked["cached"] < asked["input"])
    largest = largest_batch(settled(asked))
    assert not memory_of(settled(asked, batch=largest + 1)).fits
    assert largest == 0 or memory_of(settled(asked, batch=largest)).fits


@settings(max_examples=80, deadline=None)
@given(QUESTIONS, st.integers(1, 64))
def test_the_longest_context_fits_and_one_more_token_does_not(asked: dict[str, Any], batch: int) -> None:
    assume(asked["cached"] < asked["input"])
    longest = longest_context(settled(asked, batch=batch))
    assert longest is not None
    prompt = longest - asked["output"]
    if longest == 0:
        assert not memory_of(settled(asked, batch=batch, input=1, cached=0)).fits
        return
    assert memory_of(settled(asked, batch=batch, input=prompt, cached=min(asked["cached"], prompt - 1))).fits
    assert not memory_of(settled(asked, batch=batch, input=prompt + 1, cached=min(asked["cached"], prompt))).fits


@settings(max_examples=40, deadline=None)
@given(QUESTIONS, st.integers(1, 64))
def test_what_fits_is_within_its_own_limits(asked: dict[str, Any], batch: int) -> None:
    assume(asked["cached"] < asked["input"])
    question = settled(asked, batch=batch)
    assume(memory_of(question).fits)
    longest = longest_context(question)
    assert largest_batch(question) >= batch
    assert longest is not None
    assert longest >= asked["input"] + asked["output"]


def test_where_every_layer_has_a_window_any_length_fits() -> None:
    assert genz.predict("mistral-7b-v0.1", "h100", input=8, output=8).longest_context is None
    assert genz.predict("mistral-7b-v0.1", "h100", input=8, output=8).to_dict()["limits"]["longest_context_tokens"] is None


def test_max_num_seqs_bounds_the_largest_batch() -> None:
    asked: dict[str, Any] = {
        "model": "llama-3.1-8b",
        "platform": "4x h100",
        "input": 8,
        "output": 8,
        "beams": 3,
        "max_num_seqs": 10,
    }
    assert genz.largest_batch(**asked) == 4 * 3
    assert genz.predict(**asked, batch=12)
    with pytest.raises(genz.InvalidValueError):
        genz.predict(**asked, batch=13)


def test_the_largest_batch_of_what_never_fits_is_none() -> None:
    assert genz.largest_batch("llama-3.1-70b", "h100", input=8, output=8) == 0
    assert genz.largest_batch("llama-3.1-70b", "h100", input=8, output=8, tpot="1 s") == 0


# Time.


@settings(max_examples=40, deadline=None)
@given(QUESTIONS, st.floats(2e-3, 0.3))
def test_the_largest_batch_within_a_goal_meets_it_and_one_more_does_not(asked: dict[str, Any], goal: float) -> None:
    assume(asked["cached"] < asked["input"] and asked["output"] > 1)
    question = settled(asked)
    largest = largest_batch_within(question, tpot=goal)
    assert largest % question.replicas == 0
    if largest:
        assert memory_of(settled(asked, batch=largest)).fits
        assert evaluate(settled(asked, batch=largest)).tpot <= goal
    more = settled(asked, batch=largest + 1)
    assert not memory_of(more).fits or evaluate(more).tpot > goal


def test_a_goal_in_words_and_in_seconds() -> None:
    asked: dict[str, Any] = {"model": "llama-3.1-8b", "platform": "h100", "input": 1_000, "output": 100}
    assert genz.largest_batch(**asked, tpot="20 ms") == genz.largest_batch(**asked, tpot=0.02) > 0
    assert genz.largest_batch(**asked, tpot="1 us") == 0
    assert genz.largest_batch(**asked, tpot="1 h") == genz.largest_batch(**asked)


@pytest.mark.parametrize("tpot", ["30", "30 MB", "", "-3ms", "0 ms", 0, -1, float("nan"), float("inf"), True, "ms"], ids=repr)
def test_a_goal_is_a_positive_time(tpot: Any) -> None:
    with pytest.raises(genz.InvalidValueError) as caught:
        genz.largest_batch("llama-3.1-8b", "h100", input=8, output=8, tpot=tpot)
    assert caught.value.field == "tpot"


def test_one_output_token_has_no_time_per_token_to_keep_to() -> None:
    with pytest.raises(genz.InvalidValueError, match="one output token"):
        genz.largest_batch("llama-3.1-8b", "h100", input=8, output=1, tpot="30 ms")


# The critical batch.


@pytest.mark.parametrize(
    ("chip", "precision", "tokens"),
    [
        ("h100-sxm", "bf16", 295),  # 989.4e12 x 2 / (2 x 3.35e12)
        ("h100-sxm", "fp8", 295),  # twice the rate, half the bytes
        ("h100-sxm", "int4", 76),  # 0.515625 bytes at the rate of bf16
        ("a100-sxm-80gb", "bf16", 153),  # 312e12 / 2.039e12
    ],
)
def test_the_critical_batch(chip: str, precision: str, tokens: float) -> None:
    question = settle_question("llama-3.1-8b", chip, input=8, output=8, precision=precision)
    assert genz.critical_batch(question.platform.chip, question.widths) == pytest.approx(tokens, abs=0.5)


def test_a_gemm_turns_at_the_critical_batch() -> None:
    """On either side of 295 tokens the down projection of Llama 3.1 405B waits for memory, then for compute."""

    def bound(batch: int) -> str:
        found = genz.predict(
            "llama-3.1-405b", "8x b200", tp=8, input=1, output=2, batch=batch, engine="ideal", fidelity="roofline"
        )
        return found.to_frame().query("phase == 'decode' and operator == 'down_gemm'").bound.item()

    critical = 2.25e15 * 2 / (2 * 7.7e12)
    assert (bound(round(0.9 * critical)), bound(round(1.3 * critical))) == ("memory", "compute")


# Misfits.

FLAGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "--batch": ("batch", int),
    "--isl": ("input", int),
    "--tp": ("tp", int),
    "--precision": ("precision", str),
    "--kv-cache-dtype": ("kv_cache_dtype", str),
    "--gpu-memory-utilization": ("gpu_memory_utilization", float),
    "--platform": ("platform", str),
}


def changes(suggestion: str) -> dict[str, Any]:
    """The flags in the parentheses at the end of a suggestion, as arguments."""
    found = re.search(r"\((--.*)\)$", suggestion)
    assert found, suggestion
    words = shlex.split(found.group(1))
    return {FLAGS[flag][0]: FLAGS[flag][1](value) for flag, value in zip(words[::2], words[1::2], strict=True)}


def misfit_of(asked: dict[str, Any]) -> genz.DoesNotFitError:
    with pytest.raises(genz.DoesNotFitError) as caught:
        genz.predict(**asked)
    return caught.value


MISFITS: dict[str, dict[str, Any]] = {
    "deepseek-v3": {"model": "deepseek-v3", "platform": "1x h100", "input": 4_000, "output": 1_000},
    "llama-3.1-405b": {"model": "llama-3.1-405b", "platform": "8x a100", "input": 4_000, "output": 1_000},
    "llama-3.1-405b tp 8": {"model": "llama-3.1-405b", "platform": "8x a100", "tp": 8, "input": 4_000, "output": 1_000},
    "llama-3.1-70b": {"model": "llama-3.1-70b", "platform": "1x h100", "batch": 512, "input": 2_048, "output": 256},
    "batch": {"model": "llama-3.1-8b", "platform": "h100", "batch": 2_000, "input": 2_048, "output": 256},
    "prompt": {"model": "llama-3.1-8b", "platform": "l40s", "batch": 4, "input": 100_000, "output": 256},
    "cached": {"model": "llama-3.1-8b", "platform": "l40s", "batch": 4, "input": 100_000, "output": 256, "cached": 80_000},
    "share": {"model": "llama-3.1-8b", "platform": "h100", "input": 100, "output": 100, "gpu_memory_utilization": 0.2},
    "wide cache": {
        "model": "llama-3.1-8b",
        "platform": "l40s",
        "batch": 400,
        "input": 1_000,
        "output": 9,
        "kv_cache_dtype": "fp32",
    },
    "replicas": {"model": "gemma-3-27b", "platform": "4x l40s", "batch": 64, "input": 3_000, "output": 100},
    "beams": {"model": "gpt-oss-120b", "platform": "h100", "batch": 500, "beams": 4, "input": 3_000, "output": 1_000},
}


@pytest.mark.parametrize("name", MISFITS)
def test_every_suggestion_taken_at_its_word_makes_it_fit(name: str) -> None:
    asked = MISFITS[name]
    error = misfit_of(asked)
    assert error.suggestions
    for suggestion in error.suggestions:
        assert genz.predict(**{**asked, **changes(suggestion)}).memory.fits, suggestion


@pytest.mark.parametrize("name", MISFITS)
def test_a_suggestion_is_the_smallest_change_of_its_kind(name: str) -> None:
    asked = MISFITS[name]
    steps = {"batch": 1, "input": 1, "gpu_memory_utilization": -1e-3}
    for suggestion in misfit_of(asked).suggestions:
        changed = changes(suggestion)
        for argument in set(changed) & set(steps):
            with pytest.raises(genz.DoesNotFitError):
                genz.predict(**{**asked, **changed, argument: changed[argument] + steps[argument]})


# Encoders and encoder-decoders take other lengths, and keep nothing of a prompt.
DECODERS = [name for name in catalog.names("model") if catalog.model(name).generates and catalog.model(name).source is None]
CROWDED = st.fixed_dictionaries(
    {
        "model": st.sampled_from(DECODERS),
        "platform": st.sampled_from((*PLATFORMS, "2x v100-sxm-32gb", "dgx-a100")),
        "batch": st.integers(1, 3_000),
        "beams": st.integers(1, 3),
        "cached": st.sampled_from((0, 900)),
        "kv_cache_dtype": st.sampled_from((None, "fp8", "fp32")),
        "precision": st.sampled_from(("auto", "w8a16", "fp32")),
    }
)


@settings(max_examples=60, deadline=None)
@given(CROWDED)
def test_every_suggestion_for_any_model(crowded: dict[str, Any]) -> None:
    asked: dict[str, Any] = {**crowded, "input": 1_000, "output": 200, **BEYOND}
    try:
        genz.predict(**asked)
    except genz.UnsupportedError:  # files in fp8 on a chip without it
        assume(False)
    except genz.DoesNotFitError as error:
        for suggestion in error.suggestions:
            assert genz.predict(**{**asked, **changes(suggestion)}).memory.fits, suggestion


def test_a_misfit_carries_the_memory_table_and_no_times() -> None:
    error = misfit_of(MISFITS["llama-3.1-70b"])
    assert error.exit_code == 3
    data = error.to_dict()
    assert data["memory"]["total_bytes"] > data["memory"]["budget_bytes"]
    assert data["memory"]["fits"] is False
    assert data["suggestions"] == error.suggestions
    page = misfit(error)
    assert "weights" in page
    assert '--platform "8x h100-sxm" --tp 8' in page
    for text in (page, str(data)):
        assert not re.search(r"\d ?(s|ms|us|tok/s)\b|ttft|tpot|e2e", text.lower())


def test_a_chip_of_ones_own_is_not_sold_by_the_catalog() -> None:
    """A suggestion names a platform by name, which must be the same chip."""
    small = genz.bind(catalog.platform("h100"), {"chip.memory.hbm.capacity": 30e9})
    for suggestion in misfit_of({"model": "llama-3.1-70b", "platform": small, "input": 8, "output": 8}).suggestions:
        assert "--platform" not in suggestion


def test_what_no_number_of_these_devices_can_hold_has_no_suggestion() -> None:
    error = misfit_of({"model": "deepseek-v3", "platform": "rtx-4090", "input": 8, "output": 8})
    assert error.suggestions == []
    assert "cannot hold it" in misfit(error)
