"""Rows of whole requests: which question each one is, and which are none."""

from types import SimpleNamespace
from typing import Any

import pytest

import genz
from genz.errors import UnknownNameError
from genz.specs import catalog
from genz.validation.metrics import METRICS, metric_of, value_of
from genz.validation.requests import NotAnsweredError, Request, chip_of, platform_of, request_of
from genz.validation.sources import Source, Sources, known_sources

NAN = float("nan")
ROW: dict[str, Any] = {
    "source": "mine",
    "hardware": "h100-sxm",
    "n_devices": 2.0,
    "tp": 2.0,
    "pp": NAN,
    "ep": NAN,
    "dp": NAN,
    "mode": "agg",
    "model": "llama-3.1-8b",
    "framework": "vLLM",
    "weight_dtype": "bf16",
    "kv_dtype": NAN,
    "load_kind": "static_batch",
    "batch_or_concurrency": 4.0,
    "input_tokens": 100.0,
    "output_tokens": 11.0,
    "notes": NAN,
}


def asked(**changed: Any) -> Request:
    """The question of a row."""
    return request_of(SimpleNamespace(**{**ROW, **changed}))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what is known of the source 'mine'."""

    def know(**facts: Any) -> None:
        known = Sources(sources={"mine": Source(**facts)}, engines={"fast-engine": "vllm"})
        monkeypatch.setattr("genz.validation.requests.known_sources", lambda: known)

    return know


def test_a_row_is_the_question_that_it_says() -> None:
    request = asked()
    assert request.platform.devices == 2 and request.platform.chip.name == "h100-sxm"
    assert (request.model, request.engine, request.precision) == ("llama-3.1-8b", "vllm", "bf16")
    assert (request.prompt, request.output, request.batch) == (100, 11, 4)
    expected = genz.predict("llama-3.1-8b", "2x h100-sxm", input=100, output=11, batch=4, tp=2, precision="bf16")
    assert genz.predict(**request.asked).e2e == pytest.approx(expected.e2e)


@pytest.mark.parametrize(
    ("changed", "degrees", "devices"),
    [
        ({"tp": NAN}, {"tp": 2, "pp": 1}, 2),
        ({"tp": NAN, "n_devices": NAN}, {"tp": 1, "pp": 1}, 1),
        ({"tp": 4.0, "n_devices": NAN, "pp": 2.0}, {"tp": 4, "pp": 2}, 8),
        ({"tp": 4.0, "n_devices": 8.0, "pp": 2.0}, {"tp": 4, "pp": 2}, 8),
        ({"tp": NAN, "n_devices": 8.0, "pp": 2.0}, {"tp": 4, "pp": 2}, 8),
    ],
)
def test_degrees_from_columns(changed: dict[str, Any], degrees: dict[str, int], devices: int) -> None:
    request = asked(**changed)
    assert dict(request.degrees) == degrees and request.platform.devices == devices


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"load_kind": "concurrency"}, r"measured under load \(concurrency\), which GenZ does not simulate"),
        ({"mode": "disagg"}, "pools of their own"),
        ({"framework": NAN}, "framework is missing"),
        ({"n_devices": 8.0, "tp": 2.0}, "8 devices in degrees of parallelism that use 2"),
    ],
)
def test_rows_that_are_no_question(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotAnsweredError, match=reason):
        asked(**changed)


@pytest.mark.parametrize("field", ["model", "hardware", "framework"])
def test_unknown_names_keep_their_error(field: str) -> None:
    with pytest.raises(UnknownNameError, match="'nobody knows it'"):
        asked(**{field: "nobody knows it"})


def test_lengths_that_are_not_told() -> None:
    request = asked(input_tokens=NAN, output_tokens=NAN, batch_or_concurrency=NAN)
    assert (request.prompt, request.output, request.batch) == (32, 256, 1)
    assert asked(input_tokens=0.0, output_tokens=0.0).asked["max_model_len"] == 2


def test_traps_of_a_source(source: Any) -> None:
    source(
        hardware={"a100": "a100-sxm-40gb"},
        batch_is_a_label=("vllm",),
        layouts={"parallelism=PP": {"pp": "all"}, "parallelism=EP": {"tp": "all", "ep": 2}},
    )
    with pytest.raises(NotAnsweredError, match="its batch is a label"):
        asked(hardware="A100")
    alone = asked(hardware="A100", batch_or_concurrency=1.0)
    assert alone.platform.chip.name == "a100-sxm-40gb"
    staged = asked(batch_or_concurrency=1.0, n_devices=4.0, tp=4.0, notes="parallelism=PP; offline batch")
    assert dict(staged.degrees) == {"pp": 4}
    experts = asked(batch_or_concurrency=1.0, n_devices=4.0, tp=4.0, notes="parallelism=EP; offline batch")
    assert dict(experts.degrees) == {"tp": 4, "ep": 2}


def test_layers_split_over_devices(source: Any) -> None:
    source(layer_split=("*",))
    assert dict(asked(n_devices=4.0, tp=NAN).degrees) == {"pp": 4, "micro_batches": 1}
    assert asked(n_devices=1.0, tp=1.0).degrees == ()


def test_a_degree_in_the_notes(source: Any) -> None:
    source(notes_pattern=r"(\d+)-way TP", tensor_parallel={"llama-3.1-8b": 8})
    lacking = {"tp": NAN, "n_devices": NAN}
    assert asked(**lacking, notes='column "4-way TP (ms)"').platform.devices == 4
    assert asked(**lacking).platform.devices == 8
    assert asked(**lacking, framework="Fast Engine").engine == "vllm"


def test_a_card_in_brackets_behind_a_computer() -> None:
    assert chip_of("Some PC (Nvidia RTX 4090)", Source()).name == "rtx-4090"
    assert chip_of("Some PC (RTX-4090)", Source()).name == "rtx-4090"
    with pytest.raises(UnknownNameError, match=r"Some PC \(8 GB\)"):
        chip_of("Some PC (8 GB)", Source())
    with pytest.raises(UnknownNameError):
        chip_of("Some PC ()", Source())


def test_nodes_where_a_link_does_not_join_all() -> None:
    chip = catalog.chip("a100-sxm-80gb")
    assert platform_of(chip, 8).network[0].size == 8
    large = platform_of(chip, 24)
    assert [dimension.size for dimension in large.network] == [8, 3] and large.devices == 24
    prediction = genz.predict("llama-3.1-8b", large, input=64, output=2, tp=8, pp=3)
    assert prediction.e2e > 0


def test_metrics_follow_from_a_prediction() -> None:
    request, source = asked(), Source()
    prediction = genz.predict(**request.asked)
    outcome = prediction.outcome

    def value(name: str, of: Source = source) -> float:
        return value_of(metric_of(name, of), prediction, request, of).predicted

    assert value("ttft_s") == pytest.approx(outcome.ttft)
    assert value("tpot_s") == pytest.approx((outcome.e2e - outcome.ttft) / 10)
    assert value("output_tok_per_s") == pytest.approx(4 * 11 / outcome.e2e)
    assert value("total_tok_per_s") == pytest.approx(4 * 111 / outcome.e2e)
    assert value("prefill_tok_per_s") == pytest.approx(4 * 100 / outcome.ttft)
    assert value("joules_per_output_token") == pytest.approx(prediction.energy / 44)
    assert value("avg_gpu_power_w_gpu0") == pytest.approx(prediction.power / 2)
    assert 0 < value("avg_power_frac_tdp") <= 1
    assert value("tpot_s", Source(tpot="request")) == pytest.approx(outcome.e2e / 11)
    assert value("output_tok_per_s", Source(output_rate="decode")) == pytest.approx(4 / value("tpot_s"))
    # vLLM takes nine tenths of the device, whatever it holds.
    assert value("peak_mem_gb") == pytest.approx(0.9 * request.platform.chip.main_memory.capacity / 1e9)
    in_binary = value("peak_mem_gb", Source(memory_unit=2**30))
    assert in_binary == pytest.approx(value("peak_mem_gb") * 1e9 / 2**30)


def test_memory_of_an_engine_that_takes_what_it_needs() -> None:
    request = asked(framework="transformers", n_devices=1.0, tp=1.0)
    memory = genz.predict(**request.asked).memory
    found = value_of(METRICS["peak_mem_gb"], genz.predict(**request.asked), request, Source())
    assert found.predicted == pytest.approx((memory.total_bytes - memory.reserve_bytes) / 1e9)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cpu_energy_j_batch", "host's processor"),
        ("peak_power_frac_tdp", "a peak of power"),
        ("joules_per_output_token_system", "whole computer"),
        ("p99_ttft_s", "percentile"),
        ("happiness", "known: ttft_s, tpot_s"),
    ],
)
def test_metrics_that_are_not_predicted(name: str, reason: str) -> None:
    with pytest.raises(NotAnsweredError, match=reason):
        metric_of(name, Source())


def test_one_token_has_no_time_after_it() -> None:
    request = asked(output_tokens=1.0)
    with pytest.raises(NotAnsweredError, match="one output token"):
        value_of(METRICS["tpot_s"], genz.predict(**request.asked), request, Source())


def test_intervals_are_turned_with_their_metric() -> None:
    request = asked()
    held = SimpleNamespace(e2e=2.0, interval={"e2e_s": (1.0, 4.0)}, question=None, memory=None)
    rate = value_of(METRICS["output_tok_per_s"], held, request, Source())  # type: ignore[arg-type]
    assert rate == pytest.approx((22.0, 11.0, 44.0))


def test_what_stands_for_a_name_is_in_the_catalog() -> None:
    known = known_sources()
    for kind, names in (("engine", known.engines), ("model", known.models)):
        for stand_in in names.values():
            assert getattr(catalog, kind)(stand_in).name
    for stand_in in known.precisions.values():
        assert stand_in == "auto" or catalog.precision(stand_in).name
    for source in known.sources.values():
        for name in source.hardware.values():
            assert catalog.chip(name).name
