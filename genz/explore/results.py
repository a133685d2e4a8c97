"""What a sweep wrote, read lazily."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genz.errors import OutputError
from genz.inference.metrics import metric

if TYPE_CHECKING:
    import pandas as pd
    from pyarrow import dataset

PATTERN = "part-*.parquet"
BEST = "output_tokens_per_s_per_device"


@dataclass(frozen=True)
class SweepResult:
    """A folder of rows: how many there are, how many of them this run priced, and how long that took [s]."""

    path: Path
    rows: int
    priced: int
    seconds: float

    @property
    def rows_per_s(self) -> float:
        """Rows that this run priced over the time that it took [1/s]."""
        return self.priced / self.seconds if self.seconds else 0.0

    def dataset(self) -> dataset.Dataset:
        """All rows as a `pyarrow.dataset`, which reads no more than is asked of it.

        `result.dataset().to_table(columns=[...], filter=pyarrow.dataset.field("tp") == 8).to_pandas()`
        """
        from pyarrow import dataset

        files = sorted(str(file) for file in self.path.glob(PATTERN))
        if not files:
            raise OutputError(f"out: {self.path} holds no results", field="out", value=str(self.path))
        return dataset.dataset(files, format="parquet")

    def to_frame(self, columns: list[str] | None = None, filter: Any = None) -> pd.DataFrame:  # noqa: A002
        """The rows, or some columns of those that a `pyarrow.dataset` expression selects, as a pandas DataFrame."""
        found: pd.DataFrame = self.dataset().to_table(columns=columns, filter=filter).to_pandas()
        return found

    def feasible(self) -> int:
        """How many of the rows are feasible."""
        from pyarrow import dataset

        return int(self.dataset().count_rows(filter=dataset.field("feasible")))

    def best(self, name: str = BEST, count: int = 5) -> pd.DataFrame:
        """The feasible rows that are best in a metric, the best first. Raises `UnknownNameError`."""
        return best_rows(self.dataset(), name, count)


def best_rows(rows: dataset.Dataset, name: str, count: int) -> pd.DataFrame:
    """The feasible rows of a dataset of files that are best in a metric, the best first; reads the column of that metric,
    and of the others the groups of rows that hold one of the best."""
    import pandas as pd
    from pyarrow import parquet

    found: list[tuple[float, str, int, int]] = []
    sign = -1.0 if metric(name).grows else 1.0
    for path in rows.files:
        file = parquet.ParquetFile(path)
        for group in range(file.num_row_groups):
            figures = sign * file.read_row_group(group, columns=[name])[name].to_numpy()
            leading = np.argsort(figures, kind="stable")[:count] if figures.size <= count else _smallest(figures, count)
            found += [(float(figures[row]), path, group, int(row)) for row in leading if np.isfinite(figures[row])]
        found = sorted(found)[:count]
    leaders = [parquet.ParquetFile(path).read_row_group(group).slice(row, 1).to_pandas() for _, path, group, row in found]
    empty: pd.DataFrame = rows.schema.empty_table().to_pandas()
    return pd.concat(leaders, ignore_index=True) if leaders else empty


def _smallest(figures: np.ndarray[Any, np.dtype[np.float64]], count: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Where the smallest figures are; what is not a number comes last."""
    return np.argpartition(figures, count)[:count]
