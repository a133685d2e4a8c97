"""`genz plan` on the command line."""

import io
import json
from typing import Any

import pandas as pd
import pytest

import genz
from genz.cli import main

COMMAND = ["plan", "llama-3.2-1b", "--isl", "500", "--osl", "51", "--fidelity", "roofline", "--max-devices-per-replica", "2"]
ASKED: dict[str, Any] = {"input": 500, "output": 51, "fidelity": "roofline", "max_devices_per_replica": 2}
H100 = ["--platform", "h100-sxm"]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main([*COMMAND, *arguments])
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([*COMMAND, *arguments])
    out, err = capsys.readouterr()
    return int(str(caught.value.code)), out, err


def test_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    page = printed(capsys, *H100, "--rps", "40", "--slo-ttft", "100ms", "--slo-tpot", "2ms", "--top", "2")
    assert page.startswith("llama-3.2-1b for 40 requests/s: 500 input and 51 output tokens\nTTFT up to 100 ms, TPOT up to 2 ms")
    assert "The 2 best of" in page
    assert "vllm serve" in page
    assert "searched 3 layouts" in page


def test_the_page_on_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert all(
        len(line) <= 80 for line in printed(capsys, *H100, "--rps", "40").split("vllm serve", maxsplit=1)[0].splitlines()
    )


def test_the_json_is_what_python_says(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--users", "200", "--price", "h100-sxm=2 USD/h", "--max-usd-per-hour", "100", "--max-watts", "30kW", "--json")
    data = json.loads(printed(capsys, *H100, *options, "--top", "3"), parse_constant=pytest.fail)
    found = genz.plan(
        "llama-3.2-1b", concurrent_users=200, platforms="h100-sxm", price=2, max_usd_per_hour=100, max_watts="30 kW", **ASKED
    )
    assert data == json.loads(json.dumps(found.to_dict(top=3)))
    assert len(data["options"]) == 3
    assert data["constraints"] == {"max_usd_per_hour": 100.0, "max_watts": 30000.0}


def test_the_csv_has_a_row_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, *H100, "--rps", "40", "--csv", "--top", "4")
    frame = pd.read_csv(io.StringIO(text))
    assert frame["rank"].tolist() == [1, 2, 3, 4]
    assert (frame.devices > 0).all()


def test_the_fronts(capsys: pytest.CaptureFixture[str]) -> None:
    page = printed(capsys, *H100, "--rps", "40", "--pareto", "--slo-tpot", "0.9 ms")
    assert "Pareto front: tokens/s/user against tokens/s/chip" in page
    assert "Pareto front: cost against latency" in page
    assert "met" in page
    data = json.loads(printed(capsys, *H100, "--rps", "40", "--pareto", "--json"), parse_constant=pytest.fail)
    assert {"interactivity", "cost"} == data["pareto"].keys()
    assert data["pareto"]["cost"][0]["devices"] > 0


def test_commands_of_another_engine(capsys: pytest.CaptureFixture[str]) -> None:
    page = printed(capsys, *H100, "--rps", "40", "--export", "sglang")
    assert "sglang.launch_server" in page
    code, _, err = refused(capsys, *H100, "--rps", "40", "--export", "accelerate")
    assert code == 2
    assert "unknown engine to export to 'accelerate'" in err


def test_aggregated_only(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(printed(capsys, *H100, "--rps", "40", "--aggregated-only", "--json"))
    assert {option["kind"] for option in data["options"]} == {"aggregated"}


def test_objectives_of_the_use_case_are_lifted_by_none(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--use-case", "chat", "--rps", "2", "--slo-ttft", "none", "--slo-tpot", "20ms", "--max-devices-per-replica", "1")
    main(["plan", "llama-3.2-1b", *H100, *options, "--json"])
    assert json.loads(capsys.readouterr().out)["constraints"] == {"slo tpot": 0.02}


def test_what_cannot_be_met_exits_with_3_and_says_what_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*H100, "--rps", "4000", "--slo-ttft", "10ms", "--slo-tpot", "2ms", "--max-devices", "5")
    code, out, err = refused(capsys, *arguments)
    assert (code, out) == (3, "")
    assert err.startswith("error: nothing serves 4000 requests/s of llama-3.2-1b on h100-sxm within all constraints")
    assert "the binding constraint is max_devices" in err
    assert "chips instead of 5 chips" in err
    code, out, err = refused(capsys, *arguments, "--json")
    data = json.loads(out)
    assert (code, err, data["error"], data["binding"]) == (3, "", "NoPlanError", "devices")
    assert data["relaxations"][0]["needed"] > 5


def test_two_forms_of_output_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = refused(capsys, *H100, "--rps", "1", "--json", "--csv")
    assert code == 2
    assert "exclude each other" in json.loads(out)["message"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*H100,), "load: none is given"),
        ((*H100, "--rps", "1", "--users", "2"), "exclude each other"),
        ((*H100, "--rps", "-5"), "requests_per_second: -5.0 is not allowed"),
        ((*H100, "--rps", "nan"), "requests_per_second: nan"),
        ((*H100, "--users", "0"), "concurrent_users: 0"),
        ((*H100, "--rps", "1", "--slo-ttft", "500"), "slo ttft: '500' has no unit"),
        ((*H100, "--rps", "1", "--slo-tpot", "30mW"), "slo tpot"),
        (("--rps", "1", "--platform", "h100-sxn"), "did you mean 'h100-sxm'"),
        ((*H100, "--rps", "1", "--max-watts", "20 kg"), "max_watts"),
        ((*H100, "--rps", "1", "--max-devices", "0"), "--max-devices"),
        ((*H100, "--rps", "1", "--objective", "cheap"), "unknown objective 'cheap'"),
        ((*H100, "--rps", "1", "--price", "1", "--price", "2"), "several prices need the platform of each"),
        ((*H100, "--rps", "1", "-q", "fp9"), "unknown precision 'fp9'"),
        ((*H100, "--rps", "1", "--top", "0"), "--top"),
    ],
)
def test_wrong_questions_are_one_message(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    code, out, err = refused(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("error: ")
    assert "Traceback" not in err
