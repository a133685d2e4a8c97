"""A sweep on a Dask cluster: each file of the folder is a task, written by the worker that priced it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import genz
from genz.errors import GenZError, InvalidValueError, OutputError, UnsupportedError
from genz.explore.identity import calibrations_digest, is_calibrated
from genz.explore.space import Space
from genz.explore.store import Layout, file_name

# Of one worker: one file that it prices, and one that waits for it.
IN_FLIGHT = 2
CONNECT_SECONDS = 10
# Dask has workers give memory back at once, and arrays of a block are taken and given back all the time: twice the time.
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
ENVIRONMENT = "distributed.nanny.pre-spawn-environ"
# A file whose worker died is priced anew elsewhere, so often.
RETRIES = 3


def price_files(
    space: Space, plan: Layout, folder: Path, files: list[int], *, workers: int | None = None, scheduler: str | None = None
) -> Iterator[tuple[int, int]]:
    """Price files on a cluster at the address of its `scheduler`, or on local processes; yields each and its rows, once done.

    Raises `UnsupportedError` where Dask is not installed, and `OutputError` where the cluster cannot be reached, loses a
    file again and again, runs another GenZ or does not share the folder.
    """
    dask = _dask()
    target, version = folder.resolve(), _version(space)
    with _connected(dask, workers, scheduler) as client:
        # A task rather than scattered data: where the workers that hold it die, it is made again.
        shared = client.submit(_itself, space, pure=False)

        def submit(file: int) -> Any:
            # Keys are of this run: an earlier one of the same cluster may have written elsewhere.
            return client.submit(price_file, shared, plan, str(target), file, version, retries=RETRIES, pure=False)

        waiting = iter(files)
        width = IN_FLIGHT * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        running = dask.as_completed([submit(file) for file in islice(waiting, width)])
        for future in running:
            rows, file = _result(dask, future, scheduler)
            if not (target / file_name(file)).exists():
                raise OutputError(
                    f"out: a worker wrote {file_name(file)}, which is not in {target}: the workers do not share the folder",
                    field="out",
                    value=str(folder),
                    allowed="a folder on a file system that all workers share",
                )
            future.release()
            following = next(waiting, None)
            if following is not None:
                running.add(submit(following))
            yield file, rows


def _dask() -> Any:
    try:
        import distributed
    except ImportError:
        raise UnsupportedError(
            "a cluster needs Dask's distributed, which is not installed",
            field="scheduler",
            hint='pip install "genz[distributed]"',
        ) from None
    return distributed


def _itself(space: Space) -> Space:
    return space


def price_file(space: Space, plan: Layout, folder: str, file: int, version: dict[str, Any]) -> tuple[int, int]:
    """Price and write one file on a worker; returns its rows and its number."""
    from genz.explore.sweep import write_blocks

    own = _version(space)
    if own != version:
        differing = next(key for key in version if own[key] != version[key])
        raise OutputError(
            f"scheduler: a worker has another {differing} ({own[differing]}, here {version[differing]})", field="scheduler"
        )
    return write_blocks(space, plan, Path(folder), file), file


def _version(space: Space) -> dict[str, Any]:
    """What a worker has to have in common with who asks it: specifications come with the space, these do not."""
    return {"genz": genz.__version__, "calibrations": calibrations_digest() if is_calibrated(space) else None}


@contextmanager
def _connected(dask: Any, workers: int | None, scheduler: str | None) -> Iterator[Any]:
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise InvalidValueError(f"workers: {workers!r} is not allowed", field="workers", value=workers, allowed="1 or more")
    if scheduler is not None and workers is not None:
        raise InvalidValueError(
            "workers and scheduler exclude each other", field="workers", value=workers, hint="a cluster has its own workers"
        )
    if scheduler is not None and not (isinstance(scheduler, str) and scheduler.strip()):
        raise _unreachable(scheduler, ValueError("that is no address"))
    from dask import config

    with ExitStack() as stack:
        address: Any = scheduler
        if scheduler is None:
            with config.set({ENVIRONMENT: {**config.get(ENVIRONMENT), **ALLOCATOR}}):
                cluster = dask.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
            address = stack.enter_context(cluster)
        try:
            client = dask.Client(address, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise _unreachable(scheduler, error) from None
        yield stack.enter_context(client)


def _unreachable(scheduler: str | None, error: Exception) -> OutputError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return OutputError(
        f"scheduler: {scheduler} cannot be reached: {reason}",
        field="scheduler",
        value=scheduler,
        allowed="the address of a Dask scheduler, such as 'tcp://10.0.0.1:8786'",
    )


def _result(dask: Any, future: Any, scheduler: str | None) -> tuple[int, int]:
    try:
        rows, file = future.result()
    except GenZError:
        raise
    except dask.KilledWorker as error:
        raise OutputError(
            f"scheduler: workers died {RETRIES + 1} times over one file ({error.last_worker.address})",
            field="scheduler",
            value=scheduler,
            hint="what is finished stays: run it again to go on",
        ) from None
    except (OSError, dask.client.FutureCancelledError) as error:
        raise _unreachable(scheduler, error) from None
    return int(rows), int(file)
