"""Speculative decoding against its published closed form, and where it pays."""

import numpy as np
import pytest
import sympy

import genz
from genz.errors import InvalidValueError, UnknownNameError
from genz.inference.speculative import Draft, prediction_head, speculate


def question(batch: int = 1, **changed: object):  # type: ignore[no-untyped-def]
    asked = {"input": 2048, "output": 257, "tp": 8, "batch": batch, "fidelity": "roofline", **changed}
    return genz.settle_question("llama-3.1-70b", "8x h100-sxm", **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(("acceptance", "tokens"), [(0.5, 1), (0.7, 16), (0.9, 4), (0.0, 5)])
def test_tokens_per_round(acceptance: float, tokens: int) -> None:
    # (1 - a^(k+1)) / (1 - a). Source: Leviathan et al., arXiv:2211.17192, equation 1.
    assert Draft("ngram", tokens, acceptance).tokens_per_round == pytest.approx(
        (1 - acceptance ** (tokens + 1)) / (1 - acceptance)
    )


def test_tokens_per_round_against_random_rounds() -> None:
    generator = np.random.default_rng(3)
    accepted = generator.random((100_000, 6)) < 0.8
    rounds = 1 + np.cumprod(accepted, axis=1).sum(axis=1)
    assert Draft("ngram", 6, 0.8).tokens_per_round == pytest.approx(rounds.mean(), rel=0.01)


def test_all_accepted_is_one_more_than_drafted() -> None:
    assert Draft("ngram", 7, 1.0).tokens_per_round == 8
    assert sympy.expand(Draft("ngram", 2, sympy.Symbol("a")).tokens_per_round - sympy.sympify("1 + a + a**2")) == 0  # type: ignore[arg-type]


def test_a_short_draft_that_is_accepted_pays_and_a_long_one_that_is_not_does_not() -> None:
    """The finding of the GenZ paper, section on speculative decoding: N = 4 at 0.9 gains, N = 16 at 0.7 loses."""
    for batch in (16, 64):
        gains = speculate(question(batch), tokens=4, acceptance=0.9, draft="llama-3.1-8b")
        loses = speculate(question(batch), tokens=16, acceptance=0.7, draft="llama-3.1-8b")
        assert gains.speedup > 1.3
        assert loses.speedup < 1


def test_break_even() -> None:
    outcome = speculate(question(), tokens=4, acceptance=0.6, draft="llama-3.2-1b")
    assert outcome.speedup == pytest.approx(outcome.draft.tokens_per_round / outcome.break_even_tokens)


def test_a_free_draft_that_is_always_rejected_costs_what_verifying_costs() -> None:
    outcome = speculate(question(), tokens=1, acceptance=0.0, method="ngram")
    assert outcome.draft_time == 0
    assert 1 <= 1 / outcome.speedup < 1.1  # one more token in a step that memory binds is nearly free


def test_a_prediction_head_is_one_layer() -> None:
    model = genz.model("deepseek-v3")
    head = prediction_head(model)
    assert head.layers == model.layers[-1:]

    def gain(batch: int) -> float:
        question = genz.settle_question(
            "deepseek-v3", "8x h200", tp=8, batch=batch, input=1000, output=101, fidelity="roofline"
        )
        return float(speculate(question, tokens=1, acceptance=0.85, method="mtp").speedup)

    # DeepSeek-V3, arXiv:2412.19437, section 5.4.3: 85 to 90 % accepted give 1.8 times the tokens per second, where the
    # batch touches all experts anyway. Alone, the second token of a request brings its own experts and gains less.
    assert 1.5 < gain(128) < 1.85
    assert 1.2 < gain(1) < 1.4


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"draft": "gpt2"}, "vocabulary"),
        ({"draft": None}, "draft model is missing"),
        ({"acceptance": 1.2}, "acceptance"),
        ({"acceptance": float("nan")}, "acceptance"),
        ({"tokens": 0}, "tokens"),
        ({"method": "magic"}, "method"),
        ({"method": "ngram"}, "has no draft model"),
    ],
)
def test_bad_drafts_are_refused(changed: dict[str, object], says: str) -> None:
    asked: dict[str, object] = {"tokens": 4, "acceptance": 0.7, "draft": "llama-3.1-8b", **changed}
    with pytest.raises(InvalidValueError, match=says):
        speculate(question(), **asked)  # type: ignore[arg-type]


def test_an_unknown_draft_model_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="llama"):
        speculate(question(), tokens=4, acceptance=0.7, draft="lama-3.1-8b")
