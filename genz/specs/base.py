"""Reading specification files: size and syntax checks, units, and a source for each figure.

A spec is a YAML (or JSON) mapping. Its `sources:` maps short keys to citations. A section names the
source of its figures with `source: key`; a single figure may be written out as
`{value: 3.35 TB/s, source: key, estimate: true, note: ...}`. `split_provenance` takes these apart, so
that validated specs hold plain numbers and `provenance` tells where each one came from.
"""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from genz.errors import SpecError, nearest

MAX_SPEC_BYTES = 16 * 2**20
_FIGURE_KEYS = {"value", "source", "estimate", "note"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SpecT = TypeVar("SpecT", bound="Spec")


class Frozen(BaseModel):
    """A validated, immutable record that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Provenance:
    """Where one figure came from: its citation, whether it is an estimate, and a remark."""

    source: str
    estimate: bool = False
    note: str = ""


class Spec(Frozen):
    """A named specification that was read from a file, with the sources of its figures."""

    kind: ClassVar[str] = "spec"

    name: str
    title: str = ""
    aliases: tuple[str, ...] = ()
    sources: dict[str, str] = {}
    provenance: dict[str, Provenance] = {}

    @classmethod
    def from_mapping(cls, raw: dict[str, Any], *, origin: str) -> Self:
        """Validate a mapping read from a file; `origin` names the file in errors."""
        plain, provenance = split_provenance(raw, origin=origin)
        try:
            return cls.model_validate({**plain, "provenance": provenance}, context={"from_file": True})
        except ValidationError as error:
            raise spec_error(error, cls, origin) from None

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read and validate one spec file. Raises `SpecError` with the path and the field at fault."""
        raw = read_mapping(path)
        if cls.kind in raw and "name" not in raw:
            raw = {"name": raw.pop(cls.kind), **raw}
        return cls.from_mapping(raw, origin=str(path))


def read_text(path: Path, *, max_bytes: int = MAX_SPEC_BYTES) -> str:
    """Read a small text file. Raises `SpecError` if it is missing, no plain file, too large or not UTF-8."""
    try:
        status = path.stat()
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror or error}", field="path", value=path) from None
    if stat.S_ISDIR(status.st_mode):
        raise SpecError(f"{path} is a folder, not a file", field="path", value=path)
    if not stat.S_ISREG(status.st_mode):
        raise SpecError(f"{path} is not a plain file", field="path", value=path, allowed="a plain file")
    if status.st_size > max_bytes:
        raise SpecError(
            f"{path} has {status.st_size:,} bytes, too many for a specification",
            field="path", value=path, allowed=f"at most {max_bytes:,} bytes",
        )  # fmt: skip
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SpecError(f"{path} is not UTF-8 text", field="path", value=path) from None
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror or error}", field="path", value=path) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file whose top level is a mapping. Raises `SpecError` otherwise."""
    text = read_text(path)
    try:
        if path.suffix == ".json":
            raw = json.loads(text)
        else:
            if "&" in text and _has_aliases(text):
                raise SpecError(f"{path}: YAML anchors and aliases are not accepted in specifications", field="path")
            raw = yaml.load(text, Loader=_LOADER)  # noqa: S506 (a safe loader)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise SpecError(f"{path} is not valid {kind}: {problem}", field="path", value=path) from None
    if not isinstance(raw, dict):
        raise SpecError(f"{path} holds a {type(raw).__name__}, not a mapping of keys to values", field="path", value=path)
    return raw


def _has_aliases(text: str) -> bool:
    # Aliases let a small file expand to gigabytes; no specification needs them.
    return any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))


def split_provenance(raw: dict[str, Any], *, origin: str) -> tuple[dict[str, Any], dict[str, Provenance]]:
    """Separate the figures of a raw spec from their sources.

    Returns the plain mapping and {dotted path: Provenance} for each figure (a number, or text that
    starts with a digit). Raises `SpecError` for a figure without a source, or a source key that is
    not in `sources`.
    """
    sources = raw.get("sources") or {}
    if not isinstance(sources, dict) or not all(isinstance(s, str) and s.strip() for s in sources.values()):
        raise SpecError(f"{origin}: 'sources' must map short keys to citations", field="sources", value=sources)
    found: dict[str, Provenance] = {}

    def cite(path: str, keys: Any, *, estimate: bool, note: str) -> None:
        listed = keys if isinstance(keys, list) else [keys]
        missing = [k for k in listed if k not in sources]
        if keys is None or missing:
            what = f"source {missing[0]!r} is not among 'sources'" if keys is not None else "has no source"
            raise SpecError(
                f"{origin}: {path} {what}", field=path, value=None if keys is None else missing[0],
                allowed="a key of 'sources': " + (", ".join(sources) or "none is given"),
                hint="name it with 'source:' in the section, or write the figure as {value: ..., source: ...}",
            )  # fmt: skip
        found[path] = Provenance("; ".join(sources[k] for k in listed), estimate, note)

    def walk(node: Any, path: str, source: Any, estimate: bool) -> Any:
        if isinstance(node, dict) and "value" in node and set(node) <= _FIGURE_KEYS:
            cite(path, node.get("source", source), estimate=bool(node.get("estimate", estimate)), note=node.get("note", ""))
            return node["value"]
        if isinstance(node, dict):
            source, estimate = node.get("source", source), bool(node.get("estimate", estimate))
            items = ((k, v) for k, v in node.items() if k not in ("source", "estimate", "note"))
            return {k: walk(v, f"{path}.{k}" if path else str(k), source, estimate) for k, v in items}
        if _is_figure(node):
            cite(path, source, estimate=estimate, note="")
        return node

    exempt = {"name", "title", "aliases", "sources", "year", "kind"}
    top = {k: v for k, v in raw.items() if k not in ("source", "estimate", "note")}
    plain = {k: (v if k in exempt else walk(v, str(k), raw.get("source"), bool(raw.get("estimate")))) for k, v in top.items()}
    return plain, found


def _is_figure(node: Any) -> bool:
    if isinstance(node, bool):
        return False
    return isinstance(node, (int, float)) or (isinstance(node, str) and node[:1].isdigit() and " " in node)


def spec_error(error: ValidationError, model: type[BaseModel], origin: str) -> SpecError:
    """Turn pydantic's report into one `SpecError` about the first field at fault."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    hint = None
    if first["type"] == "extra_forbidden":
        message = "unknown key"
        close = nearest(str(first["loc"][-1]), _keys_at(model, first["loc"][:-1]))
        hint = f"did you mean {close[0]!r}?" if close else "known keys: " + ", ".join(_keys_at(model, first["loc"][:-1]))
    elif first["type"] == "missing":
        message = "this key is missing"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return SpecError(f"{origin}: {path}: {message}{more}", field=path, value=first.get("input"), hint=hint)


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    current: Any = model
    for part in location:
        field = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        annotation = field.annotation if field else current
        current = _first_model(annotation)
        if current is None:
            return []
    return [k for k in current.model_fields if k != "provenance"]


def _first_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _first_model(argument)
        if found:
            return found
    return None
