"""What is known of the makers of measurements beyond their columns, as `sources.yaml` has it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from genz.specs.base import Frozen, read_mapping
from genz.specs.catalog import normalise

GB = 1e9
Span = Literal["request", "decode"]


class Source(Frozen):
    """How the rows of one source are to be read."""

    hardware: dict[str, str] = Field(default={})
    batch_is_a_label: tuple[str, ...] = ()
    layer_split: tuple[str, ...] = ()
    layouts: dict[str, dict[str, int | Literal["all"]]] = Field(default={})
    notes_pattern: str | None = None
    routing: str = "balanced"
    tensor_parallel: dict[str, int] = Field(default={})
    tpot: Span = "decode"
    output_rate: Span = "request"
    memory_unit: float = Field(GB, gt=0)

    def splits_layers(self, engine: str) -> bool:
        """Whether an engine's devices hold slices of the layers."""
        return "*" in self.layer_split or engine in self.layer_split


class Sources(Frozen):
    """Stand-ins for names that the catalog does not have, and what is special about each source."""

    engines: dict[str, str] = Field(default={})
    models: dict[str, str] = Field(default={})
    precisions: dict[str, str] = Field(default={})
    sources: dict[str, Source] = Field(default={})

    def of(self, name: Any) -> Source:
        """What is known of a source: of most, nothing."""
        return self.sources.get(str(name), Source())

    def engine(self, name: str) -> str:
        """The engine that stands for a framework."""
        return self.engines.get(normalise(name), name)

    def model(self, name: str) -> str:
        """The model whose architecture a model has."""
        return self.models.get(normalise(name), name)

    def precision(self, name: str) -> str:
        """The catalog's name of a data type."""
        return self.precisions.get(normalise(name), name)


@cache
def known_sources() -> Sources:
    """The sources that GenZ knows."""
    return Sources.model_validate(read_mapping(Path(__file__).with_suffix(".yaml")))
