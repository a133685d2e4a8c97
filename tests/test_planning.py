"""`genz.plan` against brute force: plain loops over every layout, precision and batch, one scalar evaluation each."""

import itertools
import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

import genz
from genz.specs import catalog

CHIP = "h100-sxm"
MOST = 6  # sequences that an engine runs at once
PRICE = 2.99 / 3600
IDLE = 100.0


@cache
def evaluated(model: str, devices: int, degrees: tuple[int, ...], precision: str, batch: int, lengths: tuple[int, int]) -> Any:
    """One scalar evaluation."""
    question = settled(model, devices, degrees, precision, batch, lengths)
    return genz.evaluate(question)


def settled(model: str, devices: int, degrees: tuple[int, ...], precision: str, batch: int, lengths: tuple[int, int]) -> Any:
    tp, pp, dp, ep = degrees
    return genz.settle_question(
        model,
        f"{devices}x {CHIP}",
        input=lengths[0],
        output=lengths[1],
        batch=batch * dp,
        tp=tp,
        pp=pp,
        dp=dp,
        ep=ep,
        precision=precision,
    )


class Scalar:
    """A replica, from scalar evaluations."""

    def __init__(self, model: str, devices: int, degrees: tuple[int, ...], precision: str, lengths: tuple[int, int]) -> None:
        self.key = (model, devices, degrees, precision)
        self.lengths, self.devices, self.steps = lengths, devices, lengths[1] - 1
        self.tp, self.pp, self.data, self.ep = degrees
        self.fits = [b for b in range(1, MOST + 1) if self.at(b).memory.fits]
        self.first = self.at(1).ttft
        self.following = self.first if self.pp == 1 else self.at(2).ttft - self.first

    def at(self, batch: int) -> Any:
        return evaluated(*self.key, batch, self.lengths)

    def question(self, batch: int) -> Any:
        return settled(*self.key, batch, self.lengths)

    def step(self, batch: int) -> float:
        return float(self.at(batch).decode.time) / self.steps

    def energy(self, batch: int) -> float:
        """Joules of one request beyond idle: (energy of the batch - idle) / requests."""
        outcome = self.at(batch)
        prefill, decode = self.at(1).prefill.dynamic_energy, outcome.decode.dynamic_energy / batch
        return float(self.tp * (prefill + decode))


def replicas(model: str, precision: str, largest: int, lengths: tuple[int, int]) -> list[Scalar]:
    found = []
    for devices in range(1, largest + 1):
        for laid in genz.layouts(catalog.model(model), devices):
            if laid.replicas == 1:
                degrees = (laid.tensor, laid.pipeline, laid.data, laid.expert)
                found.append(Scalar(model, devices, degrees, precision, lengths))
    return [replica for replica in found if replica.fits]


def aggregated(replica: Scalar, rate: float, slo: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Of each batch within the objectives, the copies that carry the load; a load settles at the smallest for its copies."""
    before = math.inf
    for batch in replica.fits:
        stay = replica.first + (batch - 1) * replica.following + replica.steps * replica.step(batch)
        per_rank = batch / stay
        busy = per_rank * replica.following
        residual = (per_rank * replica.following**2 + (1 - busy) * replica.step(batch)) / 2
        ttft = replica.first + residual / (1 - busy)
        tpot = replica.step(batch) + (batch - 1) * replica.following / replica.steps
        if ttft > slo.get("ttft", math.inf) or tpot > slo.get("tpot", math.inf):
            continue
        if ttft + replica.steps * tpot > slo.get("e2e", math.inf):
            continue
        copies = 1
        while copies * replica.data * per_rank < rate:
            copies += 1
        if copies < before:
            before = copies
            devices = copies * replica.devices
            power = devices * IDLE + rate * replica.energy(batch)
            yield {"devices": devices, "power_w": power, "ttft_s": ttft, "tpot_s": tpot, "who": (replica.key, batch, copies)}


def apart(prefill: Scalar, decode: Scalar, rate: float, slo: dict[str, float]) -> Iterator[dict[str, Any]]:
    exposed = genz.disaggregate(prefill.question(1), decode.question(1)).exposed_transfer
    before = math.inf
    for batch in decode.fits:
        decoding = decode.steps * decode.step(batch)
        tpot = (decoding + exposed) / decode.steps
        if tpot > slo.get("tpot", math.inf):
            continue
        copies, servers = 1, 1
        while copies * decode.data * batch / decoding < rate:
            copies += 1
        ttft = math.inf
        while servers < 100 * (int(rate * prefill.following / prefill.data) + 1):
            share = rate / (servers * prefill.data)
            busy = share * prefill.following
            ttft = prefill.first + share * prefill.following**2 / (2 * (1 - busy)) if busy < 1 else math.inf
            if ttft <= min(slo.get("ttft", math.inf), slo.get("e2e", math.inf) - exposed - decoding):
                break
            servers += 1
        else:
            continue
        if copies < before and math.isfinite(ttft):
            before = copies
            devices = copies * decode.devices + servers * prefill.devices
            dynamic = prefill.tp * prefill.at(1).prefill.dynamic_energy
            dynamic += decode.tp * decode.at(batch).decode.dynamic_energy / batch
            yield {
                "devices": devices,
                "power_w": devices * IDLE + rate * dynamic,
                "ttft_s": ttft,
                "tpot_s": tpot,
                "who": (prefill.key, servers, decode.key, batch, copies),
            }


def brute_force(
    model: str, precisions: tuple[str, ...], largest: int, lengths: tuple[int, int], rate: float, slo: dict[str, float]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for precision in precisions:
        space = replicas(model, precision, largest, lengths)
        for replica in space:
            found += aggregated(replica, rate, slo)
        for prefill, decode in itertools.product(space, space):
            found += apart(prefill, decode, rate, slo)
    return found


SPACES = {
    "dense": ("llama-3.2-1b", ("auto", "fp8"), 4, (1000, 101), 40.0, {"ttft": 0.05, "tpot": 0.004}),
    "experts": ("qwen1.5-moe-a2.7b", ("auto",), 4, (2000, 61), 15.0, {"ttft": 0.2, "tpot": 0.012, "e2e": 0.7}),
    "latent": ("deepseek-v2-lite", ("auto", "fp8"), 2, (1500, 41), 25.0, {"tpot": 0.02}),
}


@pytest.mark.parametrize("name", SPACES)
def test_the_best_is_that_of_brute_force(name: str) -> None:
    model, precisions, largest, lengths, rate, slo = SPACES[name]
    every = brute_force(model, precisions, largest, lengths, rate, slo)
    best = min(every, key=lambda row: row["devices"])
    frugal = min(every, key=lambda row: row["power_w"])
    for objective, row in (("usd_per_million_tokens", best), ("devices", best), ("energy", frugal)):
        plan = genz.plan(
            model,
            input=lengths[0],
            output=lengths[1],
            slo=slo,
            requests_per_second=rate,
            platforms=CHIP,
            max_devices_per_replica=largest,
            max_num_seqs=MOST,
            precisions=precisions,
            objective=objective,
        )
        figures = plan.best.figures
        if objective == "energy":
            assert figures["power_w"] == pytest.approx(row["power_w"], rel=1e-9)
            assert figures["energy_j_per_output_token"] == pytest.approx(row["power_w"] / (rate * lengths[1]), rel=1e-9)
        else:
            assert plan.best.devices == row["devices"]
            usd = row["devices"] * PRICE / (rate * sum(lengths)) * 1e6
            assert figures["usd_per_million_tokens"] == pytest.approx(usd, rel=1e-9)
        alike = [row for row in every if row["devices"] == plan.best.devices]
        ours = (figures["ttft_s"], figures["tpot_s"], figures["power_w"])
        assert any(ours == pytest.approx((r["ttft_s"], r["tpot_s"], r["power_w"]), rel=1e-9) for r in alike)


def test_every_option_fits_and_meets_everything() -> None:
    model, precisions, largest, lengths, rate, slo = SPACES["experts"]
    plan = genz.plan(
        model,
        input=lengths[0],
        output=lengths[1],
        slo=slo,
        requests_per_second=rate,
        platforms=[CHIP, "l40s"],
        max_devices_per_replica=largest,
        precisions=precisions,
        max_devices=40,
    )
    assert len({option.platform for option in plan.options}) == 2
    for option in plan.options:
        assert option.devices <= 40
        assert option.figures["ttft_s"] <= slo["ttft"]
        assert option.figures["tpot_s"] <= slo["tpot"]
        assert option.figures["e2e_s"] <= slo["e2e"]
        assert option.capacity_requests_per_s >= rate * (1 - 1e-12)
        assert all(0 <= share <= 1 for share in option.headroom.values())
        for part in option.parts:
            assert part.memory.fits
            assert genz.evaluate(part.question).memory.fits
            assert part.replica.at(part.capacity_batch).requests_per_rank == part.capacity_batch
            assert genz.evaluate(part.replica.at(part.capacity_batch)).memory.fits
            assert 0 <= part.memory_left <= part.memory.budget_bytes


def test_ranks_follow_the_objective() -> None:
    asked: dict[str, Any] = {"input": 500, "output": 50, "requests_per_second": 200, "platforms": [CHIP, "l4"]}
    asked |= {"max_devices_per_replica": 2, "max_num_seqs": 64, "fidelity": "roofline"}
    figures = {
        "usd_per_million_tokens": "usd_per_million_tokens",
        "devices": "devices",
        "energy": "energy_j_per_output_token",
    }
    for objective, figure in figures.items():
        frame = genz.plan("llama-3.2-1b", objective=objective, **asked).to_frame()
        assert frame[figure].round(12).is_monotonic_increasing
        assert frame["rank"].tolist() == list(range(1, len(frame) + 1))
    frame = genz.plan("llama-3.2-1b", objective="throughput_per_device", **asked).to_frame()
    assert frame.capacity_output_tokens_per_s_per_device.round(6).is_monotonic_decreasing


def test_cost_is_divided_by_the_time_of_prefill_and_decode() -> None:
    """One device, so that everything can be worked by hand from two predictions."""
    asked: dict[str, Any] = {"input": 800, "output": 101, "max_num_seqs": 8}
    plan = genz.plan(
        "llama-3.2-1b", requests_per_second=1, platforms="1x h100-sxm", disaggregated=False, price="3.6 USD/h", **asked
    )
    (option,) = plan.options
    batch = option.parts[0].batch
    outcome = genz.predict("llama-3.2-1b", CHIP, input=800, output=101, batch=batch)
    first = genz.predict("llama-3.2-1b", CHIP, input=800, output=101).ttft
    prefill, decode = batch * first, 100 * outcome.tpot
    assert option.figures["usd_per_hour"] == pytest.approx(3.6)
    assert option.figures["usd_per_million_tokens_in"] == pytest.approx(1e-3 * prefill / (prefill + decode) / 800 * 1e6)
    assert option.figures["usd_per_million_tokens_out"] == pytest.approx(1e-3 * decode / (prefill + decode) / 101 * 1e6)
    assert option.figures["usd_per_million_tokens"] == pytest.approx(1e-3 / 901 * 1e6)
    assert option.figures["output_tokens_per_s"] == pytest.approx(101)


def test_electricity_is_paid_on_top_of_the_rent() -> None:
    asked: dict[str, Any] = {"input": 800, "output": 101, "requests_per_second": 5, "platforms": "1x h100-sxm"}
    plan = genz.plan("llama-3.2-1b", price=0, energy_price="0.10 USD/kWh", **asked)
    figures = plan.best.figures
    assert figures["usd_per_hour"] == pytest.approx(figures["power_w"] / 1000 * 0.10)


def test_chips_of_one_or_both_kinds_in_pools_apart() -> None:
    asked: dict[str, Any] = {"input": 3000, "output": 60, "requests_per_second": 30, "max_devices_per_replica": 1}
    asked |= {"platforms": [CHIP, "mi300x"], "fidelity": "roofline", "price": 1, "slo": {"ttft": "250 ms", "tpot": "20 ms"}}
    alone, mixed = (genz.plan("llama-3.1-8b", mixed_pools=both, **asked) for both in (False, True))
    assert {option.platform for option in alone.options} <= {CHIP, "mi300x"}
    assert any("+" in option.platform for option in mixed.options)
    assert mixed.best.figures["usd_per_million_tokens"] <= alone.best.figures["usd_per_million_tokens"]
