"""Speculative decoding: a cheap draft, verified by one step of the model.

A round drafts k tokens and verifies them in a step of k + 1 new tokens a sequence. With each token accepted with
probability a, independently, a round yields (1 - a^(k+1)) / (1 - a) tokens on average. Source: Leviathan, Kalman and
Matias, Fast Inference from Transformers via Speculative Decoding, arXiv:2211.17192, equation 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from genz.errors import InvalidValueError, UnsupportedError
from genz.graph.step import Group, Step
from genz.inference.evaluate import Outcome, cost_of, evaluate
from genz.inference.lengths import check_plain_decoder
from genz.inference.limits import largest_whole
from genz.inference.question import Question, settle_widths
from genz.numerics import Number, every, is_symbolic, total
from genz.specs import catalog
from genz.specs.layers import Embedding
from genz.specs.model import ModelSpec
from genz.specs.workload import check_count

DraftMethod = Literal["model", "mtp", "ngram"]


@dataclass(frozen=True)
class Draft:
    """Where drafted tokens come from.

    "model": a smaller model of the same vocabulary, one step a token. "mtp": one more layer of the model itself and its
    head, one step a token (DeepSeek-V3, arXiv:2412.19437, section 2.2). "ngram": a look-up on the host, at no cost here.
    """

    method: DraftMethod
    tokens: int
    acceptance: Number
    model: ModelSpec | None = None

    @property
    def tokens_per_round(self) -> Number:
        """Expected tokens of a round, the model's own among them: 1 + a + ... + a^k."""
        return total([self.acceptance**i for i in range(self.tokens + 1)])


@dataclass(frozen=True)
class SpeculativeOutcome:
    """Speculative decoding beside plain decoding. Times in seconds, of the fullest data-parallel rank."""

    baseline: Outcome
    draft: Draft
    rounds: Number
    draft_time: Number
    verify_time: Number

    @property
    def tpot(self) -> Number:
        """Time per output token after the first [s]."""
        return (self.draft_time + self.verify_time) / (self.baseline.question.workload.output_tokens - 1)

    @property
    def speedup(self) -> Number:
        """Plain TPOT over speculative TPOT."""
        return self.baseline.tpot / self.tpot

    @property
    def break_even_tokens(self) -> Number:
        """Tokens that a round must yield for drafting to pay: its time over that of a plain step."""
        return (self.draft_time + self.verify_time) / self.rounds / self.baseline.tpot


def speculate(
    question: Question, *, tokens: int, acceptance: Number, method: DraftMethod = "model", draft: str | ModelSpec | None = None
) -> SpeculativeOutcome:
    """Price speculative decoding of a question that `genz.settle_question` gave.

    `tokens` are drafted a round and each is accepted with probability `acceptance`; `draft` is the draft model where the
    method is "model". It runs on the same devices. Raises `InvalidValueError` for a count or probability out of range, a
    missing draft, or one with another vocabulary, and `UnsupportedError` for a model without layers to draft with.
    """
    check_plain_decoder(question.model, question.workload, "speculative decoding")
    chosen = Draft(method, tokens, acceptance, _draft_model(question, method, draft))
    _check(question, chosen)
    baseline = evaluate(question)
    rounds = (question.workload.output_tokens - 1) / chosen.tokens_per_round
    verify = _cost(question, new_tokens=tokens + 1, rounds=rounds, advance=chosen.tokens_per_round)
    return SpeculativeOutcome(baseline, chosen, rounds, _draft_time(question, chosen, rounds), verify)


def largest_draft(question: Question, *, acceptance: float, most: int = 64, **drafted: str) -> int:
    """The longest draft that is still faster than plain decoding; 0 where none is."""

    def pays(tokens: int) -> bool:
        return bool(speculate(question, tokens=tokens, acceptance=acceptance, **drafted).speedup > 1)  # type: ignore[arg-type]

    return largest_whole(pays, most=most)


def _cost(question: Question, *, new_tokens: int, rounds: Number, advance: Number) -> Number:
    """Seconds of `rounds` steps of `new_tokens` a sequence, whose contexts grow by `advance`."""
    workload = question.workload
    group = Group(
        sequences=question.requests_per_micro_batch * workload.beams,
        new_tokens=new_tokens,
        context=workload.input_tokens,
        sampled=new_tokens,
        shared_context=workload.input_tokens,
        beams=workload.beams,
        advance=advance,
    )
    return cost_of(question, Step("decode", (group,), rounds)).time


def _draft_time(question: Question, draft: Draft, rounds: Number) -> Number:
    if draft.model is None:
        return 0.0
    drafting = replace(
        question,
        model=draft.model,
        widths=settle_widths(draft.model, question.platform.chip, "auto", question.kv_cache_dtype)
        if draft.method == "model"
        else question.widths,
    )
    return _cost(drafting, new_tokens=1, rounds=rounds * draft.tokens, advance=draft.tokens_per_round / draft.tokens)


def _draft_model(question: Question, method: str, draft: str | ModelSpec | None) -> ModelSpec | None:
    if method not in ("model", "mtp", "ngram"):
        raise InvalidValueError(f"method: {method!r} is not known", field="method", value=method, allowed="model, mtp, ngram")
    if method == "model":
        if draft is None:
            raise InvalidValueError("draft: a draft model is missing", field="draft", allowed="the name of a smaller model")
        return catalog.model(draft) if isinstance(draft, str) else draft
    if draft is not None:
        raise InvalidValueError(f"draft: the method {method!r} has no draft model", field="draft", value=str(draft))
    return None if method == "ngram" else prediction_head(question.model)


def prediction_head(model: ModelSpec) -> ModelSpec:
    """A multi-token-prediction head: the model's last layer once more, with its table and head."""
    if not model.layers:
        raise UnsupportedError(f"{model.name} has no layers", field="model", value=model.name)
    embedding: Embedding = model.embedding
    return ModelSpec(
        name=f"{model.name} (prediction head)",
        model_type=model.model_type,
        layers=(model.layers[-1],),
        embedding=embedding,
        max_context=model.max_context,
        dtype=model.dtype,
        precision=model.precision,
    )


def _check(question: Question, draft: Draft) -> None:
    check_count(draft.tokens, "tokens", least=1)
    valid = is_symbolic(draft.acceptance) or (every(draft.acceptance >= 0) and every(draft.acceptance <= 1))
    if not valid:
        raise InvalidValueError(
            f"acceptance: {draft.acceptance} is not allowed", field="acceptance", value=draft.acceptance, allowed="0 to 1"
        )
    ours = question.model.embedding.vocabulary
    if draft.method == "model" and draft.model is not None and draft.model.embedding.vocabulary != ours:
        raise InvalidValueError(
            f"draft: {draft.model.name} has a vocabulary of {draft.model.embedding.vocabulary:,}, the model one of {ours:,}",
            field="draft",
            value=draft.model.name,
            allowed="a model of the same vocabulary",
        )
