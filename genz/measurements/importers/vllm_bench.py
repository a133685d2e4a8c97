"""JSON that `vllm bench serve`, `vllm bench latency` and `vllm bench throughput` write.

- serve: `mean_ttft_ms`, `mean_tpot_ms`, `mean_e2el_ms` ..., under load: `max_concurrency` clients, or an open loop at
  `request_rate`; lengths from `total_input_tokens` and `total_output_tokens` over `completed` requests.
- latency: `avg_latency` [s] of one batch. Its file tells neither the model nor the lengths nor the batch.
- throughput: `requests_per_second`, `tokens_per_second`, with all requests at once. Its file does not tell the model.

What a file does not tell is given by `facts`, or taken from keys that `--metadata KEY=VALUE` put there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genz.measurements.importers.records import Fields, Record, malformed, read_records, tidy
from genz.measurements.table import Table

SOURCE = "vllm_bench"
MARKS = {
    "serve": ("total_input_tokens", "request_throughput", "mean_ttft_ms"),
    "latency": ("avg_latency", "percentiles"),
    "throughput": ("elapsed_time", "num_requests", "tokens_per_second"),
}
MILLISECOND = 1e-3
# Metrics of a file, in the tidy schema's names; mean, as the schema wants it.
SERVED = {
    "mean_ttft_ms": "ttft_s",
    "mean_tpot_ms": "tpot_s",
    "mean_e2el_ms": "e2e_s",
    "p99_ttft_ms": "p99_ttft_s",
    "p99_tpot_ms": "p99_tpot_s",
}
RATES = {
    "output_throughput": "output_tok_per_s",
    "total_token_throughput": "total_tok_per_s",
    "request_throughput": "request_per_s",
}
WORDS = ("hardware", "model", "framework_version", "weight_dtype", "kv_dtype", "notes")
COUNTS = ("n_devices", "tp", "pp", "ep", "dp", "batch_or_concurrency", "input_tokens", "output_tokens")


def kind_of(record: Record) -> str | None:
    """Which of the benchmarks wrote a record, none where none of them did."""
    return next((kind for kind, marks in MARKS.items() if all(mark in record for mark in marks)), None)


def read_vllm_bench(path: str | Path, facts: Mapping[str, Any] | None = None) -> Table:
    """End-to-end rows of a file of `vllm bench`. `facts` are columns that the file does not tell, such as `hardware`.

    Raises `SpecError` for a file of another form, one in which no request was completed, and one whose model or hardware
    nobody tells.
    """
    file = Path(path).expanduser()
    unknown = sorted(set(facts or {}) - {*WORDS, *COUNTS})
    if unknown:
        raise malformed(file, f"{unknown[0]!r} is no fact of a run", allowed=", ".join((*WORDS, *COUNTS)))
    rows = [row for i, record in enumerate(read_records(file), start=1) for row in _rows(file, record, i, dict(facts or {}))]
    if not rows:
        raise malformed(file, "holds no metric that is known")
    return tidy("e2e", file, rows)


def _rows(path: Path, record: Record, index: int, facts: Record) -> Iterator[Record]:
    kind = kind_of(record)
    where = f"record {index}"
    if kind is None:
        raise malformed(
            path, f"{where} is of no known benchmark", allowed="what 'vllm bench serve', 'latency' or 'throughput' writes"
        )
    fields = Fields(path, record, where)
    shared = {"source": SOURCE, "framework": "vllm", "mode": "agg", **_told(fields), **facts}
    made = {"serve": _served, "latency": _one_batch, "throughput": _all_at_once}[kind]
    for row in made(fields, shared):
        for column in ("hardware", "model"):
            if not row.get(column):
                raise malformed(
                    path,
                    f"{where} does not tell the {column}",
                    hint=f"give it as a fact, or run the benchmark with --metadata {column}=NAME",
                )
        yield row


def _told(fields: Fields) -> Record:
    """Facts that stand in the record: the model under its own name, others as metadata."""
    words = {name: fields.text(name) for name in WORDS} | {"model": fields.text("model_id", "model")}
    numbers = {name: _count(fields, name) for name in COUNTS}
    return {name: value for name, value in {**words, **numbers}.items() if value not in ("", None)}


def _count(fields: Fields, name: str) -> float | None:
    """A count: metadata are texts."""
    text = fields.text(name)
    return float(text) if text.isdigit() else fields.optional(name)


def _served(fields: Fields, shared: Record) -> Iterator[Record]:
    completed = fields.number("completed", least=1)
    lengths = {
        "input_tokens": fields.number("total_input_tokens") / completed,
        "output_tokens": fields.number("total_output_tokens") / completed,
    }
    clients, rate = fields.optional("max_concurrency"), fields.optional("request_rate")
    if rate is not None:
        load: Record = {"load_kind": "poisson_trace", "notes": f"request rate {rate:g}/s"}
    elif clients is not None:
        load = {"load_kind": "concurrency", "batch_or_concurrency": clients}
    else:
        load = {"load_kind": "saturated", "batch_or_concurrency": fields.optional("num_prompts") or completed}
    base = {**lengths, **load, **shared}
    for name, metric in SERVED.items():
        value = fields.optional(name)
        if value:
            yield {**base, "metric": metric, "value": value * MILLISECOND}
    for name, metric in RATES.items():
        value = fields.optional(name)
        if value:
            yield {**base, "metric": metric, "value": value}


def _one_batch(fields: Fields, shared: Record) -> Iterator[Record]:
    yield {"load_kind": "static_batch", **shared, "metric": "e2e_s", "value": fields.number("avg_latency", least=1e-9)}


def _all_at_once(fields: Fields, shared: Record) -> Iterator[Record]:
    base = {"load_kind": "saturated", "batch_or_concurrency": fields.number("num_requests", least=1), **shared}
    for name, metric in (("requests_per_second", "request_per_s"), ("tokens_per_second", "total_tok_per_s")):
        yield {**base, "metric": metric, "value": fields.number(name, least=1e-12)}
