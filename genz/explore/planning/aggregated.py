"""Points of replicas that prefill and decode on the same devices.

Requests per second: replicas share the load, and a rank runs as few requests at once as carry its share. Concurrent users:
they are spread evenly over all ranks, and the rate follows from how long they stay.
"""

from __future__ import annotations

import math

import numpy as np

from genz.explore.planning.asked import Asked
from genz.explore.planning.constraints import E2E, TPOT, TTFT
from genz.explore.planning.points import Points, complete, settle, spending
from genz.explore.planning.prefill_pool import Queue, copies_to_try, largest_rate
from genz.explore.planning.replica import Array, Replica
from genz.explore.planning.steady_state import prompt_wait


def is_queue_alone(asked: Asked, replica: Replica) -> bool:
    """Whether prompts arrive by themselves and nothing is decoded: then a rank is a queue, without a number of requests."""
    return replica.steps == 0 and asked.load.requests_per_second is not None


def times(replica: Replica) -> tuple[Array, Array, Array]:
    """TTFT, TPOT and E2E at each batch [s]; without decode each request waits for all others of its rank."""
    curve, prompts, stay = replica.curve, replica.prompts, replica.residence
    if replica.steps == 0:
        return stay, np.full_like(stay, np.nan), stay
    wait = prompt_wait(curve.batch / stay, prompts.following, curve.step_time)
    return prompts.first + wait, replica.token_time, stay + wait


def points(asked: Asked, replica: Replica, *, settled: bool = True) -> Points:
    """Points of copies of one replica: the fewest that carry the load with each batch.

    With `settled`, only batches at which loads settle, see `genz.explore.planning.points.settle`. Without, all of them, so that
    it shows how far a constraint would have to be relaxed.
    """
    if is_queue_alone(asked, replica):
        return _queue_points(asked, replica)
    batch, stay, prompts = replica.curve.batch, replica.residence, replica.prompts
    ttft, tpot, e2e = times(replica)
    if asked.load.concurrent_users is not None:
        users = float(asked.load.concurrent_users)
        copies, rate = np.ceil(users / (replica.data * batch)), users / stay
    else:
        rate = np.full_like(batch, asked.load.requests_per_second)
        copies = np.ceil(rate / (replica.data * batch / stay))
    power = copies * replica.idle_power + rate * (prompts.energy + replica.curve.decode_energy)
    usd = spending(replica, copies, power)
    for_input = (prompts.first + (batch - 1) * prompts.following) / stay
    found = complete(
        replica.question.workload,
        rate=rate,
        ttft=ttft,
        tpot=tpot,
        e2e=e2e,
        devices=copies * replica.devices,
        power=power,
        usd_for_input=usd * for_input,
        usd_for_output=usd * (1 - for_input),
        capacity_per_device=tokens_per_device(asked, replica),
        replicas=copies,
        batch=batch,
    )
    return settle(found, asked.constraints) if settled else found


def _queue_points(asked: Asked, replica: Replica) -> Points:
    rate = np.float64(asked.load.requests_per_second or 0.0)
    copies, ttft = copies_to_try(asked, Queue.of(replica), rate, latency_budget(asked))
    power = copies * replica.idle_power + rate * replica.prompts.energy
    usd = spending(replica, copies, power)
    return complete(
        replica.question.workload,
        rate=np.broadcast_to(rate, copies.shape),
        ttft=ttft,
        tpot=np.full_like(ttft, np.nan),
        e2e=ttft,
        devices=copies * replica.devices,
        power=power,
        usd_for_input=usd,
        usd_for_output=np.zeros_like(usd),
        capacity_per_device=tokens_per_device(asked, replica),
        replicas=copies,
        batch=np.ones_like(copies),
    )


def capacity_batch(asked: Asked, replica: Replica) -> int:
    """The batch of the highest rate within the objectives of latency; 0 where none is."""
    ttft, tpot, e2e = times(replica)
    rates = np.where(_within(asked, ttft, tpot, e2e), replica.curve.batch / replica.residence, 0.0)
    best = int(np.argmax(rates))
    return best + 1 if rates[best] > 0 else 0


def _within(asked: Asked, ttft: Array, tpot: Array, e2e: Array) -> Array:
    met = np.ones(ttft.shape, dtype=bool)
    for constraint, values in ((TTFT, ttft), (TPOT, tpot), (E2E, e2e)):
        met &= ~(values > asked.constraints.get(constraint.figure, math.inf))
    return met


def capacity(asked: Asked, replica: Replica) -> float:
    """The most requests per second of one replica within the objectives; 0 where it meets none of them at any load."""
    if is_queue_alone(asked, replica):
        return float(replica.data * largest_rate(Queue.of(replica), latency_budget(asked)))
    batch = capacity_batch(asked, replica)
    return float(replica.data * batch / replica.residence[batch - 1]) if batch else 0.0


def latency_budget(asked: Asked) -> float:
    """What bounds the time of a request that is prefilled alone [s]."""
    return min(asked.constraints.get(TTFT.figure, math.inf), asked.constraints.get(E2E.figure, math.inf))


def tokens_per_device(asked: Asked, replica: Replica) -> float:
    """Output tokens per second and device at capacity."""
    return capacity(asked, replica) * (replica.steps + 1) / replica.devices
