"""Reading specification files: size and syntax checks, units, and a source for each figure.

A spec is a YAML (or JSON) mapping. Its `sources:` maps short keys to citations. A section names the
source of its figures with `source: key`; a single figure may be written out as
`{value: 3.35 TB/s, source: key, estimate: true, note: ...}`. `split_provenance` takes these apart, so
that validated specs hold plain numbers and `provenance` tells where each one came from.
"""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genz.errors import GenZError, SpecError, nearest, shown
from genz.units import is_quantity

MAX_SPEC_BYTES = 16 * 2**20
MAX_YAML_BYTES = 2**20
MAX_NESTING = 100
KINDS = ("chip", "platform", "engine", "technology", "model", "use_case", "precision")
_FIGURE_KEYS = {"value", "source", "estimate", "note"}
_SAFE_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
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

    name: str = Field(min_length=1)
    title: str = ""
    aliases: tuple[str, ...] = ()
    sources: dict[str, str] = {}
    provenance: dict[str, Provenance] = {}

    @classmethod
    def from_mapping(cls, raw: dict[str, Any], *, origin: str) -> Self:
        """Validate a mapping read from a file; `origin` names the file in errors."""
        plain, provenance = split_provenance(raw, origin=origin)
        if "provenance" in plain:
            raise SpecError(f"{origin}: provenance: unknown key", field="provenance", hint="name sources with 'source:'")
        try:
            return cls.model_validate({**plain, "provenance": provenance}, context={"from_file": True})
        except ValidationError as error:
            raise spec_error(error, cls, origin) from None

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read and validate one spec file. Raises `SpecError` with the path and the field at fault."""
        raw = read_mapping(path)
        if cls.kind not in raw and "name" not in raw:
            others = [kind for kind in KINDS if kind in raw]
            raise SpecError(
                f"{path}: the key {cls.kind!r} is missing",
                field=cls.kind,
                allowed="a name",
                hint=f"its key {others[0]!r} is that of another kind of specification" if others else None,
            )
        if cls.kind in raw and "name" not in raw:
            raw = {"name": raw.pop(cls.kind), **raw}
        return cls.from_mapping(raw, origin=str(path))


def read_text(path: Path, *, max_bytes: int = MAX_SPEC_BYTES) -> str:
    """Read a small text file. Raises `SpecError` if it is missing, no plain file, too large or not UTF-8."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise SpecError(f"cannot read {shown(str(path))}: {problem}", field="path", value=path) from None
    if stat.S_ISDIR(status.st_mode):
        raise SpecError(f"{path} is a folder, not a file", field="path", value=path)
    if not stat.S_ISREG(status.st_mode):
        raise SpecError(f"{path} is not a plain file", field="path", value=path, allowed="a plain file")
    if status.st_size > max_bytes:
        raise SpecError(
            f"{path} has {status.st_size:,} bytes, too many for a specification",
            field="path",
            value=path,
            allowed=f"at most {max_bytes:,} bytes",
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SpecError(f"{path} is not UTF-8 text", field="path", value=path) from None
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror or error}", field="path", value=path) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file whose top level is a mapping. Raises `SpecError` otherwise."""
    text = read_text(path, max_bytes=MAX_SPEC_BYTES if path.suffix == ".json" else MAX_YAML_BYTES)
    try:
        if path.suffix == ".json":
            raw = json.loads(text, object_pairs_hook=_without_contradictions)
            _check_nesting(raw)
        else:
            _check_events(text)
            raw = yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise SpecError(f"{path} is not valid {kind}: {_problem(error)}", field="path", value=path) from None
    if not isinstance(raw, dict):
        holds = {list: "a list", str: "a text", type(None): "nothing"}.get(type(raw), "a single value")
        raise SpecError(f"{path} holds {holds}, not a mapping of keys to values", field="path", value=path)
    return raw


def _problem(error: Exception) -> str:
    """What a parser complains of, in one line."""
    mark = getattr(error, "problem_mark", None)
    parts = [part for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part]
    text = ", ".join(parts) or (str(error).splitlines() or [type(error).__name__])[0]
    return f"{text} (line {mark.line + 1})" if mark else text


class _Loader(_SAFE_LOADER):  # type: ignore[valid-type, misc]
    """A safe YAML loader that refuses a key which is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"the key {shown(twice)} is given twice")
        return mapping


def _without_contradictions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, whose keys may be repeated with the same value only."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        for key, value in pairs:
            if mapping[key] != value:
                raise ValueError(f"the key {shown(key)} is given twice")
    return mapping


def _check_events(text: str) -> None:
    """Refuse aliases, which let a small file expand to gigabytes, and nesting that would exhaust the parser's stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_SAFE_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("anchors and aliases are not accepted in specifications")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_NESTING:
            raise ValueError(f"it is nested more than {MAX_NESTING} levels deep")


def _check_nesting(raw: Any) -> None:
    level = [raw]
    for _ in range(MAX_NESTING):
        level = [inner for node in level if isinstance(node, (dict, list)) for inner in _children(node)]
        if not level:
            return
    raise ValueError(f"it is nested more than {MAX_NESTING} levels deep")


def _children(node: dict[str, Any] | list[Any]) -> list[Any]:
    return [*(node.values() if isinstance(node, dict) else node)]


def split_provenance(raw: dict[str, Any], *, origin: str) -> tuple[dict[str, Any], dict[str, Provenance]]:
    """Separate the figures of a raw spec from their sources.

    Returns the plain mapping and {dotted path: Provenance} for each figure (a number, or text such as
    "3.35 TB/s"). Raises `SpecError` for a figure without a source, or a source key that is not in
    `sources`.
    """
    sources = raw.get("sources") or {}
    if not isinstance(sources, dict) or not all(isinstance(s, str) and s.strip() for s in sources.values()):
        raise SpecError(f"{origin}: 'sources' must map short keys to citations", field="sources", value=sources)
    found: dict[str, Provenance] = {}

    def cite(path: str, keys: Any, *, estimate: bool, note: str) -> None:
        listed = [] if keys is None else keys if isinstance(keys, list) else [keys]
        missing = [k for k in listed if not isinstance(k, str) or k not in sources]
        if not listed or missing:
            what = f"source {shown(missing[0])} is not among 'sources'" if missing else "has no source"
            close = nearest(str(missing[0]), sources) if missing else []
            raise SpecError(
                f"{origin}: {path} {what}",
                field=path,
                value=missing[0] if missing else None,
                allowed="a key of 'sources': " + (", ".join(sources) or "none is given"),
                hint=f"did you mean {close[0]!r}?"
                if close
                else "name it with 'source:' in the section, or write the figure as {value: ..., source: ...}",
            )
        found[path] = Provenance("; ".join(sources[k] for k in listed), estimate, note)

    def typed(node: dict[str, Any], key: str, path: str, default: Any) -> Any:
        value = node.get(key, default)
        if not isinstance(value, type(default)):
            wanted = "true or false" if isinstance(default, bool) else "a text"
            where = f"{path}.{key}" if path else key
            raise SpecError(f"{origin}: {where} = {shown(value)} is not allowed", field=where, value=value, allowed=wanted)
        return value

    def walk(node: Any, path: str, source: Any, estimate: bool) -> Any:
        if isinstance(node, dict):
            source, estimate = node.get("source", source), typed(node, "estimate", path, estimate)
            note = typed(node, "note", path, "")
            if "value" in node and set(node) <= _FIGURE_KEYS:
                cite(path, source, estimate=estimate, note=note)
                return node["value"]
            items = ((k, v) for k, v in node.items() if k not in ("source", "estimate", "note"))
            return {k: walk(v, f"{path}.{k}" if path else str(k), source, estimate) for k, v in items}
        if isinstance(node, list):
            return [walk(entry, f"{path}.{i}", source, estimate) for i, entry in enumerate(node)]
        if _is_figure(node):
            cite(path, source, estimate=estimate, note="")
        return node

    exempt = {"name", "title", "aliases", "sources", "year", "kind"}
    top = {k: v for k, v in raw.items() if k not in ("source", "estimate", "note")}
    estimate = typed(raw, "estimate", "", False)
    plain = {str(k): (v if k in exempt else walk(v, str(k), raw.get("source"), estimate)) for k, v in top.items()}
    return plain, found


def _is_figure(node: Any) -> bool:
    if isinstance(node, bool):
        return False
    return isinstance(node, (int, float)) or (isinstance(node, str) and is_quantity(node))


def spec_error(error: ValidationError, model: type[BaseModel], origin: str) -> SpecError:
    """Turn pydantic's report into one `SpecError` about one field at fault: a key that is unknown, else the first."""
    reports = error.errors()
    first = next((report for report in reports if report["type"] == "extra_forbidden"), reports[0])
    path = ".".join(str(part) for part in first["loc"])
    message, allowed, hint = _explain(first, model)
    more = f" (and {len(reports) - 1} more)" if len(reports) > 1 else ""
    where = f"{origin}: {path}" if path else origin
    return SpecError(f"{where}{message}{more}", field=path or None, value=first.get("input"), allowed=allowed, hint=hint)


def _explain(report: Any, model: type[BaseModel]) -> tuple[str, str | None, str | None]:
    """(message, allowed, hint) of one of pydantic's reports."""
    location, value = report["loc"], shown(report.get("input"))
    if report["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        close = nearest(str(location[-1]), known)
        return ": unknown key", ", ".join(known) or None, f"did you mean {close[0]!r}?" if close else None
    if report["type"] == "missing":
        return ": this key is missing", None, None
    cause = getattr(report.get("ctx", {}).get("error"), "__cause__", None)
    if isinstance(cause, GenZError):
        return ": " + cause.message.removeprefix(f"{cause.field}: "), cause.allowed, cause.hint
    if report["type"] == "value_error":
        return ": " + report["msg"].removeprefix("Value error, "), None, None
    choices = re.findall(r"'([^']+)'", str(report.get("ctx", {}).get("expected", "")))
    close = nearest(str(report.get("input")), choices)
    allowed = report["msg"].removeprefix("Input should be ").removeprefix("String should ")
    return f" = {value} is not allowed", allowed, f"did you mean {close[0]!r}?" if close else None


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
