"""Points of prefill and decode apart: copies of one replica prefill, copies of another decode, and caches go between.

A decode pool that runs B requests on each rank gives x(B) = B / ((O - 1) t_step(B)) requests a second; a prefill pool is a
queue with constant service times. TPOT has the exposed part of the transfer in it, spread over the tokens that follow.
Given both replicas and B, the fewest copies of each pool that carry the load and keep the objectives are a closed form, and
further copies only cost: so every pair of replicas at every B is searched, each with one number of copies.

Concurrent users are all counted in the decode pool, and the rate is the highest that they could have: without a queue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from genz.explore.planning import prefill_pool
from genz.explore.planning.asked import Asked
from genz.explore.planning.constraints import DEVICES, E2E, POWER, RENT, TPOT, TTFT
from genz.explore.planning.points import Points, complete, settle, spending
from genz.explore.planning.prefill_pool import Queue
from genz.explore.planning.replica import Array, Replica
from genz.inference.disaggregated import exposed_transfer, transfer_time
from genz.inference.prices import SECONDS_PER_HOUR

LINK = "scale_out"


def can_send(replica: Replica) -> bool:
    """Whether its chip has the link that caches are sent over."""
    return LINK in replica.question.platform.chip.links


def can_pair(prefill: Replica, decode: Replica) -> bool:
    """Whether one may prefill for the other: caches of the same type, weights of the same precision, one engine."""
    ours, theirs = prefill.question, decode.question
    alike = (ours.widths.name, ours.widths.kv_cache, ours.engine.name) == (
        theirs.widths.name,
        theirs.widths.kv_cache,
        theirs.engine.name,
    )
    return alike and can_send(prefill) and can_send(decode)


@dataclass(frozen=True, eq=False)
class Pools:
    """A decode replica, and all replicas that may prefill for it: figures have a row for each of these."""

    prefills: tuple[Replica, ...]
    decode: Replica

    @cached_property
    def queue(self) -> Queue:
        """The replicas that prefill, in a column."""
        return Queue.column(self.prefills)

    @cached_property
    def exposed(self) -> Array:
        """Seconds of the transfer of a cache for which the first decode step waits, a column [s]."""
        return np.array([[self._exposed(prefill)] for prefill in self.prefills])

    def _exposed(self, prefill: Replica) -> float:
        transfer = transfer_time(prefill.question, self.decode.question, LINK)
        return float(exposed_transfer(prefill.question, transfer, prefill.prompts.first))

    @cached_property
    def decoding(self) -> Array:
        """Seconds that a request decodes, at each batch."""
        return self.decode.steps * self.decode.curve.step_time


def pools_of(replicas: Sequence[Replica], decode: Replica) -> Pools:
    """All of the replicas that may prefill for a decode replica."""
    return Pools(tuple(prefill for prefill in replicas if can_pair(prefill, decode)), decode)


def points(asked: Asked, pools: Pools, *, settled: bool = True, most: bool = False) -> Points:
    """Points of both pools: a row for each prefill replica, a column for each batch of the decode pool.

    With `settled`, only batches at which loads settle, as of aggregated replicas. With `most` the prefill pool has the most
    copies within the budgets, whatever the objectives of TTFT and E2E are: how far these would have to be relaxed.
    """
    queue, decode, decoding = pools.queue, pools.decode, pools.decoding
    decode_copies, rate = _decode_load(asked, pools)
    tpot = (decoding + pools.exposed) / decode.steps
    decode_power = decode_copies * decode.idle_power + rate * decode.curve.decode_energy
    usd_for_output = spending(decode, decode_copies, decode_power)
    if most:
        power = rate * queue.energy
        usd = usd_for_output + queue.energy_price * power
        devices = decode_copies * decode.devices
        used = {DEVICES.figure: devices, RENT.figure: usd * SECONDS_PER_HOUR, POWER.figure: decode_power + power}
        copies = prefill_pool.most_copies(asked, queue, rate, used)
    else:
        copies = prefill_pool.fewest_copies(queue, rate, _prefill_budget(asked, pools.exposed + decoding))
    ttft = prefill_pool.first_token_time(queue, rate, copies)
    prefill_power = copies * queue.idle_power + rate * queue.energy
    found = complete(
        decode.question.workload,
        rate=rate,
        ttft=ttft,
        tpot=tpot,
        e2e=ttft + pools.exposed + decoding,
        devices=copies * queue.devices + decode_copies * decode.devices,
        power=prefill_power + decode_power,
        usd_for_input=spending(queue, copies, prefill_power),
        usd_for_output=usd_for_output,
        capacity_per_device=tokens_per_device(asked, pools),
        prefill_replicas=copies,
        replicas=decode_copies,
        batch=decode.curve.batch,
    )
    return settle(found, asked.constraints) if settled else found


def _decode_load(asked: Asked, pools: Pools) -> tuple[Array, Array]:
    """Copies of the decode pool at each batch, and requests per second of all."""
    decode = pools.decode
    if asked.load.concurrent_users is not None:
        users = float(asked.load.concurrent_users)
        copies = np.ceil(users / (decode.data * decode.curve.batch))
        return copies, users / (pools.queue.first + pools.exposed + pools.decoding)
    rate = np.full_like(decode.curve.batch, asked.load.requests_per_second)
    return np.ceil(rate / (decode.data * decode.curve.batch / pools.decoding)), rate


def _prefill_budget(asked: Asked, afterwards: Array) -> Array:
    """Seconds that are left for the first token, where so many seconds pass after it."""
    whole = asked.constraints.get(E2E.figure, math.inf) - afterwards
    return np.minimum(asked.constraints.get(TTFT.figure, math.inf), whole)


def _supply(asked: Asked, pools: Pools) -> tuple[Array, Array]:
    """Requests per second within the objectives, of one prefill and of one decode replica, at each batch of the latter."""
    decode, afterwards = pools.decode, pools.exposed + pools.decoding
    met = afterwards / decode.steps <= asked.constraints.get(TPOT.figure, math.inf)
    prefilled = pools.queue.data * prefill_pool.largest_rate(pools.queue, _prefill_budget(asked, afterwards))
    return prefilled * met, decode.data * decode.curve.batch / pools.decoding * met


def tokens_per_device(asked: Asked, pools: Pools) -> Array:
    """Output tokens per second and device at capacity, with pools in proportion: a column."""
    prefilled, decoded = _supply(asked, pools)
    with np.errstate(divide="ignore"):
        devices = pools.queue.devices / prefilled + pools.decode.devices / decoded
    return np.asarray(np.max((pools.decode.steps + 1) / devices, axis=1, keepdims=True))


def capacity(asked: Asked, pools: Pools, prefill_copies: float, decode_copies: float) -> tuple[float, int]:
    """Of one pair: the most requests per second of so many copies within the objectives, and the decode pool's batch there."""
    prefilled, decoded = _supply(asked, pools)
    rates = np.minimum(prefill_copies * prefilled, decode_copies * decoded)[0]
    best = int(np.argmax(rates))
    return float(rates[best]), best + 1
