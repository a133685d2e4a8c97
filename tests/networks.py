"""Network dimensions for tests, and hypothesis strategies that draw them."""

import math

from hypothesis import strategies as st

from genz.specs.hardware import NetworkDimension

BANDWIDTH, LATENCY = 450e9, 2e-6


def dimension(topology: str = "switch", size: int = 8, **changed: object) -> NetworkDimension:
    """450 GB/s and 2 us unless told; a torus takes its size from its `shape`."""
    if topology == "torus":
        size = math.prod(changed["shape"])  # type: ignore[arg-type]
    given = {"link": "x", "topology": topology, "size": size, "bandwidth": BANDWIDTH, "latency": LATENCY, **changed}
    return NetworkDimension.model_validate(given)


@st.composite
def dimensions(draw: st.DrawFn) -> NetworkDimension:
    """Any topology with sides of 2 to 9, bandwidths and latencies that span those of real links."""
    topology = draw(st.sampled_from(["switch", "fully_connected", "ring", "torus", "fat_tree", "bus"]))
    changed: dict[str, object] = {
        "size": draw(st.integers(2, 9)),
        "bandwidth": draw(st.floats(1e9, 1e12)),
        "latency": draw(st.floats(1e-7, 1e-4)),
        "message_overhead": draw(st.floats(0, 1e-6)),
    }
    if topology == "torus":
        changed["shape"] = draw(st.tuples(st.integers(2, 5), st.integers(2, 5)))
    if topology == "fat_tree":
        changed["oversubscription"] = draw(st.floats(1, 8))
        changed["leaf"] = draw(st.one_of(st.none(), st.integers(1, 8)))
    if topology == "switch":
        changed["in_network_reduction"] = draw(st.booleans())
    return dimension(topology, **changed)


def stacks() -> st.SearchStrategy[list[NetworkDimension]]:
    """One to three dimensions."""
    return st.lists(dimensions(), min_size=1, max_size=3)


def size_of(stack: list[NetworkDimension]) -> int:
    """Devices that a stack joins."""
    return math.prod(one.size for one in stack)
