"""`llama-bench -o json` or `-o jsonl`, of llama.cpp: one object a test, with its average speed.

Fields as its README and its printers give them: `n_prompt`, `n_gen`, `n_depth`, `avg_ts` [tokens/s], `avg_ns`; devices in
`gpu_info` or `cpu_info`. A test of a prompt gives the time to its last token, one of generation the time of each token;
one of both gives the time of the whole. `n_depth` tokens stand in the cache before either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from genz.measurements.importers.records import Fields, Record, malformed, read_records, tidy
from genz.measurements.table import Table

SOURCE = "llama_bench"
MARKS = ("n_prompt", "n_gen", "avg_ts")
# A quantisation in the name of a model's type, as in "llama 7B mostly Q4_0" or "qwen2 7B Q4_K - Medium".
_QUANTISED = re.compile(r"\b(I?Q\d\w*(?: - \w+)?|F16|BF16|F32|MXFP4\w*)\s*$", re.IGNORECASE)
_SIZES = {"small": "s", "medium": "m", "large": "l"}


def is_llama_bench(record: Record) -> bool:
    """Whether a record is one of llama-bench's."""
    return all(mark in record for mark in MARKS)


def read_llama_bench(path: str | Path, *, hardware: str | None = None) -> Table:
    """End-to-end rows of a llama-bench file. `hardware` names the chip, if not as the file does.

    Raises `SpecError` for a file that is not of this form.
    """
    file = Path(path).expanduser()
    rows = [row for index, record in enumerate(read_records(file), start=1) for row in _rows(file, record, index, hardware)]
    if not rows:
        raise malformed(file, "no record is a test of a prompt or of generation")
    return tidy("e2e", file, rows)


def _rows(path: Path, record: Record, index: int, hardware: str | None) -> Iterator[Record]:
    fields = Fields(path, record, f"record {index}")
    if not is_llama_bench(record):
        missing = next(mark for mark in MARKS if mark not in record)
        raise malformed(path, f"record {index} has no {missing!r}", allowed="objects that 'llama-bench -o json' writes")
    prompt, generated = fields.number("n_prompt"), fields.number("n_gen")
    speed = fields.number("avg_ts", least=1e-9)
    depth = fields.optional("n_depth") or 0.0
    devices = _devices(fields.text("gpu_info"))
    kind, quantised = _model(fields.text("model_type"))
    shared = {
        "source": SOURCE,
        "hardware": hardware or (devices or [fields.text("cpu_info")])[0],
        "framework": "llama.cpp",
        "framework_version": " ".join(filter(None, (_build(record), fields.text("build_commit")))),
        "model": kind or Path(fields.text("model_filename")).stem,
        "weight_dtype": quantised,
        "kv_dtype": fields.text("type_k"),
        "load_kind": "static_batch",
        "mode": "agg",
        "batch_or_concurrency": 1.0,
        "n_devices": float(max(1, len(devices))),
        "tp": 1.0,
        "pp": float(max(1, len(devices))),
        "notes": f"llama-bench; file {Path(fields.text('model_filename')).name}; depth {depth:.0f}",
    }
    if prompt and generated:
        yield {
            **shared,
            "input_tokens": prompt,
            "output_tokens": generated,
            "metric": "e2e_s",
            "value": (prompt + generated) / speed,
        }
    elif prompt:
        yield {**shared, "input_tokens": prompt + depth, "output_tokens": 0.0, **_of_prompt(prompt, depth, speed)}
    elif generated:
        yield {**shared, "input_tokens": depth, "output_tokens": generated, "metric": "tpot_s", "value": 1 / speed}


def _of_prompt(prompt: float, depth: float, speed: float) -> Record:
    """A prompt alone takes until its last token; one behind a cached context is told as a speed."""
    if depth:
        return {"metric": "prefill_tok_per_s", "value": speed}
    return {"metric": "ttft_s", "value": prompt / speed}


def _build(record: Record) -> str:
    number = record.get("build_number")
    return f"b{number}" if isinstance(number, int) else ""


def _devices(info: str) -> Sequence[str]:
    """Devices of a list with commas or slashes between them."""
    return [part.strip() for part in re.split(r"\s*[,/]\s+|,", info) if part.strip()]


def _model(kind: str) -> tuple[str, str]:
    """The model and its quantisation: "qwen2 7B Q4_K - Medium" is "qwen2 7B" in "q4_k_m"."""
    found = _QUANTISED.search(kind)
    if found is None:
        return kind, ""
    name, _, size = found.group(1).lower().partition(" - ")
    plain = re.sub(r"\s+(mostly|all)$", "", kind[: found.start()].strip())
    return plain, f"{name}_{_SIZES.get(size, size)}" if size else name
