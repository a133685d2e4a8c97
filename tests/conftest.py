"""What several test modules use: models read from configurations, and a plain 16-bit precision."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from oracle import default_config

from genz.specs.huggingface import model_from_config
from genz.specs.model import ModelSpec
from genz.specs.precision import DATA_TYPES, Widths

# The same examples in every run of CI: a merge must not depend on a draw. Elsewhere new ones are tried each time.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def read_model() -> Callable[[dict[str, Any]], ModelSpec]:
    """Read a config.json dict; the context length is that of transformers' defaults where it has none."""

    def read(config: dict[str, Any], name: str = "tiny") -> ModelSpec:
        if config["model_type"] in ("gpt2", "gptj", "bloom"):
            return model_from_config(config, name=name)
        longest = default_config(config["model_type"])["max_position_embeddings"]
        return model_from_config({"max_position_embeddings": longest, **config}, name=name)

    return read


@pytest.fixture(scope="session")
def bf16() -> Widths:
    """16 bits for everything."""
    return Widths("bf16", DATA_TYPES["bf16"], "bf16", "bf16", "bf16", "bf16")
