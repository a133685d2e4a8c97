"""Time of a pass over memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genz.operators.shapes import ElementwiseShape
from genz.specs import catalog
from genz.timing.kernels.elementwise import ElementwiseConstants, elementwise_time
from tests.tracer import Tracer, traced

CHIP = catalog.chip("h100-sxm")
PRIOR = ElementwiseConstants()


def test_bytes_over_bandwidth_and_a_launch() -> None:
    # 335 MB at half of 3.35 TB/s are 200 us.
    constants = ElementwiseConstants(launch=3e-6 * CHIP.cores.clock, memory=0.5)
    assert elementwise_time(ElementwiseShape(335e6, "norm"), CHIP, constants) == pytest.approx(203e-6)


def test_what_fits_the_cache_is_found_there_when_warm_and_only_then() -> None:
    constants = ElementwiseConstants(launch=1.0, memory=0.5, cache=0.5)
    small, large = ElementwiseShape(1e6, "norm"), ElementwiseShape(1e9, "norm")
    cache = CHIP.memory["l2"].bandwidth
    assert elementwise_time(small, CHIP, constants, warm=True) == pytest.approx(1e6 / (0.5 * cache), rel=1e-2)
    assert elementwise_time(small, CHIP, constants) == pytest.approx(1e6 / (0.5 * 3.35e12), rel=1e-2)
    assert elementwise_time(large, CHIP, constants, warm=True) == pytest.approx(elementwise_time(large, CHIP, constants))


@given(moved=st.floats(1, 1e12), more=st.floats(1, 1e12))
def test_never_faster_than_the_memory_and_never_faster_for_more(moved: float, more: float) -> None:
    time = elementwise_time(ElementwiseShape(moved, "rope"), CHIP, PRIOR)
    assert time > moved / CHIP.main_memory.bandwidth
    assert elementwise_time(ElementwiseShape(moved + more, "rope"), CHIP, PRIOR) >= time


def test_arrays_are_scalars_element_by_element() -> None:
    moved = np.geomspace(10, 1e11, 50)
    for warm in (False, True):
        together = elementwise_time(ElementwiseShape(moved, "norm"), CHIP, PRIOR, warm=warm)  # type: ignore[arg-type]
        single = [elementwise_time(ElementwiseShape(float(b), "norm"), CHIP, PRIOR, warm=warm) for b in moved]
        np.testing.assert_allclose(together, single, rtol=1e-12)


def test_no_value_is_looked_at() -> None:
    found = elementwise_time(ElementwiseShape(Tracer(1e6), "norm"), CHIP, PRIOR, warm=True)  # type: ignore[arg-type]
    assert traced(found) == pytest.approx(elementwise_time(ElementwiseShape(1e6, "norm"), CHIP, PRIOR, warm=True))


def test_a_chip_with_one_level_of_memory_has_no_cache_to_be_warm() -> None:
    chip = CHIP.model_copy(update={"memory": {"hbm": CHIP.main_memory}})
    shape = ElementwiseShape(1e6, "norm")
    assert elementwise_time(shape, chip, PRIOR, warm=True) == elementwise_time(shape, chip, PRIOR)
    assert elementwise_time(shape, chip, replace(PRIOR, launch=CHIP.cores.clock)) > 1
