"""`genz calibrate`: measure this machine, or take measurements, and fit the constants of the cost models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genz.errors import InvalidValueError, SpecError

if TYPE_CHECKING:
    import pandas as pd

    from genz.calibration.machine.detect import Machine
    from genz.calibration.machine.session import Session
    from genz.calibration.machine.store import Store

DEVICES = ("auto", "cpu", "cuda", "mps")
DEFAULT_OUT = "genz-calibration"
MEASUREMENTS = "measurements"
LONGEST_BUDGET = 86_400.0


class Seconds(click.ParamType):  # type: ignore[type-arg]
    """A span of time in seconds."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ARG002
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 1 <= number <= LONGEST_BUDGET:
            raise InvalidValueError(
                f"--budget: {value!r} is not allowed",
                field="budget",
                value=value,
                allowed=f"a number of seconds from 1 to {LONGEST_BUDGET:,.0f}",
            )
        return number


@click.command()
@click.argument("more", nargs=-1, type=click.Path(), metavar="[MEASUREMENTS]...")
@click.option("--from", "first", type=click.Path(), help="Measure nothing: fit these measurements, and those that follow.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="What to measure.")
@click.option("--out", type=click.Path(), default=DEFAULT_OUT, show_default=True, help="Folder to write to.")
@click.option("--budget", type=Seconds(), default=600.0, show_default=True, help="Seconds to measure for at most.")
@click.option("--resume/--fresh", "resume", default=True, help="Go on with what --out holds, or begin anew.  [default: resume]")
@click.option("--engine", "engines", multiple=True, help="With --from: take this engine's rows alone; may be repeated.")
def calibrate(
    more: tuple[str, ...],
    *,
    first: str | None,
    device: str,
    out: str,
    budget: float,
    resume: bool,
    engines: tuple[str, ...],
) -> None:
    """Measure this machine's kernels with PyTorch and fit the constants that predictions at `calibrated` fidelity take.

    What is measured is kept at once: a run that is interrupted goes on where it stopped. With --from, measurements are
    read instead: the tidy schema, tables of aiconfigurator-core, llama-bench or vLLM's benchmarks.

    \b
    genz calibrate --out mine
    genz calibrate --from ops.parquet collectives.parquet --out mine
    export GENZ_SPECS=mine
    genz predict llama-3.2-1b --platform CHIP --engine pytorch --isl 128 --osl 32
    """
    folder = Path(out).expanduser()
    if first is not None:
        _fit_files((first, *more), folder, engines)
        return
    if more or engines:
        what = "MEASUREMENTS are" if more else "--engine is"
        raise InvalidValueError(
            f"{what} read with --from only",
            field="measurements",
            value=list(more or engines),
            hint="add --from before the files",
        )
    _measure_and_fit(device, folder, budget, resume=resume)


def _measure_and_fit(device: str, folder: Path, budget: float, *, resume: bool) -> None:
    from genz.calibration.machine.backend import choose_device, load_torch
    from genz.calibration.machine.detect import chip_name, chip_of, detect
    from genz.calibration.machine.load import current_load
    from genz.calibration.machine.session import Session
    from genz.calibration.machine.store import Store
    from genz.calibration.machine.vendors import meter_of
    from genz.measurements.table import read_table

    torch = load_torch()
    machine = detect(torch, choose_device(torch, device))
    load = current_load()
    store = Store.open(folder / MEASUREMENTS, machine.identity(), fresh=not resume)
    meter = meter_of(machine.device, is_amd=machine.gpu is not None and machine.gpu.vendor == "amd")
    _introduce(machine, chip_name(machine))
    click.echo(meter.note, err=True)
    click.echo(f"{'warning: ' if load.is_disturbed else ''}{load.describe()}", err=True)
    skipped = _run(Session(torch, machine, store, meter, budget))
    tables = store.tables(chip_name(machine))
    measured = store.write_tables(chip_name(machine))
    _tell_quality(store, skipped)
    _check_measured(store, tables)
    written = list(measured)
    if chip_of(machine) is None:
        from genz.calibration.machine.chip_file import write_chip
        from genz.specs import catalog

        written.append(write_chip(machine, tables["ops"], folder))
        catalog.prefer(folder)
    for path in written:
        click.echo(path)
    _fit([read_table(path).usable for path in measured], folder, f"genz calibrate --device {machine.device}")
    click.echo(f"use it: GENZ_SPECS={folder} genz predict MODEL --platform {chip_name(machine)} --engine pytorch", err=True)


def _introduce(machine: Machine, name: str) -> None:
    """One line on what was found."""
    cpu = machine.cpu
    parts = [f"{cpu.physical} cores", *cpu.instruction_sets]
    if cpu.efficiency:
        parts.insert(1, f"{cpu.efficiency} of them efficiency cores")
    if cpu.numa_nodes > 1:
        parts.append(f"{cpu.numa_nodes} NUMA nodes")
    if cpu.quota is not None:
        parts.append(f"{cpu.quota:g} cores' time granted")
    described = f"{cpu.name}: {', '.join(parts)}"
    if machine.gpu is not None:
        described = f"{machine.gpu.name} (driver {machine.gpu.driver or 'unknown'}) beside {described}"
    click.echo(f"{described}; measured as {name!r}", err=True)


def _run(session: Session) -> int:
    """Run the design under a progress bar. Ctrl-C keeps what is measured."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("")
            session.report = lambda done, total, text: progress.update(task, completed=done, total=total, description=text)
            return session.run()
    except KeyboardInterrupt:
        click.echo(f"stopped: {len(session.store.done)} measurements are kept; the same command goes on from here", err=True)
        raise click.Abort from None


def _tell_quality(store: Store, skipped: int) -> None:
    failed = [f"{name}: {record['failed']}" for name, record in store.done.items() if "failed" in record]
    click.echo(f"{len(store.done)} measurements, {store.disturbed} of them with too wide a spread to rely on", err=True)
    if skipped:
        click.echo(f"warning: the time was up before {skipped} more; the same command goes on from here", err=True)
    if store.disturbed:
        click.echo("measure again when the machine is quiet: the same command repeats those alone", err=True)
    for line in failed:
        click.echo(f"not measured: {line}", err=True)


def _check_measured(store: Store, tables: dict[str, pd.DataFrame]) -> None:
    if "ops" not in tables:
        raise SpecError(
            f"nothing could be measured; {store.journal} says why", field="budget", hint="give more time with --budget"
        )


def _fit_files(paths: tuple[str, ...], folder: Path, engines: tuple[str, ...]) -> None:
    from genz.measurements.importers import read_any

    tables = []
    for path in paths:
        for table in read_any(path):
            refused = int((table.rows["refusal"] != "").sum())
            aside = "".join(f"; {count} set aside: {reason}" for reason, count in table.set_aside.items())
            click.echo(f"{path}: {len(table.usable)} rows of {table.kind}, {refused} refused{aside}", err=True)
            tables.append(table.usable if not engines else _of_engines(table.usable, engines))
    _fit(tables, folder, " ".join(("genz calibrate --from", *(Path(path).name for path in paths))))


def _of_engines(rows: pd.DataFrame, engines: tuple[str, ...]) -> pd.DataFrame:
    """Rows of some engines, by their names in the catalog or in the table."""
    from genz.errors import unknown_name
    from genz.specs.calibrations import engine_name

    frameworks = {str(name): engine_name(str(name)) for name in rows["framework"].dropna().unique()}
    wanted = {engine_name(engine) for engine in engines}
    for engine in sorted(wanted - set(frameworks.values())):
        raise unknown_name("engine", engine, set(frameworks.values()), hint="no row of the measurements is of it")
    return rows[rows["framework"].map(frameworks).isin(wanted)]


def _fit(tables: list[pd.DataFrame], folder: Path, command: str) -> None:
    from genz.calibration.calibrate import calibrate_tables

    made = calibrate_tables(tables, folder, command=command, progress=lambda text: click.echo(text, err=True))
    for path in made.files:
        click.echo(path)
    for cell in made.cells:
        score = cell.held_out
        error = f"{score.mean:.1%} mean error on {score.rows} rows held out" if score.rows else "no rows held out"
        named = " ".join(part for part in (cell.family, cell.key.format, cell.key.kernel) if part)
        click.echo(f"{cell.chip}: {named}: {cell.rows} rows fitted, {error}", err=True)
        unknown = [name for name, value in cell.fitted.errors.items() if not math.isfinite(value)]
        if unknown:
            click.echo(f"  kept their priors, as no row identifies them: {', '.join(unknown)}", err=True)
