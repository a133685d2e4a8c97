"""Decoders that give embeddings or scores: their classes have no language-model head, and some see in both directions.

Sources: the classes of Hugging Face transformers that `architectures` names; `is_causal` of Alibaba-NLP/gte-Qwen2-7B-instruct,
`use_bidirectional_attention` of google/embeddinggemma-300m.
"""

from __future__ import annotations

from dataclasses import replace

from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import Linear
from genz.specs.readers.encoders import labels_of
from genz.specs.token_mixers import Attention

Built = tuple[tuple[Layer, ...], Embedding]
# Others are named so and have a head (ChatGLMModel).
HEADLESS = ("LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model", "GemmaModel", "Gemma2Model", "Gemma3TextModel")
SCORES = "ForSequenceClassification"
BOTH_WAYS = (("is_causal", False), ("use_bidirectional_attention", True))


def as_embedder(config: Config, built: Built) -> Built:
    """The same layers without the head, where the file says that it is an embedding model or one that scores sequences."""
    layers, embedding = built
    if embedding.headless:
        return built
    named = [str(name) for name in config.sequence("architectures") or []][:1]
    if any(name.endswith(SCORES) for name in named):
        score = Linear("score", embedding.hidden, labels_of(config), quantised=False)
        embedding = replace(embedding, headless=True, head_bias=False, exits=(score,))
    elif any(name in HEADLESS for name in named):
        embedding = replace(embedding, headless=True, head_bias=False)
    if any(config.flag(key, default=not sees) is sees for key, sees in BOTH_WAYS):
        layers = tuple(seen_both_ways(layer) for layer in layers)
        embedding = replace(embedding, headless=True, head_bias=False)
    return layers, embedding


def seen_both_ways(layer: Layer) -> Layer:
    """The same layer, whose tokens see what follows them too."""
    mixer = layer.token_mixer
    return replace(layer, token_mixer=replace(mixer, causal=False)) if isinstance(mixer, Attention) else layer
