"""Collectives between processes on this machine: gloo between two on the processor, NCCL (RCCL) between GPUs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from genz.calibration.machine.backend import load_torch
from genz.calibration.machine.timer import HostClock, Timer, Timing

# Bytes of the whole message, as nccl-tests counts them: of all ranks together in an all-gather and a reduce-scatter.
MESSAGES = (1_024, 16_384, 262_144, 2**22, 2**24)
# No rank waits for ever for one that died [s].
TIMEOUT = 120
# Processes of the host that talk to each other.
HOST_RANKS = 2


@dataclass(frozen=True)
class Exchange:
    """One collective between all ranks."""

    collective: str
    message_bytes: int

    @property
    def name(self) -> str:
        return f"{self.collective} message_bytes={self.message_bytes}"


@dataclass(frozen=True)
class Group:
    """Processes that talk to each other; `folder` is where they meet, `seconds` bounds the repeats of one exchange."""

    backend: str
    ranks: int
    folder: str
    seconds: float


def exchanges() -> list[Exchange]:
    """The collectives to measure, every kind at its smallest message first."""
    kinds = ("all_reduce", "all_gather", "reduce_scatter", "alltoall")
    return [Exchange(kind, size) for size in MESSAGES for kind in kinds]


def backend_of(torch: Any, device: str) -> tuple[str, int] | None:
    """The library and the number of ranks, none where there is nobody to talk to."""
    if not torch.distributed.is_available():
        return None
    if device == "cuda" and torch.cuda.device_count() > 1:
        return "nccl", torch.cuda.device_count()
    return ("gloo", HOST_RANKS) if device == "cpu" and torch.distributed.is_gloo_available() else None


def measure_exchanges(wanted: list[Exchange], backend: str, ranks: int, *, seconds: float) -> dict[str, Timing | str]:
    """{name: timing, or why there is none} of each exchange, over `ranks` processes that start and end here.

    `seconds` bounds the time that each is repeated.
    """
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        group = Group(backend, ranks, folder, seconds)
        processes = [context.Process(target=_rank, args=(rank, group, wanted), daemon=True) for rank in range(ranks)]
        for process in processes:
            process.start()
        try:
            for process in processes:
                process.join(TIMEOUT)
        finally:
            for process in processes:
                if process.is_alive():
                    process.terminate()
        return _read(Path(folder) / "results.jsonl", wanted)


def _read(results: Path, wanted: list[Exchange]) -> dict[str, Timing | str]:
    """What the first rank wrote; ranks that died before left nothing."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    found: dict[str, Timing | str] = {}
    for line in lines:
        name, timing = json.loads(line)
        found[name] = Timing(**timing) if isinstance(timing, dict) else timing
    return {exchange.name: found.get(exchange.name, "a process ended before it") for exchange in wanted}


def _rank(rank: int, group: Group, wanted: list[Exchange]) -> None:
    """One process: all of them go through the same exchanges, the first writes down how long each took."""
    torch = load_torch()
    distributed = torch.distributed
    device = f"cuda:{rank}" if group.backend == "nccl" else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    else:
        torch.cuda.set_device(rank)
    rendezvous = f"file://{Path(group.folder, 'rendezvous').as_posix()}"
    distributed.init_process_group(group.backend, init_method=rendezvous, rank=rank, world_size=group.ranks)
    try:
        for exchange in wanted:
            timing = _timed(torch, exchange, group, device)
            if rank == 0:
                entry = timing if isinstance(timing, str) else asdict(timing)
                with Path(group.folder, "results.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps([exchange.name, entry]) + "\n")
    finally:
        distributed.destroy_process_group()


def _timed(torch: Any, exchange: Exchange, group: Group, device: str) -> Timing | str:
    """Every rank must repeat equally often: the number of repeats is agreed on, the clock that ends them counts calls."""
    try:
        call = _call(torch, exchange, group.ranks, device)
        call()
    except (RuntimeError, ValueError, NotImplementedError) as error:
        return str(error).splitlines()[0][:200]
    start = HostClock().time(call)
    agreed = torch.tensor([start], dtype=torch.float64, device=device)
    torch.distributed.all_reduce(agreed, op=torch.distributed.ReduceOp.MAX)
    repeats = group.seconds / max(float(agreed), 1e-6)
    calls = iter(range(1_000_000))
    return Timer(HostClock(), repeats, now=lambda: float(next(calls))).measure(call, before=torch.distributed.barrier)


def _call(torch: Any, exchange: Exchange, ranks: int, device: str) -> Callable[[], object]:
    """The collective as a call that returns when this rank's part is done."""
    distributed = torch.distributed
    elements = max(ranks, exchange.message_bytes // 4 // ranks * ranks)
    whole = torch.ones(elements, dtype=torch.float32, device=device)
    share = torch.ones(elements // ranks, dtype=torch.float32, device=device)
    # Newer releases of PyTorch renamed these two.
    gather = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor
    scatter = getattr(distributed, "reduce_scatter_single", None) or distributed.reduce_scatter_tensor
    calls: dict[str, Callable[[], object]] = {
        "all_reduce": lambda: distributed.all_reduce(whole),
        "all_gather": lambda: gather(whole, share),
        "reduce_scatter": lambda: scatter(share, whole),
        "alltoall": lambda: distributed.all_to_all_single(torch.empty_like(whole), whole),
    }
    run = calls[exchange.collective]
    if device == "cpu":
        return run

    def finished() -> None:
        run()
        torch.cuda.synchronize()

    return finished
