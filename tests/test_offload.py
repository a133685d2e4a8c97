"""Weights and cache in the host's memory: what the device keeps, and what fetching costs."""

import pytest

import genz
from genz.errors import InvalidValueError, UnknownNameError

ASKED = {"input": 512, "output": 33, "fidelity": "roofline"}


def ask(**changed: object):  # type: ignore[no-untyped-def]
    return genz.predict("llama-3.1-8b", "dgx-h100", batch=8, **{**ASKED, **changed})  # type: ignore[arg-type]


def test_offloaded_weights_stream_over_the_host_link_by_hand() -> None:
    """All of 16.06 GB over the smaller of a PCIe 5.0 link and an eighth of the host's memory bandwidth, in every step."""
    platform = genz.platform("dgx-h100")
    assert platform.host is not None and platform.host.bandwidth is not None
    bandwidth = min(64e9, platform.host.bandwidth / 8)
    prediction = ask(offload_weights=1.0)
    assert prediction.tpot == pytest.approx(2 * 8_030_261_248 / bandwidth, rel=1e-9)
    assert prediction.bound == {"prefill": "memory", "decode": "memory"}


def test_the_device_keeps_two_layers_of_what_is_offloaded() -> None:
    whole, half = ask().memory.weights_bytes, ask(offload_weights=0.5).memory.weights_bytes
    assert half == pytest.approx(whole * (0.5 + 0.5 * 2 / 32))


def test_offload_makes_a_model_fit_that_does_not() -> None:
    asked = {**ASKED, "batch": 1}
    with pytest.raises(genz.DoesNotFitError):
        genz.predict("llama-3.1-70b", "dgx-h100", **asked)  # type: ignore[arg-type]
    assert genz.predict("llama-3.1-70b", "dgx-h100", offload_weights=0.6, **asked).memory.fits  # type: ignore[arg-type]


def test_more_offload_is_never_faster_and_never_larger() -> None:
    predictions = [ask(offload_weights=share, offload_cache=share) for share in (0.0, 0.1, 0.5, 1.0)]
    assert [p.e2e for p in predictions] == sorted(p.e2e for p in predictions)
    sizes = [p.memory.total_bytes for p in predictions]
    assert sizes == sorted(sizes, reverse=True)


def test_the_platform_that_was_handed_in_is_the_same_afterwards() -> None:
    platform = genz.platform("dgx-h100")
    before = platform.model_dump()
    genz.predict("llama-3.1-8b", platform, offload_weights=0.5, **ASKED)  # type: ignore[arg-type]
    assert platform.model_dump() == before


def test_a_tier_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="offload tier 'host'"):
        genz.predict("llama-3.1-8b", "h100-sxm", offload_weights=0.5, **ASKED)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match=r"'cxl'.*allowed: host"):
        ask(offload_weights=0.5, offload_tier="cxl")


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_of_one_is_refused(share: float) -> None:
    with pytest.raises(InvalidValueError, match="offload_weights"):
        ask(offload_weights=share)
