"""The page that people read: what it says, and how it is laid out."""

import re
from itertools import pairwise
from typing import Any

import pytest

import genz
from genz.inference.report import memory_table, misfit, operator_table, render, seconds, table
from genz.specs import catalog

CASES: dict[str, dict[str, Any]] = {
    "plain": {"model": "llama-3.1-8b", "platform": "h100-sxm", "input": 2_048, "output": 256},
    "replicas": {"model": "llama-3.1-8b", "platform": "8x h100-sxm", "tp": 2, "batch": 18, "input": 2_048, "output": 256},
    "one token": {"model": "llama-3.1-8b", "platform": "h100-sxm", "input": 2_048, "output": 1},
    "use case": {"model": "gpt-oss-120b", "platform": "h100-sxm", "use_case": "chat"},
    "cached": {"model": "llama-3.1-8b", "platform": "l40s", "input": 2_048, "output": 256, "cached": 1_000},
    "priced": {
        "model": "qwen3-235b-a22b",
        "platform": "8x mi300x",
        "tp": 8,
        "input": 30_000,
        "output": 999,
        "batch": 64,
        "precision": "fp8",
        "price": "12,345.67 USD/h",
        "energy_price": "0.1 USD/kWh",
        "carbon_intensity": "400 g/kWh",
    },
    "any length": {"model": "mistral-7b-v0.1", "platform": "rtx-4090", "input": 100, "output": 10},
}


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def page(name: str) -> str:
    return str(genz.predict(**CASES[name]))


# Layout.


@pytest.mark.parametrize("name", CASES)
def test_a_page_has_80_columns_and_no_ragged_ends(name: str) -> None:
    lines = page(name).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)
    assert not any(a == b == "" for a, b in pairwise(lines))
    assert "\x1b" not in page(name)


def test_a_page_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, page("plain").splitlines())) <= 60
    monkeypatch.setenv("COLUMNS", "200")
    assert max(map(len, page("plain").splitlines())) <= 80


def test_tables_without_a_header_have_no_rule() -> None:
    assert render(table("Title", ("", ""), [("a", "1 s"), ("bcd", "20 s")])) == "Title\na     1 s\nbcd  20 s"


def test_words_are_left_and_numbers_right() -> None:
    lines = render(
        table("", ("name", "size", "kind"), [("a", "1 B", "x"), ("abcde", "100 B", "yy")], words=(0, 2))
    ).splitlines()
    assert lines[0] == "name    size  kind"
    assert lines[2:] == ["a        1 B  x", "abcde  100 B  yy"]


def test_numbers_keep_to_their_units_where_the_page_is_narrow() -> None:
    lines = render(table("", ("title", "size"), [("many words that can be wrapped", "1.31 PFLOP/s")]), width=30).splitlines()
    assert any(line.endswith("1.31 PFLOP/s") for line in lines)


def test_what_looks_like_markup_is_printed_as_it_is(tmp_path: Any) -> None:
    """Names come from folders of users."""
    folder = tmp_path / "[bold]:smile:[red]"
    folder.mkdir()
    (folder / "config.json").write_text(
        '{"model_type": "llama", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,'
        ' "intermediate_size": 512,'
        ' "vocab_size": 1000, "max_position_embeddings": 512, "torch_dtype": "bfloat16"}'
    )
    found = str(genz.predict(str(folder), "h100", input=8, output=8))
    assert found.startswith("[bold]:smile:[red] (")


# What it says.


def test_the_heading_repeats_the_question() -> None:
    lines = page("replicas").splitlines()
    assert lines[:5] == [
        "llama-3.1-8b (8.03 B parameters) on 8x h100-sxm",
        "batch 18: 2048 input and 256 output tokens",
        "tensor parallel 2, 4 replicas, at most 5 of the batch on each",
        "precision bf16: computes in bf16, KV cache in bf16",
        "engine vllm, fidelity calibrated",
    ]
    assert "active" in page("use case").splitlines()[0]
    assert "2 beams" in page("use case")
    assert "(1000 of them cached)" in page("cached")


def test_the_answers_are_those_of_the_prediction() -> None:
    found = genz.predict(**CASES["replicas"])
    text = re.sub(" +", " ", str(found))
    assert f"(TTFT) {seconds(found.ttft)}" in text
    assert f"(TPOT) {seconds(found.tpot)}" in text
    assert f"{found.throughput:,.1f} tok/s {found.throughput / 8:,.1f} tok/s per device" in text
    assert f"Largest batch that fits: {found.largest_batch:,}." in text


def test_one_device_needs_no_figures_per_device() -> None:
    assert "per device" not in page("plain")


def test_one_output_token_leaves_a_dash() -> None:
    text = page("one token")
    assert re.search(r"\(TPOT\) +-$", text, re.MULTILINE)
    assert "\ndecode" not in text


def test_the_verdicts() -> None:
    text = page("use case")
    found = genz.predict(**CASES["use case"])
    goals = catalog.use_case("chat").slo
    for name, goal in (("TTFT", goals.ttft), ("TPOT", goals.tpot)):
        verdict = "meets" if found.slo_met[name.lower()] else "misses"
        assert re.search(rf"\({name}\) .* {verdict} {seconds(goal)}$", text, re.MULTILINE)


def test_costs_are_shown_where_they_are_known() -> None:
    assert "USD" not in page("any length")
    assert "USD/h" in page("priced")
    assert "carbon per million output tokens" in page("priced")


def test_the_shares_of_a_phase_add_up() -> None:
    for name in ("plain", "replicas", "priced"):
        (line,) = (line for line in page(name).splitlines() if line.startswith("prefill "))
        assert 98 <= sum(map(int, re.findall(r"(\d+)%", line))) <= 102


def test_how_far_from_the_ridge_is_a_plain_number() -> None:
    """A wafer's memory is so fast that a prefill is far beyond its ridge."""
    for platform in ("h100-sxm", "cs-3"):
        found = genz.predict("llama-3.1-8b", platform, input=100, output=10)
        (line,) = (line for line in str(found).splitlines() if line.startswith("prefill "))
        phase = found.phases["prefill"]
        assert float(line.split()[-1]) == pytest.approx(phase.arithmetic_intensity / phase.ridge, rel=0.05)
        assert "e+" not in line


def test_unbounded_requests_are_said_to_be_any() -> None:
    assert "Longest request at this batch: any" in page("any length")


def test_the_power_limit_is_named_where_it_bites() -> None:
    throttled = genz.predict("llama-3.1-8b", "l4", input=4_096, output=2, engine="ideal", fidelity="engine")
    assert throttled.phases["prefill"].is_power_limited
    assert "power limit slows prefill down." in " ".join(str(throttled).split())
    unlimited = genz.predict(**{**CASES["plain"], "fidelity": "engine"})
    assert "power limit" not in str(unlimited)


def test_the_memory_table_has_every_term() -> None:
    memory = genz.predict(**CASES["plain"]).memory
    text = render(memory_table(memory))
    for term in (
        "weights",
        "KV cache",
        "activations",
        "logits",
        "communication buffers",
        "reserve",
        "total",
        "engine's budget",
    ):
        assert f"\n{term} " in text
    assert text.splitlines()[-1].endswith("100.0%")


def test_multiples_of_a_device_are_not_per_cent() -> None:
    with pytest.raises(genz.DoesNotFitError) as caught:
        genz.predict("llama-3.1-8b", "h100", input=128, output=16, batch=10**9)
    text = misfit(caught.value)
    assert not re.search(r"\d{5}.*%", text)
    assert re.search(r"KV cache .* [\d,]+ x$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 110


def test_the_operator_table_has_a_line_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    found = genz.predict(**CASES["plain"])
    text = operator_table(found)
    assert text.count("lm_head_gemm") == 2
    assert "Operators of prefill" in text
    assert "Operators of decode" in text
    assert len(text.splitlines()) == len(found.to_frame()) + 2 * 3 + 1
    longest = operator_table(found, rows=1)
    assert longest.count("gate_up_gemm") == 2
    assert "lm_head_gemm" not in longest
