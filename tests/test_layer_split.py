"""Layers on the host and on the device: the ends of the range, and what lies between."""

import pytest

import genz
from genz.errors import InvalidValueError
from genz.inference.layer_split import split_layers


def question(**changed: object):  # type: ignore[no-untyped-def]
    asked = {"input": 256, "output": 33, "engine": "llama.cpp", "fidelity": "roofline", "precision": "q4_k_m", **changed}
    return genz.settle_question("llama-3.1-8b", "rtx-4090", **asked)  # type: ignore[arg-type]


def test_no_layer_on_the_device_is_the_host_alone() -> None:
    alone = genz.evaluate(
        genz.settle_question(
            "llama-3.1-8b", "xeon-6980p", input=256, output=33, engine="llama.cpp", fidelity="roofline", precision="q4_k_m"
        )
    )
    split = split_layers(question(), "xeon-6980p", device_layers=0)
    assert split.tpot == pytest.approx(alone.tpot, rel=1e-9)
    assert split.ttft == pytest.approx(alone.ttft, rel=1e-9)


def test_every_further_layer_on_the_device_helps_by_the_same() -> None:
    times = [float(split_layers(question(), "xeon-6980p", device_layers=layers).tpot) for layers in (8, 16, 24)]
    assert times[0] > times[1] > times[2]
    assert times[0] - times[1] == pytest.approx(times[1] - times[2], rel=1e-6)


def test_the_two_parts_hold_the_model_and_its_cache() -> None:
    asked = question()
    whole = split_layers(asked, "xeon-6980p", device_layers=0).host_bytes
    for layers in (1, 16, 31):
        split = split_layers(asked, "xeon-6980p", device_layers=layers)
        assert split.device_bytes + split.host_bytes == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("layers", [-1, 33, 1.5])
def test_layers_that_are_not_there_are_refused(layers: float) -> None:
    with pytest.raises(InvalidValueError, match="device_layers"):
        split_layers(question(), "xeon-6980p", device_layers=layers)  # type: ignore[arg-type]


def test_several_devices_are_refused() -> None:
    several = genz.settle_question("llama-3.1-8b", "2x rtx-4090", input=10, output=2)
    with pytest.raises(InvalidValueError, match="one device"):
        split_layers(several, "xeon-6980p", device_layers=4)
