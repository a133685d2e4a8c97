"""The order of a design space, and how it is cut: every row in one block, none twice."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genz.explore.mesh import Mesh, mesh
from genz.explore.study import Study

ASKED: dict[str, Any] = {"model": "gpt2", "platform": "h100", "input": 1, "output": 1}


def made(axes: dict[str, Any], block_rows: int = 2**16, **given: Any) -> Mesh:
    return mesh(Study.of({k: v for k, v in ASKED.items() if k not in axes}, axes, **given), block_rows=block_rows)


def names(dimensions: Any) -> list[tuple[str, ...]]:
    return [tuple(axis.name for axis in dimension.axes) for dimension in dimensions]


def test_structure_is_outside_and_hardware_inside() -> None:
    found = made(
        {
            "chip.power.tdp": [500.0, 600.0],
            "batch": [1, 2, 3],
            "tp": [1, 2],
            "input": [1, 2],
            "price": [1.0, 2.0],
            "engine.overheads.host_per_step": [1e-3, 2e-3],
            "engine": ["vllm", "sglang"],
        }
    )
    assert names(found.looped) == [("tp",), ("engine",)]
    assert names(found.numeric) == [
        ("batch",),
        ("input",),
        ("price",),
        ("chip.power.tdp",),
        ("engine.overheads.host_per_step",),
    ]
    assert (found.structures, found.rows_each, found.rows) == (4, 48, 192)


def test_what_advances_together_is_one_dimension() -> None:
    found = made(
        {"batch": [1, 2], "tp": [1, 2], "input": [1, 2], "output": [3, 4]}, zips=[("input", "output"), ("tp", "batch")]
    )
    assert names(found.looped) == [("tp", "batch")]  # with structure in it, it is looped over
    assert names(found.numeric) == [("input", "output")]
    assert found.rows == 4


def test_nothing_varies() -> None:
    found = made({})
    assert (found.rows, found.blocks, found.block(0).rows, found.block(0).shape) == (1, 1, 1, ())


@given(
    st.integers(1, 4),
    st.lists(st.integers(1, 9), min_size=0, max_size=4),
    st.integers(1, 200),
)
def test_every_row_is_in_one_block(structures: int, lengths: list[int], block_rows: int) -> None:
    spare = ["batch", "input", "chip.power.tdp", "chip.main_memory.bandwidth"]
    axes: dict[str, Any] = {"tp": range(1, structures + 1)}
    axes |= {name: {"from": 1, "to": n, "count": n} for name, n in zip(spare, lengths, strict=False)}
    found = made(axes, block_rows)
    seen = np.zeros([structures, *lengths], dtype=int)
    for index in range(found.blocks):
        block = found.block(index)
        assert block.rows <= found.largest_block <= block_rows
        seen[(*block.positions, *block.slices)] += 1
    assert (seen == 1).all()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 200))
def test_blocks_follow_the_order_of_rows(lengths: list[int], block_rows: int) -> None:
    spare = ["batch", "input", "chip.power.tdp", "chip.main_memory.bandwidth"]
    found = made({name: {"from": 1, "to": n, "count": n} for name, n in zip(spare, lengths, strict=False)}, block_rows)
    order = np.arange(math.prod(lengths)).reshape(lengths)
    rows = itertools.chain.from_iterable(order[found.block(index).slices].ravel() for index in range(found.blocks))
    assert list(rows) == list(range(math.prod(lengths)))


def test_inner_dimensions_stay_whole() -> None:
    found = made({"batch": range(1, 101), "input": range(1, 51), "chip.power.tdp": {"from": 500, "to": 600, "count": 40}}, 1000)
    assert found.block(0).shape == (1, 25, 40)


@pytest.mark.parametrize("count", [10**3, 10**6])
def test_a_vast_space_is_cut_without_being_made(count: int) -> None:
    values = {"from": 1, "to": count, "count": count}
    found = made({"batch": values, "input": values, "beams": values, "cached": values})
    assert found.rows == count**4
    last = found.block(found.blocks - 1)
    assert [part.stop for part in last.slices] == [count] * 4
