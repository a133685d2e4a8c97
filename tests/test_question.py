"""What a question refuses, and how plainly it says so."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import genz
from genz.inference.question import settle_question
from genz.specs import catalog

ASKED: dict[str, Any] = {"model": "llama-3.1-8b", "platform": "8x h100-sxm", "input": 128, "output": 16}


def refusal(**changed: Any) -> genz.GenZError:
    """The error that a question raises; no number may come back."""
    with pytest.raises(genz.GenZError) as caught:
        genz.predict(**{**ASKED, **changed})
    return caught.value


# Names.


@pytest.mark.parametrize(
    ("field", "misspelt", "nearest"),
    [
        ("model", "lama-3.1-8b", "'llama-3.1-8b'"),
        ("model", "llama-3.1-8bb", "'llama-3.1-8b'"),
        ("platform", "h100-sxn", "'h100-sxm'"),
        ("platform", "8x h100-sxn", "'h100-sxm'"),
        ("engine", "vlm", "'vllm'"),
        ("precision", "fp9", "'fp8'"),
        ("use_case", "chta", "'chat'"),
        ("fidelity", "roofine", "'roofline'"),
        ("kv_cache_dtype", "fp88", "'fp8'"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(field: str, misspelt: str, nearest: str) -> None:
    error = refusal(**{field: misspelt})
    assert isinstance(error, genz.UnknownNameError)
    assert misspelt.removeprefix("8x ") in error.message
    assert nearest in str(error)


@pytest.mark.parametrize("field", ["model", "platform", "engine", "precision", "use_case", "fidelity", "kv_cache_dtype"])
@pytest.mark.parametrize("value", ["", "zzzzzz", "\0", 5, [], {}, b"vllm", float("nan"), True])
def test_what_is_no_name_is_refused(field: str, value: Any) -> None:
    assert str(refusal(**{field: value}))


@pytest.mark.parametrize("field", ["model", "platform", "engine", "precision", "fidelity"])
def test_none_is_no_name(field: str) -> None:
    assert str(refusal(**{field: None}))


def test_names_are_read_as_people_write_them() -> None:
    plain = genz.predict(**ASKED)
    for model, platform in (
        ("LLAMA_3.1 8B", "8xH100"),
        ("meta-llama/Llama-3.1-8B", "8 × h100_sxm"),
        ("llama-3.1-8b", "8*h100"),
    ):
        assert genz.predict(**{**ASKED, "model": model, "platform": platform}).to_dict() == plain.to_dict()


def test_specifications_stand_in_for_their_names() -> None:
    given = {
        "model": catalog.model("llama-3.1-8b"),
        "platform": catalog.platform("8x h100-sxm"),
        "engine": catalog.engine("vllm"),
        "precision": catalog.precision("fp8"),
        "use_case": catalog.use_case("chat"),
    }
    named = {"engine": "vllm", "precision": "fp8", "use_case": "chat"}
    assert genz.predict(**{**ASKED, **given}).to_dict() == genz.predict(**{**ASKED, **named}).to_dict()


def test_a_chip_is_a_platform_of_one() -> None:
    assert settle_question("gpt2", catalog.chip("h100"), input=8, output=8).platform.devices == 1


# Counts.


@pytest.mark.parametrize("field", ["input", "output", "batch", "beams", "tp", "max_model_len", "max_num_seqs"])
@pytest.mark.parametrize(
    "value", [0, -1, 1.5, float("nan"), float("inf"), -float("inf"), 10**30, True, "16", [1, 2], 1j, Fraction(3, 2)], ids=repr
)
def test_a_count_is_a_whole_number_of_at_least_one(field: str, value: Any) -> None:
    error = refusal(**{field: value})
    assert isinstance(error, genz.InvalidValueError)
    assert "whole number" in (error.allowed or "")


@pytest.mark.parametrize("field", ["batch", "cached", "tp"])
def test_none_is_no_count(field: str) -> None:
    assert "whole number" in (refusal(**{field: None}).allowed or "")


@pytest.mark.parametrize("value", [-1, 1.5, float("nan"), True, "16"], ids=repr)
def test_cached_tokens_are_a_whole_number_of_at_least_zero(value: Any) -> None:
    assert refusal(cached=value).field == "cached_tokens"


@pytest.mark.parametrize("value", [np.int64(4), np.float64(4), 4.0, Fraction(4), Decimal(4), np.array(4)], ids=repr)
@pytest.mark.parametrize("field", ["input", "output", "batch", "beams", "cached", "tp"])
def test_whole_numbers_of_every_type_are_the_same_question(field: str, value: Any) -> None:
    assert genz.predict(**{**ASKED, field: value}).to_json() == genz.predict(**{**ASKED, field: 4}).to_json()


@pytest.mark.parametrize("platform", ["0x h100-sxm", "-1x h100-sxm", "1.5x h100-sxm", "99999999999x h100-sxm", "nanx h100-sxm"])
def test_a_number_of_devices_that_cannot_be_is_refused(platform: str) -> None:
    assert isinstance(refusal(platform=platform), genz.InvalidValueError | genz.UnknownNameError)


@pytest.mark.parametrize("cached", [128, 129, 10**6])
def test_the_last_prompt_token_is_never_cached(cached: int) -> None:
    error = refusal(cached=cached)
    assert error.field == "cached_tokens"
    assert "0 to 127" in (error.allowed or "")


@pytest.mark.parametrize(("left_out", "flag"), [("input", "--isl"), ("output", "--osl")])
def test_lengths_must_be_given(left_out: str, flag: str) -> None:
    error = refusal(**{left_out: None})
    assert error.field == f"{left_out}_tokens"
    assert flag in (error.hint or "")


def test_a_use_case_gives_the_lengths_that_are_left_out() -> None:
    chat = catalog.use_case("chat")
    question = settle_question("gpt2-xl", "h100", use_case="chat", output=7, max_model_len=10**4)
    workload = question.workload
    assert (workload.input_tokens, workload.output_tokens, workload.beams) == (chat.input_tokens, 7, chat.beams)
    assert question.use_case == "chat"


@pytest.mark.parametrize("field", ["input", "output", "batch", "beams", "cached"])
def test_prediction_is_of_one_question(field: str) -> None:
    """Arrays are for `evaluate`; the error says so."""
    error = refusal(**{field: np.array([1, 2])})
    assert "evaluate" in (error.hint or "")


def test_an_array_of_hardware_is_not_one_question_either() -> None:
    platform = genz.bind(catalog.platform("h100"), {"chip.memory.hbm.bandwidth": np.array([1e12, 2e12])})
    assert "evaluate" in (refusal(platform=platform).hint or "")


def test_settled_questions_take_arrays_and_check_each_entry() -> None:
    question = settle_question("llama-3.1-8b", "h100", input=np.array([10, 20]), output=5)
    assert question.workload.final_context.tolist() == [15, 25]
    with pytest.raises(genz.InvalidValueError):
        settle_question("llama-3.1-8b", "h100", input=np.array([10, 0]), output=5)
    with pytest.raises(genz.InvalidValueError, match="131072"):
        settle_question("llama-3.1-8b", "h100", input=np.array([10, 140_000]), output=5)


# Parallelism.


def test_more_ranks_than_devices() -> None:
    error = refusal(tp=16)
    assert error.field == "tensor_parallel_size"
    assert "8 devices" in error.message


def test_more_ranks_than_heads() -> None:
    error = refusal(platform="dgx-h100-x16", tp=64)
    assert "32 attention heads" in error.message
    assert error.allowed == "1 to 32"
    assert "nearest is 32" in (error.hint or "")


def test_heads_may_be_shared_unevenly() -> None:
    """32 heads on 3 ranks: the fullest has 11, so each of its steps takes longer than a third."""
    uneven = genz.predict(**{**ASKED, "platform": "3x h100-sxm", "tp": 3, "fidelity": "roofline"})
    even = genz.predict(**{**ASKED, "platform": "4x h100-sxm", "tp": 4, "fidelity": "roofline"})
    assert uneven.memory.weights_bytes > even.memory.weights_bytes * 4 / 3


def test_ranks_that_leave_a_broken_copy() -> None:
    error = refusal(platform="6x h100-sxm", tp=4)
    assert error.field == "tensor_parallel_size"
    assert error.allowed == "1, 2, 3, 6"


def test_a_copy_beyond_what_the_network_joins() -> None:
    platform = catalog.platform("8x h100-sxm")
    half = platform.network[0].model_copy(update={"size": 4})
    error = refusal(platform=platform.model_copy(update={"network": (half,)}), tp=8)
    assert error.field == "tensor_parallel_size"
    assert "4 that the network joins" in error.message


def test_an_unknown_way_to_exchange_context() -> None:
    error = refusal(platform="8x h100-sxm", cp=2, context_exchange="rings")
    assert error.field == "context_exchange"
    assert "'ring'" in str(error)


def test_more_devices_than_a_scale_up_link_joins() -> None:
    error = refusal(platform="9x h100-sxm")
    assert "1 to 8" in (error.allowed or "")


# Limits of the model and the engine.


def test_requests_longer_than_the_model_was_made_for() -> None:
    error = refusal(input=128_000, output=16_000)
    assert error.field == "max_model_len"
    assert "131072" in error.message
    assert "max_model_len=144000" in (error.hint or "")


def test_the_exact_context_is_allowed_and_one_more_token_is_not() -> None:
    assert genz.predict(**{**ASKED, "input": 131_072 - 16})
    assert "131073" in str(refusal(input=131_072 - 15))


def test_longer_requests_can_be_asked_for() -> None:
    assert genz.predict(**{**ASKED, "input": 128_000, "output": 16_000, "max_model_len": 144_000})
    assert "143999" in str(refusal(input=128_000, output=16_000, max_model_len=143_999))


def test_max_model_len_also_holds_below_the_models_own_limit() -> None:
    assert "max_model_len: 143" in str(refusal(max_model_len=143))
    assert genz.predict(**{**ASKED, "max_model_len": 144})


def test_sequences_beyond_max_num_seqs() -> None:
    one = {"platform": "h100-sxm", "batch": 4, "beams": 4}
    error = refusal(**one, max_num_seqs=15)
    assert error.field == "batch"
    assert "at most 15" in (error.allowed or "")
    assert genz.predict(**{**ASKED, **one, "max_num_seqs": 16})


def test_each_replica_runs_max_num_seqs_of_its_own() -> None:
    assert genz.predict(**{**ASKED, "batch": 32, "max_num_seqs": 4})
    assert "8 replicas" in refusal(batch=33, max_num_seqs=4).message


@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), float("inf"), True, "0.9", 1j, np.array([0.5, 0.6])], ids=repr)
def test_memory_utilization_is_a_fraction(value: Any) -> None:
    error = refusal(gpu_memory_utilization=value)
    assert error.field == "gpu_memory_utilization"
    assert "above 0 and up to 1" in (error.allowed or "")


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), Fraction(1, 2)], ids=repr)
def test_memory_utilization_of_every_type(value: Any) -> None:
    memory = genz.predict(**{**ASKED, "gpu_memory_utilization": value}).memory
    assert memory.budget_bytes == pytest.approx(float(value) * memory.capacity_bytes)


# Precision.


def test_fp8_on_an_a100_says_in_what_it_would_be_emulated() -> None:
    error = refusal(platform="a100-sxm-80gb", precision="fp8")
    assert isinstance(error, genz.UnsupportedError)
    assert "emulated in bf16" in (error.hint or "")
    assert "w8a16" in (error.hint or "")
    assert "fp8" not in (error.allowed or "")


def test_bf16_on_a_v100_is_refused_and_left_to_itself_it_takes_fp16() -> None:
    assert "emulated in fp16" in (refusal(platform="v100-sxm-32gb", precision="bf16").hint or "")
    widths = settle_question("llama-3.1-8b", "v100-sxm-32gb", input=8, output=8).widths
    assert (widths.compute, widths.kv_cache) == ("fp16", "fp16")


def test_auto_is_what_the_files_of_the_model_say() -> None:
    assert settle_question("deepseek-v3", "h200", input=8, output=8).widths.compute == "fp8"
    assert settle_question("gpt-oss-20b", "h100", input=8, output=8).widths.experts_only
    assert settle_question("llama-3.1-8b", "h100", input=8, output=8).widths.compute == "bf16"
    # 32-bit checkpoints are served in 16 bits.
    assert settle_question("gpt2", "h100", input=8, output=8).widths.compute == "bf16"


def test_the_cache_stays_at_16_bits_unless_it_is_said() -> None:
    asked = {"input": 8, "output": 8, "precision": "fp8"}
    assert settle_question("llama-3.1-8b", "h100", **asked).widths.kv_cache == "bf16"
    assert settle_question("llama-3.1-8b", "h100", **asked, kv_cache_dtype="auto").widths.kv_cache == "bf16"
    assert settle_question("llama-3.1-8b", "h100", **asked, kv_cache_dtype="fp8").widths.kv_cache == "fp8"
    assert settle_question("llama-3.1-8b", "h100", **asked, kv_cache_dtype="fp8_e4m3").widths.kv_cache == "fp8"


@pytest.mark.parametrize("treat_as", ["nope", 5, [], b"llama"], ids=repr)
def test_treating_a_model_as_nothing_that_is_known(treat_as: Any) -> None:
    assert "llama" in str(refusal(treat_as=treat_as)) or refusal(treat_as=treat_as).allowed


# Prices.


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price", "2.5"),
        ("price", "2.5 EUR/h"),
        ("price", "2.5 USD"),
        ("price", "-1 USD/h"),
        ("price", -1),
        ("price", "cheap"),
        ("price", float("nan")),
        ("price", True),
        ("price", []),
        ("energy_price", "0.1 USD/h"),
        ("energy_price", "0.1"),
        ("carbon_intensity", "400"),
        ("carbon_intensity", "400 g"),
        ("carbon_intensity", -1),
        ("carbon_intensity", "inf g/kWh"),
    ],
)
def test_prices_need_their_units(field: str, value: Any) -> None:
    error = refusal(**{field: value})
    assert isinstance(error, genz.InvalidValueError)
    assert error.field == field


def test_plain_numbers_are_in_the_units_that_people_quote() -> None:
    numbers = genz.predict(**ASKED, price=2.5, energy_price=0.1, carbon_intensity=400)
    texts = genz.predict(**ASKED, price="2.5 USD/h", energy_price="0.1 USD/kWh", carbon_intensity="400 g/kWh")
    assert numbers.cost == texts.cost
