"""Which tool wrote a file: told by its content, so that nobody need say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genz.measurements.importers.aiconfigurator import is_table, read_aiconfigurator
from genz.measurements.importers.llama_bench import is_llama_bench, read_llama_bench
from genz.measurements.importers.records import Record, malformed, read_records
from genz.measurements.importers.vllm_bench import kind_of, read_vllm_bench
from genz.measurements.table import SCHEMAS, Table, read_table

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
FORMATS = "the tidy schema, tables of aiconfigurator-core, llama-bench's JSON, JSON of 'vllm bench'"


def read_any(path: str | Path, facts: Mapping[str, Any] | None = None) -> list[Table]:
    """Measurements of a file in any known format, or of a folder of aiconfigurator-core's tables, in the tidy schema.

    `facts` are columns that a file may not tell: `hardware`, `model`, lengths of a batch. Raises `SpecError` for what is
    of no known format, or malformed.
    """
    file = Path(path).expanduser()
    facts = dict(facts or {})
    hardware = facts.get("hardware")
    if file.is_dir() or is_table(file):
        return read_aiconfigurator(file, hardware=hardware)
    if file.suffix.lower() in JSON_SUFFIXES and file.is_file():
        records = read_records(file)
        if is_llama_bench(records[0]):
            return [read_llama_bench(file, hardware=hardware)]
        if kind_of(records[0]) is not None:
            return [read_vllm_bench(file, facts)]
        if not _is_tidy(records[0]):
            keys = ", ".join(sorted(map(str, records[0]))[:12])
            raise malformed(file, f"its records, of {keys}, are of no known format", allowed=FORMATS)
    return [read_table(file)]


def _is_tidy(record: Record) -> bool:
    return any(schema.key in record for schema in SCHEMAS.values())
