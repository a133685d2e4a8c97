"""Encoders of text: BERT and its kin. Every token sees every other one at once; there is no cache, and nothing is generated.

What stands behind the layers is what the class named in `architectures` has: a classifier of sequences or of tokens, else what
the base class has (a pooler, or nothing). The head of masked language models is left out: embeddings are made without it.

Sources: the configuration and modeling files of Hugging Face transformers 5 for each `model_type`; for "new" those of
Alibaba-NLP/new-impl, for the GPT-2 spellings of Nomic's files those of nomic-ai/nomic-bert-2048.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from genz.errors import nearest
from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import Linear
from genz.specs.readers.composite import Composite, CompositeReader
from genz.specs.readers.shared import Reader, windows_by_layer
from genz.specs.token_mixers import Attention

Built = tuple[tuple[Layer, ...], Embedding]
# RoBERTa's position tables start with the padding's row and those before it.
ROBERTA_POSITION_OFFSET = 2
BASE, SEQUENCES, TOKENS = "base", "sequences", "tokens"
_TASKS = {
    "Model": BASE,
    "MaskedLM": BASE,
    "PreTraining": BASE,
    "SequenceClassification": SEQUENCES,
    "ImageClassification": SEQUENCES,
    "TokenClassification": TOKENS,
    "QuestionAnswering": TOKENS,
}
_BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}
ROBERTA_TYPES = ("roberta", "xlm-roberta", "camembert")
# What the configuration classes of transformers 5 take for keys that a file leaves out.
DEFAULTS: dict[str, dict[str, Any]] = {
    "bert": {**_BASE, "vocab_size": 30522},
    "xlm-roberta": {**_BASE, "vocab_size": 30522},
    "camembert": {**_BASE, "vocab_size": 30522},
    "roberta": {**_BASE, "vocab_size": 50265},
    "distilbert": {
        "vocab_size": 30522,
        "dim": 768,
        "n_layers": 6,
        "n_heads": 12,
        "hidden_dim": 3072,
        "max_position_embeddings": 512,
    },
    "electra": {
        **_BASE,
        "vocab_size": 30522,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    },
    "modernbert": {
        **_BASE,
        "vocab_size": 50368,
        "intermediate_size": 1152,
        "num_hidden_layers": 22,
        "max_position_embeddings": 8192,
    },
    "nomic_bert": {"vocab_size": 30528, "max_position_embeddings": 2048},
    "gte": {**_BASE, "vocab_size": 250048, "max_position_embeddings": 8192},
    "new": {**_BASE, "vocab_size": 30528, "max_position_embeddings": 2048},
    "albert": {
        **_BASE,
        "vocab_size": 30000,
        "hidden_size": 4096,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
    },
}


def task_of(config: Config) -> str:
    """What stands behind the layers, by the class that `architectures` names; that of the base class where it names none."""
    named = config.sequence("architectures") or []
    if not named:
        return BASE
    name = str(named[0])
    kind = name.rpartition("For")[2] if "For" in name else "Model" if name.endswith("Model") else name
    if kind not in _TASKS:
        close = nearest(kind, _TASKS)
        allowed = "a class of its base model, or For" + ", For".join(name for name in _TASKS if name != "Model")
        raise config.error("architectures", named[0], allowed + (f" (the nearest is {close[0]})" if close else ""))
    return _TASKS[kind]


def labels_of(config: Config) -> int:
    """Classes of a classifier: those of `id2label`, or two."""
    named = config.raw.get("id2label")
    return len(named) if isinstance(named, dict) and named else config.count("num_labels", default=2)


@dataclass(frozen=True)
class Head:
    """What stands behind the layers of a family: what pools, what classifies, and parameters of these that are no matrix."""

    pooler: tuple[Linear, ...] = ()
    before_classifier: tuple[Linear, ...] = ()
    vectors: int = 0
    before_tokens: bool = False


def dense(hidden: int, name: str = "pooler", *, bias: bool = True) -> Linear:
    """A square matrix of a head."""
    return Linear(name, hidden, hidden, bias=bias, quantised=False)


def with_head(config: Config, embedding: Embedding, head: Head) -> Embedding:
    """The embedding with what stands behind the layers."""
    task = task_of(config)
    if task == BASE:
        return replace(embedding, exits=head.pooler)
    classifier = Linear("classifier", embedding.hidden, labels_of(config), bias=True, quantised=False)
    before = head.before_classifier if task == SEQUENCES or head.before_tokens else ()
    added = head.vectors if before else 0
    return replace(
        embedding,
        exits=(*before, classifier),
        pools=task == SEQUENCES,
        final_norm_parameters=embedding.final_norm_parameters + added,
    )


def both_ways(config: Config, *, bias: bool, output_bias: bool, rope: bool = False, window: int | None = None) -> Attention:
    """Attention in which every token sees every other one, or those of its window."""
    for key in ("is_decoder", "add_cross_attention"):
        if config.flag(key, default=False):
            raise config.error(key, True, "false: as an encoder")
    return Attention(
        hidden=config.hidden,
        heads=config.heads,
        kv_heads=config.heads,
        head_dim=config.head_dim(),
        window=window,
        qkv_bias=bias,
        output_bias=output_bias,
        rope=rope,
        causal=False,
    )


def _plain_layers(config: Config, *inner: str) -> tuple[Layer, ...]:
    """Layers of the first Transformer: biases everywhere, a layer norm behind each half."""
    kind = config.text("position_embedding_type", default="absolute")
    if kind != "absolute":
        raise config.error("position_embedding_type", kind, "absolute")
    attention = both_ways(config, bias=True, output_bias=True)
    network = FeedForward(config.hidden, config.count(*(inner or ("intermediate_size",))), gated=False, bias=True)
    return (Layer(attention, network, config.hidden, norm_parameters=2 * config.hidden),) * config.layers


def _tables(config: Config, *, width: int | None = None, types: int = 0, positions: bool = True) -> Embedding:
    """Tables of tokens, positions and token types, and the norm behind them; `width` is theirs where it is not the layers'."""
    own = config.hidden if width is None else width
    rows = config.count("max_position_embeddings") if positions else 0
    return Embedding(
        vocabulary=config.vocabulary(),
        width=own,
        hidden=config.hidden,
        positions=rows if own == config.hidden else 0,
        embedding_norm_parameters=(types + 2) * own + (0 if own == config.hidden else rows * own),
        headless=True,
    )


def _types(config: Config, default: int = 2) -> int:
    return config.count("type_vocab_size", default=default, least=0)


def bert(config: Config) -> Built:
    """BERT: a pooler over the first token, which a classifier reads."""
    head = Head((dense(config.hidden),), (dense(config.hidden),))
    return _plain_layers(config), with_head(config, _tables(config, types=_types(config)), head)


def roberta(config: Config) -> Built:
    """RoBERTa, XLM-RoBERTa and CamemBERT: BERT with a classifier of two matrices in the place of the pooler."""
    head = Head((dense(config.hidden),), (dense(config.hidden, "classifier_dense"),))
    return _plain_layers(config), with_head(config, _tables(config, types=_types(config)), head)


def distilbert(config: Config) -> Built:
    """DistilBERT: no token types, no pooler."""
    renamed = {"dim": "hidden_size", "hidden_dim": "intermediate_size"}
    named = Config({renamed.get(key, key): value for key, value in config.raw.items()}, origin=config.origin)
    head = Head(before_classifier=(dense(named.hidden, "pre_classifier"),))
    return _plain_layers(named), with_head(named, _tables(named), head)


def electra(config: Config) -> Built:
    """ELECTRA's discriminator: BERT whose tables may be narrower than its layers."""
    width = config.count("embedding_size", default=128)
    embedding = _tables(config, width=width, types=_types(config))
    if width != config.hidden:
        embedding = replace(embedding, projections=(Linear("embeddings_project", width, config.hidden, bias=True),))
    head = Head(before_classifier=(dense(config.hidden, "classifier_dense"),))
    return _plain_layers(config), with_head(config, embedding, head)


def modernbert(config: Config) -> Built:
    """ModernBERT: rotary positions, gated networks, no biases; two layers that see a window on both sides to one that sees all.

    A window of `local_attention` holds half as many tokens on each side of a token, and itself. The first layer's first norm
    is that of the embedding.
    """
    hidden, bias = config.hidden, config.flag("attention_bias", default=False)
    norm = hidden * (2 if config.flag("norm_bias", default=False) else 1)
    network = FeedForward(hidden, config.count("intermediate_size"), bias=config.flag("mlp_bias", default=False))
    period, window = config.count("global_attn_every_n_layers", default=3), config.count("local_attention", default=128)
    seen = windows_by_layer(config, lambda i: i % period != 0, window=window // 2 * 2 + 1)
    layers = tuple(
        Layer(
            both_ways(config, bias=bias, output_bias=bias, rope=True, window=reach),
            network,
            hidden,
            norms=2 if i else 1,
            norm_parameters=norm,
        )
        for i, reach in enumerate(seen)
    )
    embedding = Embedding(
        config.vocabulary(50368),
        hidden,
        hidden,
        embedding_norm_parameters=norm,
        final_norm_parameters=norm,
        headless=True,
    )
    read_by_classifier = (dense(hidden, "head_dense", bias=config.flag("classifier_bias", default=False)),)
    head = Head(before_classifier=read_by_classifier, vectors=norm, before_tokens=True)
    return layers, with_head(config, embedding, head)


def _rotary(config: Config, network: FeedForward, *, bias: bool, types: int) -> Built:
    """Layers with rotary positions and a layer norm behind each half; a classifier reads a pooler that the base has not."""
    attention = both_ways(config, bias=bias, output_bias=bias, rope=True)
    layer = Layer(attention, network, config.hidden, norm_parameters=2 * config.hidden)
    head = Head(before_classifier=(dense(config.hidden),))
    return (layer,) * config.layers, with_head(config, _tables(config, types=types, positions=False), head)


def nomic_bert(config: Config) -> Built:
    """Nomic's BERT: gated networks and no biases; its own files spell their keys as GPT-2 does."""
    for key in ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias", "prenorm", "use_rms_norm"):
        if config.flag(key, default=False):
            raise config.error(key, True, "false")
    if config.count("moe_every_n_layers", default=0, least=0):
        raise config.error("moe_every_n_layers", config.raw["moe_every_n_layers"], "0: no experts in this reader")
    inner = config.count("intermediate_size", "n_inner", default=4 * config.hidden)
    gated = config.text("activation_function", default="swiglu") in ("swiglu", "silu")
    if not gated:
        raise config.error("activation_function", config.raw["activation_function"], "swiglu")
    return _rotary(config, FeedForward(config.hidden, inner), bias=False, types=_types(config))


def gte(config: Config) -> Built:
    """GTE 1.5 ("new"): rotary positions, gated networks whose last matrix has a bias."""
    hidden = config.hidden
    network = FeedForward(hidden, config.count("intermediate_size"), down_bias=True)
    kind = config.text("position_embedding_type", default="rope")
    if kind != "rope":
        raise config.error("position_embedding_type", kind, "rope")
    return _rotary(config, network, bias=True, types=_types(config, 1))


def albert(config: Config) -> Built:
    """ALBERT: one layer's weights in all layers, and narrow tables."""
    for key in ("num_hidden_groups", "inner_group_num"):
        if config.count(key, default=1) != 1:
            raise config.error(key, config.raw[key], "1: all layers share one")
    width = config.count("embedding_size", default=128)
    layers = tuple(replace(layer, shared="layer") for layer in _plain_layers(config))
    embedding = replace(
        _tables(config, width=width, types=_types(config)),
        projections=(Linear("embedding_hidden_mapping_in", width, config.hidden, bias=True),),
    )
    return layers, with_head(config, embedding, Head((dense(config.hidden),), (dense(config.hidden),)))


def _as_it_is(model_type: str, *, offset: int = 0) -> CompositeReader:
    """A model of one part, whose last positions are no token's where its table has an `offset`."""

    def read(config: Config, _: Config) -> Composite:
        filled = Config({**DEFAULTS.get(model_type, {}), **config.raw}, origin=config.origin)
        rows = filled.count("max_position_embeddings")
        if rows <= offset:
            raise config.error("max_position_embeddings", rows, f"more than the {offset} rows that no token takes")
        return Composite(model_type, config.raw, (), max_context=rows - offset)

    return read


READERS: dict[str, Reader] = {
    "bert": bert,
    **dict.fromkeys(ROBERTA_TYPES, roberta),
    "distilbert": distilbert,
    "electra": electra,
    "modernbert": modernbert,
    "nomic_bert": nomic_bert,
    "gte": gte,
    "new": gte,
    "albert": albert,
}
COMPOSITES: dict[str, CompositeReader] = {name: _as_it_is(name, offset=ROBERTA_POSITION_OFFSET) for name in ROBERTA_TYPES}
