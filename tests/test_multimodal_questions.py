"""Questions with images and clips: tokens of the prompt, encoders as a stage of TTFT, pruning, and what cannot be asked."""

import json
from typing import Any

import numpy as np
import pytest

import genz
from genz.cli import main
from genz.inference.evaluate import evaluate
from genz.inference.question import settle_question

QWEN = {"model": "qwen2.5-vl-7b", "platform": "h100-sxm", "input": 440, "output": 64}
EACH = 46 * 26  # tokens of 1280x720


def ask(**changed: Any) -> genz.Prediction:
    return genz.predict(**{**QWEN, "images": 2, "image_size": "1280x720", **changed})


def test_input_tokens_are_text_and_images() -> None:
    prediction = ask()
    workload = prediction.question.workload
    assert (workload.input_tokens, workload.media_tokens) == (440 + 2 * EACH, 2 * EACH)
    assert f"{440 + 2 * EACH:,} input tokens: 440 of text and 2 x {EACH:,} of images" in str(prediction)


def test_prefill_behind_images_is_that_of_as_many_tokens() -> None:
    """The decoder cannot tell an image's tokens from text."""
    prediction, text = ask(), genz.predict(**{**QWEN, "input": 440 + 2 * EACH})
    assert prediction.outcome.prefill.time == pytest.approx(text.outcome.prefill.time)
    assert prediction.outcome.decode.time == pytest.approx(text.outcome.decode.time)
    assert not text.outcome.encoders


def test_the_encoder_is_a_stage_of_ttft() -> None:
    prediction = ask()
    ((name, cost),) = prediction.outcome.encoders
    assert name == "vision" and cost.time > 0
    assert prediction.ttft == pytest.approx(cost.time + prediction.outcome.prefill.time)
    assert prediction.bound["vision"] in ("compute", "memory", "network", "host")
    found = prediction.to_dict()
    assert found["encoders"]["vision"]["sequences_per_request"] == 2
    assert found["encoders"]["vision"]["tokens_per_sequence"] == 4 * EACH
    assert found["encoders"]["vision"]["weights_bytes"] == 2 * 676550144
    assert found["encoders"]["vision"]["dynamic_energy_j"] > 0
    assert found["workload"]["media"] == [{"kind": "images", "count": 2, "tokens_each": EACH}]
    assert json.loads(prediction.to_json())["phases"]["vision"]["time_s"] == pytest.approx(cost.time)
    frame = prediction.to_frame()
    assert list(frame["phase"].unique()) == ["vision", "prefill", "decode"]
    assert frame[frame.phase == "vision"].time_s.sum() == pytest.approx(sum(item.device_time for item in cost.operators))


def test_the_encoders_energy_counts() -> None:
    with_images, text = ask(), genz.predict(**{**QWEN, "input": 440 + 2 * EACH})
    ((_, cost),) = with_images.outcome.encoders
    idle = with_images.question.platform.chip.power.idle
    assert with_images.energy == pytest.approx(text.energy + cost.dynamic_energy + idle * cost.time)


def test_flops_of_the_tower_at_full_size() -> None:
    """Two images of 92 x 52 patches through Qwen2.5-VL's tower, worked by hand, patches embedded and merged."""
    patches, hidden, inner = 92 * 52, 1280, 3420
    linear = 32 * (4 * hidden**2 + 3 * hidden * inner) + 3 * 2 * 14 * 14 * hidden
    merger = ((4 * hidden) ** 2 + 4 * hidden * 3584) / 4
    whole_windows = (11 * 8**2 + 4**2) * (6 * 8**2 + 4**2)  # 92 = 11 x 8 + 4 across, 52 = 6 x 8 + 4 down
    attention = 4 * hidden * (4 * patches**2 + 28 * whole_windows)
    expected = 2 * (2 * patches * (linear + merger) + attention)
    assert ask().to_dict()["encoders"]["vision"]["matrix_flops"] == pytest.approx(expected)


def test_more_images_take_longer_and_weigh_the_same() -> None:
    one, three = ask(images=1), ask(images=3)
    assert three.outcome.encoding_time > 2 * one.outcome.encoding_time
    assert three.memory.weights_bytes == one.memory.weights_bytes


def test_activations_of_a_tower_that_is_wider_than_the_prompt() -> None:
    """Gemma 3 sees 4,096 patches of each image and hands on 256 tokens."""
    asked = {"model": "gemma-3-4b-multimodal", "platform": "h100-sxm", "input": 16, "output": 2}
    without, with_image = genz.predict(**asked), genz.predict(**asked, images=1)
    assert with_image.memory.activations_bytes > without.memory.activations_bytes
    tower = with_image.to_dict()["encoders"]["vision"]["activations_bytes"]
    assert with_image.memory.activations_bytes == pytest.approx(tower)


def test_pruned_tokens_leave_the_tower_as_it_is() -> None:
    whole, pruned = ask(), ask(image_tokens=160)
    assert pruned.question.workload.input_tokens == 440 + 2 * 160
    assert pruned.outcome.encoding_time == pytest.approx(whole.outcome.encoding_time)
    assert pruned.outcome.prefill.time < whole.outcome.prefill.time
    assert pruned.memory.kv_cache_bytes < whole.memory.kv_cache_bytes


def test_pruning_composes() -> None:
    asked = {"batch": 4, "platform": "2x h100-sxm", "tp": 2, "precision": "fp8", "kv_cache_dtype": "fp8"}
    assert ask(image_tokens=64, **asked).ttft < ask(**asked).ttft


def test_cross_attention_reads_images_without_tokens() -> None:
    asked = {"model": "llama-3.2-11b-vision", "platform": "h100-sxm", "input": 200, "output": 32}
    one, two = genz.predict(**asked, images=1), genz.predict(**asked, images=2)
    workload = one.question.workload
    assert (workload.input_tokens, workload.source_tokens) == (201, 4 * 1601)
    assert "6,404 more for cross attention" in " ".join(str(one).split())
    # Eight layers keep keys and values of 8 heads of 128 for every token of the image.
    grown = two.memory.kv_cache_bytes - one.memory.kv_cache_bytes
    assert grown == pytest.approx(8 * 2 * 8 * 128 * 2 * 4 * 1601, rel=2e-3)  # whole blocks, and a token of the prompt
    assert two.tpot > one.tpot
    pruned = genz.predict(**asked, images=1, image_tokens=1601)
    assert pruned.question.workload.source_tokens == 1601


def test_a_clip_is_padded_to_the_encoder() -> None:
    asked = {"model": "qwen2-audio-7b", "platform": "h100-sxm", "input": 50, "output": 16}
    short, long = genz.predict(**asked, audio="3 s"), genz.predict(**asked, audio="30 s")
    assert (short.question.workload.input_tokens, long.question.workload.input_tokens) == (50 + 75, 50 + 750)
    assert short.outcome.encoding_time == pytest.approx(long.outcome.encoding_time)
    assert "750 of audio" in str(long)


def test_images_and_sound_together() -> None:
    prediction = genz.predict(
        "qwen3-omni-30b-a3b", "h200-sxm", input=100, output=8, images=1, image_size=(640, 480), audio=12.0
    )
    assert [name for name, _ in prediction.outcome.encoders] == ["vision", "audio"]
    assert prediction.question.workload.input_tokens == 100 + 20 * 15 + 156


def test_a_mamba_with_two_towers() -> None:
    prediction = genz.predict("cobra-3.5b", "h100-sxm", input=64, output=32, images=1)
    assert [name for name, _ in prediction.outcome.encoders] == ["vision", "vision_2"]
    assert prediction.question.workload.input_tokens == 64 + 729
    assert prediction.memory.kv_cache_bytes == 0


def test_a_resampler_attends_to_the_tower() -> None:
    prediction = genz.predict("blip2-opt-2.7b", "h100-sxm", input=16, output=4, images=1)
    assert [name for name, _ in prediction.outcome.encoders] == ["vision", "resampler"]
    assert prediction.question.workload.input_tokens == 16 + 32


def test_numbers_may_be_arrays() -> None:
    texts = np.array([100, 1000, 4000])
    question = settle_question(**{**QWEN, "input": texts}, images=1, image_size="640x480")
    times = evaluate(question).ttft
    assert times.shape == (3,) and (np.diff(times) > 0).all()
    assert times[1] == pytest.approx(ask(input=1000, images=1, image_size="640x480").ttft)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"model": "llama-3.1-8b"}, genz.UnsupportedError, "llama-3.1-8b takes no images; allowed: text alone"),
        ({"model": "qwen2-audio-7b"}, genz.UnsupportedError, "takes no images; allowed: text and audio alone"),
        ({"audio": "3 s"}, genz.UnsupportedError, "takes no audio; allowed: text and images alone"),
        ({"images": -1}, genz.InvalidValueError, "images: -1"),
        ({"images": 1.5}, genz.InvalidValueError, "images: 1.5"),
        ({"images": 20000}, genz.InvalidValueError, "images: 20000"),
        ({"images": 0}, genz.InvalidValueError, "image_size: there is no image; give images=1"),
        ({"image_size": "1280"}, genz.InvalidValueError, "width and height"),
        ({"image_size": "0x5"}, genz.InvalidValueError, "image_size: '0x5'"),
        ({"image_size": "9000x20"}, genz.InvalidValueError, "ratio is at most 200"),
        ({"image_tokens": 5000}, genz.InvalidValueError, f"image_tokens: 5000 .* at most {EACH}"),
        ({"image_tokens": 0}, genz.InvalidValueError, "image_tokens: 0"),
        ({"images": 200}, genz.InvalidValueError, "max_model_len"),
        ({"model": "qwen2-audio-7b", "images": 0, "image_size": None, "audio": "31 s"}, genz.InvalidValueError, "up to 30 s"),
    ],
)
def test_what_cannot_be_asked(changed: dict[str, Any], error: type[genz.GenZError], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(**changed)


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["predict", "qwen2.5-vl-7b", "--platform", "h100-sxm", "--isl", "440", "--osl", "64"]
    main([*command, "--images", "2", "--image-size", "1280x720"])
    shown = capsys.readouterr().out
    assert f"2 x {EACH:,} of images" in shown and "vision" in shown
    main([*command, "--images", "1", "--image-tokens", "160", "--json"])
    assert json.loads(capsys.readouterr().out)["workload"]["input_tokens"] == 600
    with pytest.raises(SystemExit) as refused:
        main([*command, "--audio", "3 s"])
    assert refused.value.code == 2 and "takes no audio" in capsys.readouterr().err
