"""Real Transformers on this machine's processor against what GenZ predicts for them.

    genz calibrate --device cpu --out mine
    python benchmarks/cpu_transformers.py mine [--quick] [--models llama,opt] [--dtype bf16] [--json] [--measurements FILE]

Small models of three architectures get random weights and run in Hugging Face transformers, eagerly, with as many threads
as there are cores: prompts of several lengths and batches, then decode steps behind each. Their configurations go to GenZ
as they are. Every row is shown; the last lines give the mean errors. `--measurements` writes the runs in the tidy
end-to-end schema too. `--quick` takes fewer shapes and repeats: two minutes on two cores, where all take ten or so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import genz
from genz.calibration.machine.backend import load_torch
from genz.calibration.machine.detect import chip_name, detect
from genz.calibration.machine.load import current_load
from genz.specs import catalog

# Three architectures of 50 to 300 million parameters: grouped-query attention with a gated feed-forward network, the
# older form with biases and layer norms, and a mixture of experts.
MODELS: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 12,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "vocab_size": 32_000,
        "max_position_embeddings": 2048,
    },
    "opt": {
        "hidden_size": 768,
        "ffn_dim": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "vocab_size": 50_272,
        "word_embed_proj_dim": 768,
        "max_position_embeddings": 2048,
    },
    "qwen3_moe": {
        "hidden_size": 768,
        "moe_intermediate_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "head_dim": 64,
        "num_experts": 16,
        "num_experts_per_tok": 4,
        "vocab_size": 32_000,
        "max_position_embeddings": 2048,
    },
}


class Plan(NamedTuple):
    """Batches and prompts, decode steps behind each prompt, and repeats: one goes first uncounted."""

    shapes: tuple[tuple[int, int], ...]
    decode_steps: int
    repeats: int


FULL = Plan(((1, 64), (1, 128), (1, 512), (2, 128), (4, 64), (4, 256), (4, 512)), decode_steps=16, repeats=5)
QUICK = Plan(((1, 64), (1, 512), (4, 128)), decode_steps=8, repeats=3)
# Repeats of one shape end after so many seconds, whatever the plan says; two are made in any case.
SECONDS, FEWEST = 60.0, 2
TYPES = {"bf16": "bfloat16", "fp32": "float32"}
TARGET = 0.15


def main() -> None:
    """Run the models, print each row, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("specs", type=Path, help="what 'genz calibrate --out' wrote")
    parser.add_argument("--quick", action="store_true", help="fewer shapes and repeats")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--dtype", choices=tuple(TYPES), help="left out: the type that this processor multiplies fastest")
    parser.add_argument("--fidelity", default="calibrated")
    parser.add_argument("--measurements", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    load = current_load()
    if load.is_disturbed:
        print(f"warning: {load.describe()}", file=sys.stderr)
    catalog.prefer(arguments.specs)
    torch = load_torch()
    machine = detect(torch, "cpu")
    torch.set_num_threads(machine.threads)
    chip = genz.chip(chip_name(machine))
    dtype = arguments.dtype or max(TYPES, key=lambda name: float(chip.matrix_flops.get(name, 0)))
    plan = QUICK if arguments.quick else FULL
    rows = []
    for name in arguments.models.split(","):
        for row in compared(torch, name, MODELS[name], chip.name, plan, dtype=dtype, fidelity=arguments.fidelity):
            rows.append(row)
            print("{model} {phase} {batch} x {input}: {error:+.1%}".format(**row), file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    if arguments.measurements:
        tidy(table, plan).to_json(arguments.measurements, orient="records", lines=True)
    if arguments.json:
        json.dump(table.to_dict(orient="records"), sys.stdout, indent=2)
        return
    print(table.to_string(index=False, float_format="%.4f"))
    for phase, group in table.groupby("phase"):
        errors = group["error"]
        verdict = "within" if errors.abs().mean() <= TARGET else "misses"
        print(f"{phase}: mean error {errors.abs().mean():.1%}, bias {errors.mean():+.1%}: {verdict} {TARGET:.0%}")


def compared(
    torch: Any, name: str, sizes: dict[str, Any], chip: str, plan: Plan, *, dtype: str, fidelity: str
) -> Iterator[dict[str, Any]]:
    """Rows of one model: prefill and decode of each shape."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(name, **sizes)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, TYPES[dtype])).eval()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder, "config.json")
        path.write_text(json.dumps({**config.to_dict(), "dtype": TYPES[dtype]}), encoding="utf-8")
        for batch, length in plan.shapes:
            predicted = genz.predict(
                str(path),
                chip,
                input=length,
                output=plan.decode_steps + 1,
                batch=batch,
                engine="pytorch",
                precision=dtype,
                fidelity=fidelity,
            )
            runs = repeated(torch, model, batch, length, plan)
            for phase, value in (("prefill", predicted.ttft), ("decode", predicted.tpot)):
                samples = [each[phase] for each in runs]
                measured = statistics.median(samples)
                yield {
                    "model": name,
                    "dtype": dtype,
                    "phase": phase,
                    "batch": batch,
                    "input": length,
                    "measured_ms": measured * 1e3,
                    "spread": (max(samples) - min(samples)) / measured,
                    "predicted_ms": float(value) * 1e3,
                    "error": float(value) / measured - 1,
                }


def repeated(torch: Any, model: Any, batch: int, length: int, plan: Plan) -> list[dict[str, float]]:
    """Runs of one shape behind one that warms up, as many as the plan wants and the time allows."""
    run(torch, model, batch, length, plan.decode_steps)
    runs: list[dict[str, float]] = []
    start = time.monotonic()
    while len(runs) < plan.repeats and (len(runs) < FEWEST or time.monotonic() - start < SECONDS):
        runs.append(run(torch, model, batch, length, plan.decode_steps))
    return runs


def run(torch: Any, model: Any, batch: int, length: int, decode_steps: int) -> dict[str, float]:
    """Seconds of one prompt, and of one decode step behind it in the median."""
    prompt = torch.randint(0, model.config.vocab_size, (batch, length))
    start = time.perf_counter()
    out = model(prompt, use_cache=True, logits_to_keep=1)
    token = out.logits[:, -1:].argmax(dim=-1)
    prefill = time.perf_counter() - start
    steps = []
    for _ in range(decode_steps):
        start = time.perf_counter()
        out = model(token, past_key_values=out.past_key_values, use_cache=True)
        token = out.logits[:, -1:].argmax(dim=-1)
        steps.append(time.perf_counter() - start)
    return {"prefill": prefill, "decode": statistics.median(steps)}


def tidy(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The runs in the tidy end-to-end schema."""
    metrics = {"prefill": "ttft_s", "decode": "tpot_s"}
    return pd.DataFrame(
        {
            "source": "cpu_transformers",
            "framework": "pytorch",
            "model": table["model"],
            "weight_dtype": table["dtype"],
            "load_kind": "static_batch",
            "batch_or_concurrency": table["batch"],
            "input_tokens": table["input"],
            "output_tokens": plan.decode_steps + 1,
            "metric": table["phase"].map(metrics),
            "value": table["measured_ms"] / 1e3,
        }
    )


if __name__ == "__main__":
    main()
