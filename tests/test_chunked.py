"""Chunked prefill with decodes in the same step, beside the measurements of SARATHI."""

import pytest

import genz
from genz.errors import InvalidValueError
from genz.graph.step import Group, Step
from genz.inference.chunked import chunk_prefill, mixed_step
from genz.inference.evaluate import cost_of, evaluate


def llama_13b(**changed: object):  # type: ignore[no-untyped-def]
    asked = {"input": 1024, "output": 64, "precision": "fp16", "fidelity": "roofline", **changed}
    return genz.settle_question("llama-13b", "a6000", **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("fidelity", ["roofline", "engine"])
def test_decodes_ride_along_for_almost_nothing(fidelity: str) -> None:
    """SARATHI, arXiv:2308.16369, table 2: 1,021 prompt and 3 decode tokens take 238.4 ms, 1,024 prompt tokens 234.8 ms."""
    question = llama_13b(fidelity=fidelity)
    alone = mixed_step(question, prompt_tokens=1024)
    mixed = mixed_step(question, prompt_tokens=1021, decodes=3, context=1024)
    decodes = cost_of(question, Step("decode", (Group(4, 1, 1024),))).time
    assert mixed / alone == pytest.approx(238.4 / 234.8, abs=0.02)
    assert mixed < alone + decodes


def test_one_chunk_is_the_whole_prefill() -> None:
    question = llama_13b()
    assert chunk_prefill(question, tokens_per_step=1024).time_to_first_token == pytest.approx(
        evaluate(question).ttft, rel=1e-12
    )


def test_smaller_chunks_take_longer_and_stall_less() -> None:
    question = llama_13b(fidelity="engine")
    found = [chunk_prefill(question, tokens_per_step=size, decodes=8) for size in (128, 256, 512, 1032)]
    first = [plan.time_to_first_token for plan in found]
    assert first == sorted(first, reverse=True)
    stalls = [plan.stall for plan in found]
    assert stalls == sorted(stalls)


def test_chunks_add_up_to_their_steps() -> None:
    """Four chunks of 256 are four mixed steps, each on top of the ones before."""
    question = llama_13b()
    one_by_one = sum(mixed_step(question, prompt_tokens=256, cached=256 * i) for i in range(4))
    assert chunk_prefill(question, tokens_per_step=256).time_to_first_token == pytest.approx(one_by_one, rel=1e-9)


def test_latent_attention_takes_both_forms_in_one_mixed_step() -> None:
    question = genz.settle_question("deepseek-v2-lite", "h100-sxm", input=1024, output=64, fidelity="roofline")
    mixed = mixed_step(question, prompt_tokens=512, decodes=16, context=1024)
    assert mixed > mixed_step(question, prompt_tokens=512)


def test_decodes_that_leave_no_room_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="leave no room"):
        chunk_prefill(llama_13b(), tokens_per_step=8, decodes=8)
    with pytest.raises(InvalidValueError, match="tokens_per_step"):
        chunk_prefill(llama_13b(), tokens_per_step=0)


def test_decodes_ride_along_in_models_with_windows() -> None:
    question = genz.settle_question("gpt-oss-20b", "h100-sxm", input=4096, output=64)
    found = chunk_prefill(question, tokens_per_step=1024, decodes=16)
    assert found.stall > 0
