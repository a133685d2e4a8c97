"""A report as a page of text, and as files: scores, refusals and a page of plots."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from genz.errors import InvalidValueError
from genz.inference.report import WIDE, render, table
from genz.validation.plots import html_page
from genz.validation.score import FIGURES
from genz.validation.validate import Report

SHOWN_REASONS = 25
_TITLES = {
    "rows": "rows",
    "answered": "answered",
    "mape": "mean",
    "median_ape": "median",
    "bias": "bias",
    "p90_ape": "p90",
    "coverage": "covered",
}


def page(report: Report) -> str:
    """Errors by group in per cent of what was measured, then why rows were not answered."""
    parts: list[Any] = [_summary(report), _scores(report)]
    if len(report.refusals):
        parts.append(_refusals(report))
    parts += [f"warning: {warning}" for warning in report.warnings]
    return render(*parts, width=WIDE)


def _summary(report: Report) -> str:
    answered = int((report.rows["refusal"] == "").sum())
    aside = sum(report.set_aside.values())
    set_aside = f"; {aside:,} more set aside" if aside else ""
    return f"{report.fidelity}: {answered:,} of {len(report.rows):,} rows answered{set_aside}"


def _scores(report: Report) -> Any:
    """The table; keys that are alike in all rows stand in its title."""
    scores = report.scores
    given = [key for key in report.by if scores[key].notna().any()]
    keys = [key for key in given if scores[key].nunique(dropna=False) > 1]
    alike = ", ".join(f"{key} {_word(scores[key].iloc[0])}" for key in given if key not in keys)
    rows = [
        (*(_word(row[key]) for key in keys), *(_figure(figure, row[figure]) for figure in FIGURES))
        for row in scores.to_dict(orient="records")
    ]
    title = "Error, of what was measured" + (f" ({alike})" if alike else "")
    built: Any = table(title, (*keys, *_TITLES.values()), rows, words=range(len(keys)))
    for index, column in enumerate(built.columns):
        # Where a terminal is narrow, names fold; a number that lost its last digits would be another one.
        column.no_wrap = index >= len(keys)
        if column.no_wrap:
            column.min_width = max(len(str(column.header)), *(len(row[index]) for row in rows))
    return built


def _word(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:g}"
    return "-" if value is None else str(value)


def _figure(name: str, value: float) -> str:
    if name in ("rows", "answered"):
        return f"{int(value):,}"
    if math.isnan(value):
        return "-"
    return f"{value:+.1%}" if name == "bias" else f"{value:.1%}"


def _refusals(report: Report) -> Any:
    listed = report.refusals.head(SHOWN_REASONS).to_dict(orient="records")
    rows = [(f"{row['count']:,}", str(row["reason"])) for row in listed]
    others = report.refusals["count"].iloc[SHOWN_REASONS:]
    if len(others):
        rows.append((f"{others.sum():,}", f"{len(others)} further reasons (--out writes them all)"))
    return table("Not answered", ("rows", "why"), rows, words=(1,))


def write(report: Report, folder: str | Path) -> list[Path]:
    """Write scores.csv, scores.json, refusals.csv and plots.html (where Plotly is installed) into a folder.

    Returns what was written. Raises `InvalidValueError` where that cannot be done.
    """
    target = Path(folder).expanduser()
    try:
        target.mkdir(parents=True, exist_ok=True)
        texts = {
            "scores.csv": report.scores.to_csv(index=False, lineterminator="\n"),
            "scores.json": json.dumps(report.to_list(), indent=2, default=str) + "\n",
            "refusals.csv": report.refusals.to_csv(index=False, lineterminator="\n"),
        }
        plots = html_page(report)
        if plots is not None:
            texts["plots.html"] = plots
        for name, text in texts.items():
            (target / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidValueError(
            f"out: cannot write to {str(target)!r}: {error.strerror or error}",
            field="out",
            value=str(target),
            allowed="a folder that may be written to",
        ) from None
    return [target / name for name in texts]
