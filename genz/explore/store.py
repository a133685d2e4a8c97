"""A folder of results: Parquet files that are either whole or not there, and what they are the results of.

`study.json` is written first. A file of rows gets its name when it is on the disk, so that whatever ends a run, the next
one finds which are finished, deletes what is not, and goes on. A lock that dies with its process keeps two runs apart.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genz.errors import OutputError
from genz.explore.mesh import Mesh

if TYPE_CHECKING:
    import pyarrow as pa

STUDY = "study.json"
LOCK = ".lock"
TEMPORARY = ".tmp"
ROWS_PER_FILE = 2**20
ROWS_PER_GROUP = 2**17
# Blocks of a few rows take as long as those of many: a kill shall not cost more than some seconds.
MAX_BLOCKS_PER_FILE = 256
MAX_FILES = 4096
_PART = re.compile(r"part-\d{6}\.parquet")


@dataclass(frozen=True)
class Layout:
    """Which blocks share a file: `blocks_per_file` in a row."""

    blocks: int
    blocks_per_file: int
    block_rows: int

    @property
    def files(self) -> int:
        return math.ceil(self.blocks / self.blocks_per_file)

    def blocks_of(self, file: int) -> range:
        return range(file * self.blocks_per_file, min((file + 1) * self.blocks_per_file, self.blocks))


def layout(mesh: Mesh, rows_per_file: int = ROWS_PER_FILE) -> Layout:
    """Files of about `rows_per_file` rows each; of fewer where blocks are small, of more where there would be too many."""
    wanted = max(1, min(rows_per_file // mesh.largest_block, MAX_BLOCKS_PER_FILE))
    return Layout(mesh.blocks, max(wanted, math.ceil(mesh.blocks / MAX_FILES)), mesh.block_rows)


def file_name(file: int) -> str:
    """Name of a file of rows, by its number."""
    return f"part-{file:06d}.parquet"


@dataclass(frozen=True)
class Store:
    """A folder that this process has locked, for one study."""

    folder: Path
    layout: Layout

    def pending(self) -> list[int]:
        """Files that are still to be written."""
        return [file for file in range(self.layout.files) if not (self.folder / file_name(file)).exists()]

    def check_complete(self) -> None:
        """Delete what workers that died left half written. Raises `OutputError` where files have been taken away meanwhile."""
        for path in self.folder.iterdir():
            if _is_temporary(path):
                path.unlink(missing_ok=True)
        missing = self.pending()
        if missing:
            raise OutputError(
                f"out: {file_name(missing[0])} was written, and is gone",
                field="out",
                value=str(self.folder),
                hint="run it again to go on",
            )


@contextmanager
def opened(folder: Path, plan: Layout, identity: dict[str, Any]) -> Iterator[Store]:
    """A folder for the results of a study, new or to be resumed, locked as long as the context lasts.

    `identity` is JSON-ready: two runs of the same identity write the same rows. Raises `OutputError` where the folder
    cannot be written, holds other files or another study, or is being written by another run.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _check_ours(folder)
            stack.enter_context(_locked(folder))
            _settle_study(folder, {**identity, "layout": asdict(plan)})
            _clean(folder)
        except OSError as error:
            raise _output_error(folder, error) from None
        yield Store(folder, plan)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # where there is no such lock, as on Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"out: another run is writing to {folder}",
            field="out",
            value=str(folder),
            hint="wait for it, or name another folder",
        ) from None


def _check_ours(folder: Path) -> None:
    """Raise `OutputError` for a folder that holds files, but no study."""
    if (folder / STUDY).exists():
        return
    foreign = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and not _is_temporary(path))
    if foreign:
        raise OutputError(
            f"out: {folder} holds other files, such as {foreign[0]!r}",
            field="out",
            value=str(folder),
            allowed="a folder that is new or empty, or that of this study",
        )


def _is_temporary(path: Path) -> bool:
    return path.name.endswith(TEMPORARY) and (path.name.startswith(STUDY) or _PART.match(path.name) is not None)


def _settle_study(folder: Path, identity: dict[str, Any]) -> None:
    """Write what the folder is of, or hold it against what it is."""
    path = folder / STUDY
    # Through JSON, so that what was read and what is to be written are of the same types.
    wanted = json.loads(json.dumps(identity))
    if not path.exists():
        lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in wanted.items())
        _place(folder, STUDY, lambda temporary: temporary.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8"))
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise OutputError(f"out: {path} is not what a sweep writes", field="out", value=str(folder), allowed="a new folder")
    # How blocks are cut follows from the rest, and is worth a word only where that is the same.
    differing = [*_differences({**found, "layout": None}, {**wanted, "layout": None})] or [*_differences(found, wanted)]
    if differing:
        raise OutputError(
            f"out: {folder} belongs to another study: {'; '.join(differing[:5])}",
            field="out",
            value=str(folder),
            allowed="a new folder, or the study that it was begun with",
        )


def _differences(found: dict[str, Any], wanted: dict[str, Any], path: str = "") -> Iterator[str]:
    for key in dict.fromkeys((*found, *wanted)):
        one, other = found.get(key), wanted.get(key)
        name = f"{path}{key}"
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differences(one, other, f"{name}: ")
        elif one != other:
            yield f"{name} was {_brief(one)} and is {_brief(other)}"


def _brief(value: Any) -> str:
    text = "not given" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _clean(folder: Path) -> None:
    """Delete what a run that was killed left half written, and files that cannot be read."""
    import pyarrow as pa
    from pyarrow import parquet

    for path in folder.iterdir():
        if _is_temporary(path):
            path.unlink()
        elif _PART.fullmatch(path.name):
            try:
                parquet.read_metadata(path)
            except pa.ArrowException:
                path.unlink()


def write_file(folder: Path, file: int, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write the rows of one file, which gets its name when all of it is on the disk; returns how many.

    Raises `OutputError` where it cannot be written, such as on a full disk.
    """
    rows = 0

    def write(temporary: Path) -> None:
        nonlocal rows
        rows = _write_tables(temporary, schema, tables)

    try:
        _place(folder, file_name(file), write)
    except OSError as error:
        raise _output_error(folder, error) from None
    return rows


def _place(folder: Path, name: str, write: Callable[[Path], Any]) -> None:
    """Write a file under another name, make sure that it is on the disk, and give it its own."""
    temporary = folder / f"{name}.{uuid.uuid4().hex}{TEMPORARY}"
    try:
        write(temporary)
        _synchronise(temporary)
        temporary.replace(folder / name)
        _synchronise(folder)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot, for folders
            raise
    finally:
        os.close(descriptor)


def _write_tables(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    # Names are stored once each. Figures hardly repeat, and looking for it would take as long as pricing them.
    named = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    axes = [field.name for field in schema if b"axis" in (field.metadata or {})]
    options = {"compression": "snappy", "use_dictionary": named, "write_statistics": axes}
    rows = 0
    waiting: list[pa.Table] = []
    with parquet.ParquetWriter(path, schema, **options) as writer:

        def flush() -> None:
            whole = pa.concat_tables(waiting).unify_dictionaries()
            writer.write_table(whole, row_group_size=ROWS_PER_GROUP)
            waiting.clear()

        for table in tables:
            rows += table.num_rows
            waiting.append(table)
            if sum(part.num_rows for part in waiting) >= ROWS_PER_GROUP:
                flush()
        if waiting:
            flush()
    return rows


def _output_error(folder: Path, error: OSError) -> OutputError:
    problem = os.strerror(error.errno) if error.errno else str(error)
    hint = None
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "what is finished stays: make room, and run it again to go on"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        problem = "there is a file in the way"
    return OutputError(f"out: cannot write to {folder}: {problem}", field="out", value=str(folder), hint=hint)


def room(folder: Path) -> int | None:
    """Free bytes where a folder is, or would be; None where that cannot be told."""
    for place in (folder, *folder.resolve().parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return None
