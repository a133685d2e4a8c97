"""One run of the design on this machine: what is done is kept, what is left is measured, until the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from genz.calibration.machine.collectives import backend_of, exchanges, measure_exchanges
from genz.calibration.machine.designs import CPU_GRID, GPU_GRID, TRANSFERS, TYPES, Case, design
from genz.calibration.machine.detect import Machine
from genz.calibration.machine.kernels import KERNELS, Maker, Prepared
from genz.calibration.machine.load import preemptions
from genz.calibration.machine.store import Store
from genz.calibration.machine.timer import DeviceClock, HostClock, Timer, Timing
from genz.calibration.machine.vendors import PowerMeter, PowerReading

# The name of the engine in the catalog whose kernels these are.
FRAMEWORK = "pytorch"
# No single run of a case may take a larger share of the budget, and all repeats of one no larger share than this.
SHARE_OF_RUN, SHARE_OF_CASE = 1 / 2000, 1 / 1000
# A case whose tensors would take more than this share of the memory is left out.
SHARE_OF_MEMORY = 0.1
# A buffer so many times the outermost cache leaves nothing else in it.
FLUSHED_CACHES = 2
# Where the size of the outermost cache is not known: larger than any cache today [B].
LARGEST_CACHE = 2**29
# GEMMs of a probe of the machine's rate: rows and columns; large enough to reach it, small enough for any device.
PROBE = 512
# Types that run slower than this, relative to the fastest, are emulated: nobody uses them.
SLOW_TYPE = 0.5
# A counter of energy moves every tenth of a second or so: power needs a stretch of work this long [s].
POWERED_SECONDS = 0.6
# Power is measured for work of at least this long a run: shorter ones leave the device idle between launches [s].
POWERED_RUN = 1e-3
COLLECTIVES_SHARE = 0.08


@dataclass
class Session:
    """Runs cases on a device of PyTorch and keeps what it finds in a store.

    `report(done, total, text)` hears of each step; `now` [s] is the clock that the budget runs on.
    """

    torch: Any
    machine: Machine
    store: Store
    meter: PowerMeter
    budget: float
    report: Callable[[int, int, str], None] = lambda *_: None
    now: Callable[[], float] = time.perf_counter

    def run(self, cases: Iterable[Case] | None = None) -> int:
        """Measure what is not yet in the store, of the given cases or of the whole design.

        What was disturbed is measured once more where time is left. Returns how many cases the time did not suffice for.
        """
        end = self.now() + self.budget
        self.torch.manual_seed(0)
        if self.machine.device == "cpu":
            self.torch.set_num_threads(self.machine.threads)
        wanted = list(cases) if cases is not None else self._design()
        missing = [case for case in wanted if case.name not in self.store.done]
        # The exchanges come last, in time of their own.
        reserve = COLLECTIVES_SHARE * self.budget if cases is None else 0.0
        skipped = self._measure_all(missing, len(wanted), end - reserve)
        if not skipped:
            self._measure_all([case for case in wanted if self.store.is_disturbed(case.name)], len(wanted), end - reserve)
        if cases is None:
            self._measure_collectives(end)
        return skipped

    def _measure_all(self, left: list[Case], total: int, end: float) -> int:
        flush = self._flush()
        with self.torch.inference_mode():
            for index, case in enumerate(left):
                if self.now() >= end:
                    return len(left) - index
                self.report(total - len(left) + index, total, case.name)
                self.store.add(case.name, self._measure(case, flush))
        self.report(total, total, "")
        return 0

    def _measure(self, case: Case, flush: Callable[[], object]) -> dict[str, Any]:
        """The record of one case: its row, or why it has none."""
        try:
            prepared = KERNELS[case.op](self._maker(case.dtype), case.shape)
            twin = KERNELS[case.op](self._maker(case.dtype), case.shape) if case.is_cold else prepared
            timing = self._timer(case).measure(prepared.call, lambda: self._settle(case, prepared, twin, flush))
            power = self._power(prepared, timing)
        except (RuntimeError, NotImplementedError, TypeError) as error:  # a type or a size that this device refuses
            return {"kind": "ops", "failed": (str(error).splitlines() or [type(error).__name__])[0][:200]}
        kind = "collectives" if case.op in TRANSFERS else "ops"
        return {"kind": kind, "row": self._row(case, timing, power)}

    def _settle(self, case: Case, prepared: Prepared, twin: Prepared, flush: Callable[[], object]) -> None:
        """Leave the caches as the operator finds them in a model: its code and its inputs inside, its weights outside.

        The flush drives out the kernel's code too, which a model's other layers keep: a call on other tensors, of the
        operator's `twin`, brings it back.
        """
        if case.is_cold:
            flush()
            twin.call()
            if self.machine.device == "cpu":
                for tensor in prepared.warm:
                    tensor.sum()

    def _row(self, case: Case, timing: Timing, power: PowerReading) -> dict[str, Any]:
        clock = "" if power.clock_hertz is None else f"; clock {power.clock_hertz / 1e6:.0f} MHz"
        notes = f"{timing.describe()}{'; cold' if case.is_cold else ''}{clock}"
        row: dict[str, Any] = {
            "framework": FRAMEWORK,
            "framework_version": self.machine.torch_version,
            "dtype": case.dtype,
            **case.shape,
            "measured_s": timing.seconds,
            "notes": notes,
            "quality": timing.quality,
        }
        if case.op in TRANSFERS:
            return row | {"collective": case.op, "backend": "copy", "n_devices": 1}
        drawn = {"power_w": power.watts, "power_limit_w": power.limit_watts}
        extra = {"distribution": "balanced"} if case.op == "moe" else {}
        return row | {"op": case.op} | extra | {key: value for key, value in drawn.items() if value is not None}

    def _power(self, prepared: Prepared, timing: Timing) -> PowerReading:
        """What the device draws over a stretch of runs, one after another, where a meter can see it."""
        if not self.meter.is_active or timing.seconds < POWERED_RUN:
            return PowerReading()
        self.meter.begin()
        start = self.now()
        while self.now() - start < POWERED_SECONDS:
            prepared.call()
            self._synchronize()
        return self.meter.end()

    def _synchronize(self) -> None:
        if self.machine.device != "cpu":
            getattr(self.torch, self.machine.device).synchronize()

    def _timer(self, case: Case) -> Timer:
        # A launch is what the host pays, and so is a module: the device's events do not see it.
        is_host = self.machine.device == "cpu" or case.op == "module_call"
        clock = HostClock() if is_host else DeviceClock(getattr(self.torch, self.machine.device))
        return Timer(clock, self.budget * SHARE_OF_CASE, self.now, preemptions)

    def _maker(self, dtype: str) -> Maker:
        return Maker(self.torch, self.machine.device, getattr(self.torch, TYPES[dtype]))

    def _flush(self) -> Callable[[], object]:
        """A pass over more memory than the caches hold: read on a processor, so that nothing must be written back after."""
        machine = self.machine
        known = machine.cpu.last_level_bytes if machine.gpu is None else machine.gpu.cache
        buffer = self.torch.zeros(FLUSHED_CACHES * (known or LARGEST_CACHE) // 4, device=machine.device)
        flush: Callable[[], object] = buffer.sum if machine.gpu is None else buffer.zero_
        return flush

    def _design(self) -> list[Case]:
        """The cases that this device can run within the budget, in the types that it is fast at."""
        rates = self._probe()
        fast = tuple(name for name, rate in rates.items() if rate >= SLOW_TYPE * rates["fp32"])
        memory = self.machine.gpu.memory if self.machine.gpu else self.machine.cpu.memory or 2**32
        grid = CPU_GRID if self.machine.device == "cpu" else GPU_GRID
        return design(
            grid,
            fast,
            is_host=self.machine.device == "cpu",
            most_flops=self.budget * SHARE_OF_RUN * max(rates.values()),
            most_bytes=SHARE_OF_MEMORY * memory,
        )

    def _probe(self) -> dict[str, float]:
        """{type: FLOP/s} of one GEMM in each type that the device takes."""
        shape = {"m": PROBE, "n": PROBE, "k": PROBE}
        timer = Timer(HostClock(), 0.0, self.now)
        rates = {}
        for name in TYPES:
            if name == "fp16" and self.machine.device == "cpu":
                continue  # models run in bfloat16 there, or in float32
            try:
                call = KERNELS["gemm"](self._maker(name), shape).call
                seconds = timer.measure(self._finished(call)).seconds
            except (RuntimeError, NotImplementedError, TypeError):
                continue
            rates[name] = 2.0 * PROBE**3 / seconds
        return rates

    def _finished(self, call: Callable[[], object]) -> Callable[[], object]:
        """The call, and the wait until the device has done it."""

        def run() -> None:
            call()
            self._synchronize()

        return run

    def _measure_collectives(self, end: float) -> None:
        """All exchanges at once, as the processes take seconds to start."""
        found = backend_of(self.torch, self.machine.device)
        left = [exchange for exchange in exchanges() if exchange.name not in self.store.done]
        if found is None or not left or self.now() >= end:
            return
        backend, ranks = found
        self.report(0, len(left), f"collectives: {backend}, {ranks} processes")
        results = measure_exchanges(left, backend, ranks, seconds=COLLECTIVES_SHARE * self.budget / len(left) / 2)
        for exchange in left:
            timing = results[exchange.name]
            if isinstance(timing, str):
                self.store.add(exchange.name, {"kind": "collectives", "failed": timing})
                continue
            row = {
                "framework": FRAMEWORK,
                "framework_version": self.machine.torch_version,
                "collective": exchange.collective,
                "backend": backend,
                "dtype": "fp32",
                "n_devices": ranks,
                "n_nodes": 1,
                "message_bytes": exchange.message_bytes,
                "measured_s": timing.seconds,
                "notes": timing.describe(),
                "quality": timing.quality,
            }
            self.store.add(exchange.name, {"kind": "collectives", "row": row})
