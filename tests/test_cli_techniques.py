"""`genz speculate` and `genz disaggregate`, as a user types them."""

import json
import shlex

import pytest

import genz
from genz.cli import main

SPECULATE = shlex.split(
    'speculate llama-3.1-70b --platform "8x h100-sxm" --tp 8 --isl 2048 --osl 257 '
    "--draft-model llama-3.1-8b --num-speculative-tokens 4 --acceptance 0.8"
)
POOLS = shlex.split(
    'disaggregate llama-3.1-70b --prefill-platform "4x h100-sxm" --prefill-tp 4 --decode-platform "4x h100-sxm" '
    "--decode-tp 4 --decode-batch 64 --isl 4096 --osl 512 --devices 64"
)


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        main(arguments)
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_speculate_says_what_the_api_says(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run([*SPECULATE, "--json"], capsys)
    question = genz.settle_question("llama-3.1-70b", "8x h100-sxm", tp=8, input=2048, output=257)
    expected = genz.speculate(question, tokens=4, acceptance=0.8, draft="llama-3.1-8b")
    assert status == 0
    assert json.loads(out)["speedup"] == pytest.approx(expected.speedup)
    assert "times as fast" in run(SPECULATE, capsys)[1]


def test_disaggregate_uses_the_devices(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run([*POOLS, "--json"], capsys)
    data = json.loads(out)
    assert status == 0
    assert 4 * (data["prefill_copies"] + data["decode_copies"]) == data["devices"] <= 64
    assert "prefill copies" in run(POOLS, capsys)[1]


def test_offload_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    asked = shlex.split("predict llama-3.1-8b --platform dgx-h100 --isl 512 --osl 33 --offload-weights 0.5 --json")
    status, out, _ = run(asked, capsys)
    expected = genz.predict("llama-3.1-8b", "dgx-h100", input=512, output=33, offload_weights=0.5)
    assert status == 0
    assert json.loads(out)["tpot_s"] == pytest.approx(expected.tpot)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*SPECULATE, "--acceptance", "1.5"], "acceptance"),
        ([*SPECULATE, "--draft-model", "gpt2"], "vocabulary"),
        ([*SPECULATE, "--draft-model", "lama-3.1-8b"], "did you mean"),
        ([*SPECULATE, "--num-speculative-tokens", "0"], "whole number"),
        ([*SPECULATE, "--method", "magic"], "ngram"),
        ([*POOLS, "--devices", "4"], "at least 8"),
        ([*POOLS, "--link", "sideways"], "scale_out"),
        (["predict", "llama-3.1-8b", "--platform", "h100", "--isl", "9", "--osl", "9", "--offload-weights", "0.5"], "host"),
        (["predict", "llama-3.1-8b", "--platform", "dgx-h100", "--isl", "9", "--osl", "9", "--offload-weights", "2"], "0 to 1"),
    ],
)
def test_wrong_questions_get_one_sentence(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(arguments, capsys)
    assert status == 2
    assert out == ""
    assert says in err and err.startswith("error:") and err.count("\n") == 1
