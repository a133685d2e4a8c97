"""Readers of `config.json`: one small function an architecture, found by its `model_type`.

A reader takes a `Config` and returns the layers and the embedding. To add an architecture, write
such a function and register it under its `model_type`.
"""

from __future__ import annotations

from genz.errors import SpecError, nearest
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.readers import (
    custom_code,
    denoisers,
    dense,
    earlier,
    embedders,
    encoder_decoders,
    encoders,
    encoders_vision,
    experts,
    experts_custom_code,
    experts_grouped_query,
    experts_latent,
    gemma3n,
    gemma4,
    heterogeneous,
    hybrid,
    layer_list,
    layer_norm,
    linear_attention,
    multimodal,
    multimodal_fused,
    multimodal_gemma4,
    multimodal_qwen,
    multimodal_tiles,
    parallel_blocks,
    receptance,
    recurrent,
    root_mean_square,
    shared,
    text_parts,
    window,
)
from genz.specs.readers.composite import CompositeReader
from genz.specs.readers.shared import Reader

READERS: dict[str, Reader] = {
    **dense.READERS,
    **earlier.READERS,
    **experts.READERS,
    **experts_latent.READERS,
    **experts_grouped_query.READERS,
    **experts_custom_code.READERS,
    **recurrent.READERS,
    **receptance.READERS,
    **hybrid.READERS,
    **linear_attention.READERS,
    **layer_norm.READERS,
    **parallel_blocks.READERS,
    **root_mean_square.READERS,
    **window.READERS,
    **custom_code.READERS,
    **heterogeneous.READERS,
    **layer_list.READERS,
    **gemma3n.READERS,
    **gemma4.READERS,
    **text_parts.READERS,
    **encoders.READERS,
    **encoders_vision.READERS,
    **encoder_decoders.READERS,
    **denoisers.READERS,
}
# What transformers takes where a file leaves a key out.
DEFAULTS = {
    **shared.DEFAULTS,
    **gemma4.DEFAULTS,
    **encoders.DEFAULTS,
    **encoders_vision.DEFAULTS,
    **encoder_decoders.DEFAULTS,
    **denoisers.DEFAULTS,
}
# Models of several parts: a text model behind encoders, an encoder-decoder, what makes all of its output at once.
COMPOSITES: dict[str, CompositeReader] = {
    **multimodal.COMPOSITES,
    **multimodal_tiles.COMPOSITES,
    **multimodal_qwen.COMPOSITES,
    **multimodal_fused.COMPOSITES,
    **multimodal_gemma4.COMPOSITES,
    **encoders.COMPOSITES,
    **encoders_vision.COMPOSITES,
    **encoder_decoders.COMPOSITES,
    **denoisers.COMPOSITES,
}


def read_layers(config: Config, model_type: str) -> tuple[tuple[Layer, ...], Embedding]:
    """Build the layers and the embedding of a configuration read as `model_type`, completed by its defaults.

    Raises `SpecError` for a type without a reader (naming the nearest) or a key at fault.
    """
    reader = READERS.get(model_type)
    if reader is None:
        close = nearest(model_type, {*READERS, *COMPOSITES})
        suggestion = f"the nearest is {close[0]!r}; " if close else ""
        raise SpecError(
            f"{config.origin}: model_type {model_type!r} is not supported",
            field="model_type",
            value=model_type,
            allowed=", ".join(sorted({*READERS, *COMPOSITES})),
            hint=f"{suggestion}if it has the same shape as one of them, say so with '--as {close[0] if close else 'llama'}'",
        )
    filled = Config({**DEFAULTS.get(model_type, {}), **config.raw}, origin=config.origin)
    return embedders.as_embedder(filled, reader(filled))
