"""Measurement files in the tidy schema, read into a table whose rows can be relied on.

One file holds measurements of single operators (`ops`), of collectives, or of whole requests (`e2e`). A column that is not
there is empty; a row that makes no sense stays in the table with the reason why, so that nothing vanishes.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genz.errors import InvalidValueError, SpecError, nearest, shown, unknown_name

MAX_FILE_BYTES = 2**30
MAX_ROWS = 20_000_000
# What is set aside is no part of the measurements: their maker rejects it, or it stands there already.
OK = "ok"
REPEATED = "an exact repetition of another row, which is kept once"


@dataclass(frozen=True)
class Schema:
    """The columns of one kind of measurements: which tells the kind, which holds the measured value, which must be there."""

    key: str
    measured: str
    required: tuple[str, ...]
    text: tuple[str, ...]
    numbers: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.text, *self.numbers)


_SHARED_TEXT = ("source", "hardware", "framework", "framework_version", "dtype", "notes", "quality")
SCHEMAS: dict[str, Schema] = {
    "ops": Schema(
        key="op",
        measured="measured_s",
        required=("hardware", "op", "measured_s"),
        text=(*_SHARED_TEXT, "op", "kernel", "kv_dtype", "distribution"),
        numbers=(
            *("m", "n", "k", "batch", "q_len", "past_kv", "n_heads", "n_kv_heads", "head_dim", "window", "num_tokens"),
            *("hidden", "inter", "topk", "n_experts", "moe_tp", "moe_ep", "tp", "measured_s", "power_w", "power_limit_w"),
        ),
    ),
    "collectives": Schema(
        key="collective",
        measured="measured_s",
        required=("hardware", "collective", "n_devices", "measured_s"),
        text=(*_SHARED_TEXT, "collective", "backend"),
        numbers=("n_devices", "n_nodes", "message_bytes", "num_tokens", "hidden", "topk", "n_experts", "measured_s"),
    ),
    "e2e": Schema(
        key="metric",
        measured="value",
        required=("hardware", "model", "metric", "value"),
        text=(
            *("source", "hardware", "framework", "framework_version", "notes", "quality", "mode", "model"),
            *("weight_dtype", "kv_dtype", "load_kind", "metric"),
        ),
        numbers=(*("n_devices", "tp", "pp", "ep", "dp", "batch_or_concurrency", "input_tokens", "output_tokens", "value"),),
    ),
}


@dataclass(frozen=True)
class Table:
    """Rows of one file. `rows` has every column of its schema, and `refusal`: why a row is of no use, empty text where it is.

    `set_aside` counts, by reason, the rows that are no longer among them: those of another quality than "ok", and repetitions.
    """

    kind: str
    path: Path
    rows: pd.DataFrame
    set_aside: dict[str, int]

    @property
    def schema(self) -> Schema:
        return SCHEMAS[self.kind]

    @property
    def usable(self) -> pd.DataFrame:
        """The rows that make sense."""
        return self.rows[self.rows["refusal"] == ""]


def read_table(path: str | Path, kind: str | None = None) -> Table:
    """Measurements from a Parquet, CSV or JSON-lines file; `kind` ("ops", "collectives", "e2e") is told by the columns.

    Raises `SpecError` for a file that cannot be read or lacks a column, `InvalidValueError` or `UnknownNameError` for a
    kind that is not known or not told by the columns.
    """
    if kind is not None and kind not in SCHEMAS:
        raise unknown_name("kind", str(kind), SCHEMAS)
    file = Path(path).expanduser()
    frame = _read_file(file).reset_index(drop=True)
    kind = kind or _kind_of(frame, file)
    schema = SCHEMAS[kind]
    _check_columns(frame, schema, kind, file)
    rows = _completed(frame, schema, file)
    rows, set_aside = _set_aside(rows, schema)
    return Table(kind, file, rows.reset_index(drop=True), set_aside)


def _read_file(path: Path) -> pd.DataFrame:
    """The file as it stands. A file of a user may hold anything: whatever its reader trips over is his to hear."""
    reader = _reader_of(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _unreadable(path, "is a folder", allowed="a Parquet, CSV or JSON-lines file")
        if not stat.S_ISREG(status.st_mode):
            raise _unreadable(path, "is no regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise _unreadable(path, f"is larger than {MAX_FILE_BYTES // 2**20} MiB", hint="split it")
        if status.st_size == 0:
            raise _unreadable(path, "is empty")
        frame = reader(path)
    except FileNotFoundError:
        beside = nearest(path.name, _beside(path))
        hint = f"did you mean {beside[0]!r}?" if beside else None
        raise _unreadable(path, "does not exist", hint=hint) from None
    except (OSError, ValueError, ArithmeticError, TypeError, KeyError, RecursionError, NotImplementedError) as error:
        if isinstance(error, PermissionError):
            raise _unreadable(path, "may not be read", hint="check its permissions") from None
        reason = str(error).strip().splitlines() or [type(error).__name__]
        kind = {".csv": "CSV", ".parquet": "Parquet", ".pq": "Parquet"}.get(path.suffix.lower(), "JSON")
        raise _unreadable(path, f"cannot be read as {kind}: {reason[0][:200]}") from None
    if frame.empty:
        raise _unreadable(path, "holds no rows")
    return frame


def _beside(path: Path) -> Iterable[str]:
    try:
        return [entry.name for entry in os.scandir(path.parent)]
    except OSError:
        return []


def _unreadable(path: Path, problem: str, *, allowed: str | None = None, hint: str | None = None) -> SpecError:
    return SpecError(f"{path}: {problem}", field="measurements", value=str(path), allowed=allowed, hint=hint)


def _reader_of(path: Path) -> Callable[[Path], pd.DataFrame]:
    suffix = path.suffix.lower()
    if suffix not in _READERS and not path.is_dir():
        raise _unreadable(
            path, f"{suffix or 'no suffix'!r} tells no format", allowed=f"a file ending in {', '.join(sorted(_READERS))}"
        )
    return _READERS.get(suffix, _read_parquet)


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    if file.metadata.num_rows > MAX_ROWS:
        raise ValueError(f"{file.metadata.num_rows:,} rows are more than {MAX_ROWS:,}: split the file")
    frame: pd.DataFrame = file.read().to_pandas()
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    # As text: a version such as 1.10 is no number.
    return pd.read_csv(path, dtype=str, skipinitialspace=True)


def _read_json(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8") as file:
        is_list = file.read(1) == "["
        file.seek(0)
        records = json.load(file) if is_list else [json.loads(line) for line in file if line.strip()]
    wrong = next((record for record in records if not isinstance(record, dict)), None)
    if wrong is not None:
        raise ValueError(f"{shown(wrong)} is no object of columns")
    return pd.DataFrame(records)


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".csv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
}


def _kind_of(frame: pd.DataFrame, path: Path) -> str:
    """The kind whose column is there."""
    found = [kind for kind, schema in SCHEMAS.items() if schema.key in frame.columns]
    if len(found) == 1:
        return found[0]
    keys = ", ".join(f"{schema.key!r} ({kind})" for kind, schema in SCHEMAS.items())
    problem = "no column tells" if not found else f"the columns of {' and '.join(found)} do not tell"
    close = [] if found else [c for schema in SCHEMAS.values() for c in nearest(schema.key, map(str, frame.columns))]
    raise InvalidValueError(
        f"{path}: {problem} what kind of measurements these are",
        field="kind",
        value=[str(column) for column in frame.columns],
        allowed=f"a file with one of the columns {keys}, or a kind that is given",
        hint=f"{close[0]!r} looks like one of them" if close else None,
    )


def _check_columns(frame: pd.DataFrame, schema: Schema, kind: str, path: Path) -> None:
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise SpecError(f"{path}: the column {shown(str(repeated[0]))} is there twice", field=str(repeated[0]))
    for column in schema.required:
        if column in frame.columns:
            continue
        others = [str(c) for c in frame.columns if c not in schema.columns]
        close = nearest(column, others)
        raise SpecError(
            f"{path}: the column {column!r} is missing",
            field=column,
            allowed=f"measurements of {kind} need {', '.join(schema.required)}",
            hint=f"{close[0]!r} looks like it" if close else None,
        )


def _completed(frame: pd.DataFrame, schema: Schema, path: Path) -> pd.DataFrame:
    """All columns of the schema, numbers as numbers, and what is wrong with each row."""
    columns: dict[str, pd.Series] = {}
    refusal = pd.Series("", index=frame.index, dtype=object)
    for name in schema.text:
        default = path.stem if name == "source" else None
        columns[name] = _text(frame[name]) if name in frame else _text(pd.Series(default, frame.index, dtype=object))
    for name in schema.numbers:
        if name not in frame:
            columns[name] = pd.Series(np.nan, frame.index)
            continue
        columns[name], problems = _numbers(frame[name], is_measured=name == schema.measured)
        for problem, found in problems:
            refusal = _marked(refusal, found, f"{name} {problem}")
    for name in schema.required:
        if name in schema.text:
            refusal = _marked(refusal, columns[name].isna(), f"{name} is missing")
    others = {str(name): _plain(frame[name]) for name in frame.columns if name not in columns}
    return pd.DataFrame({**columns, **others, "refusal": refusal})


def _marked(refusal: pd.Series, found: pd.Series, reason: str) -> pd.Series:
    """Refusals with one more reason, where there is none yet."""
    return refusal.mask(found & (refusal == ""), reason) if found.any() else refusal


def _text(column: pd.Series) -> pd.Series:
    """Text as pandas reads it from a file, empty text counting as missing."""
    codes, distinct = pd.factorize(column.astype(object), use_na_sentinel=True)
    words = [str(value).strip() or np.nan for value in distinct]
    # A column without a word would be taken for one of numbers.
    kind = None if any(isinstance(word, str) for word in words) else object
    return pd.Series(np.array([*words, np.nan], dtype=object)[codes].tolist(), index=column.index, dtype=kind)


def _plain(column: pd.Series) -> pd.Series:
    """A column that no schema knows, in a form that rows can be compared in."""
    return column.map(str) if column.dtype == object else column


def _numbers(column: pd.Series, *, is_measured: bool) -> tuple[pd.Series, list[tuple[str, pd.Series]]]:
    """A column as floats, with what is wrong and where."""
    given = column.notna()
    if pd.api.types.is_bool_dtype(column.dtype):
        numbers = pd.Series(np.nan, column.index)
    elif pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.astype(float)
    else:
        given &= column.map(lambda v: not (isinstance(v, str) and not v.strip()))
        numbers = pd.to_numeric(column.where(~column.map(lambda v: isinstance(v, bool))), errors="coerce").astype(float)
    text = given & numbers.isna()
    example = shown(column[text].iloc[0]) if text.any() else ""
    problems: list[tuple[str, pd.Series]] = [
        (f"is no number, such as {example}", text),
        ("is infinite", pd.Series(np.isinf(numbers), column.index)),
        ("is negative", numbers < 0),
    ]
    if is_measured:
        problems += [("is missing", ~given | (numbers.isna() & ~text)), ("is zero", numbers == 0)]
    return numbers, problems


def _set_aside(rows: pd.DataFrame, schema: Schema) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows of good quality, each once, and how many of what are gone."""
    reasons: dict[str, int] = {}
    if rows["quality"].notna().any():
        # Where a file tells the quality, a row that does not is none to rely on.
        quality = rows["quality"].fillna("missing")
        counts = quality[quality != OK].value_counts()
        reasons = {f"quality is {name}": int(count) for name, count in counts.items()}
        rows = rows[(quality == OK).to_numpy()]
    repeated = _repeated(rows, schema)
    if repeated.any():
        reasons[REPEATED] = int(repeated.sum())
    return rows[~repeated], reasons


def _repeated(rows: pd.DataFrame, schema: Schema) -> pd.Series:
    """Whether a row equals an earlier one in every column."""
    # Few measured values repeat at all, and only rows that share one can be the same.
    same = rows[schema.measured].duplicated(keep=False)
    return rows[same].duplicated().reindex(rows.index, fill_value=False)
