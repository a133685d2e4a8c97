"""Sweeps: every configuration of a study, priced by the formulas of `genz.evaluate`, as a frame or as a folder of Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from genz.errors import InvalidValueError
from genz.explore.blocks import Pricer
from genz.explore.estimate import MAX_CONFIGURATIONS, check_size, estimate
from genz.explore.identity import identity
from genz.explore.mesh import BLOCK_ROWS
from genz.explore.results import SweepResult
from genz.explore.space import Space, resolve
from genz.explore.store import ROWS_PER_FILE, Layout, layout, opened, write_file
from genz.explore.study import Study
from genz.explore.values import is_listing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MAX_FRAME_ROWS = 5_000_000
Progress = Callable[[int], None]


def sweep(
    study: Study | str | Path | None = None,
    *,
    axes: Mapping[str, Any] | None = None,
    zip: Iterable[Iterable[str]] = (),  # noqa: A002
    where: str | Iterable[str] = (),
    metrics: Iterable[str] | None = None,
    out: str | Path | None = None,
    max_configurations: int = MAX_CONFIGURATIONS,
    rows_per_file: int = ROWS_PER_FILE,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    **asked: Any,
) -> pd.DataFrame | SweepResult:
    """Price every configuration of a design space.

    Args:
        study: a `Study`, or the name or path of one; else the space is told by the arguments below.
        asked: arguments of `genz.predict` by any of their names: a list, an array, a range or a mapping of one (such as
            `{"from": 1, "to": 256, "step": 1}`) is an axis, one value is fixed. With the name of a study they change it.
        axes: further axes, such as figures by their paths: `{"chip.main_memory.bandwidth": {"times": [0.5, 1, 2]}}`.
            Numbers without a unit are SI.
        zip: groups of axes that advance together, such as `[("input", "output")]`; all others are crossed.
        where: conditions that rows must meet, such as `"tp * pp <= 8"`.
        metrics: names of `genz.inference.metrics.METRICS`; all of them unless told.
        out: a folder for Parquet files; a run that was stopped goes on where it stood. Without it, a frame is returned.
        max_configurations: refuse more than so many.
        rows_per_file: of the folder, about.
        workers, scheduler: price on so many local processes, or on a Dask cluster at an address; needs `out`.
        progress: called with the number of configurations that were done since it was called last.

    Returns:
        A frame with a row a configuration: its axes, `feasible`, `why` not, the metrics, and what binds each phase; the unit
        of a metric is the end of its name, axes are in SI. With `out`, a `SweepResult`.

    Raises:
        UnknownNameError, InvalidValueError, UnitError, SpecError: the study is not sound, or too large.
        OutputError: the folder cannot be written, or belongs to something else.
    """
    conditions = (where,) if isinstance(where, str) else where
    chosen = _study({**asked, **(axes or {})}, study, zip, conditions, metrics)
    space = resolve(chosen, block_rows=block_rows(rows_per_file))
    if space.mesh.rows > max_configurations:
        check_size(estimate(space), max_configurations)
    if out is None:
        if workers is not None or scheduler is not None:
            raise InvalidValueError("out is missing", field="out", allowed="a folder that the workers write to")
        return frame(space, progress=progress)
    return fill(space, Path(out), rows_per_file=rows_per_file, workers=workers, scheduler=scheduler, progress=progress)


def _study(
    given: Mapping[str, Any],
    study: Study | str | Path | None,
    zips: Iterable[Iterable[str]],
    where: Iterable[str],
    metrics: Iterable[str] | None,
) -> Study:
    if study is None:
        axes = {name: value for name, value in given.items() if is_listing(value)}
        fixed = {name: value for name, value in given.items() if name not in axes}
        return Study.of(fixed, axes, zips=zips, where=where, metrics=metrics)
    extra = next((name for name, value in (("zip", zips), ("where", where), ("metrics", metrics)) if value), None)
    if extra is not None or (given and isinstance(study, Study)):
        name = extra or next(iter(given))
        raise InvalidValueError(f"{name}: the study says it already", field=name, allowed="a study, or its parts")
    return study if isinstance(study, Study) else Study.load(study, given)


def block_rows(rows_per_file: int) -> int:
    """Rows of a block where files shall have so many. Raises `InvalidValueError`."""
    if isinstance(rows_per_file, bool) or not isinstance(rows_per_file, int) or rows_per_file < 1:
        raise InvalidValueError(
            f"rows_per_file: {rows_per_file!r} is not allowed", field="rows_per_file", value=rows_per_file, allowed="1 or more"
        )
    return min(rows_per_file, BLOCK_ROWS)


def frame(space: Space, *, progress: Progress | None = None) -> pd.DataFrame:
    """All rows of a space in memory. Raises `InvalidValueError` where they are too many for that."""
    import pyarrow as pa

    if space.mesh.rows > MAX_FRAME_ROWS and not space.study.where:
        raise _too_long(space.mesh.rows)
    pricer, found, rows = Pricer(space), [], 0
    for table in _tables(pricer, range(space.mesh.blocks), progress):
        found.append(table)
        rows += table.num_rows
        if rows > MAX_FRAME_ROWS:
            raise _too_long(rows)
    framed: pd.DataFrame = pa.concat_tables([pricer.schema.empty_table(), *found]).unify_dictionaries().to_pandas()
    framed.attrs["units"] = {axis.name: axis.unit for axis in space.study.varying}  # what plots call the axes
    return framed


def _too_long(rows: int) -> InvalidValueError:
    return InvalidValueError(
        f"{rows:,} rows are too many for a frame",
        field="out",
        value=rows,
        allowed=f"at most {MAX_FRAME_ROWS:,} rows without a folder",
        hint="name one with out= (on the command line --out), and read it with result.dataset()",
    )


def fill(
    space: Space,
    folder: Path,
    *,
    rows_per_file: int = ROWS_PER_FILE,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Write all rows of a space that a folder does not hold yet."""
    plan, begun, priced = layout(space.mesh, rows_per_file), perf_counter(), 0
    with opened(folder, plan, identity(space)) as store:
        pending = store.pending()
        if progress is not None and len(pending) < plan.files:
            progress(space.mesh.rows * (plan.files - len(pending)) // plan.files)  # about what is there already
        if workers is None and scheduler is None:
            pricer = Pricer(space)
            for file in pending:
                priced += write_file(folder, file, pricer.schema, _tables(pricer, plan.blocks_of(file), progress))
        elif pending:
            from genz.explore.distributed import price_files

            for file, rows in price_files(space, plan, folder, pending, workers=workers, scheduler=scheduler):
                priced += rows
                if progress is not None:
                    progress(sum(space.mesh.block(index).rows for index in plan.blocks_of(file)))
        store.check_complete()
    seconds = perf_counter() - begun
    return SweepResult(folder, SweepResult(folder, 0, 0, 0.0).dataset().count_rows(), priced, seconds)


def _tables(pricer: Pricer, blocks: Iterable[int], progress: Progress | None) -> Iterator[pa.Table]:
    for index in blocks:
        block = pricer.space.mesh.block(index)
        yield pricer.table(block)
        if progress is not None:
            progress(block.rows)


def write_blocks(space: Space, plan: Layout, folder: Path, file: int) -> int:
    """Price and write one file of a study: what a worker does."""
    pricer = Pricer(space)
    return write_file(folder, file, pricer.schema, _tables(pricer, plan.blocks_of(file), None))
