"""Predicted against measured time per output token, for static batches of one request.

    python benchmarks/static_batches.py MEASUREMENTS.parquet [--json]

Takes rows of the tidy end-to-end schema (`load_kind` = `static_batch`, `metric` = `tpot_s`, batch 1) and prints, by
chip and engine, the median ratio of predicted to measured at each fidelity. Rows that cannot be answered are counted
with the reason.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from typing import Any

import pandas as pd

import genz

ENGINES = {
    "llama.cpp": "llama.cpp",
    "vllm": "vllm",
    "vllm(2023)/deepspeed": "vllm",
    "transformer": "pytorch",
    "transformers (pytorch)": "pytorch",
    "nvidia tensorrt-llm": "tensorrt-llm",
    "tensorrt-llm": "tensorrt-llm",
}
PRECISIONS = {"f16": "fp16", "int4": "int4", "int8": "w8a16", "gptq-int4": "gptq"}
FIDELITIES = ("roofline", "engine")


class NotAnsweredError(Exception):
    """Why a row has no prediction."""


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("measurements")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = pd.read_parquet(arguments.measurements)
    scored, unanswered = score(wanted(rows))
    table = summarise(scored)
    if arguments.json:
        json.dump({"rows": table.to_dict(orient="records"), "not_answered": unanswered}, sys.stdout, indent=2)
        return
    print(table.to_string(index=False, float_format="%.2f"))
    print(f"\n{len(scored)} rows answered, {sum(unanswered.values())} not:")
    for reason, count in unanswered.items():
        print(f"  {count:5d}  {reason}")


def wanted(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of static batches of one request with a sound TPOT."""
    kept = (rows["load_kind"] == "static_batch") & (rows["metric"] == "tpot_s") & (rows["batch_or_concurrency"] == 1)
    return rows[kept & (rows["quality"] == "ok")]


def score(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Ratio of predicted to measured for each row that can be answered, and why the others cannot."""
    found: list[dict[str, Any]] = []
    reasons: Counter[str] = Counter()
    for row in rows.itertuples():
        try:
            ratios = {fidelity: predicted_tpot(row, fidelity) / row.value for fidelity in FIDELITIES}
        except (NotAnsweredError, genz.GenZError) as error:
            reasons[str(error).split(";")[0][:100]] += 1
            continue
        found.append(
            {"source": row.source, "chip": row.hardware, "framework": row.framework, "dtype": row.weight_dtype, **ratios}
        )
    return pd.DataFrame(found), dict(reasons.most_common())


def predicted_tpot(row: Any, fidelity: str) -> float:
    """TPOT of the row's deployment [s]."""
    engine = ENGINES.get(str(row.framework).lower())
    if engine is None:
        raise NotAnsweredError(f"no engine file for {row.framework}")
    tp = int(row.tp) if row.tp == row.tp else 1
    devices = int(row.n_devices) if row.n_devices == row.n_devices else tp
    if devices % tp:
        raise NotAnsweredError("devices that are no multiple of the tensor-parallel degree")
    # Rows of prompt-free generation start from one token; rows without a prompt length from a short one.
    prompt = max(int(row.input_tokens), 1) if row.input_tokens == row.input_tokens else 32
    output = int(row.output_tokens)
    platform = row.hardware if devices == 1 else f"{devices}x {row.hardware}"
    prediction = genz.predict(
        row.model,
        platform,
        input=prompt,
        output=output,
        tp=tp,
        pp=devices // tp,
        engine=engine,
        fidelity=fidelity,
        precision=PRECISIONS.get(row.weight_dtype, row.weight_dtype),
        max_model_len=prompt + output,
    )
    if prediction.tpot is None:
        raise NotAnsweredError("one output token")
    return float(prediction.tpot)


def summarise(scored: pd.DataFrame) -> pd.DataFrame:
    """Median ratio and rows by source, chip, engine and data type."""
    grouped = scored.groupby(["source", "chip", "framework", "dtype"], sort=True)
    table = grouped[list(FIDELITIES)].median().reset_index()
    table.insert(4, "rows", grouped.size().to_numpy())
    return table


if __name__ == "__main__":
    main()
