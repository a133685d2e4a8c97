"""`genz sweep`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genz.cli import echo_json
from genz.cli.options import CatalogName, WholeNumber, check_output, output_options
from genz.errors import GenZError, InvalidValueError, shown

if TYPE_CHECKING:
    import pandas as pd

    from genz.explore.estimate import Estimate
    from genz.explore.space import Space
    from genz.explore.study import Study
    from genz.explore.sweep import Progress

# Beyond these, a person at a terminal is asked first.
LONG_SECONDS, LARGE_BYTES = 60.0, 10e9
MAX_CONFIGURATIONS = 10**9
# Beside the metric that is asked for.
SHOWN = ("ttft_s", "tpot_s")


@click.command()
@click.argument("study", required=False, type=CatalogName("study", file=True))
@click.option("--list", "listing", is_flag=True, help="List the studies of the catalog.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for Parquet files; a run that was stopped goes on there.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUES",
    help="Other values: batch=1,2,4 or 'batch={from: 1, to: 64, step: 1}'. Give it several times.",
)
@click.option("--best", metavar="METRIC", help="Metric whose best rows are shown.  [default: throughput per device]")
@click.option("--dry-run", is_flag=True, help="Say what it would take, and stop.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before a long run.")
@click.option("--max-configurations", type=WholeNumber(), default=MAX_CONFIGURATIONS, help="Refuse more.  [default: 10^9]")
@click.option("--rows-per-file", type=WholeNumber(), help="Of the folder, about.  [default: 2^20]")
@click.option("--workers", type=WholeNumber(), help="Price on so many local processes (Dask).")
@click.option("--scheduler", metavar="ADDRESS", help="Price on a Dask cluster, such as tcp://10.0.0.1:8786.")
@output_options(json="Print a JSON list, one object a row.", csv="Print one CSV row a configuration.")
def sweep(study: str | None, *, listing: bool, as_json: bool, as_csv: bool, **given: Any) -> None:
    """Price every configuration of STUDY, a file or a name: any field of model, hardware, engine and workload as an axis.

    \b
    genz sweep --list
    genz sweep decode-1024 --set batch=1,8,64
    genz sweep my-study.yaml --out results
    """
    check_output(as_json, as_csv)
    if listing:
        _list_studies(as_json)
        return
    if study is None:
        raise InvalidValueError(
            "STUDY is missing", field="study", allowed="the path of a study, or a name of 'genz sweep --list'"
        )
    _run(study, as_json=as_json, as_csv=as_csv, **given)


def _run(
    study: str,
    *,
    as_json: bool,
    as_csv: bool,
    out: Path | None,
    changes: tuple[str, ...],
    best: str | None,
    dry_run: bool,
    yes: bool,
    max_configurations: int,
    rows_per_file: int | None,
    workers: int | None,
    scheduler: str | None,
) -> None:
    from genz.explore.estimate import check_size, estimate
    from genz.explore.space import resolve
    from genz.explore.store import ROWS_PER_FILE
    from genz.explore.study import Study
    from genz.explore.sweep import block_rows, fill, frame

    if out is None and (workers or scheduler):
        raise InvalidValueError("--out is missing", field="out", allowed="a folder that the workers write to")
    if out is not None and (as_json or as_csv):
        raise InvalidValueError("--out writes Parquet files", field="out", allowed="--out, or one of --json and --csv")
    chosen = Study.load(study, dict(_change(text) for text in changes))
    metric = _metric(best, chosen.metrics)
    per_file = rows_per_file or ROWS_PER_FILE
    space = resolve(chosen, block_rows=block_rows(per_file))
    expected = estimate(space, workers=workers or 1)
    check_size(expected, max_configurations)
    click.echo(f"{chosen.name}: {expected}", err=True)
    if dry_run:
        return
    if out is None:
        with _progress(space) as progress:
            rows = frame(space, progress=progress)
        _print_frame(rows, metric, chosen, as_json=as_json, as_csv=as_csv)
        return
    _check_room(expected, out)
    _ask(expected, yes)
    with _progress(space) as progress:
        result = fill(space, out, rows_per_file=per_file, workers=workers, scheduler=scheduler, progress=progress)
    if result.priced == 0 and result.rows:
        click.echo(f"{out} is finished: nothing to do", err=True)
    else:
        click.echo(f"{result.priced:,} rows in {result.seconds:.1f} s: {result.rows_per_s:,.0f} rows/s", err=True)
    _print_summary(result.rows, result.feasible(), result.best(metric), metric, chosen)


def _change(text: str) -> tuple[str, Any]:
    """A name and its new values: a list after commas, or what YAML reads between brackets."""
    import yaml

    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name or not value:
        raise InvalidValueError(
            f"--set: {shown(text)} is not allowed", field="set", value=text, allowed="NAME=VALUES, such as batch=1,2,4"
        )
    try:
        if value[0] in "[{":
            return name, yaml.safe_load(value)
        parts = [yaml.safe_load(part) for part in value.split(",")]
    except yaml.YAMLError:
        raise InvalidValueError(
            f"--set: {shown(value)} cannot be read", field="set", value=text, allowed="values with commas between, or YAML"
        ) from None
    return name, parts if len(parts) > 1 else parts[0]


def _metric(best: str | None, metrics: tuple[str, ...]) -> str:
    """The metric whose best rows are shown: as asked, else throughput per device, else the first."""
    from genz.errors import unknown_name
    from genz.explore.results import BEST

    if best is not None and best not in metrics:
        raise unknown_name("metric", best, metrics)
    return best or (BEST if BEST in metrics else metrics[0])


@contextmanager
def _progress(space: Space) -> Iterator[Progress | None]:
    """A bar with rows a second and the time that is left, where a person is looking."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:,.0f} rows/s")

    columns = (BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown_progress:
        task = shown_progress.add_task("", total=space.mesh.rows)
        yield lambda rows: shown_progress.advance(task, rows)


def _check_room(expected: Estimate, out: Path) -> None:
    from genz.explore.store import room
    from genz.units import format_bytes

    free = room(out)
    if free is not None and expected.bytes > free:
        click.echo(f"warning: {format_bytes(free, digits=2)} are free there, which may be too little", err=True)


def _ask(expected: Estimate, yes: bool) -> None:
    is_long = expected.seconds > LONG_SECONDS or expected.bytes > LARGE_BYTES
    if is_long and not yes and sys.stdin.isatty():
        click.confirm("Go on?", abort=True, err=True)


def _print_frame(rows: pd.DataFrame, metric: str, study: Study, *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        echo_json(rows.astype(object).where(rows.notna(), None).to_dict(orient="records"))
    elif as_csv:
        rows.to_csv(sys.stdout, index=False)
    else:
        from genz.inference.metrics import METRICS

        known = rows[rows[metric].notna() & rows["feasible"]]
        leaders = known.sort_values(metric, ascending=not METRICS[metric].grows, kind="stable").head(5)
        _print_summary(len(rows), int(rows["feasible"].sum()), leaders, metric, study)


def _print_summary(rows: int, feasible: int, leaders: pd.DataFrame, metric: str, study: Study) -> None:
    share = f", {feasible:,} of them feasible ({feasible / rows:.1%})" if rows else ""
    click.echo(f"{rows:,} rows{share}")
    if len(leaders):
        click.echo("")
        click.echo(_leaders(leaders, metric, study))


def _leaders(leaders: pd.DataFrame, metric: str, study: Study) -> str:
    """The best rows: what varies, some figures, and what binds."""
    from genz.inference.metrics import METRICS
    from genz.inference.report import WIDE, render, table
    from genz.units import format_si

    axes = study.varying
    figures = [name for name in dict.fromkeys((metric, *SHOWN)) if name in leaders]

    def cells(row: Any) -> tuple[str, ...]:
        values = [row[axis.name] for axis in axes]
        told = [
            f"{value:.3g}x" if axis.relative else format_si(value, axis.unit) if isinstance(value, float) else str(value)
            for axis, value in zip(axes, values, strict=True)
        ]
        bounds = [row[f"{phase}_bound"] for phase in ("prefill", "decode")]
        measured = [format_si(row[name], METRICS[name].unit) for name in figures]
        return (*told, *measured, ", ".join(bound for bound in bounds if isinstance(bound, str)))

    # A path is broken at its dots, so that a column is no wider than its figures ask for.
    header = [*(axis.name.replace(".", ".\n") for axis in axes), *(METRICS[name].title for name in figures), "bound"]
    words = [index for index, axis in enumerate(axes) if isinstance(axis.labels[0], str)]
    rows = [cells(row) for _, row in leaders.astype(object).iterrows()]
    return render(table(f"Best {METRICS[metric].title}", header, rows, words=(*words, len(header) - 1)), width=WIDE)


def _list_studies(as_json: bool) -> None:
    from genz.explore.study import Study
    from genz.inference.report import WIDE, render, table
    from genz.specs import catalog

    listed = []
    for name in catalog.names("study"):
        try:
            found = Study.load(name)
            listed.append({"study": name, "title": found.title, "configurations": found.configurations})
        except GenZError as error:
            listed.append({"study": name, "title": error.message, "configurations": None})
    if as_json:
        echo_json(listed)
        return
    rows = [
        (str(s["study"]), "-" if s["configurations"] is None else f"{s['configurations']:,}", str(s["title"])) for s in listed
    ]
    click.echo(render(table("", ("study", "configurations", "title"), rows, words=(0, 2)), width=WIDE))
