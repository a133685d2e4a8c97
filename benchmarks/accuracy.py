"""Write the accuracy page from measurements.

    python benchmarks/accuracy.py FOLDER [--out docs/accuracy.md]

FOLDER holds measurements in the tidy schemas: `e2e.parquet` and `collectives.parquet`. The page has every row group,
the bad ones too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import collectives
import memory
import pandas as pd
import static_batches

INTRODUCTION = """# Where predictions stand

Written by `python benchmarks/accuracy.py FOLDER` from public measurements; every group of rows stays, the bad ones too.
Nothing here has been fitted to these rows except the three constants a chip family of the collectives: `roofline` is the
data sheet, `engine` the flat efficiencies and overheads that the engines' files state, both estimates. A calibration is
what will narrow these gaps, and what will earn predictions their interval.
"""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/accuracy.md"))
    arguments = parser.parse_args()
    requests = pd.read_parquet(arguments.folder / "e2e.parquet")
    exchanges = pd.read_parquet(arguments.folder / "collectives.parquet")
    parts = [INTRODUCTION, _static_batches(requests), _memory(requests), _collectives(exchanges)]
    arguments.out.write_text("\n".join(parts), encoding="utf-8")


def _static_batches(rows: pd.DataFrame) -> str:
    scored, unanswered = static_batches.score(static_batches.wanted(rows))
    reasons = "\n".join(f"- {count} rows: {reason}" for reason, count in unanswered.items())
    return f"""## Time per output token of one request

Median of predicted over measured TPOT, static batches of size 1, by `benchmarks/static_batches.py`.

{_markdown(static_batches.summarise(scored), "{:.2f}")}

{len(scored)} rows answered, {sum(unanswered.values())} not:

{reasons}
"""


def _memory(rows: pd.DataFrame) -> str:
    table = memory.compare(rows)
    grouped = table.groupby(["source", "model", "dtype"])["error"].agg(["mean", "min", "max", "size"]).reset_index()
    errors = table["error"].abs()
    return f"""## Peak memory

Predicted over measured peak of the allocator less one, Hugging Face transformers, by `benchmarks/memory.py`: mean
absolute error {errors.mean():.1%}, median {errors.median():.1%} over {len(table)} rows. The integer and 4-bit rows of
`premai_benchmarks` are bitsandbytes, whose working copies GenZ does not model.

{_markdown(grouped, "{:+.1%}")}
"""


def _collectives(rows: pd.DataFrame) -> str:
    constants = collectives.read_constants()
    cells, unanswered = collectives.read(rows)
    scored = pd.concat([cell.scored(constants[cell.family]) for cell in cells])
    fitted = scored[scored["fitted"]]
    by_hardware = collectives.averaged(collectives.summarise(fitted, ["hardware", "collective", "kernel"]))
    by_kind = collectives.summarise(scored, ["hardware", "collective", "kernel", "nodes"])
    by_size = collectives.summarise(fitted, ["hardware", "decade"])
    reasons = "\n".join(f"- {count} rows: {reason}" for reason, count in unanswered.items())
    return f"""## Collectives

Errors in per cent of the measured time, by `benchmarks/collectives.py`: share of the data sheet's bandwidth, latency of a
message and launch are the only constants, three a chip family; of the rows they were fitted on, a fifth was kept out, and
that is what is shown. Each collective weighs the same:

{_markdown(by_hardware, "{:.1f}")}

By collective, kernel and nodes:

{_markdown(by_kind, "{:.1f}")}

By the power of ten of the message's bytes:

{_markdown(by_size, "{:.1f}")}

{len(scored)} rows scored, {sum(unanswered.values())} not:

{reasons}
"""


def _markdown(table: pd.DataFrame, form: str) -> str:
    """A table in Markdown, floats in the given form."""
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    for row in table.itertuples(index=False):
        lines.append("| " + " | ".join(form.format(cell) if isinstance(cell, float) else str(cell) for cell in row) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
