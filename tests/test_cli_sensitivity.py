"""`genz sensitivity` as a stranger runs it."""

import io
import json

import pandas as pd
import pytest

from genz.cli import main

COMMAND = ["sensitivity", "llama-3.1-8b", "--platform", "h100-sxm", "--isl", "1000", "--osl", "100", "--batch", "4"]
HBM = "chip.memory.hbm.bandwidth"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main([*COMMAND, *arguments])
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        main([*COMMAND, *arguments])
    out, err = capsys.readouterr()
    assert left.value.code in (2, 3) and "Traceback" not in err
    return out + err


def test_the_page_has_a_row_a_parameter_and_sentences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    page = printed(capsys)
    assert "HBM bandwidth" in page and "3.35 TB/s" in page and "If " in page and "No reaction" in page
    assert "None" not in page and "nan" not in page


def test_one_parameter_over_one_metric(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(printed(capsys, "--metric", "tpot_s", "--parameter", HBM, "--by", "20%", "--json"))
    (row,) = data["elasticities"]
    assert (row["metric"], row["parameter"], data["change"]) == ("tpot_s", HBM, 0.2)
    assert -1 < row["elasticity_right"] < 0 and row["change_at_+20%"] < 0 < row["change_at_-20%"]


def test_the_csv_has_a_row_a_metric_and_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--metric", "tpot_s", "--metric", "ttft_s", "--parameter", HBM, "--parameter", "batch", "--csv")
    frame = pd.read_csv(io.StringIO(text))
    assert frame[["metric", "parameter"]].to_numpy().tolist() == [[m, p] for m in ("tpot_s", "ttft_s") for p in (HBM, "batch")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--metric", "tpot"], "did you mean 'tpot_s'"),
        (["--parameter", "chip.memory.hbm.bandwith"], f"did you mean '{HBM}'"),
        (["--parameter", "chip.vendor"], "is not a figure"),
        (["--by", "10"], "such as 10%"),
        (["--by", "ten"], "such as 10%"),
        (["--json", "--csv"], "exclude each other"),
        (["--batch", "100000"], "does not fit"),
    ],
)
def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in refused(capsys, *arguments)
