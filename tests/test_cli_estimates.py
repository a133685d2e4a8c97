"""`genz estimates`: what the files mark as an estimate, and nothing else."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from genz.cli import cli
from genz.specs import catalog

CHIPS = Path(__file__).parent.parent / "hardware_specs" / "chips"


def asked(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["estimates", *arguments], catch_exceptions=False)


def marked(node: Any) -> int:
    """How many mappings of a file say `estimate: true`."""
    if isinstance(node, dict):
        return (node.get("estimate") is True) + sum(map(marked, node.values()))
    return sum(map(marked, node)) if isinstance(node, list) else 0


@pytest.mark.parametrize("name", ["h100-sxm", "l40s", "mi300x"])
def test_every_mark_in_a_chips_file_is_listed(name: str) -> None:
    rows = [row for row in json.loads(asked(name, "--kind", "chip", "--json").output) if row["name"] == name]
    text = yaml.safe_load((CHIPS / f"{name}.yaml").read_text(encoding="utf-8"))
    found = [row for row in rows if row["doubt"] == "estimate"]
    assert len(found) >= marked(text) > 0
    assert all(row["remark"] or row["source"] for row in found)
    assert all(catalog.chip(name).provenance[row["figure"]].estimate for row in found)


def test_a_figure_from_the_data_sheet_is_not_listed() -> None:
    rows = json.loads(asked("h100-sxm", "--json").output)
    assert "memory.hbm.bandwidth" not in {row["figure"] for row in rows if row["name"] == "h100-sxm"}


def test_values_have_their_units() -> None:
    rows = json.loads(asked("h100-sxm", "--kind", "chip", "--json").output)
    idle = next(row for row in rows if row["name"] == "h100-sxm" and row["figure"] == "power.idle")
    assert idle["value"] == "100 W"


def test_without_a_filter_files_are_counted() -> None:
    page, rows = asked("--kind", "chip").output, json.loads(asked("--kind", "chip", "--json").output)
    assert f"{len(rows):,} figures in {len({row['name'] for row in rows})} files" in page


def test_csv_has_the_rows_of_json() -> None:
    rows = json.loads(asked("idle", "--json").output)
    assert list(csv.DictReader(io.StringIO(asked("idle", "--csv").output))) == rows


def test_what_matches_nothing_says_so() -> None:
    result = asked("no-such-thing")
    assert result.exit_code == 0 and "no-such-thing" in result.output
