"""Deployments of a space: copies of one replica, or of a decode replica with every replica that may prefill for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from genz.explore.planning import aggregated, pools
from genz.explore.planning.asked import Asked
from genz.explore.planning.option import COUNTS, Option, Part
from genz.explore.planning.points import Points
from genz.explore.planning.pools import Pools
from genz.explore.planning.replica import Replica
from genz.explore.planning.space import Space

Deployment = Replica | Pools


def deployments(asked: Asked, space: Space) -> Iterator[Deployment]:
    """Every replica by itself; and, where something is decoded, each as the decode pool of all pairs."""
    everything = [replica for family in space.families for replica in family.replicas]
    for family in space.families:
        yield from family.replicas
        if asked.disaggregated:
            partners = everything if asked.mixed_pools else family.replicas
            for replica in family.replicas:
                paired = pools.pools_of(partners, replica)
                if replica.steps and paired.prefills:
                    yield paired


def points_of(asked: Asked, deployment: Deployment) -> Points:
    """Points at which loads settle within the objectives."""
    if isinstance(deployment, Replica):
        return aggregated.points(asked, deployment)
    return pools.points(asked, deployment)


def all_points_of(asked: Asked, deployment: Deployment) -> Iterator[Points]:
    """Points at every batch, within the objectives or not; of pools also those with the most copies that prefill."""
    if isinstance(deployment, Replica):
        yield aggregated.points(asked, deployment, settled=False)
        return
    yield pools.points(asked, deployment, settled=False)
    yield pools.points(asked, deployment, settled=False, most=True)


def option_at(asked: Asked, deployment: Deployment, points: Points, index: int) -> Option:
    """The option at one element of the points, counted through all axes."""
    figures = {name: float(values.flat[index]) for name, values in points.items()}
    copies, batch = int(figures["replicas"]), int(figures["batch"])
    shown = {name: value for name, value in figures.items() if name not in COUNTS}
    if isinstance(deployment, Replica):
        most = 1 if aggregated.is_queue_alone(asked, deployment) else aggregated.capacity_batch(asked, deployment)
        rate = copies * aggregated.capacity(asked, deployment)
        parts: tuple[Part, ...] = (Part("serve", deployment, copies, batch, max(most, batch)),)
        return Option(parts, shown, rate, dict(asked.constraints))
    row = int(np.unravel_index(index, points["ttft_s"].shape)[0])
    pair = Pools((deployment.prefills[row],), deployment.decode)
    prefill_copies = int(figures["prefill_replicas"])
    rate, most = pools.capacity(asked, pair, prefill_copies, copies)
    stages = pair.prefills[0].question.parallelism.pipeline
    parts = (
        Part("prefill", pair.prefills[0], prefill_copies, 1, min(stages, pair.prefills[0].largest_batch)),
        Part("decode", deployment.decode, copies, batch, max(most, batch)),
    )
    return Option(parts, shown, rate, dict(asked.constraints))
