"""What transformers says of encoders and encoder-decoders: parameters on the meta device, FLOPs, bytes of both caches.

Models are built eagerly, so that `FlopCounterMode` sees each product of matrices: attention as full rectangles, convolutions
too. Gathers, norms, softmax, biases and relative positions are not counted. Nothing here imports genz.
"""

from copy import deepcopy
from typing import Any

import torch
import transformers
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CONFIG_MAPPING, DynamicCache, EncoderDecoderCache
from transformers import logging as transformers_logging

transformers_logging.set_verbosity_error()
Config = dict[str, Any]
_ATTENTION = ("attention", "self_attn", "encoder_attn", "selfattention", "encdecattention", "self", "attn")

BERT = {"vocab_size": 97, "hidden_size": 40, "num_hidden_layers": 3, "num_attention_heads": 5, "intermediate_size": 72}
BART = {
    "vocab_size": 91, "d_model": 40, "encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 5,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 56, "decoder_ffn_dim": 72, "max_position_embeddings": 50,
    "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
T5 = {"vocab_size": 101, "d_model": 40, "d_kv": 12, "d_ff": 56, "num_layers": 3, "num_heads": 5, "decoder_start_token_id": 0}
# Name -> (class of transformers, keys of its config.json); each name begins with its model_type.
ENCODERS: dict[str, tuple[str, Config]] = {
    "bert": ("AutoModel", {**BERT, "max_position_embeddings": 60, "type_vocab_size": 3}),
    "bert-classifier": ("AutoModelForSequenceClassification", {**BERT, "num_labels": 7}),
    "bert-tokens": ("AutoModelForTokenClassification", {**BERT, "num_labels": 4}),
    "bert-answers": ("AutoModelForQuestionAnswering", BERT),
    "roberta": ("AutoModel", {**BERT, "max_position_embeddings": 66, "type_vocab_size": 1}),
    "roberta-classifier": ("AutoModelForSequenceClassification", {**BERT, "num_labels": 1}),
    "xlm-roberta": ("AutoModel", {**BERT, "max_position_embeddings": 66, "type_vocab_size": 1}),
    "xlm-roberta-reranker": ("AutoModelForSequenceClassification", {**BERT, "num_labels": 1}),
    "camembert": ("AutoModel", BERT),
    "distilbert": ("AutoModel", {"vocab_size": 97, "dim": 40, "n_layers": 2, "n_heads": 5, "hidden_dim": 72}),
    "distilbert-classifier": (
        "AutoModelForSequenceClassification",
        {"vocab_size": 97, "dim": 40, "n_layers": 2, "n_heads": 5, "hidden_dim": 72, "num_labels": 3},
    ),
    "electra": ("AutoModel", {**BERT, "embedding_size": 24}),
    "electra-wide": ("AutoModel", {**BERT, "embedding_size": 40}),
    "electra-classifier": ("AutoModelForSequenceClassification", {**BERT, "embedding_size": 24}),
    "modernbert": ("AutoModel", {**BERT, "num_hidden_layers": 7, "local_attention": 6, "pad_token_id": 0}),
    "modernbert-biased": (
        "AutoModel",
        {
            **BERT, "num_hidden_layers": 4, "local_attention": 10, "global_attn_every_n_layers": 2, "norm_bias": True,
            "attention_bias": True, "mlp_bias": True, "pad_token_id": 0,
        },
    ),
    "modernbert-classifier": (
        "AutoModelForSequenceClassification",
        {**BERT, "local_attention": 8, "classifier_bias": True, "pad_token_id": 0, "num_labels": 5},
    ),
    "nomic_bert": ("AutoModel", {**BERT, "type_vocab_size": 2}),
    "nomic_bert-classifier": ("AutoModelForSequenceClassification", {**BERT, "num_labels": 3}),
    "gte": ("AutoModel", {**BERT, "type_vocab_size": 0}),
    "gte-classifier": ("AutoModelForSequenceClassification", {**BERT, "type_vocab_size": 1, "num_labels": 1}),
    "albert": ("AutoModel", {**BERT, "embedding_size": 24}),
    "albert-classifier": ("AutoModelForSequenceClassification", {**BERT, "embedding_size": 24, "num_labels": 3}),
    "vit": ("AutoModel", {**BERT, "image_size": 30, "patch_size": 6, "qkv_bias": False, "pooler_output_size": 20}),
    "vit-classifier": ("AutoModelForImageClassification", {**BERT, "image_size": 32, "patch_size": 8, "num_labels": 9}),
    "siglip_text_model": ("SiglipTextModel", {**BERT, "max_position_embeddings": 30, "projection_size": 16}),
    "siglip_vision_model": ("SiglipVisionModel", {**BERT, "image_size": 30, "patch_size": 5}),
    "siglip": (
        "AutoModel",
        {
            "text_config": {**BERT, "max_position_embeddings": 30, "projection_size": 40},
            "vision_config": {**BERT, "num_hidden_layers": 2, "image_size": 30, "patch_size": 5},
        },
    ),
}  # fmt: skip
ENCODER_DECODERS: dict[str, Config] = {
    "t5": {**T5, "num_decoder_layers": 2},
    "t5-gated": {**T5, "feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 20},
    "mt5": {**T5, "num_heads": 4},
    "bart": BART,
    "mbart": BART,
    "pegasus": {**BART, "pad_token_id": 0},
    "marian": {**BART, "pad_token_id": 90, "decoder_start_token_id": 90, "eos_token_id": 0},
    "m2m_100": BART,
    "whisper": {
        "vocab_size": 91, "num_mel_bins": 10, "d_model": 40, "encoder_layers": 3, "decoder_layers": 2,
        "encoder_attention_heads": 5, "decoder_attention_heads": 4, "encoder_ffn_dim": 56, "decoder_ffn_dim": 72,
        "max_source_positions": 30, "max_target_positions": 24, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
        "decoder_start_token_id": 1,
    },
}  # fmt: skip


def type_of(name: str) -> str:
    """The model_type that a name begins with."""
    return name.partition("-")[0] if not name.startswith("xlm-") else "xlm-roberta"


def settled(model_type: str, config: Config) -> Any:
    """The configuration object."""
    return CONFIG_MAPPING[model_type].from_dict(deepcopy(config))


def build(model_type: str, config: Config, cls: str, device: str = "meta") -> Any:
    """The model of a class, by its name in transformers, in eager mode."""
    made = getattr(transformers, cls)
    build_one = made.from_config if cls.startswith("Auto") else made._from_config
    with torch.device(device):
        return build_one(settled(model_type, config), attn_implementation="eager").eval()


def seq2seq(name: str, device: str = "meta") -> Any:
    """A tiny encoder-decoder with its head."""
    cls = "AutoModelForSpeechSeq2Seq" if name == "whisper" else "AutoModelForSeq2SeqLM"
    return build(type_of(name), ENCODER_DECODERS[name], cls, device)


def parameters(model: nn.Module) -> int:
    """Parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def flops(run: Any) -> dict[str, int]:
    """FLOPs of what `run()` does, apart by kind: "attention" (scores and values) and "linear" (matrices, convolutions)."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        run()
    counts = counter.get_flop_counts()["Global"]
    batched = sum(n for operator, n in counts.items() if "bmm" in str(operator))
    return {"attention": batched, "linear": sum(counts.values()) - batched}


def encoder_inputs(model_type: str, config: Config, batch: int, tokens: int, device: str = "meta") -> dict[str, torch.Tensor]:
    """What an encoder takes: ids, or pixels of whole images, or both."""
    with torch.device(device):
        ids = torch.zeros(batch, tokens, dtype=torch.long)
        sides = config.get("vision_config", config).get("image_size")
        pixels = None if sides is None else torch.zeros(batch, 3, sides, sides)
    found = {}
    if sides is None or "vision_config" in config:
        found["input_ids"] = ids
    if pixels is not None:
        found["pixel_values"] = pixels
    return found


class Pass:
    """An encoder-decoder step by step: the encoder, the decoder's first tokens, and one more after so many."""

    def __init__(
        self, name: str, batch: int, source: int, start: int, device: str = "meta", dtype: torch.dtype = torch.float32
    ):
        self.model = seq2seq(name, device).to(dtype)
        self.batch, self.start, self.device = batch, start, device
        if name == "whisper":
            config = self.model.config
            self.inputs = torch.zeros(batch, config.num_mel_bins, 2 * config.max_source_positions, device=device, dtype=dtype)
        else:
            self.inputs = torch.zeros(batch, source, dtype=torch.long, device=device)
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self.encoded: Any = None

    def encode(self) -> None:
        self.encoded = self.model.get_encoder()(self.inputs)

    def decode(self, tokens: int) -> None:
        ids = torch.zeros(self.batch, tokens, dtype=torch.long, device=self.device)
        self.model(
            encoder_outputs=self.encoded, decoder_input_ids=ids, past_key_values=self.cache, use_cache=True,
        )  # fmt: skip

    @property
    def cache_bytes(self) -> tuple[int, int]:
        """Bytes of the decoder's own cache and of the one over the encoder's output."""
        halves = (self.cache.self_attention_cache, self.cache.cross_attention_cache)
        own, cross = (sum(layer.keys.nbytes + layer.values.nbytes for layer in half.layers) for half in halves)
        return own, cross


class DiTBlock(nn.Module):
    """A block of facebookresearch/DiT as the paper describes it (arXiv:2212.09748, figure 3, adaLN-Zero)."""

    def __init__(self, hidden: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(hidden, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(hidden, elementwise_affine=False)
        self.qkv, self.proj = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.mlp = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))
        self.modulation = nn.Linear(hidden, 6 * hidden)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(nn.functional.silu(c))[:, None].chunk(6, dim=-1)
        batch, tokens, hidden = x.shape
        q, k, v = self.qkv(self.norm1(x) * (1 + scale) + shift).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        x = x + gate * self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, hidden))
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """DiT over patches: time step and class, blocks, and a modulated last matrix."""

    def __init__(self, hidden: int, depth: int, heads: int, patch: int, channels: int, classes: int):
        super().__init__()
        self.patch = nn.Linear(patch**2 * channels, hidden)
        self.time = nn.Sequential(nn.Linear(256, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.label = nn.Embedding(classes + 1, hidden)
        self.blocks = nn.ModuleList(DiTBlock(hidden, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)
        self.modulation, self.last = nn.Linear(hidden, 2 * hidden), nn.Linear(hidden, patch**2 * channels * 2)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        batch = patches.shape[0]
        c = self.time(patches.new_zeros(batch, 256)) + self.label(torch.zeros(batch, dtype=torch.long, device=patches.device))
        x = self.patch(patches)
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.modulation(nn.functional.silu(c))[:, None].chunk(2, dim=-1)
        return self.last(self.norm(x) * (1 + scale) + shift)
