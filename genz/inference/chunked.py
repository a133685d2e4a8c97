"""Chunked prefill: prompts in pieces, with decodes riding along in the same steps.

Source: Agrawal et al., SARATHI: Efficient LLM Inference by Piggybacking Decodes with Chunked Prefills, arXiv:2308.16369.
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.errors import InvalidValueError
from genz.graph.step import Group, Step
from genz.inference.evaluate import cost_of
from genz.inference.lengths import check_plain_decoder
from genz.inference.question import Question
from genz.numerics import Number, ceil_div, every, is_symbolic
from genz.specs.workload import check_count


@dataclass(frozen=True)
class ChunkedPrefill:
    """One prompt that passes in `steps` mixed steps [s]. `time_to_first_token` is that of the prompt; `stall` is how much
    longer a step is than one of the decodes alone, which is what they wait for."""

    steps: Number
    step_time: Number
    time_to_first_token: Number
    decode_step_time: Number

    @property
    def stall(self) -> Number:
        return self.step_time - self.decode_step_time


def mixed_step(
    question: Question, *, prompt_tokens: Number, cached: Number = 0, decodes: Number = 0, context: Number = 1
) -> Number:
    """Seconds of one step with `prompt_tokens` of one prompt (on top of `cached`) and `decodes` sequences at `context`.

    Matrices see all tokens together; attention is done group by group.
    """
    check_plain_decoder(question.model, question.workload, "a mixed step")
    groups = [Group(1, prompt_tokens, cached, phase="prefill")]
    if not (isinstance(decodes, int) and decodes == 0):
        groups.append(Group(decodes, 1, context, phase="decode"))
    return cost_of(question, Step("prefill", tuple(groups))).time


def chunk_prefill(question: Question, *, tokens_per_step: int, decodes: int = 0) -> ChunkedPrefill:
    """Pass the question's prompt in steps of `tokens_per_step`, of which `decodes` are decodes (`--max-num-batched-tokens`).

    The decodes are at the middle of the question's generation. Raises `InvalidValueError` where the decodes leave no room.
    """
    check_plain_decoder(question.model, question.workload, "chunked prefill")
    check_count(tokens_per_step, "tokens_per_step", least=1)
    check_count(decodes, "decodes", least=0)
    chunk = tokens_per_step - decodes
    if chunk < 1:
        raise InvalidValueError(
            f"tokens_per_step: {decodes} decodes leave no room for a prompt",
            field="tokens_per_step",
            value=tokens_per_step,
            allowed=f"at least {decodes + 1}",
        )
    workload = question.workload
    prompt = workload.new_prompt_tokens
    steps = ceil_div(prompt, chunk)
    context = workload.input_tokens + workload.output_tokens / 2
    piece = prompt / steps
    if not is_symbolic(prompt) and every(prompt <= chunk):
        piece = prompt
    group = Group(1, piece, workload.cached_tokens, advance=piece, phase="prefill")
    riders = (Group(decodes, 1, context, advance=0, phase="decode"),) if decodes else ()
    total = cost_of(question, Step("prefill", (group, *riders), steps)).time
    alone = cost_of(question, Step("decode", riders)).time if decodes else 0.0
    return ChunkedPrefill(steps, total / steps, total, alone)
