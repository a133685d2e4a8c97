"""Encoder-decoders against transformers: parameters, FLOPs of each part, bytes of both caches; Whisper's windows."""

import re
from typing import Any

import pytest
import torch
from oracle_encoders import ENCODER_DECODERS, Pass, flops, parameters, seq2seq, settled, type_of

import genz
from genz.footprint import request_cache_bytes
from genz.graph.builder import build_encoder, matrix_flops
from genz.inference.evaluate import decode_step, encoder_step, operators, prefill_step
from genz.inference.question import Question, settle_question
from genz.specs.huggingface import model_from_config
from genz.specs.model import ModelSpec
from genz.specs.readers import encoder_decoders

KINDS = {"linear": frozenset({"gemm"}), "attention": frozenset({"attention"})}


def read(name: str, **changed: Any) -> ModelSpec:
    return model_from_config({"model_type": type_of(name), **ENCODER_DECODERS[name], **changed}, name=name)


def ask(name: str, source: int, output: int, batch: int) -> Question:
    lengths: dict[str, Any] = {"audio": 0.5} if name == "whisper" else {"input": source}
    return settle_question(read(name), "h100-sxm", output=output, batch=batch, fidelity="roofline", **lengths)


def encoder_operators(question: Question) -> Any:
    (media,) = question.workload.media
    return build_encoder(
        question.model.encoders[0],
        encoder_step(question, media),
        parallelism=question.parallelism,
        widths=question.widths,
        engine=question.engine,
    )


def test_every_type_is_tried() -> None:
    assert {type_of(name) for name in ENCODER_DECODERS} == set(encoder_decoders.READERS) == set(encoder_decoders.COMPOSITES)


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_parameters_are_those_of_transformers(name: str) -> None:
    assert read(name).parameters == parameters(seq2seq(name))


@pytest.mark.parametrize("model_type", sorted(encoder_decoders.READERS))
def test_defaults_are_those_of_the_configuration_class(model_type: str) -> None:
    whole = settled(model_type, {}).to_dict()
    read_whole = model_from_config({**whole, "architectures": None}, name="whole")
    assert model_from_config({"model_type": model_type}, name="default").parameters == read_whole.parameters
    assert read_whole.source is not None


def test_a_head_of_its_own() -> None:
    """T5 1.1 as published: its head is not the token table (transformers 5 ties it all the same)."""
    assert read("t5", tie_word_embeddings=False).parameters - read("t5").parameters == 101 * 40


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_flops_of_each_part_are_those_of_the_counter(name: str) -> None:
    """Encoder; the decoder's start with the keys and values of what was read; a decode step that reads both caches.

    transformers turns all start tokens into logits, GenZ the last one; causal attention counts half a rectangle in GenZ.
    """
    source, batch, output = 13, 3, 9
    question = ask(name, source, output, batch)
    start = question.workload.input_tokens
    reference = Pass(name, batch, source, start)
    head = 2 * batch * question.model.hidden * question.model.embedding.vocabulary
    expected = [flops(reference.encode), flops(lambda: reference.decode(start))]
    expected[1]["linear"] -= (start - 1) * head
    width = sum(layer.token_mixer.heads * layer.token_mixer.head_dim for layer in question.model.layers)  # type: ignore[union-attr]
    expected[1]["attention"] -= 4 * batch * width * (start * start - start * (start + 1) // 2)
    for _ in range(2):
        reference.decode(1)
    expected.append(flops(lambda: reference.decode(1)))
    one = question.with_workload(input_tokens=start + 2, output_tokens=2)
    found = [
        encoder_operators(question),
        operators(question, prefill_step(question)),
        operators(one, decode_step(one)),
    ]
    for ours, theirs in zip(found, expected, strict=True):
        for kind, categories in KINDS.items():
            assert matrix_flops(ours, categories=categories) == pytest.approx(theirs[kind], rel=1e-3), kind


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_both_caches_hold_what_transformers_holds(name: str) -> None:
    source, batch, output = 11, 2, 6
    question = ask(name, source, output, batch)
    start = question.workload.input_tokens
    real = Pass(name, batch, source, start, device="cpu", dtype=torch.bfloat16)
    with torch.no_grad():
        real.encode()
        real.decode(start)
        for _ in range(output):
            real.decode(1)
    own, cross = real.cache_bytes
    assert batch * request_cache_bytes(question.model, question.widths, question.workload) == own + cross
    longer = question.with_workload(output_tokens=output + 1)
    step = request_cache_bytes(longer.model, longer.widths, longer.workload) - request_cache_bytes(
        question.model, question.widths, question.workload
    )
    assert batch * step * (start + output) == own


def test_keys_of_the_source_are_made_once() -> None:
    """A longer source makes prefill dearer by its keys and values, and decode by what is read alone."""
    short, long = (ask("t5", tokens, 8, 1) for tokens in (10, 40))
    names = [{operator.name for operator in operators(q, decode_step(q))} for q in (short, long)]
    assert "key_gemm" not in names[0] | {n for n in names[1] if n == "key_gemm"}
    decoded = [matrix_flops(operators(q, decode_step(q)), categories=KINDS["linear"]) for q in (short, long)]
    assert decoded[0] == decoded[1]
    costs = [genz.evaluate(q) for q in (short, long)]
    assert costs[1].decode.matrix_flops > costs[0].decode.matrix_flops
    assert costs[1].encoding_time > costs[0].encoding_time
    assert costs[0].ttft == pytest.approx(costs[0].encoding_time + costs[0].prefill.time)


def test_an_input_beyond_the_encoders_positions() -> None:
    with pytest.raises(genz.InvalidValueError, match="1025 input tokens are more than the encoder of bart-large was made for"):
        genz.predict("bart-large", "l40s", input=1025, output=64)
    longer = settle_question("t5-small", "l40s", input=2048, output=64, max_model_len=4096)
    assert longer.workload.source_tokens == 2048


def test_an_output_beyond_the_decoders_positions() -> None:
    with pytest.raises(genz.InvalidValueError, match="more than whisper-tiny was made for: 448"):
        genz.predict("whisper-tiny", "l40s", audio="30 s", output=445)


def test_nothing_of_a_source_is_cached() -> None:
    with pytest.raises(genz.InvalidValueError) as caught:
        genz.predict("t5-small", "l40s", input=100, output=10, cached=20)
    assert caught.value.field == "cached_tokens"


def test_techniques_of_decoders_are_refused() -> None:
    question = settle_question("t5-small", "l40s", input=64, output=16)
    with pytest.raises(genz.UnsupportedError, match="is an encoder-decoder"):
        genz.speculate(question, tokens=2, acceptance=0.5, method="ngram")
    with pytest.raises(genz.UnsupportedError, match="encoder-decoder"):
        settle_question("t5-small", "l40s", input=64, embed=True)


@pytest.mark.parametrize(("seconds", "windows"), [(0.1, 1), (30, 1), (30.01, 2), (75, 3), (3600, 120)])
def test_a_clip_is_so_many_windows(seconds: float, windows: int) -> None:
    workload = settle_question("whisper-tiny", "l40s", audio=seconds, output=100, batch=2).workload
    assert workload.batch == 2 * windows
    assert workload.source_tokens == workload.media[0].tokens == 1500
    assert (workload.media[0].sequences, workload.input_tokens) == (1, 4)


@pytest.mark.parametrize("audio", [None, "0 s", "-3 s", "30 m", 10**9])
def test_a_clip_that_cannot_be(audio: Any) -> None:
    with pytest.raises(genz.GenZError) as caught:
        genz.predict("whisper-tiny", "l40s", audio=audio, output=10)
    assert caught.value.field == "audio"


@pytest.mark.parametrize(
    ("model_type", "changed", "field"),
    [
        ("t5", {"feed_forward_proj": "gated-gelu-twice"}, "feed_forward_proj"),
        ("t5", {"architectures": ["T5EncoderModel"]}, "architectures"),
        ("bart", {"architectures": ["BartForSequenceClassification"]}, "architectures"),
        ("bart", {"normalize_before": True}, "normalize_before"),
        ("marian", {"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings"),
        ("whisper", {"encoder_attention_heads": 7}, "hidden_size"),
        ("bart", {"decoder_layers": 0}, "decoder_layers"),
    ],
)
def test_keys_at_fault(model_type: str, changed: dict[str, Any], field: str) -> None:
    with pytest.raises(genz.SpecError) as caught:
        model_from_config({"model_type": model_type, **changed}, name="wrong")
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("t5-3b", {"input": 512, "output": 400, "batch": 20_000}),
        ("whisper-large-v3", {"audio": "95 s", "output": 300, "batch": 3_000}),
    ],
)
def test_what_would_fit_fits(name: str, asked: dict[str, Any]) -> None:
    """Batches are suggested in requests, however many windows each is."""
    with pytest.raises(genz.DoesNotFitError) as caught:
        genz.predict(name, "l40s", **asked)
    batches = [re.search(r"--batch (\d+)", text) for text in caught.value.suggestions]
    (batch,) = [int(found[1]) for found in batches if found]
    assert genz.predict(name, "l40s", **{**asked, "batch": batch}).memory.fits
    with pytest.raises(genz.DoesNotFitError):
        genz.predict(name, "l40s", **{**asked, "batch": batch + 1})
    assert not any("--isl" in text for text in caught.value.suggestions)
