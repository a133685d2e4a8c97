"""What is asked of a deployment: the tokens of its requests, and the latencies that it promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from pydantic import Field

from genz.errors import InvalidValueError, shown
from genz.numerics import Condition, Number, every, is_symbolic
from genz.specs.base import Frozen, Spec
from genz.specs.quantities import Count, PositiveDuration


class SLO(Frozen):
    """Service-level objectives: the longest that a user should wait."""

    ttft: PositiveDuration | None = Field(None, description="time to first token [s]")
    tpot: PositiveDuration | None = Field(None, description="time per output token after the first [s]")


class UseCase(Spec):
    """A kind of request, with its lengths and its objectives."""

    kind: ClassVar[str] = "use_case"

    input_tokens: Count
    output_tokens: Count
    beams: Count = 1
    slo: SLO = SLO()


@dataclass(frozen=True)
class Rule:
    """What a request must meet: where it does (a truth value, an array or a relation of symbols), and what it is if not.

    `reason` says so in a few words that hold for every request; `error` names the numbers.
    """

    holds: Condition
    reason: str
    error: Callable[[], InvalidValueError]

    def check(self) -> None:
        """Raise the error unless every request meets the rule; symbols are taken at their word."""
        if not is_symbolic(self.holds) and not every(self.holds):
            raise self.error()


@dataclass(frozen=True)
class Media:
    """What each request sends through an encoder: `sequences` (images or tiles, clips), each of `tokens` in its layers.

    `source_tokens` are those of an earlier encoder that each sequence attends to. `window_keys`: tokens that one sees on
    average in layers that attend within windows, where not all windows are whole.
    """

    encoder: str
    sequences: Number
    tokens: Number
    source_tokens: Number = 0
    window_keys: Number | None = None


@dataclass(frozen=True)
class PromptPart:
    """Part of a prompt that is no text: `count` images or clips (its `kind`), and the `tokens` that each takes."""

    kind: str
    count: int
    tokens: int


# What of a workload is no number.
_STRUCTURE = ("media", "parts", "embeds")


@dataclass(frozen=True)
class Workload:
    """One static batch: `batch` requests in the whole deployment that start together.

    `cached_tokens` of each prompt are in the KV cache already (a prefix hit). Each request keeps
    `beams` sequences, which share the cache of the prompt. `source_tokens` are those that an encoder hands to cross attention,
    `media` what passes encoders before the prompt does. `parts` tell which of the input tokens are no text. Where a request
    `embeds`, what it gives back is its embedding or its score: that stands as one output token, and nothing is generated.
    Numbers may be arrays or symbols.
    """

    input_tokens: Number
    output_tokens: Number
    batch: Number = 1
    beams: Number = 1
    cached_tokens: Number = 0
    source_tokens: Number = 0
    media: tuple[Media, ...] = ()
    parts: tuple[PromptPart, ...] = ()
    embeds: bool = False

    @property
    def media_tokens(self) -> int:
        """Input tokens that stand for images and clips."""
        return sum(part.count * part.tokens for part in self.parts)

    @property
    def figures(self) -> dict[str, Number]:
        """Every number of the workload by its name."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _STRUCTURE}
        each = {f"media.{i}.{name}": getattr(m, name) for i, m in enumerate(self.media) for name in ("sequences", "tokens")}
        return own | each

    @property
    def new_prompt_tokens(self) -> Number:
        """Prompt tokens that prefill must process."""
        return self.input_tokens - self.cached_tokens

    @property
    def generated_tokens(self) -> Number:
        """Output tokens that take a position: all, or none where a request asks for its embedding."""
        return 0 if self.embeds else self.output_tokens

    @property
    def final_context(self) -> Number:
        """Positions that a sequence occupies when its last token has been generated."""
        return self.input_tokens + self.generated_tokens

    def validate(self) -> None:
        """Raise `InvalidValueError` for a count that is not a whole number in its range."""
        self.check_counts()
        self.prompt_rule.check()

    def check_counts(self) -> None:
        """Raise `InvalidValueError` for a number that is no count, whatever the others are."""
        for name in ("input_tokens", "output_tokens", "batch", "beams"):
            check_count(getattr(self, name), name, least=1)
        check_count(self.cached_tokens, "cached_tokens", least=0)

    @property
    def prompt_rule(self) -> Rule:
        """At least one token of a prompt is not in the cache."""
        return Rule(
            self.cached_tokens < self.input_tokens,
            "cached tokens leave no prompt token to process",
            lambda: InvalidValueError(
                f"cached_tokens: {self.cached_tokens} leaves no prompt token to process",
                field="cached_tokens",
                value=self.cached_tokens,
                allowed=f"0 to {self.input_tokens - 1}: the last token must be processed",
            ),
        )


MAX_COUNT = 10**12


def check_count(value: Number, field: str, *, least: int, most: int = MAX_COUNT) -> None:
    """Raise `InvalidValueError` unless `value` (every element of it) is a whole number in [least, most]."""
    if is_symbolic(value):
        return
    try:
        is_boolean = np.asarray(value).dtype.kind == "b"
        valid = not is_boolean and every(value >= least) and every(value <= most) and every(value % 1 == 0)
    except (TypeError, ValueError, ArithmeticError):
        valid = False
    if not valid:
        raise InvalidValueError(
            f"{field}: {shown(value)} is not allowed",
            field=field,
            value=value,
            allowed=f"a whole number of at least {least}" + (f" and at most {most}" if most != MAX_COUNT else ""),
        )
