"""The command line: wrong questions get one clear error and nothing else, right ones parse."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import genz
from genz.cli import COMMANDS, main
from genz.specs import catalog

MODEL = ["predict", "llama-3.1-8b"]
LENGTHS = ["--isl", "128", "--osl", "16"]
ASKED = [*MODEL, "--platform", "8x h100-sxm", *LENGTHS]
CONFIG = {
    "model_type": "llama",
    "hidden_size": 4_096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14_336,
    "vocab_size": 128_256,
    "max_position_embeddings": 8_192,
    "torch_dtype": "bfloat16",
}


class Shell:
    """Runs `genz` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """(exit status, standard output, standard error)."""
        self.capsys.readouterr()
        try:
            main(list(arguments))
            status = 0
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            status = stop.code
        out, err = self.capsys.readouterr()
        assert "Traceback" not in out + err
        return status, out, err

    def printed(self, *arguments: str) -> str:
        """What a sound command prints."""
        status, out, err = self.run(*arguments)
        assert (status, err) == (0, "")
        return out

    def json(self, *arguments: str) -> Any:
        """What a sound command prints with --json: valid JSON, without NaN and Infinity."""
        return json.loads(self.printed(*arguments, "--json"), parse_constant=pytest.fail)

    def refused(self, *arguments: str, status: int = 2) -> str:
        """The error of a wrong question, which comes alone; with --json it is one object."""
        found, out, err = self.run(*arguments)
        assert (found, out) == (status, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1 or status == 3
        found, out, json_err = self.run(*arguments, "--json")
        assert (found, json_err) == (status, "")
        data = json.loads(out)
        assert data.keys() >= {"error", "message", "field", "value", "allowed", "hint"}
        assert data["message"] in err
        return err


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("COLUMNS", "80")
    return Shell(capsys)


# Wrong questions.

WRONG: dict[str, tuple[list[str], list[str]]] = {
    # names, with the nearest
    "model": (
        ["predict", "lama-3.1-8b", "--platform", "h100-sxm", *LENGTHS],
        ["'lama-3.1-8b'", "'llama-3.1-8b'", "genz models"],
    ),
    "no model": (["predict", "", "--platform", "h100-sxm", *LENGTHS], ["model"]),
    "platform": ([*MODEL, "--platform", "h100-sxn", *LENGTHS], ["'h100-sxn'", "'h100-sxm'", "genz hardware"]),
    "chip": ([*MODEL, "--platform", "8x h100-sxn", *LENGTHS], ["'h100-sxn'", "'h100-sxm'"]),
    "no platform": ([*MODEL, "--platform", "", *LENGTHS], ["platform"]),
    "engine": ([*ASKED, "--engine", "vlm"], ["'vlm'", "'vllm'", "genz engines"]),
    "precision": ([*ASKED, "--precision", "fp9"], ["'fp9'", "'fp8'", "genz precisions"]),
    "use case": ([*MODEL, "--platform", "h100", "--use-case", "chta"], ["'chta'", "'chat'", "genz use-cases"]),
    "fidelity": ([*ASKED, "--fidelity", "roofine"], ["'roofine'", "'roofline'"]),
    "kv cache": ([*ASKED, "--kv-cache-dtype", "fp9"], ["'fp9'", "'fp8'"]),
    "model type": ([*ASKED, "--as", "lama"], ["'lama'", "llama"]),
    # counts
    **{
        f"{flag} {value}": ([*ASKED, flag, value], [flag, value, "whole number"])
        for flag in ("--isl", "--osl", "--batch", "--beams", "--tp", "--max-num-seqs", "--max-model-len")
        for value in ("0", "-1", "1.5", "nan", "inf", "1e30", "1" + 24 * "0", "many", "2,048")
    },
    "--cached -1": ([*ASKED, "--cached", "-1"], ["--cached", "whole number from 0"]),
    "--cached nan": ([*ASKED, "--cached", "nan"], ["--cached"]),
    "no devices": ([*MODEL, "--platform", "0x h100", *LENGTHS], ["devices"]),
    "negative devices": ([*MODEL, "--platform", "-8x h100", *LENGTHS], ["devices"]),
    "fractional devices": ([*MODEL, "--platform", "1.5x h100", *LENGTHS], ["devices"]),
    "many devices": ([*MODEL, "--platform", "99999999999x h100", *LENGTHS], ["devices"]),
    # parallelism
    "tp beyond the devices": ([*MODEL, "--platform", "h100", *LENGTHS, "--tp", "2"], ["tensor_parallel_size", "2x"]),
    "devices beyond the domain": ([*MODEL, "--platform", "16x h100", *LENGTHS, "--tp", "16"], ["16", "1 to 8"]),
    "tp and the heads": (
        [*MODEL, "--platform", "dgx-h100-x16", *LENGTHS, "--tp", "64"],
        ["32 attention heads", "nearest is 32"],
    ),
    "tp and the devices": ([*MODEL, "--platform", "6x h100", *LENGTHS, "--tp", "4"], ["6 devices", "allowed: 1, 2"]),
    # limits
    "context": ([*ASKED, "--isl", "128000", "--osl", "16000"], ["131072", "--max-model-len", "144000"]),
    "max model len": ([*ASKED, "--max-model-len", "100"], ["max_model_len: 100"]),
    "max num seqs": (
        [*MODEL, "--platform", "h100", *LENGTHS, "--batch", "4", "--beams", "4", "--max-num-seqs", "15"],
        ["at most 15"],
    ),
    "fp8 on an A100": ([*MODEL, "--platform", "a100", *LENGTHS, "--precision", "fp8"], ["fp8", "emulated in bf16"]),
    **{
        f"utilization {value}": ([*ASKED, "--gpu-memory-utilization", value], [value, "above 0 and up to 1"])
        for value in ("0", "1.5", "-1", "nan", "most")
    },
    "all cached": ([*ASKED, "--cached", "128"], ["cached_tokens", "0 to 127"]),
    "more than all cached": ([*ASKED, "--cached", "200"], ["cached_tokens"]),
    "no input": ([*MODEL, "--platform", "h100", "--osl", "16"], ["input_tokens is missing", "--isl"]),
    "no output": ([*MODEL, "--platform", "h100", "--isl", "16"], ["output_tokens is missing", "--osl"]),
    # quantities
    **{
        f"tpot {value}": ([*ASKED, "--tpot", value], ["tpot"])
        for value in ("30", "30 MB", "-3ms", "0 ms", "0", "", "ms", "inf s")
    },
    "tpot of one token": ([*ASKED, "--osl", "1", "--tpot", "30 ms"], ["one output token"]),
    **{f"price {value}": ([*ASKED, "--price", value], ["price"]) for value in ("2.5", "2.5 EUR/h", "2.5 USD", "-1 USD/h", "")},
    "energy price": ([*ASKED, "--energy-price", "0.1 USD/h"], ["energy_price", "USD/kWh"]),
    "carbon": ([*ASKED, "--carbon-intensity", "400"], ["carbon_intensity", "g/kWh"]),
    # files
    "a device": (["predict", "/dev/zero", "--platform", "h100", *LENGTHS], ["/dev/zero", "plain file"]),
    "a device as platform": ([*MODEL, "--platform", "/dev/zero", *LENGTHS], ["/dev/zero", "plain file"]),
    "no file": (["predict", "./nowhere/config.json", "--platform", "h100", *LENGTHS], ["nowhere", "No such file"]),
    # the command line itself
    "command": (["predcit", "llama-3.1-8b"], ["'predcit'", "'predict'"]),
    "an empty command": ([""], ["command"]),
    "option": ([*ASKED, "--precison", "fp8"], ["--precison", "--precision"]),
    "no argument": (["predict"], ["MODEL"]),
    "no --platform": ([*MODEL, *LENGTHS], ["--platform"]),
    "one argument too many": ([*ASKED, "extra"], ["extra"]),
    "compare": (["compare", "llama-3.1-8b", "--platform", "h100", "--platform", "h100-sxn", *LENGTHS], ["'h100-sxm'"]),
    "compare nothing": (["compare", "--platform", "h100", *LENGTHS], ["MODELS"]),
    "show": (["show", "lama-3.1-8b"], ["'llama-3.1-8b'"]),
    "show another kind": (["show", "h100", "--kind", "model"], ["unknown model 'h100'"]),
    "show no kind": (["show", "h100", "--kind", "ship"], ["'ship'", "chip"]),
    "show a chip as a model": (["show", "h100", "--as", "llama"], ["--as"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_question_gets_one_clear_error(name: str, shell: Shell) -> None:
    arguments, said = WRONG[name]
    error = shell.refused(*arguments)
    for words in said:
        assert words in error


@pytest.mark.parametrize("command", [ASKED, ["compare", "gpt2", "--platform", "h100", *LENGTHS], ["models"], ["use-cases"]])
def test_one_form_of_output_at_a_time(command: list[str], shell: Shell) -> None:
    status, out, err = shell.run(*command, "--csv", "--json")
    assert (status, err) == (2, "")
    assert "exclude each other" in json.loads(out)["message"]


def test_a_goal_has_no_place_in_a_table_of_operators(shell: Shell) -> None:
    status, out, err = shell.run(*ASKED, "--tpot", "30 ms", "--csv")
    assert (status, out) == (2, "")
    assert "--tpot" in err


FILES: dict[str, tuple[str, str]] = {
    "truncated.json": ('{"model_type": "llama", "hidden', "not valid JSON"),
    "empty.json": ("", "not valid JSON"),
    "list.json": ("[1, 2]", "a list"),
    "nothing.json": ("{}", "model_type"),
    "tokenizer.json": ('{"tokenizer_class": "x"}', "tokenizer"),
    "text.json": (json.dumps({**CONFIG, "hidden_size": "big"}), "hidden_size"),
    "negative.json": (json.dumps({**CONFIG, "hidden_size": -4_096}), "hidden_size"),
    "nan.json": (json.dumps({**CONFIG, "hidden_size": float("nan")}), "hidden_size"),
    "lama.json": (json.dumps({**CONFIG, "model_type": "lama"}), "--as llama"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_model(name: str, shell: Shell, tmp_path: Path) -> None:
    text, said = FILES[name]
    (tmp_path / name).write_text(text)
    error = shell.refused("predict", str(tmp_path / name), "--platform", "h100", *LENGTHS)
    assert said in error
    assert name in error


def test_paths_that_are_no_files(shell: Shell, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    for name, said in ((".", "config.json"), ("fifo.json", "plain file"), ("bytes.json", "UTF-8")):
        assert said in shell.refused("predict", str(tmp_path / name), "--platform", "h100", *LENGTHS)
        assert said in shell.refused("show", str(tmp_path / name))


def test_a_configuration_by_path_and_by_folder(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps(CONFIG))
    by_name = shell.json(*ASKED)
    for path in (tmp_path / "mine", tmp_path / "mine" / "config.json"):
        found = shell.json("predict", str(path), "--platform", "8x h100-sxm", *LENGTHS)
        assert found["model"]["name"] == "mine"
        assert found["ttft_s"] == by_name["ttft_s"]
    assert shell.json("show", str(tmp_path / "mine"))["parameters"] == 8_030_261_248


def test_an_unknown_architecture_can_be_read_as_a_known_one(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({**CONFIG, "model_type": "my_llama"}))
    asked = ["predict", str(tmp_path / "mine.json"), "--platform", "h100", *LENGTHS]
    assert "'my_llama'" in shell.refused(*asked)
    assert shell.json(*asked, "--as", "llama")["model"]["model_type"] == "llama"
    assert "kv_lora_rank" in shell.refused(*asked, "--as", "deepseek_v3")


def test_what_does_not_fit_exits_with_3(shell: Shell) -> None:
    asked = ["predict", "llama-3.1-70b", "--platform", "h100", "--batch", "512", *LENGTHS]
    error = shell.refused(*asked, status=3)
    assert "KV cache" in error
    assert "--tp 4" in error
    data = json.loads(shell.run(*asked, "--json")[1])
    assert data["error"] == "DoesNotFitError"
    assert data["memory"]["fits"] is False
    assert data["suggestions"]
    assert shell.run(*asked, "--csv")[:2] == (3, "")


# Right questions.


def test_the_contract_of_the_json(shell: Shell) -> None:
    data = shell.json(
        "predict",
        "llama-3.1-70b",
        "--platform",
        "8x h100-sxm",
        "--tp",
        "8",
        "--batch",
        "16",
        "--isl",
        "2048",
        "--osl",
        "256",
        "--precision",
        "fp8",
        "--engine",
        "vllm",
        "--fidelity",
        "engine",
    )
    expected = genz.predict(
        "llama-3.1-70b",
        "8x h100-sxm",
        tp=8,
        batch=16,
        input=2_048,
        output=256,
        precision="fp8",
        engine="vllm",
        fidelity="engine",
    )
    assert data == json.loads(expected.to_json())
    assert data["tpot_s"] == pytest.approx((data["e2e_s"] - data["ttft_s"]) / 255)


SPELLINGS = [
    (["--tp", "2"], ["-tp", "2"], ["--tensor-parallel-size", "2"], ["--tensor-parallel-size=2"]),
    (["--isl", "512"], ["--input-len", "512"], ["--input", "512"]),
    (["--osl", "32"], ["--output-len", "32"], ["--output", "32"]),
    (["--batch", "6"], ["--batch-size", "6"]),
    (["--cached", "64"], ["--prefix-hit", "64"]),
    (["--precision", "fp8"], ["--quantization", "fp8"], ["-q", "fp8"]),
]


@pytest.mark.parametrize("spellings", SPELLINGS, ids=lambda spellings: spellings[0][0])
def test_every_spelling_of_a_flag(spellings: tuple[list[str], ...], shell: Shell) -> None:
    found = [shell.json(*ASKED, *flags) for flags in spellings]
    assert found[0] != shell.json(*ASKED)
    assert all(data == found[0] for data in found)


def test_every_flag_reaches_the_question(shell: Shell) -> None:
    flags = [
        "--tp",
        "2",
        "--batch",
        "6",
        "--beams",
        "2",
        "--cached",
        "64",
        "--precision",
        "fp8",
        "--kv-cache-dtype",
        "fp8",
        "--engine",
        "sglang",
        "--fidelity",
        "roofline",
        "--max-model-len",
        "200000",
        "--max-num-seqs",
        "50",
        "--gpu-memory-utilization",
        "0.7",
        "--price",
        "2.5 USD/h",
        "--energy-price",
        "0.1 USD/kWh",
        "--carbon-intensity",
        "400 g/kWh",
    ]
    expected = genz.predict(
        "llama-3.1-8b",
        "8x h100-sxm",
        input=128,
        output=16,
        tp=2,
        batch=6,
        beams=2,
        cached=64,
        precision="fp8",
        kv_cache_dtype="fp8",
        engine="sglang",
        fidelity="roofline",
        max_model_len=200_000,
        max_num_seqs=50,
        gpu_memory_utilization=0.7,
        price=2.5,
        energy_price=0.1,
        carbon_intensity=400,
    )
    assert shell.json(*ASKED, *flags) == json.loads(expected.to_json())


def test_a_page_for_people(shell: Shell) -> None:
    assert shell.printed(*ASKED) == f"{genz.predict('llama-3.1-8b', '8x h100-sxm', input=128, output=16)}\n"


def test_a_use_case_gives_lengths_and_objectives(shell: Shell) -> None:
    data = shell.json(*MODEL, "--platform", "h100", "--use-case", "chat")
    assert data["workload"]["use_case"] == "chat"
    assert set(data["slo_met"]) == {"ttft", "tpot"}
    assert "meets" in shell.printed(*MODEL, "--platform", "h100", "--use-case", "chat")


def test_the_largest_batch_within_a_goal(shell: Shell) -> None:
    best = genz.largest_batch("llama-3.1-8b", "8x h100-sxm", input=128, output=16, tpot=0.02)
    assert shell.json(*ASKED, "--tpot", "20 ms")["largest_batch_within_tpot"] == {"tpot_s": 0.02, "batch": best}
    assert shell.printed(*ASKED, "--tpot", "20ms").endswith(f"Largest batch with a TPOT of at most 20 ms: {best}.\n")
    assert shell.printed(*ASKED, "--tpot", "1us").endswith("none, not even 1.\n")


def test_operators_as_table_json_and_csv(shell: Shell) -> None:
    frame = genz.predict("llama-3.1-8b", "8x h100-sxm", input=128, output=16).to_frame()
    assert shell.printed(*ASKED, "--operators").count("gate_up_gemm") == 2
    listed = shell.json(*ASKED, "--operators")["operators"]
    rows = list(csv.DictReader(io.StringIO(shell.printed(*ASKED, "--csv"))))
    assert len(listed) == len(rows) == len(frame)
    assert [row["operator"] for row in rows] == [row["operator"] for row in listed] == frame.operator.tolist()
    assert [float(row["time_s"]) for row in rows] == pytest.approx(frame.time_s.tolist())


# Listings.

LISTINGS = {"models": "model", "engines": "engine", "precisions": "precision", "use-cases": "use_case"}


@pytest.mark.parametrize("command", [*LISTINGS, "hardware"])
def test_listings_hold_the_whole_catalog(command: str, shell: Shell) -> None:
    kinds = [LISTINGS[command]] if command in LISTINGS else ["chip", "platform"]
    names = [catalog.normalise(name) for kind in kinds for name in catalog.names(kind)]
    rows = shell.json(command)
    assert [catalog.normalise(row["name"]) for row in rows] == names
    parsed = list(csv.DictReader(io.StringIO(shell.printed(command, "--csv"))))
    assert [row["name"] for row in parsed] == [row["name"] for row in rows]
    page = shell.printed(command).splitlines()
    assert any(line.startswith("name ") for line in page[:2])
    assert max(map(len, page)) <= 80
    assert all(any(line.startswith(row["name"]) for line in page) for row in rows)


def test_a_filter_looks_at_values_in_any_case(shell: Shell) -> None:
    assert {row["name"] for row in shell.json("models", "MIXTRAL-8X")} == {"mixtral-8x7b", "mixtral-8x22b"}
    assert all("qwen3_moe" in row["model_type"] for row in shell.json("models", "qwen3_moe"))
    page = shell.printed("hardware", "h200").splitlines()
    assert page[0] == "Chips"
    assert any(line.startswith("h200 ") for line in page)
    assert "Platforms" in page
    assert "Chips" not in shell.printed("hardware", "dgx-h200")


@pytest.mark.parametrize("command", [*LISTINGS, "hardware"])
def test_a_filter_that_nothing_matches(command: str, shell: Shell) -> None:
    """Keys are no values, and the exit status is that of grep."""
    status, out, err = shell.run(command, "title")
    assert (status, out) == (1, "")
    assert err.startswith("nothing matches 'title'")
    assert shell.run(command, "title", "--json")[:2] == (1, "[]\n")
    status, out, _ = shell.run(command, "title", "--csv")
    assert status == 1
    assert out.startswith("name,")
    assert out.count("\n") == 1


def test_a_misspelt_filter_is_answered_with_the_nearest(shell: Shell) -> None:
    assert "'mixtral-8x7b'" in shell.run("models", "mixtrl-8x7b")[2]


# Show.

SHOWN = {
    "llama-3.1-8b": ["8,030,261,248 parameters", "kv_heads 8", "arXiv:2407.21783"],
    "gpt-oss-20b": ["experts 32", "window 128", "mxfp4"],
    "h100": ["h100-sxm:", "3.35 TB/s", "2.99 USD/h", "[1]", "estimate"],
    "8x h100-sxm": ["chip.memory.hbm.bandwidth", "3.35 TB/s", "devices", "450 GB/s"],
    "vllm": ["attention, qkv", "overheads.host_per_step", "absorbed"],
    "fp8": ["weights.bits", "compute", "OFP8"],
    "chat": ["3,000", "slo.ttft", "200 ms"],
    "hbm3": ["energy_per_byte", "pJ/B"],
}


@pytest.mark.parametrize("name", SHOWN)
def test_show_each_kind(name: str, shell: Shell) -> None:
    page = shell.printed("show", name)
    for words in SHOWN[name]:
        assert words in page
    assert max(map(len, page.splitlines())) <= 80
    assert "Sources\n" in page
    data = shell.json("show", name)
    assert page.startswith(f"{data['name']}: ")
    assert data["sources"] or "chip" in data


def test_show_holds_every_source_of_a_chip(shell: Shell) -> None:
    text = " ".join(shell.printed("show", "h100").split())
    for origin in catalog.chip("h100").provenance.values():
        assert origin.source in text


@pytest.mark.parametrize("kind", ["model", "chip", "engine", "precision", "use-case", "technology", "platform"])
def test_show_works_for_every_spec_of_a_kind(kind: str, shell: Shell) -> None:
    for name in catalog.names(kind.replace("-", "_"))[:12]:
        assert shell.json("show", name, "--kind", kind)["name"]
        assert shell.printed("show", name, "--kind", kind)


def test_show_a_file(shell: Shell, tmp_path: Path) -> None:
    source = catalog.files("chip")["h100-sxm"]
    shutil.copy(source, tmp_path / "mine.yaml")
    assert shell.json("show", str(tmp_path / "mine.yaml")) == shell.json("show", "h100-sxm")


# Help, completion, pipes: in processes of their own where that matters.


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help(command: list[str], shell: Shell) -> None:
    for flag in ("--help", "-h"):
        text = shell.printed(*command, flag)
        assert text.startswith(f"Usage: genz{''.join(' ' + name for name in command)}")
        assert max(map(len, text.splitlines())) <= 80


def test_version(shell: Shell) -> None:
    assert shell.printed("--version") == f"genz, version {genz.__version__}\n"


def test_no_command_shows_the_help(shell: Shell) -> None:
    status, out, err = shell.run()
    assert status == 2
    assert "Commands:" in out + err


def process(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def genz_process(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return process(sys.executable, "-m", "genz.cli", *arguments, env={**os.environ, **variables})


def test_light_imports() -> None:
    """`import genz` and `genz --help` load nothing that takes long."""
    code = (
        "import sys, genz; heavy = {'sympy', 'pandas', 'rich', 'click', 'torch'} & set(sys.modules); assert not heavy, heavy\n"
        "import contextlib, io; from genz.cli import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main(['--help'])\n"
        "heavy = {'sympy', 'pandas', 'rich', 'torch', 'numpy', 'pydantic'} & set(sys.modules); assert not heavy, heavy\n"
        "asked = ['predict', 'gpt2', '--platform', 'h100', '--isl', '8', '--osl', '8']\n"
        "with contextlib.redirect_stdout(io.StringIO()): main(asked)\n"
        "heavy = {'sympy', 'pandas', 'torch'} & set(sys.modules); assert not heavy, heavy\n"
    )
    found = process(sys.executable, "-c", code)
    assert found.returncode == 0, found.stderr


def test_the_module_is_the_command() -> None:
    found = genz_process(*ASKED, "--json")
    assert json.loads(found.stdout)["tpot_s"] > 0
    assert found.stderr == ""
    assert genz_process("predict", "nope", "--platform", "h100", *LENGTHS).returncode == 2
    assert genz_process("predict", "llama-3.1-70b", "--platform", "h100", *LENGTHS).returncode == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("genz pre", "predict"),
        ("genz predict llama-3.1-", "llama-3.1-8b"),
        ("genz predict gpt2 --platform h100-s", "h100-sxm"),
        ("genz predict gpt2 --platform h100 --engine vl", "vllm"),
        ("genz predict gpt2 --platform h100 --use-case ch", "chat"),
        ("genz predict gpt2 --kv-", "--kv-cache-dtype"),
        ("genz show hbm", "hbm3"),
    ],
)
def test_completion(words: str, expected: str, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_GENZ_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    status, out, err = shell.run()
    assert (status, err) in {(0, ""), (1, "")}
    assert f"plain,{expected}" in out.splitlines()


@pytest.mark.parametrize(
    ("name", "said"), [("bash", "complete -o nosort"), ("zsh", "#compdef genz"), ("fish", "complete --no-files")]
)
def test_completion_scripts(name: str, said: str, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    script = shell.printed("completion", name)
    assert said in script
    assert f"_GENZ_COMPLETE={name}_complete" in script


def test_completion_of_an_unknown_shell(shell: Shell) -> None:
    status, out, err = shell.run("completion", "tcsh")
    assert (status, out) == (2, "")
    assert "bash" in err


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_bash_script_completes(tmp_path: Path) -> None:
    command = tmp_path / "genz"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m genz.cli "$@"\n')
    command.chmod(0o755)
    asked = "COMP_WORDS=(genz predict llama-3.1-); COMP_CWORD=2"
    script = f'eval "$(genz completion bash)"; {asked}; _genz_completion genz; echo ${{COMPREPLY[@]}}'
    found = process("bash", "-c", script, env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"})
    assert found.stdout.split() == sorted(name for name in catalog.names("model") if name.startswith("llama-3.1-"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_pipe_that_is_closed_early_is_quiet(reader: str) -> None:
    genz_command = f'"{sys.executable}" -m genz.cli'
    found = process("bash", "-c", f"{genz_command} models --json | {reader}; {genz_command} use-cases --csv | {reader}")
    assert found.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "genz.cli", "use-cases"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert found.returncode == 1
    assert found.stderr.startswith("error: cannot write")
    assert found.stderr.count("\n") == 1
