"""Typed, checked access to the keys of a Hugging Face `config.json`."""

from __future__ import annotations

from typing import Any

from genz.errors import SpecError, nearest, shown

MAX_WIDTH = 10**8
MAX_LAYERS = 10**4
_MISSING = object()


class Config:
    """The keys of one model configuration, read with their type and range checked.

    Each reader takes the spellings of a key, newest first, so that old and new files both work.
    """

    def __init__(self, raw: dict[str, Any], *, origin: str) -> None:
        self.raw = raw
        self.origin = origin

    def _find(self, names: tuple[str, ...]) -> tuple[str, Any]:
        for name in names:
            if self.raw.get(name) is not None:
                return name, self.raw[name]
        return names[0], _MISSING

    def error(self, name: str, value: Any, allowed: str, *, problem: str = "is not allowed") -> SpecError:
        """The error for a key whose value cannot be."""
        return SpecError(f"{self.origin}: {name} = {shown(value)} {problem}", field=name, value=value, allowed=allowed)

    def count(self, *names: str, default: int | None = None, most: int = MAX_WIDTH, least: int = 1) -> int:
        """A whole number under one of the names. Raises `SpecError` if it is missing or absurd."""
        name, value = self._find(names)
        if value is _MISSING:
            if default is None:
                close = nearest(name, [key for key in self.raw if key not in names])
                hint = f"the nearest key in it is {close[0]!r}" if close else None
                raise SpecError(
                    f"{self.origin}: the key {name!r} is missing", field=name, allowed="one of " + ", ".join(names), hint=hint
                )
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.error(name, value, f"a whole number from {least} to {most:,}")
        return value

    def optional_count(self, *names: str, least: int = 1) -> int | None:
        """A whole number, or None where the key is absent or null."""
        return None if self._find(names)[1] is _MISSING else self.count(*names, least=least)

    def flag(self, *names: str, default: bool) -> bool:
        """A truth value under one of the names."""
        name, value = self._find(names)
        if value is _MISSING:
            return default
        if not isinstance(value, bool):
            raise self.error(name, value, "true or false")
        return value

    def text(self, *names: str, default: str) -> str:
        """A text under one of the names."""
        name, value = self._find(names)
        if value is _MISSING:
            return default
        if not isinstance(value, str):
            raise self.error(name, value, "a text")
        return value

    def sequence(self, name: str, *, length: int | None = None) -> list[Any] | None:
        """A list, or None where the key is absent; of the given length if there is one."""
        value = self.raw.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or (length is not None and len(value) != length):
            problem = f"has {len(value)} entries" if isinstance(value, list) else "is not a list"
            raise self.error(name, value, f"a list of {length} entries" if length is not None else "a list", problem=problem)
        return value

    def indices(self, name: str, *, below: int) -> frozenset[int]:
        """A list of layer numbers, each below `below`."""
        value = self.sequence(name) or []
        for entry in value:
            if isinstance(entry, bool) or not isinstance(entry, int) or not 0 <= entry < below:
                raise self.error(name, entry, f"layer numbers from 0 to {below - 1}")
        return frozenset(value)

    # What nearly every architecture shares.

    @property
    def hidden(self) -> int:
        return self.count("hidden_size", "n_embd", "d_model", "model_dim")

    @property
    def layers(self) -> int:
        return self.count("num_hidden_layers", "n_layer", "num_layers", "n_layers", "num_transformer_layers", most=MAX_LAYERS)

    @property
    def heads(self) -> int:
        return self.count("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads", most=10**5)

    @property
    def kv_heads(self) -> int:
        """Key and value heads; all heads where the key is absent."""
        kv_heads = self.count("num_key_value_heads", "num_kv_heads", default=self.heads, most=10**5)
        if self.heads % kv_heads:
            raise self.error("num_key_value_heads", kv_heads, f"a divisor of num_attention_heads = {self.heads}")
        return kv_heads

    def head_dim(self, *, default: int | None = None) -> int:
        """Width of one head: its own key, else `hidden_size / num_attention_heads`."""
        own = self.optional_count("head_dim")
        if own is not None:
            return own
        if default is not None:
            return default
        if self.hidden % self.heads:
            raise self.error("hidden_size", self.hidden, f"a multiple of num_attention_heads = {self.heads}")
        return self.hidden // self.heads

    def vocabulary(self, default: int | None = None) -> int:
        return self.count("vocab_size", default=default)
