"""Tables of kernels in the package aiconfigurator-core: `systems/data/<system>/<family>/<framework>/<version>/*_perf.parquet`.

Latencies are in milliseconds (DeepEP's in microseconds), messages in elements, `isl` are new tokens and `step` cached ones.
The system's folder names the chip; its file `systems/<system>.yaml` tells how many GPUs make a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from genz.errors import nearest
from genz.measurements.importers.records import malformed
from genz.measurements.table import SCHEMAS, Table

SOURCE = "aiconfigurator"
SUFFIX = "_perf"
MILLISECOND, MICROSECOND = 1e-3, 1e-6
# GPUs that a node has where no file of the system tells.
GPUS_PER_NODE = 8
# Bytes of an element of a message.
ELEMENT_BYTES = {"half": 2, "bfloat16": 2, "float16": 2, "float": 4, "int8": 1, "fp8": 1}


@dataclass(frozen=True)
class Form:
    """How one of the package's tables reads in the tidy schema: the operator, and the table's column for each of ours."""

    op: str
    columns: Mapping[str, str]
    constants: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


_WHO = {"framework": "framework", "framework_version": "version", "kernel": "kernel_source"}
_HEADS = {"batch": "batch_size", "n_heads": "num_heads"}
_PROMPT = {**_WHO, **_HEADS, "q_len": "isl", "past_kv": "step", "kv_dtype": "kv_cache_dtype"}
_TOKEN = {**_WHO, **_HEADS, "past_kv": "step", "kv_dtype": "kv_cache_dtype"}
_PLAIN = {"n_kv_heads": "num_key_value_heads", "head_dim": "head_dim", "window": "window_size", "dtype": "attn_dtype"}
_LATENT = {"dtype": "mla_dtype", "tp": "tp_size"}
_MODULE = ("gemm_type", "model")
_SCAN = {**_WHO, "batch": "batch_size", "q_len": "seq_len", "num_tokens": "num_tokens", "hidden": "d_model"}
_EXPERTS = {"num_tokens": "num_tokens", "hidden": "hidden_size", "topk": "topk", "n_experts": "num_experts"}
FORMS: dict[str, Form] = {
    "gemm": Form("gemm", {**_WHO, "m": "m", "n": "n", "k": "k", "dtype": "gemm_dtype"}),
    "context_attention": Form("prefill_attention", {**_PROMPT, **_PLAIN}),
    "generation_attention": Form("decode_attention", {**_TOKEN, **_PLAIN}, {"q_len": 1}),
    "encoder_attention": Form(
        "encoder_attention",
        {**_WHO, **_HEADS, "q_len": "isl", "head_dim": "head_dim", "dtype": "attn_dtype"},
        {"past_kv": 0},
    ),
    "context_mla": Form("mla_prefill", {**_PROMPT, **_LATENT}),
    "generation_mla": Form("mla_decode", {**_TOKEN, **_LATENT}, {"q_len": 1}),
    "mla_context_module": Form("mla_module_prefill", {**_PROMPT, **_LATENT}, notes=_MODULE),
    "mla_generation_module": Form("mla_module_decode", {**_TOKEN, **_LATENT}, {"q_len": 1}, notes=_MODULE),
    "mla_bmm": Form(
        "mla_bmm", {**_WHO, "num_tokens": "num_tokens", "n_heads": "num_heads", "dtype": "bmm_dtype"}, notes=("op_name",)
    ),
    "moe": Form(
        "moe",
        {**_WHO, **_EXPERTS, "inter": "inter_size", "moe_tp": "moe_tp_size", "moe_ep": "moe_ep_size"}
        | {"dtype": "moe_dtype", "distribution": "distribution"},
    ),
    "gdn": Form("gdn", _SCAN, notes=("phase", "model_name")),
    "mamba2": Form("mamba2", {**_SCAN, "head_dim": "head_dim"}, notes=("phase", "model_name")),
}
EXCHANGES = ("nccl", "oneccl", "custom_allreduce")
DEEP_EP = {"wideep_deepep_ll": "DeepEP-low-latency", "wideep_deepep_normal": "DeepEP-normal"}
ALL_TO_ALL = "trtllm_alltoall"
KNOWN = (*FORMS, *EXCHANGES, *DEEP_EP, ALL_TO_ALL)
# Columns whose absence leaves the rows what they are.
OPTIONAL = ("framework", "version", "kernel_source", "window_size", "kv_cache_dtype", "tp_size", "step", "model", "gemm_type")
NAMES_OF_NOTES = {"model_name": "model", "op_name": "stage"}


def is_table(path: Path) -> bool:
    """Whether a file is named like one of the package's tables."""
    return path.stem.endswith(SUFFIX) and path.suffix in (".parquet", ".csv", ".txt")


def read_aiconfigurator(path: str | Path, *, hardware: str | None = None) -> list[Table]:
    """Tables in the tidy schema, of one file or of all below a folder; `hardware` names the chip, if not as its folder does.

    Files of operators that GenZ knows nothing of are counted in `set_aside` of the first table. Raises `SpecError` where
    there is no table, or one lacks a column.
    """
    root = Path(path).expanduser()
    files = sorted(file for file in root.rglob(f"*{SUFFIX}.*") if is_table(file)) if root.is_dir() else [root]
    if not files:
        raise malformed(root, "holds no tables of aiconfigurator", allowed=f"files named *{SUFFIX}.parquet")
    known = [file for file in files if _name(file) in KNOWN]
    if not known:
        close = nearest(_name(files[0]), KNOWN)
        raise malformed(
            files[0],
            f"the operator {_name(files[0])!r} is not known",
            allowed=", ".join(KNOWN),
            hint=f"nearest: {', '.join(close)}",
        )
    frames: dict[str, list[pd.DataFrame]] = {}
    for file in known:
        kind, frame = _converted(file, hardware or _system(file))
        frames.setdefault(kind, []).append(frame)
    unknown = {f"GenZ knows no operator {_name(file)!r}": 0 for file in files if file not in known}
    for file in files:
        if file not in known:
            unknown[f"GenZ knows no operator {_name(file)!r}"] += 1
    made = [_table(kind, root, parts) for kind, parts in sorted(frames.items())]
    return [Table(first.kind, first.path, first.rows, unknown if i == 0 else {}) for i, first in enumerate(made)]


def _name(file: Path) -> str:
    return file.stem.removesuffix(SUFFIX)


def _system(file: Path) -> str | None:
    """The system's name: the folder below `data`."""
    parts = file.absolute().parts
    if "data" in parts[:-1]:
        below = len(parts) - 1 - parts[::-1].index("data")
        return parts[below + 1] if below + 2 < len(parts) else None
    return None


def _converted(file: Path, hardware: str | None) -> tuple[str, pd.DataFrame]:
    raw = _read(file)
    name = _name(file)
    if name in FORMS:
        kind, frame = "ops", _operators(file, raw, FORMS[name])
    elif name in EXCHANGES:
        kind, frame = "collectives", _exchanges(file, raw, name)
    elif name in DEEP_EP:
        kind, frame = "collectives", pd.concat(_deep_ep(file, raw, DEEP_EP[name]), ignore_index=True)
    else:
        kind, frame = "collectives", _all_to_all(file, raw)
    device = raw["device"].astype(str) if "device" in raw else pd.Series("", raw.index)
    frame["hardware"] = hardware or np.resize(device.to_numpy(), len(frame))
    if (frame["hardware"] == "").any():
        raise malformed(file, "tells neither the device nor, by its folder, the system", hint="name the hardware")
    if "framework" in frame:
        frame["framework"] = frame["framework"].str.lower()
    return kind, frame


def _read(file: Path) -> pd.DataFrame:
    try:
        raw = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise malformed(file, f"cannot be read: {str(error).splitlines()[0][:200]}") from None
    if raw.empty:
        raise malformed(file, "holds no rows")
    return raw


def _column(file: Path, raw: pd.DataFrame, name: str) -> pd.Series:
    """A column of the table. Raises `SpecError` where it must be there and is not."""
    if name in raw:
        return raw[name]
    if name in OPTIONAL:
        return pd.Series(np.nan, raw.index, dtype=object)
    close = nearest(name, map(str, raw.columns))
    raise malformed(file, f"the column {name!r} is missing", hint=f"{close[0]!r} looks like it" if close else None)


def _seconds(file: Path, raw: pd.DataFrame, *columns: str, unit: float = MILLISECOND) -> pd.Series:
    total = sum(pd.to_numeric(_column(file, raw, name), errors="coerce") for name in columns)
    return pd.Series(total, raw.index) * unit


def _operators(file: Path, raw: pd.DataFrame, form: Form) -> pd.DataFrame:
    frame = pd.DataFrame({ours: _column(file, raw, theirs) for ours, theirs in form.columns.items()})
    for name, value in form.constants.items():
        frame[name] = value
    frame["op"] = form.op
    frame["measured_s"] = _seconds(file, raw, "latency")
    for ours, theirs in (("power_w", "power"), ("power_limit_w", "power_limit")):
        if theirs in raw:
            frame[ours] = raw[theirs]
    notes = [NAMES_OF_NOTES.get(name, name) + "=" + _column(file, raw, name).astype(str) for name in form.notes]
    if notes:
        frame["notes"] = ["; ".join(parts) for parts in zip(*notes, strict=True)]
    return frame


def _exchanges(file: Path, raw: pd.DataFrame, name: str) -> pd.DataFrame:
    """All-reduces and their kin; messages are counted in elements."""
    dtype = _column(file, raw, "allreduce_dtype" if name == "custom_allreduce" else "nccl_dtype").astype(str)
    width = dtype.map(ELEMENT_BYTES)
    if width.isna().any():
        raise malformed(file, f"the type {dtype[width.isna()].iloc[0]!r} is not known", allowed=", ".join(ELEMENT_BYTES))
    frame = pd.DataFrame(
        {
            "collective": _column(file, raw, "op_name").astype(str),
            "dtype": dtype,
            "n_devices": _column(file, raw, "num_gpus"),
            "message_bytes": _column(file, raw, "message_size") * width,
            "measured_s": _seconds(file, raw, "latency"),
        }
    )
    if name == "custom_allreduce":
        how = next((raw[c].astype(str) for c in ("backend", "implementation") if c in raw), pd.Series("", raw.index))
        return frame.assign(
            backend="custom:" + how,
            framework=_column(file, raw, "framework"),
            framework_version=_column(file, raw, "version"),
        )
    # The library's version is that of its folder.
    return frame.assign(backend="NCCL" if name == "nccl" else "oneCCL", framework=name, framework_version=file.parent.name)


def _deep_ep(file: Path, raw: pd.DataFrame, backend: str) -> Iterator[pd.DataFrame]:
    """Dispatch in 8 bits and combine in 16, a row of each; tokens are counted per rank."""
    nodes = _column(file, raw, "node_num")
    who = {"framework": _column(file, raw, "framework"), "framework_version": _column(file, raw, "version")}
    shape = {"num_tokens": "num_token", "hidden": "hidden_size", "topk": "num_topk", "n_experts": "num_experts"}
    shared = pd.DataFrame(
        {
            **who,
            **{ours: _column(file, raw, theirs) for ours, theirs in shape.items()},
            "n_nodes": nodes,
            "n_devices": nodes * _gpus_per_node(file),
            "backend": backend,
        }
    )
    for stage, dtype in (("dispatch", "fp8"), ("combine", "bf16")):
        plain = f"{stage}_avg_t_us" in raw
        columns = (f"{stage}_avg_t_us",) if plain else (f"{stage}_transmit_us", f"{stage}_notify_us")
        notes = "tokens are per rank" if plain else "sms=" + _column(file, raw, f"{stage}_sms").astype(str)
        seconds = _seconds(file, raw, *columns, unit=MICROSECOND)
        yield shared.assign(collective=f"moe_{stage}", dtype=dtype, measured_s=seconds, notes=notes)


def _all_to_all(file: Path, raw: pd.DataFrame) -> pd.DataFrame:
    """TensorRT-LLM's exchanges of tokens with their experts."""
    names = {**_EXPERTS, "framework": "framework", "dtype": "moe_dtype", "n_devices": "moe_ep_size", "backend": "kernel_source"}
    frame = pd.DataFrame({ours: _column(file, raw, theirs) for ours, theirs in names.items()})
    return frame.assign(
        collective=_column(file, raw, "op_name"),
        framework_version=file.parent.name,
        measured_s=_seconds(file, raw, "latency"),
        notes="distribution=" + _column(file, raw, "distribution").astype(str),
    )


def _gpus_per_node(file: Path) -> int:
    """As the system's file beside the folder `data` says."""
    system = _system(file)
    described = next((p / f"{system}.yaml" for p in file.absolute().parents if (p / f"{system}.yaml").is_file()), None)
    if described is None:
        return GPUS_PER_NODE
    try:
        return int(yaml.safe_load(described.read_text(encoding="utf-8"))["node"]["num_gpus_per_node"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return GPUS_PER_NODE


def _table(kind: str, root: Path, parts: list[pd.DataFrame]) -> Table:
    """All columns of the schema; rows without a time are refused."""
    schema = SCHEMAS[kind]
    frame = pd.concat(parts, ignore_index=True).assign(source=SOURCE, quality="ok")
    text = {name: frame[name] if name in frame else pd.Series(None, frame.index, dtype=object) for name in schema.text}
    numbers = {
        name: pd.to_numeric(frame[name], errors="coerce").astype(float) if name in frame else pd.Series(np.nan, frame.index)
        for name in schema.numbers
    }
    rows = pd.DataFrame({**text, **numbers})
    is_time = np.isfinite(rows["measured_s"]) & (rows["measured_s"] > 0)
    return Table(kind, root, rows.assign(refusal=np.where(is_time, "", "measured_s is no positive time")), {})
