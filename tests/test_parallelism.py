"""How models are laid over devices: what is legal, what is refused, and what each device then holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genz
from genz.errors import GenZError, InvalidValueError, UnsupportedError
from genz.footprint import weight_bytes
from genz.specs.layouts import layouts
from genz.specs.parallelism import Parallelism, distinct_stages, fill, stages
from genz.specs.precision import DATA_TYPES, Widths

BF16 = Widths("bf16", DATA_TYPES["bf16"], "bf16", "bf16", "bf16", "bf16")


def check(model: str, devices: int, **degrees: int) -> None:
    Parallelism(**degrees).check(genz.model(model), devices=devices, joined=devices)  # type: ignore[arg-type]


def test_degrees_multiply_to_the_devices() -> None:
    check("llama-3.1-70b", 16, tensor=4, pipeline=2, data=2)
    with pytest.raises(InvalidValueError, match="= 12 devices, but the platform has 16"):
        check("llama-3.1-70b", 16, tensor=4, pipeline=3)


def test_data_left_out_is_what_remains() -> None:
    assert fill(devices=64, tensor=8, pipeline=2, context=1, data=None).data == 4
    with pytest.raises(InvalidValueError, match="no whole number of copies of 6"):
        fill(devices=8, tensor=6, pipeline=1, context=1, data=None)
    with pytest.raises(InvalidValueError, match=r"more than the platform's 8 devices"):
        fill(devices=8, tensor=8, pipeline=2, context=1, data=None)


@pytest.mark.parametrize(
    ("model", "degrees", "says"),
    [
        ("llama-3.1-8b", {"tensor": 64}, "32 attention heads"),
        ("llama-3.1-8b", {"pipeline": 33}, "32 layers"),
        ("deepseek-v3", {"tensor": 4, "data": 2, "expert": 3}, "256 experts"),
        ("mixtral-8x7b", {"data": 16, "expert": 16}, "8 experts"),
        ("llama-3.1-8b", {"tensor": 8, "decode_context": 2}, "on 1 of the 8 tensor ranks"),
        ("llama-3.1-8b", {"tensor": 16, "decode_context": 4}, "on 2 of the 16 tensor ranks"),
    ],
)
def test_what_the_model_does_not_allow_is_refused_with_the_nearest(model: str, degrees: dict[str, int], says: str) -> None:
    devices = Parallelism(**degrees).devices  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=says) as raised:
        check(model, devices, **degrees)
    assert "nearest is" in str(raised.value)
    assert raised.value.allowed


def test_a_dense_model_has_no_experts_to_spread() -> None:
    with pytest.raises(UnsupportedError, match="has no experts"):
        check("llama-3.1-8b", 8, data=8, expert=8)


def test_latent_attention_keeps_one_cache_that_all_tensor_ranks_can_share() -> None:
    check("deepseek-v3", 8, tensor=8, decode_context=8)


@given(layers=st.integers(1, 200), count=st.integers(1, 64))
def test_stages_cover_every_layer_once_and_are_even(layers: int, count: int) -> None:
    if count > layers:
        return
    found = stages(layers, count)
    assert [stage.start for stage in found] == [0, *(stage.end for stage in found[:-1])]
    assert found[-1].end == layers
    sizes = [stage.end - stage.start for stage in found]
    assert max(sizes) - min(sizes) <= 1
    assert found[0].is_first and found[-1].is_last


@pytest.mark.parametrize("model", ["llama-3.1-8b", "deepseek-v2-lite", "mixtral-8x7b", "qwen3-30b-a3b", "gpt2"])
def test_devices_together_hold_at_least_the_model(model: str) -> None:
    spec = genz.model(model)
    for devices in (1, 2, 4, 8, 16):
        for layout in layouts(spec, devices):
            held = (
                sum(alike * weight_bytes(spec, BF16, layout, stage) for stage, alike in distinct_stages(spec, layout.pipeline))
                * layout.tensor
                * layout.data
            )
            assert held >= 2 * spec.parameters * layout.replicas * (1 - 1e-12), layout


def test_every_number_of_chips_is_used_on_which_the_model_can_be_laid() -> None:
    """DeepSeek-V3: any number is legal (data parallelism takes what is left), and all layouts of it are found."""
    model = genz.model("deepseek-v3")
    for devices in [*range(1, 65), 96, 128, 256, 511, 512, 768, 1000, 1024]:
        found = list(layouts(model, devices))
        assert found, devices
        assert all(layout.devices == devices for layout in found)
        assert len(set(found)) == len(found)


def test_layouts_are_all_that_the_checks_allow() -> None:
    """Against brute force over every combination of degrees, with what `check` says."""
    for name in ("mixtral-8x7b", "llama-3.2-1b"):
        model = genz.model(name)
        for devices in (1, 2, 6, 8, 16):
            allowed = set()
            for tensor in range(1, devices + 1):
                for pipeline in range(1, devices + 1):
                    for data in range(1, devices + 1):
                        for expert in range(1, devices + 1):
                            layout = Parallelism(tensor=tensor, pipeline=pipeline, data=data, expert=expert)
                            if layout.devices != devices or model.attention_heads % tensor:
                                continue
                            try:
                                layout.check(model, devices=devices, joined=devices)
                            except GenZError:
                                continue
                            allowed.add(layout)
            assert set(layouts(model, devices)) == allowed, (name, devices)
