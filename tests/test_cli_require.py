"""`genz require` as a stranger would use it, mistakes included."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest

import genz
from genz.cli import main

ASKED = ["llama-3.2-1b", "--isl", "512", "--osl", "64", "--ttft", "20ms", "--tpot", "2ms"]
SAME = {"input": 512, "output": 64, "slo": {"ttft": "20 ms", "tpot": "2 ms"}}


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["require", *arguments])
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["require", *arguments])
    out, err = capsys.readouterr()
    assert stopped.value.code == status
    assert "Traceback" not in err
    if "--json" in arguments:  # an error is JSON then
        return str(json.loads(out)["message"])
    assert out == ""
    return err


def test_the_page_says_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    page = printed(capsys, *ASKED, "--tp", "2")
    found = genz.require("llama-3.2-1b", tp=2, **SAME)
    assert page.strip() == str(found).strip()
    assert "What llama-3.2-1b (1.236 B parameters) asks of each of 2 devices" in page
    for words in ("compute rate", "memory bandwidth", "memory capacity", "link bandwidth", "link latency", "at most"):
        assert words in page
    assert "Each objective is met exactly" in page
    assert "None" not in page and "nan" not in page and "1e+30" not in page
    assert max(map(len, page.splitlines())) <= 80


def test_the_json_is_that_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(printed(capsys, *ASKED, "--given", "bandwidth=2TB/s", "--json"), parse_constant=pytest.fail)
    assert data == genz.require("llama-3.2-1b", given={"bandwidth": "2 TB/s"}, **SAME).to_dict()
    assert data["given"] == {"bandwidth_b_per_s": 2e12}


def test_the_yaml_is_a_chip_that_predict_takes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(printed(capsys, *ASKED, "--tp", "4", "--yaml"))
    served = ["--tp", "4", "--isl", "512", "--osl", "64", "--engine", "ideal", "--fidelity", "roofline", "--json"]
    main(["predict", "llama-3.2-1b", "--platform", f"4x {path}", *served])
    data = json.loads(capsys.readouterr().out)
    assert 0.999 * 0.02 < data["ttft_s"] <= 0.02 and 0.999 * 0.002 < data["tpot_s"] <= 0.002


def test_several_models_and_use_cases_are_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    asked = ["llama-3.2-1b", "qwen3-0.6b", "--use-case", "chat", "--use-case", "qa"]
    lines = printed(capsys, *asked).splitlines()
    assert len(lines) == 3 + 4 and all("TTFT and TPOT" in line for line in lines[3:])
    assert "link" not in lines[1]
    frame = pd.read_csv(io.StringIO(printed(capsys, *asked, "--csv")))
    assert frame.model.tolist() == ["llama-3.2-1b"] * 2 + ["qwen3-0.6b"] * 2
    assert frame.flop_per_s[0] == pytest.approx(genz.require("llama-3.2-1b", use_case="chat").flops, rel=1e-12)
    rows = json.loads(printed(capsys, *asked, "--json"), parse_constant=pytest.fail)
    assert len(rows) == 4 and rows[0]["longest_link_latency_s"] is None


def test_a_row_out_of_reach_says_why(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    page = printed(capsys, "llama-3.1-8b", "--use-case", "chat", "--use-case", "summarization", "--given", "bandwidth=1TB/s")
    assert "out of reach" in page and "allowed: more than" in page and "nan" not in page


def test_the_paper_in_one_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the models that take seconds: the whole table is in test_require."""
    from genz.explore.requirements import tables

    said = tables.read_table()
    assert len(said.models) == 7 and len(said.use_cases) == 5
    few = said.model_copy(update={"models": ("llama-2-7b",), "use_cases": ("chat", "qa"), "requests": said.requests[:1]})
    few = few.model_copy(update={"requests": (few.requests[0].model_copy(update={"models": ("gpt3-175b",)}),)})
    monkeypatch.setattr(tables, "read_table", lambda: few)
    monkeypatch.setenv("COLUMNS", "160")
    page = printed(capsys, "--paper")
    assert "context of 2M tokens" in page and "llama-2-7b" in page
    frame = pd.read_csv(io.StringIO(printed(capsys, "--paper", "--csv")))
    assert frame.tpot_slo_s.tolist() == [0.01, 0.01, 0.2]


MISTAKES: list[tuple[list[str], str]] = [
    ([], "no model is named"),
    (["llama-3.2-1b"], "there is no objective"),
    (["llama-3.2-1b", "--ttft", "1s"], "input_tokens is missing"),
    (["llama-3.2-1b", "--isl", "9", "--osl", "9"], "--ttft and --tpot"),
    (["lama-3.2-1b", "--use-case", "chat"], "did you mean 'llama-3.2-1b'"),
    (["llama-3.2-1b", "--use-case", "chatt"], "chat"),
    (["llama-3.2-1b", "--use-case", "chat", "--ttft", "5"], "has no unit"),
    (["llama-3.2-1b", "--use-case", "chat", "--ttft", "5 parsecs"], "ttft"),
    ([*ASKED, "--given", "3TB/s"], "FIGURE=VALUE"),
    ([*ASKED, "--given", "bandwidth=3"], "has no unit"),
    ([*ASKED, "--given", "speed=3TB/s"], "unknown figure 'speed'"),
    ([*ASKED, "--given", "bandwidth=3TB/s", "--given", "bandwidth=4TB/s"], "is given twice"),
    ([*ASKED, "--given", "link-latency=1us"], "exchange nothing"),
    ([*ASKED, "--given", "bandwidth=1GB/s"], "ttft = 20 ms is out of reach with memory bandwidth 1 GB/s"),
    ([*ASKED, "--fidelity", "calibrated"], "--like"),
    ([*ASKED, "--like", "h100-sxn"], "h100-sxm"),
    ([*ASKED, "--tp", "0"], "--tp"),
    ([*ASKED, "--network-share", "2"], "network_share"),
    ([*ASKED, "--json", "--csv"], "exclude each other"),
    ([*ASKED, "--json", "--yaml"], "exclude each other"),
    ([*ASKED, "--use-case", "chat", "--use-case", "qa", "--yaml"], "one machine"),
    (["llama-3.2-1b", "--paper"], "brings its own models"),
    (["--paper", "--tp", "2"], "--tp has no place beside --paper"),
    (["--paper", "--use-case", "chat"], "--use-case has no place beside --paper"),
    ([*ASKED, "--bandwidth", "3TB/s"], "no such option"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), MISTAKES, ids=lambda value: " ".join(value[-3:]) if isinstance(value, list) else ""
)
def test_mistakes(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert message.lower() in refused(capsys, *arguments).lower()


def test_too_little_memory_has_a_status_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, *ASKED, "--given", "capacity=1GB", status=3)
    assert "Memory of the fullest device" in message


def test_an_error_is_json_where_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["require", *ASKED, "--given", "bandwidth=1GB/s", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert data["error"] == "ImpossibleSLOError" and data["field"] == "slo.ttft"


def test_the_help_shows_how(capsys: pytest.CaptureFixture[str]) -> None:
    page = printed(capsys, "--help")
    assert "genz require llama-3-70b --use-case chat" in page and "--given FIGURE=VALUE" in page
