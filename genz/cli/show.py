"""`genz show`: one spec with the source of each figure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from genz.cli import echo_json
from genz.cli.options import CatalogName
from genz.errors import InvalidValueError, UnknownNameError, unknown_name
from genz.specs import catalog
from genz.specs.base import Provenance, Spec
from genz.specs.hardware import Platform
from genz.specs.layers import Layer
from genz.specs.model import ModelSpec
from genz.units import format_count, format_si

KINDS = ("model", "chip", "platform", "engine", "precision", "use_case", "technology")
UNITS = {
    "matrix_flops": "FLOP/s",
    "vector_flops": "FLOP/s",
    "clock": "Hz",
    "capacity": "B",
    "bandwidth": "B/s",
    "latency": "s",
    "tdp": "W",
    "idle": "W",
    "energy_per_flop": "J/FLOP",
    "energy_per_byte": "J/B",
    "reserve": "B",
    "kernel_gap": "s",
    "host_launch": "s",
    "host_per_step": "s",
    "host_per_sequence": "s",
    "message_overhead": "s",
    "host.memory": "B",
    "host.power": "W",
    "ttft": "s",
    "tpot": "s",
    "purchase": "USD",
}
SECONDS_PER_HOUR = 3600
HEADING = {"name", "title", "aliases", "sources", "provenance", "technologies"}


@click.command()
@click.argument("name", type=CatalogName(*KINDS, file=True))
@click.option("--kind", type=click.Choice([k.replace("_", "-") for k in KINDS]), help="What NAME is, if several share it.")
@click.option("--as", "treat_as", help="Read a config.json as this model_type.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(name: str, kind: str | None, treat_as: str | None, as_json: bool) -> None:
    """Show the model, chip, engine, precision or use case NAME, each figure with its source."""
    spec = _load(name, kind.replace("-", "_") if kind else None, treat_as)
    if treat_as is not None and not isinstance(spec, ModelSpec):
        raise InvalidValueError("--as is for models", field="--as", value=treat_as, allowed="a model as NAME")
    data = _model_data(spec) if isinstance(spec, ModelSpec) else _spec_data(spec)
    if as_json:
        echo_json(data)
    elif isinstance(spec, ModelSpec):
        click.echo(_model_page(spec))
    else:
        click.echo(_spec_page(spec))


def _load(name: str, kind: str | None, treat_as: str | None) -> Spec | ModelSpec:
    loaders: dict[str, Any] = {k: getattr(catalog, k) for k in KINDS}
    loaders["model"] = lambda n: catalog.model(n, treat_as=treat_as)
    if kind is not None:
        return loaders[kind](name)  # type: ignore[no-any-return]
    if catalog.looks_like_path(name) or Path(name).is_dir():
        return loaders[_kind_of_file(Path(name))](name)  # type: ignore[no-any-return]
    for candidate in KINDS:
        try:
            return loaders[candidate](name)  # type: ignore[no-any-return]
        except UnknownNameError:
            continue
    raise unknown_name("name", name, [n for k in KINDS for n in catalog.names(k)])


def _kind_of_file(path: Path) -> str:
    from genz.specs.base import read_mapping

    if path.is_dir():
        return "model"
    keys = read_mapping(path)
    return next((kind for kind in KINDS if kind in keys), "model")


def _spec_data(spec: Spec) -> dict[str, Any]:
    data = spec.model_dump(mode="json")
    data["provenance"] = {path: vars(origin) for path, origin in spec.provenance.items()}
    return data


def _spec_page(spec: Spec) -> str:
    """Every field; figures with the number of their citation, which are listed below."""
    from genz.inference.report import WIDE, render, table

    provenance = _provenance(spec)
    citations = list(dict.fromkeys(origin.source for origin in provenance.values()))
    rows = []
    for path, value in leaves(spec):
        origin = provenance.get(path)
        estimate = "estimate" if origin and origin.estimate else ""
        remark = ": ".join(part for part in (estimate, origin.note if origin else "") if part)
        rows.append((path, figure_text(path, value), f"[{citations.index(origin.source) + 1}]" if origin else "", remark))
    about = f"{spec.name}: {spec.title}"
    if spec.aliases:
        about += f"\nalso: {', '.join(spec.aliases)}"
    sources = [(f"[{index}]", text) for index, text in enumerate(citations, 1)]
    figures = table("", ("figure", "value", "source", "remark"), rows, words=range(4))
    return render(about, figures, *([_sources(sources)] if sources else []), width=WIDE)


def _sources(rows: Iterable[tuple[str, str]]) -> Any:
    from genz.inference.report import table

    return table("Sources", ("", ""), rows, words=(0, 1))


def _provenance(spec: Spec) -> dict[str, Provenance]:
    """Where each figure came from, those of a platform's chip included."""
    if not isinstance(spec, Platform):
        return spec.provenance
    return {**spec.provenance, **{f"chip.{path}": origin for path, origin in spec.chip.provenance.items()}}


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of each field that was given, apart from what the heading and the citations show."""
    if isinstance(node, BaseModel):
        given = (name for name in type(node).model_fields if name in node.model_fields_set and name not in HEADING)
        items = [(name, getattr(node, name)) for name in given]
    elif isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, tuple) and any(isinstance(entry, BaseModel) for entry in node):
        items = [(str(index), entry) for index, entry in enumerate(node)]
    else:
        if node not in (None, ()):
            yield path, node
        return
    for name, value in items:
        yield from leaves(value, f"{path}.{name}" if path else name)


def figure_text(path: str, value: Any) -> str:
    """A figure in the unit that its path tells."""
    parts = path.split(".")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if parts[-1] == "hourly":
        return f"{value * SECONDS_PER_HOUR:,.2f} USD/h"
    unit = UNITS.get(".".join(parts[-2:])) or next((UNITS[part] for part in reversed(parts) if part in UNITS), "")
    if isinstance(value, float):
        return format_si(value, unit, digits=5) if unit else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) and parts[-1] != "year" else str(value)


def _model_data(spec: ModelSpec) -> dict[str, Any]:
    published = vars(spec.published) if spec.published else None
    return {
        "name": spec.name,
        "title": spec.title,
        "aliases": spec.aliases,
        "model_type": spec.model_type,
        "parameters": spec.parameters,
        "active_parameters": spec.active_parameters,
        "published": published,
        "max_context": spec.max_context,
        "dtype": spec.dtype,
        "precision": spec.precision.name if spec.precision else None,
        "layers": [{"count": count, **_layer_data(layer)} for layer, count in spec.layer_groups],
        "embedding": {"vocabulary": spec.embedding.vocabulary, "width": spec.embedding.width, "tied": spec.embedding.tied},
        "notes": spec.notes,
        "sources": spec.sources,
    }


def _layer_data(layer: Layer) -> dict[str, Any]:
    return {
        "parameters": layer.parameters,
        "active_parameters": layer.active_parameters,
        "token_mixer": _part_data(layer.token_mixer),
        "channel_mixer": _part_data(layer.channel_mixer),
    }


def _part_data(part: Any) -> dict[str, Any] | None:
    if part is None:
        return None
    shown = {k: v for k, v in vars(part).items() if isinstance(v, (int, str)) and v not in (None, False)}
    nested = {k: _part_data(v) for k, v in vars(part).items() if hasattr(v, "kind")}
    return {"kind": part.kind, **shown, **nested}


def _model_page(spec: ModelSpec) -> str:
    from genz.inference.report import WIDE, render, table

    rows = []
    for layer, count in spec.layer_groups:
        data = _layer_data(layer)
        rows.append(
            (
                str(count),
                _brief(data["token_mixer"]),
                _brief(data["channel_mixer"]),
                format_count(layer.parameters),
                format_count(layer.active_parameters),
            )
        )
    published = ""
    if spec.published:
        mark = " (estimate)" if spec.published.estimate else ""
        published = f"; published: {format_count(spec.published.total)}{mark}"
    about = (
        f"{spec.name}: {spec.title}\n{spec.parameters:,} parameters ({format_count(spec.parameters)}), "
        f"{format_count(spec.active_parameters)} active{published}\ncontext {spec.max_context:,}, vocabulary "
        f"{spec.embedding.vocabulary:,}, embeddings {'tied' if spec.embedding.tied else 'untied'}, stored as "
        f"{spec.precision.name if spec.precision else spec.dtype}"
    )
    if spec.notes:
        about += f"\n{spec.notes}"
    header = ("layers", "mixes tokens", "mixes channels", "parameters", "active")
    return render(about, table("", header, rows, words=(1, 2)), _sources(spec.sources.items()), width=WIDE)


def _brief(part: dict[str, Any] | None) -> str:
    if part is None:
        return "-"
    plain = {k: v for k, v in part.items() if k not in ("kind", "hidden") and not isinstance(v, dict)}
    inner = ", ".join(f"{k} {v}" if v is not True else k for k, v in plain.items())
    nested = "; ".join(f"{k}: {_brief(v)}" for k, v in part.items() if isinstance(v, dict))
    return f"{part['kind']} ({inner}{'; ' + nested if nested else ''})"
