"""Several deployments side by side: each row is what `predict` says, and none is dropped."""

import json
from typing import Any

import pandas as pd
import pytest

import genz
from genz.cli import main
from genz.specs import catalog

LENGTHS: dict[str, Any] = {"input": 512, "output": 64}


def test_every_combination_in_the_order_given() -> None:
    frame = genz.compare(["qwen3-8b", "llama-3.1-8b"], ["2x h100", "l40s"], precisions=["fp8", "bf16"], **LENGTHS)
    found = list(frame[["model", "platform", "precision"]].itertuples(index=False, name=None))
    assert found == [(m, p, w) for m in ("qwen3-8b", "llama-3.1-8b") for p in ("2x h100", "l40s") for w in ("fp8", "bf16")]


def test_a_row_is_what_predict_says() -> None:
    frame = genz.compare("llama-3.1-8b", "8x h100", tps=[1, 8], engines=["vllm", "sglang"], batch=16, **LENGTHS)
    for row in frame.to_dict(orient="records"):
        data = genz.predict("llama-3.1-8b", "8x h100", tp=row["tp"], engine=row["engine"], batch=16, **LENGTHS).to_dict()
        for key in ("ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s", "energy_j_per_output_token", "power_w"):
            assert row[key] == data[key]
        assert row["memory_total_bytes"] == data["memory"]["total_bytes"]
        assert (row["prefill_bound"], row["decode_bound"]) == (data["bound"]["prefill"], data["bound"]["decode"])
        assert row["usd_per_million_output_tokens"] == data["cost"]["usd_per_million_output_tokens"]


def test_what_does_not_fit_keeps_its_place_without_times() -> None:
    frame = genz.compare(["llama-3.1-70b", "llama-3.1-8b"], "h100", **LENGTHS)
    assert frame.fits.tolist() == [False, True]
    misfit = frame.iloc[0]
    assert misfit.memory_total_bytes > 141e9
    assert misfit[["ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s", "power_w", "decode_bound"]].isna().all()


def test_a_wrong_question_stops_the_comparison() -> None:
    with pytest.raises(genz.UnknownNameError, match="h100-sxn"):
        genz.compare("llama-3.1-8b", ["h100", "h100-sxn"], **LENGTHS)


@pytest.mark.parametrize(("name", "plural"), [("tp", "tps"), ("precision", "precisions"), ("engine", "engines")])
def test_what_is_varied_is_named_in_the_plural(name: str, plural: str) -> None:
    """An argument of `predict` that compare sets itself is never silently replaced."""
    with pytest.raises(genz.InvalidValueError, match=f"give {plural}="):
        genz.compare("llama-3.1-8b", "8x h100", **{name: "vllm"}, **LENGTHS)


def test_specifications_stand_in_for_names() -> None:
    model, platform = catalog.model("llama-3.1-8b"), catalog.platform("2x h100-sxm")
    frame = genz.compare(model, [platform], tps=range(1, 3), **LENGTHS)
    assert frame.model.tolist() == ["llama-3.1-8b"] * 2
    assert frame.platform.tolist() == ["2x h100-sxm"] * 2
    assert frame.equals(genz.compare("llama-3.1-8b", "2x h100-sxm", tps=[1, 2], **LENGTHS))


# On the command line.

COMMAND = ["compare", "llama-3.1-8b", "--isl", "512", "--osl", "64"]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main([*COMMAND, *arguments])
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_page_says_how_much_against_the_first_row_that_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    page = printed(capsys, "llama-3.1-70b", "--platform", "l40s", "--platform", "h100")
    first, second = (genz.predict("llama-3.1-8b", chip, **LENGTHS) for chip in ("l40s", "h100"))
    lines = page.splitlines()
    assert lines[0] == "Against the first row that fits"
    assert "%" not in lines[3]
    assert f"({second.ttft / first.ttft - 1:+.0%})" in lines[4]
    assert f"({second.throughput / first.throughput - 1:+.0%})" in lines[4]
    assert all("does not fit" in line and "%" not in line and " s" not in line for line in lines[5:7])


def test_the_page_is_sound_where_nothing_fits_or_nothing_is_decoded(capsys: pytest.CaptureFixture[str]) -> None:
    page = printed(capsys, "llama-3.1-70b", "--platform", "h100", "--osl", "1")
    assert "None" not in page
    assert "nan" not in page
    main(["compare", "llama-3.1-405b", "--platform", "h100", "--isl", "8", "--osl", "8"])
    assert "does not fit" in capsys.readouterr().out


def test_the_json_is_a_list_with_nulls(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(
        printed(capsys, "llama-3.1-70b", "--platform", "h100", "--osl", "1", "--json"), parse_constant=pytest.fail
    )
    assert [row["fits"] for row in data] == [True, False]
    assert data[0]["tpot_s"] is None
    assert data[1]["ttft_s"] is None
    assert data[0]["tp"] == 1


def test_the_csv_has_a_row_a_combination(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    (tmp_path / "out.csv").write_text(printed(capsys, "--platform", "8x h100", "--tp", "1", "--tp", "2", "-tp", "8", "--csv"))
    frame = pd.read_csv(tmp_path / "out.csv")
    assert frame.tp.tolist() == [1, 2, 8]
    assert frame.fits.all()
