"""Predicted against measured peak memory, for libraries that do not take a pool in advance.

    python benchmarks/memory.py MEASUREMENTS.parquet [--json]

Takes rows of the tidy end-to-end schema with `metric` = `peak_mem_gb` of Hugging Face transformers, which report the
allocator's peak: weights, cache, activations and logits, without the driver's context. Rows of `qwen_speed_benchmark`
are in GiB.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import pandas as pd

import genz
from genz.inference.evaluate import memory_of

ENGINES = {"transformer": "pytorch", "transformers (pytorch)": "pytorch"}
PRECISIONS = {"gptq-int4": "gptq", "int8": "w8a16"}
UNITS = {"qwen_speed_benchmark": 2**30}
GB = 1e9


def main() -> None:
    """Print each row's figures, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("measurements")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = pd.read_parquet(arguments.measurements)
    table = compare(rows)
    if arguments.json:
        json.dump(table.to_dict(orient="records"), sys.stdout, indent=2)
        return
    print(table.to_string(index=False, float_format="%.2f"))
    by_model = table.groupby(["source", "model", "dtype"])["error"].agg(["mean", "min", "max", "size"])
    print("\n" + by_model.to_string(float_format=lambda value: f"{value:+.1%}"))
    errors = table["error"].abs()
    print(f"\n{len(table)} rows, mean absolute error {errors.mean():.1%}, median {errors.median():.1%}")


def compare(rows: pd.DataFrame) -> pd.DataFrame:
    """Every row of a library that GenZ knows."""
    wanted = rows[(rows["metric"] == "peak_mem_gb") & (rows["quality"] == "ok")]
    return pd.DataFrame([compared(row) for row in wanted.itertuples() if str(row.framework).lower() in ENGINES])


def compared(row: Any) -> dict[str, Any]:
    """Measured and predicted bytes of one row, and the relative error."""
    prompt = max(int(row.input_tokens), 1) if row.input_tokens == row.input_tokens else 32
    question = genz.settle_question(
        row.model,
        row.hardware,
        input=prompt,
        output=int(row.output_tokens),
        engine=ENGINES[str(row.framework).lower()],
        precision=PRECISIONS.get(row.weight_dtype, row.weight_dtype),
        max_model_len=prompt + int(row.output_tokens),
    )
    memory = memory_of(question)
    predicted = memory.total_bytes - memory.reserve_bytes
    measured = row.value * UNITS.get(row.source, GB)
    return {
        "source": row.source,
        "model": row.model,
        "dtype": row.weight_dtype,
        "input": prompt,
        "measured_gb": measured / GB,
        "predicted_gb": predicted / GB,
        "error": predicted / measured - 1,
    }


if __name__ == "__main__":
    main()
