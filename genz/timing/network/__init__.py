"""What communication takes on a network that is a stack of dimensions.

`span` lays a group of ranks on the dimensions, `collective_time` prices a collective over it by the best algorithm that
the network allows, `dispatch_time` and `combine_time` price the exchange of tokens between the ranks of a mixture of
experts. Costs are of the alpha-beta kind: alpha a message's latency, 1 / beta a bandwidth. First source: Hockney, The
communication challenge for MPP, Parallel Computing 20(3), 1994.
"""

from genz.timing.network.collectives import KINDS, algorithms, collective_time
from genz.timing.network.dispatch import combine_time, copies, dispatch_time, distinct_groups, exchange_time, exchanged_bytes
from genz.timing.network.layout import Axis, Hop, Span, ranks_of, span
from genz.timing.network.wire import wire_bytes_by_dimension

__all__ = [
    "KINDS",
    "Axis",
    "Hop",
    "Span",
    "algorithms",
    "collective_time",
    "combine_time",
    "copies",
    "dispatch_time",
    "distinct_groups",
    "exchange_time",
    "exchanged_bytes",
    "ranks_of",
    "span",
    "wire_bytes_by_dimension",
]
