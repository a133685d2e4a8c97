"""Encoders against transformers: parameters, FLOPs by kind, and questions that generate nothing."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle_encoders import ENCODERS, build, encoder_inputs, flops, parameters, settled, type_of

import genz
from genz.footprint import request_cache_bytes
from genz.graph.builder import build_encoder, matrix_flops
from genz.inference.evaluate import encoder_step, operators, prefill_step
from genz.inference.question import Question, settle_question
from genz.operators.visibility import sight
from genz.specs import catalog
from genz.specs.base import read_mapping
from genz.specs.huggingface import model_from_config
from genz.specs.model import ModelSpec
from genz.specs.readers import encoders, encoders_vision

ENCODER_TYPES = {*encoders.READERS, *encoders_vision.READERS, "siglip"}
# The code of Alibaba-NLP/new-impl stands in transformers as "gte".
ALIASES = {"new"}
CLASSES = {
    "AutoModelForSequenceClassification": "XForSequenceClassification",
    "AutoModelForImageClassification": "XForImageClassification",
    "AutoModelForTokenClassification": "XForTokenClassification",
    "AutoModelForQuestionAnswering": "XForQuestionAnswering",
}


def read(name: str) -> ModelSpec:
    cls, config = ENCODERS[name]
    named = {"architectures": [CLASSES[cls]]} if cls in CLASSES else {}
    return model_from_config({"model_type": type_of(name), **config, **named}, name=name)


def ask(model: ModelSpec, tokens: int, batch: int, **asked: Any) -> Question:
    images = {"images": 1} if model.images is not None else {}
    text = {"input": tokens} if model.takes_text else {}
    return settle_question(model, "h100-sxm", batch=batch, fidelity="roofline", **text, **images, **asked)


def counted(question: Question, categories: frozenset[str]) -> float:
    """Matrix FLOPs of a question's operators of some categories, those of its encoders among them."""
    found = [*operators(question, prefill_step(question))]
    towers = {encoder.name: encoder for encoder in question.model.encoders}
    for media in question.workload.media:
        found += build_encoder(
            towers[media.encoder],
            encoder_step(question, media),
            parallelism=question.parallelism,
            widths=question.widths,
            engine=question.engine,
        )
    return matrix_flops(found, categories=categories)


def test_every_encoder_is_tried() -> None:
    assert {type_of(name) for name in ENCODERS} == ENCODER_TYPES - ALIASES


@pytest.mark.parametrize("name", ENCODERS)
def test_parameters_are_those_of_transformers(name: str) -> None:
    cls, config = ENCODERS[name]
    assert read(name).parameters == parameters(build(type_of(name), config, cls))


@pytest.mark.parametrize("model_type", sorted(ENCODER_TYPES - ALIASES))
def test_defaults_are_those_of_the_configuration_class(model_type: str) -> None:
    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12} if model_type == "nomic_bert" else {}
    cls = {"siglip_text_model": "SiglipTextModel", "siglip_vision_model": "SiglipVisionModel"}.get(model_type, "AutoModel")
    expected = parameters(build(model_type, sizes, cls))
    assert model_from_config({"model_type": model_type, **sizes}, name="default").parameters == expected
    whole = settled(model_type, sizes).to_dict()
    assert model_from_config({**whole, "architectures": None}, name="whole").parameters == expected


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(("batch", "tokens"), [(1, 5), (3, 28)])
def test_flops_are_those_of_the_counter(name: str, batch: int, tokens: int) -> None:
    """A window is no rectangle, and of a pair of towers the one query that pools an image is left out: both by hand below."""
    cls, config = ENCODERS[name]
    model, reference = read(name), build(type_of(name), config, cls)
    expected = flops(lambda: reference(**encoder_inputs(type_of(name), config, batch, tokens)))
    question = ask(model, tokens, batch)
    linear, attention = counted(question, frozenset({"gemm"})), counted(question, frozenset({"attention"}))
    if name == "siglip":
        expected["attention"] -= 4 * batch * 36 * 40  # scores and values of one query over 6 x 6 patches
        expected["linear"] -= 2 * batch * batch * 40  # every image is compared with every text
    if name.startswith("modernbert"):
        expected["attention"] = _by_hand(model, batch, tokens)
    assert linear == pytest.approx(expected["linear"], rel=1e-3)
    assert attention == pytest.approx(expected["attention"], rel=1e-3)


def _by_hand(model: ModelSpec, batch: int, tokens: int) -> float:
    """4 x head width x pairs: a token sees those at most half a window away, or all."""
    total = 0.0
    for layer in model.layers:
        window = layer.token_mixer.window  # type: ignore[union-attr]
        half = tokens if window is None else window // 2
        pairs = sum(abs(i - j) <= half for i in range(tokens) for j in range(tokens))
        total += 4 * batch * model.hidden * pairs
    return total


def test_windows_of_modernbert_lie_as_in_transformers() -> None:
    kept = [layer.token_mixer.window for layer in read("modernbert").layers]  # type: ignore[union-attr]
    kinds = settled("modernbert", ENCODERS["modernbert"][1])
    assert [window is not None for window in kept] == [kind == "sliding_attention" for kind in kinds.layer_types]
    assert {window for window in kept if window} == {2 * kinds.sliding_window + 1}


@given(context=st.integers(0, 60), new_tokens=st.integers(1, 60), half=st.integers(0, 40))
def test_a_window_on_both_sides_counts_the_mask(context: int, new_tokens: int, half: int) -> None:
    every = context + new_tokens
    pairs = sum(abs(i - j) <= half for i in range(context, every) for j in range(every))
    found = sight(context, new_tokens, window=2 * half + 1, causal=False)
    assert (found.pairs, found.keys) == (pairs, every)


@pytest.mark.parametrize("name", ["bert", "modernbert", "vit", "siglip_vision_model"])
def test_an_encoder_keeps_no_cache(name: str) -> None:
    question = ask(read(name), 20, 4)
    assert request_cache_bytes(question.model, question.widths, question.workload) == 0
    outcome = genz.evaluate(question)
    assert outcome.memory.kv_cache_bytes == outcome.memory.logits_bytes == outcome.decode.time == 0


def test_an_embedding_runs_no_head() -> None:
    """The head of a decoder is gone with its weights; what is left is what transformers' base class does."""
    plain, embeds = (settle_question("llama-3.1-8b", "h100-sxm", input=64, output=1, batch=2, embed=e) for e in (False, True))
    table = plain.model.embedding.vocabulary * plain.model.hidden
    assert plain.model.parameters - embeds.model.parameters == table
    names = [{operator.name for operator in operators(q, prefill_step(q))} for q in (plain, embeds)]
    assert names[0] - names[1] == {"lm_head_gemm", "sampling"} & names[0]
    assert embeds.workload.final_context == 64


def test_sequences_and_energy_of_an_embedding() -> None:
    found = genz.predict("bge-large", "l40s", input=512, batch=64, fidelity="engine")
    assert found.tpot is None
    assert found.sequences_per_s == pytest.approx(64 / found.e2e)
    assert found.input_tokens_per_s == pytest.approx(64 * 512 / found.e2e)
    assert found.energy_per_sequence == pytest.approx(found.energy / 64)
    page = str(found)
    assert "sequences/s" in page
    assert "TPOT" not in page
    assert "output" not in page


def test_the_time_of_an_encoder_is_that_of_its_flops_at_least() -> None:
    question = settle_question("bge-large", "h100-sxm", input=512, batch=256, fidelity="roofline")
    work = 256 * (512 * 24 * 12 * 2 * 1024**2 + 24 * 4 * 1024 * 512**2)
    rate = question.platform.chip.multiply_rate("bf16")
    assert work / rate < genz.evaluate(question).prefill.time < 1.5 * work / rate


@pytest.mark.parametrize("asked", [{"output": 2}, {"output": 128}, {"use_case": "chat"}])
def test_an_encoder_is_asked_to_decode(asked: dict[str, Any]) -> None:
    with pytest.raises(genz.UnsupportedError, match="is an encoder; it generates nothing") as caught:
        genz.predict("bge-large", "l40s", input=64, **{"batch": 4, **asked})
    assert caught.value.field == "output_tokens"


def test_more_tokens_than_positions() -> None:
    with pytest.raises(genz.InvalidValueError, match=r"513 input tokens are more than bge-large-en-v1\.5 was made for: 512"):
        genz.predict("bge-large", "l40s", input=513)
    assert catalog.model("bge-m3").max_context == 8192


@pytest.mark.parametrize("call", ["speculate", "chunk_prefill", "mixed_step", "disaggregate"])
def test_techniques_of_decoding_are_refused(call: str) -> None:
    question = settle_question("bge-large", "l40s", input=64)
    arguments: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "speculate": ((question,), {"tokens": 2, "acceptance": 0.5, "method": "ngram"}),
        "chunk_prefill": ((question,), {"tokens_per_step": 16}),
        "mixed_step": ((question,), {"prompt_tokens": 16}),
        "disaggregate": ((question, question), {}),
    }
    positional, named = arguments[call]
    with pytest.raises(genz.UnsupportedError, match="is an encoder"):
        getattr(genz, call)(*positional, **named)


def test_no_launch_command_for_an_encoder() -> None:
    with pytest.raises(genz.UnsupportedError, match="generate"):
        genz.launch_for(settle_question("bge-large", "l40s", input=64))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"input": 3}, "input_tokens"),
        ({"images": 2}, "images"),
        ({"output": 5}, "output_tokens"),
        ({"cached": 5}, "cached_tokens"),
    ],
)
def test_a_model_of_images_takes_one(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(genz.GenZError) as caught:
        genz.predict("vit-base", "l40s", **asked)
    assert caught.value.field == field


def test_tokens_of_an_image() -> None:
    assert settle_question("vit-base", "l40s").workload.input_tokens == 197
    pooled = settle_question("siglip-so400m", "l40s", treat_as="siglip_vision_model").workload
    assert (pooled.input_tokens, pooled.source_tokens) == (1, 729)


@pytest.mark.parametrize(
    ("model_type", "changed", "field"),
    [
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("bert", {"architectures": ["BertForMultipleChoice"]}, "architectures"),
        ("roberta", {"max_position_embeddings": 2}, "max_position_embeddings"),
        ("bert", {"num_attention_heads": 7}, "hidden_size"),
        ("modernbert", {"layer_types": ["full_attention"]}, "layer_types"),
        ("modernbert", {"layer_types": ["sideways"] * 22}, "layer_types"),
        ("nomic_bert", {"moe_every_n_layers": 2, "n_embd": 64, "n_layer": 2, "n_head": 4}, "moe_every_n_layers"),
        ("albert", {"num_hidden_groups": 2}, "num_hidden_groups"),
        ("vit", {"patch_size": 500}, "patch_size"),
        ("siglip_vision_model", {"vision_use_head": False}, "vision_use_head"),
    ],
)
def test_keys_at_fault(model_type: str, changed: dict[str, Any], field: str) -> None:
    with pytest.raises(genz.SpecError) as caught:
        model_from_config({"model_type": model_type, **changed}, name="wrong")
    assert caught.value.field == field


def test_embedding_classes_of_decoders() -> None:
    """`MistralModel` has no head, a reranker of Qwen3 a score; flags of attention in both directions are heard."""
    small = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    small |= {"num_key_value_heads": 2, "vocab_size": 50, "max_position_embeddings": 64}
    plain = model_from_config({"model_type": "qwen2", **small}, name="plain")
    base = model_from_config({"model_type": "qwen2", **small, "architectures": ["Qwen2Model"]}, name="base")
    scores = model_from_config(
        {"model_type": "qwen2", **small, "architectures": ["Qwen2ForSequenceClassification"], "num_labels": 3}, name="scores"
    )
    for model, cls, labels in ((base, "AutoModel", {}), (scores, "AutoModelForSequenceClassification", {"num_labels": 3})):
        assert model.parameters == parameters(build("qwen2", {**small, **labels}, cls))
        assert not model.generates
    assert plain.generates
    sees = model_from_config({"model_type": "qwen2", **small, "is_causal": False}, name="sees")
    assert not sees.generates
    assert not any(layer.token_mixer.causal for layer in sees.layers)  # type: ignore[union-attr]


def test_a_head_costs_what_one_token_costs() -> None:
    """The pooler sees one token of each sequence, whatever its length."""
    model = read("bert")
    bare = replace(model, embedding=replace(model.embedding, exits=()))
    for tokens in (4, 32):
        both = [counted(ask(m, tokens, 3), frozenset({"gemm"})) for m in (model, bare)]
        assert both[0] - both[1] == pytest.approx(2 * 3 * 40 * 40)


# Catalogue name -> class of transformers whose parameters it has, where the file names another (the head is left out).
CATALOGUE = {
    "bert-base": "BertModel",
    "bert-large": "BertModel",
    "roberta-base": "RobertaModel",
    "roberta-large": "RobertaModel",
    "xlm-roberta-large": "XLMRobertaModel",
    "distilbert-base": "DistilBertModel",
    "modernbert-base": "ModernBertModel",
    "modernbert-large": "ModernBertModel",
    "bge-base-en-v1.5": None,
    "bge-large-en-v1.5": None,
    "bge-m3": None,
    "bge-reranker-v2-m3": None,
    "e5-mistral-7b": None,
    "qwen3-embedding-0.6b": None,
    "qwen3-embedding-4b": None,
    "qwen3-embedding-8b": None,
    "vit-base": None,
    "vit-large": None,
    "vit-huge": None,
    "siglip-so400m": None,
    "t5-small": None,
    "t5-base": None,
    "t5-large": None,
    "t5-3b": None,
    "t5-11b": None,
    "bart-large": None,
    "nllb-600m": None,
    "nllb-3.3b": None,
    "opus-mt-en-de": None,
    "whisper-tiny": None,
    "whisper-base": None,
    "whisper-small": None,
    "whisper-medium": None,
    "whisper-large-v2": None,
    "whisper-large-v3": None,
    "whisper-large-v3-turbo": None,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue_models_have_the_parameters_of_transformers(name: str) -> None:
    model = catalog.model(name)
    config = read_mapping(catalog.files("model")[name])["config"]
    cls = CATALOGUE[name] or config.pop("architectures")[0]
    assert model.parameters == parameters(build(config.pop("model_type"), config, cls))
