"""Typed errors: each says the field, the value, what is allowed and the nearest valid thing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

MAX_SHOWN_CHOICES = 12
MAX_SHOWN_CHARACTERS = 160


def shown(value: Any) -> str:
    """A value as errors print it: its `repr`, cut where it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or an integer of too many digits
        text = f"<{type(value).__name__}>"
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[: MAX_SHOWN_CHARACTERS - 3]}..."


class GenZError(Exception):
    """Base of every error that GenZ raises on purpose.

    Attributes: `field` (what was asked about), `value` (what was given), `allowed` (what is
    accepted, in words) and `hint` (the nearest valid thing, or what to do next).
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        value: Any = None,
        allowed: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.value = value
        self.allowed = allowed
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.message]
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.hint:
            parts.append(self.hint)
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON-ready data, for `--json` and for other programs."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "field": self.field,
            "value": self.value if self.value is None or isinstance(self.value, str) else shown(self.value),
            "allowed": self.allowed,
            "hint": self.hint,
        }


class InvalidValueError(GenZError):
    """A value is outside of what its field allows."""


class UnitError(InvalidValueError):
    """A quantity has no unit, or the unit of another kind of quantity."""


class UnknownNameError(GenZError):
    """A name is not in the catalog."""


class SpecError(GenZError):
    """A specification file cannot be read, or says something that is not allowed."""


class UnsupportedError(GenZError):
    """The question is well formed, but it asks for something that GenZ or the hardware cannot do."""


class OutputError(GenZError):
    """A folder of results cannot be written, or holds something else."""


class DoesNotFitError(GenZError):
    """The model and its cache do not fit in the memory of a device.

    Attributes: `memory` (the table of what each device must hold) and `suggestions`
    (the smallest changes that would make it fit).
    """

    exit_code = 3

    def __init__(self, message: str, *, memory: Any, suggestions: list[str], **details: Any) -> None:
        super().__init__(message, **details)
        self.memory = memory
        self.suggestions = suggestions

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "memory": self.memory.to_dict(),
            "suggestions": self.suggestions,
        }


def nearest(name: str, choices: Iterable[str]) -> list[str]:
    """The choices that look most like `name`, best first, at most three."""
    by_key = {choice.lower().replace("_", "-"): choice for choice in choices}
    key = name.lower().replace("_", "-")
    found = difflib.get_close_matches(key, by_key, n=3, cutoff=0.55)
    inside = sorted((k for k in by_key if len(key) >= 3 and (key in k or k in key)), key=len)
    begun = [k for k in inside if k.startswith(key)]  # "gemma3" is nearer to "gemma3_text" than to "gemma2"
    return [by_key[k] for k in list(dict.fromkeys([*begun, *found, *inside]))[:3]]


def unknown_name(kind: str, name: str, choices: Iterable[str], *, hint: str | None = None) -> UnknownNameError:
    """Build the error for a name that is in no catalog, with its nearest neighbours."""
    names = sorted(choices)
    close = nearest(name, names)
    allowed = None
    if len(names) <= MAX_SHOWN_CHOICES:
        allowed = ", ".join(names)
    if close:
        suggestion = "did you mean " + " or ".join(repr(c) for c in close) + "?"
        hint = f"{suggestion} {hint}" if hint else suggestion
    return UnknownNameError(f"unknown {kind} {shown(name)}", field=kind, value=name, allowed=allowed, hint=hint)
