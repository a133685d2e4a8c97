"""What importers of JSON share: reading records, and asking them for numbers and words, with clear errors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from genz.errors import SpecError, nearest, shown
from genz.measurements.table import MAX_FILE_BYTES, SCHEMAS, Table

Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """Objects of a file: one, a list of them, or one a line. Raises `SpecError` where the file holds anything else."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise malformed(path, f"is larger than {MAX_FILE_BYTES // 2**20} MiB", hint="split it")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise malformed(path, f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise malformed(path, "is not UTF-8 text") from None
    try:
        found = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise malformed(path, f"is not valid JSON: {str(error).splitlines()[0][:120]}") from None
    records = found if isinstance(found, list) else [found]
    wrong = [record for record in records if not isinstance(record, dict)]
    if wrong:
        raise malformed(path, f"{shown(wrong[0])} is no object")
    if not records:
        raise malformed(path, "holds no records")
    return records


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[0].rstrip().endswith("}"):
            raise
        return [json.loads(line) for line in lines]


def malformed(path: Path, problem: str, **details: Any) -> SpecError:
    """The error for a file that is not what it should be."""
    return SpecError(f"{path}: {problem}", field="measurements", value=str(path), **details)


class Fields:
    """The fields of one record of a file, asked for by name."""

    def __init__(self, path: Path, record: Record, where: str) -> None:
        self._path, self._record, self._where = path, record, where

    def number(self, name: str, *, least: float = 0.0) -> float:
        """A finite number of at least `least`. Raises `SpecError` where it is missing or something else."""
        value = self._record.get(name)
        if name not in self._record:
            close = nearest(name, map(str, self._record))
            hint = f"{close[0]!r} looks like it" if close else None
            raise malformed(self._path, f"{self._where} has no {name!r}", hint=hint)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < least:
            raise malformed(
                self._path, f"{self._where}: {name} = {shown(value)} is not allowed", allowed=f"a number from {least:g}"
            )
        return float(value)

    def optional(self, name: str) -> float | None:
        """A number, none where it is missing, null or not finite."""
        value = self._record.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        return float(value)

    def text(self, *names: str) -> str:
        """The first of some fields that holds text, empty where none does."""
        found = (self._record.get(name) for name in names)
        return next((value.strip() for value in found if isinstance(value, str) and value.strip()), "")


def tidy(kind: str, path: Path, rows: list[Record], set_aside: dict[str, int] | None = None) -> Table:
    """A table of one kind with every column of its schema; all rows are good ones."""
    schema = SCHEMAS[kind]
    frame = pd.DataFrame(rows)
    columns = {name: frame[name] if name in frame else pd.Series(None, frame.index, dtype=object) for name in schema.text}
    numbers = {
        name: (frame[name] if name in frame else pd.Series(math.nan, frame.index)).astype(float) for name in schema.numbers
    }
    quality = pd.Series("ok", frame.index)
    refusal = pd.Series("", frame.index)
    return Table(kind, path, pd.DataFrame({**columns, **numbers, "quality": quality, "refusal": refusal}), set_aside or {})
