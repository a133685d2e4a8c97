"""Measurements on disk: each is appended as soon as it is done, so that an interrupted run loses nothing.

A journal of JSON lines says first which machine it is of; tables in the tidy schema are made from it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from genz.errors import InvalidValueError, SpecError
from genz.measurements.table import OK, SCHEMAS

JOURNAL = "journal.jsonl"
SOURCE = "genz_calibrate"


@dataclass
class Store:
    """The journal of one machine in a folder. `done` holds the records by the name of their case."""

    folder: Path
    identity: dict[str, Any]
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, identity: dict[str, Any], *, fresh: bool = False) -> Store:
        """Continue the journal of a folder, or begin one: anew where `fresh`.

        Raises `InvalidValueError` where the journal is of another machine or software, `SpecError` where it is no journal
        or where the folder cannot be written.
        """
        store = cls(folder, identity)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if store.journal.exists() and not fresh:
                store._resume()
            else:
                store.journal.write_text(json.dumps({"machine": identity}) + "\n", encoding="utf-8")
        except OSError as error:
            problem = f"cannot write measurements to {folder}: {error.strerror or error}"
            raise SpecError(problem, field="out", value=str(folder)) from None
        return store

    @property
    def journal(self) -> Path:
        return self.folder / JOURNAL

    def _resume(self) -> None:
        text = self.journal.read_text(encoding="utf-8", errors="replace")
        whole, _, torn = text.rpartition("\n")
        records = [self._record(line) for line in whole.splitlines() if line.strip()]
        found = records[0].get("machine") if records else None
        if not isinstance(found, dict):
            raise SpecError(
                f"{self.journal} is no journal of measurements",
                field="out",
                value=str(self.journal),
                hint="add --fresh to begin anew",
            )
        if found != self.identity:
            changed = sorted(k for k in {*found, *self.identity} if found.get(k) != self.identity.get(k))
            raise InvalidValueError(
                f"{self.journal} was measured elsewhere or with other software: {', '.join(changed)} differ",
                field="out",
                value=str(self.folder),
                hint="choose another --out, or add --fresh to begin anew",
            )
        self.done = {str(record["case"]): record for record in records[1:] if "case" in record}
        if torn:  # the run ended in the middle of a line
            self.journal.write_text(whole + "\n", encoding="utf-8")

    def _record(self, line: str) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise SpecError(
                f"{self.journal} holds a line that is no record: {line[:60]!r}",
                field="out",
                value=str(self.journal),
                hint="add --fresh to begin anew",
            )
        return record

    def add(self, case: str, record: dict[str, Any]) -> None:
        """Append one record and make sure that it is on the disk; of two that were disturbed the shorter stands."""
        entry = {"case": case, **record}
        if self.is_disturbed(case) and _is_longer(entry, self.done[case]):
            return
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.done[case] = entry

    def is_disturbed(self, case: str) -> bool:
        """Whether a case was measured, but with too wide a spread to rely on."""
        row = self.done.get(case, {}).get("row")
        return row is not None and row["quality"] != OK

    @property
    def disturbed(self) -> int:
        """How many cases were measured with too wide a spread to rely on."""
        return sum(map(self.is_disturbed, self.done))

    def tables(self, hardware: str) -> dict[str, pd.DataFrame]:
        """{kind: rows} of what was measured, "ops" and "collectives", each where there is any."""
        found = {}
        for kind in ("ops", "collectives"):
            schema = SCHEMAS[kind]
            rows = [r["row"] for r in self.done.values() if r.get("kind") == kind and "row" in r]
            if rows:
                frame = pd.DataFrame(rows).assign(source=SOURCE, hardware=hardware)
                columns = [name for name in (*schema.text, *schema.numbers) if name in frame]
                found[kind] = frame[columns]
        return found

    def write_tables(self, hardware: str) -> list[Path]:
        """Write `ops.parquet` and `collectives.parquet` beside the journal. Returns the files."""
        written = []
        for kind, table in self.tables(hardware).items():
            path = self.folder / f"{kind}.parquet"
            table.to_parquet(path, index=False)
            written.append(path)
        return written


def _is_longer(later: dict[str, Any], earlier: dict[str, Any]) -> bool:
    """Whether a disturbed measurement took longer than one before: disturbances only add time."""
    row = later.get("row")
    return row is None or (row["quality"] != OK and row["measured_s"] > earlier["row"]["measured_s"])
