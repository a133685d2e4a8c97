"""`genz explain` as a stranger runs it."""

import json

import pytest

import genz
from genz.cli import main

COMMAND = ["explain", "llama-3.1-8b", "--platform", "h100-sxm", "--isl", "1000", "--osl", "100", "--batch", "4"]


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


def test_the_page_has_symbols_forms_and_operators(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    page = printed(capsys)
    assert "closed forms at the roofline" in page and "F/W" in page
    assert "lm_head_gemm" in page and "largest batch that memory holds" in page
    assert not any(word in page for word in ("None", "nan", "Piecewise"))


def test_latex_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--latex").startswith("\\begin{align*}")
    data = json.loads(printed(capsys, "--json", "--symbol", "context"), parse_constant=pytest.fail)
    answer = genz.predict("llama-3.1-8b", "h100-sxm", input=1000, output=100, batch=4, fidelity="roofline")
    assert data["forms"]["ttft_s"]["value"] == pytest.approx(answer.ttft, rel=1e-9)
    assert list(data["symbols"]) == ["context"] and "B" not in data["forms"]["prefill_flops"]["expression"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--symbol", "contxt"], "did you mean 'context'"),
        (["--symbol", "link_bandwidth"], "no such part"),
        (["--latex", "--json"], "exclude each other"),
        (["--fidelity", "engine"], "no such option"),
        (["--isl", "1000000"], "was made for"),
        (["--batch", "0"], "a whole number from 1"),
    ],
)
def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in refused(capsys, *arguments)


def test_what_does_not_fit_is_told_with_the_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not fit" in refused(capsys, "--batch", "100000")
