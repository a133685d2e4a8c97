"""Where specs are found: by name in the catalog that GenZ ships, by alias, or by path.

A name may be written as people do: case, `_` and `-` do not matter. Folders named in the environment
variable `GENZ_SPECS` are searched before the catalog; they have the same layout.
"""

from __future__ import annotations

import os
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from genz.errors import InvalidValueError, SpecError, unknown_name
from genz.specs.base import Spec, read_mapping, spec_error, split_provenance
from genz.specs.engine import Engine
from genz.specs.hardware import Chip, NetworkDimension, Platform, Technology
from genz.specs.huggingface import model_from_config, model_from_path
from genz.specs.model import ModelSpec, PublishedSize
from genz.specs.precision import Precision
from genz.specs.workload import UseCase

S = TypeVar("S", bound=Spec)
SUFFIXES = (".yaml", ".yml", ".json")
_FOLDERS: dict[str, str] = {
    "chip": "hardware_specs/chips",
    "platform": "hardware_specs/platforms",
    "engine": "hardware_specs/engines",
    "technology": "hardware_specs/technologies",
    "model": "model_specs",
    "use_case": "workload_specs/use_cases",
    "precision": "workload_specs/precisions",
}
_COUNTED = re.compile(r"^\s*(\d+)\s*[x×*]\s*(.+?)\s*$", re.IGNORECASE)
MAX_DEVICES = 10**6


def normalise(name: str) -> str:
    """The form of a name that is compared: lower case, dashes for underscores and spaces."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


@cache
def roots() -> tuple[Path, ...]:
    """Folders that hold specs, the user's first."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "data" if (package / "data").is_dir() else package.parent
    own = [Path(part).expanduser() for part in os.environ.get("GENZ_SPECS", "").split(os.pathsep) if part]
    return (*own, shipped)


@cache
def files(kind: str) -> dict[str, Path]:
    """{name: file} of all specs of a kind."""
    found: dict[str, Path] = {}
    for root in reversed(roots()):
        folder = root / _FOLDERS[kind]
        if folder.is_dir():
            found.update({normalise(p.stem): p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES})
    return dict(sorted(found.items()))


@cache
def _aliases(kind: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for name, path in files(kind).items():
        for alias in read_mapping(path).get("aliases") or ():
            table.setdefault(normalise(str(alias)), name)
    return table


def names(kind: str) -> list[str]:
    """Names of all specs of a kind in the catalog, sorted."""
    return list(files(kind))


def _find(kind: str, name: str) -> Path:
    """The file of a named spec. Raises `UnknownNameError` with the nearest names."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidValueError(f"{kind}: {name!r} is not a name", field=kind, value=name)
    key = normalise(name)
    listed = files(kind)
    if key in listed:
        return listed[key]
    alias = _aliases(kind).get(key)
    if alias is not None:
        return listed[alias]
    raise unknown_name(kind.replace("_", " "), name, {*listed, *_aliases(kind)}, hint=f"'genz {_LISTING[kind]}' lists them")


_LISTING = {
    "chip": "hardware", "platform": "hardware", "engine": "engines", "technology": "show", "model": "models",
    "use_case": "use-cases", "precision": "precisions",
}  # fmt: skip


def looks_like_path(name: str) -> bool:
    """Whether a text names a file rather than a catalog entry."""
    return name.endswith(SUFFIXES) or name.startswith((".", "/", "~")) or (os.sep in name and Path(name).exists())


def load(kind: str, cls: type[S], name: str) -> S:
    """A spec by name, alias or path."""
    if looks_like_path(name):
        path = Path(name).expanduser()
        return _load_file(cls, path, _stamp(path))
    path = _find(kind, name)
    return _load_file(cls, path, _stamp(path))


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=512)
def _load_file(cls: type[S], path: Path, _stamp: int) -> S:
    return cls.from_file(path)


def chip(name: str) -> Chip:
    """A chip by name, alias or path of a YAML file."""
    return load("chip", Chip, name)


def engine(name: str) -> Engine:
    """A serving engine by name, alias or path."""
    return load("engine", Engine, name)


def technology(name: str) -> Technology:
    """The energy constants of a process, memory or link by name."""
    return load("technology", Technology, name)


def precision(name: str) -> Precision:
    """A precision by name, alias or path."""
    return load("precision", Precision, name)


def use_case(name: str) -> UseCase:
    """A use case by name, alias or path."""
    return load("use_case", UseCase, name)


def model(name: str, *, treat_as: str | None = None) -> ModelSpec:
    """A model by name or hub id, or from the path of a `config.json`, its folder, or a model file.

    `treat_as` reads a configuration as another `model_type`.
    """
    path = Path(name).expanduser() if isinstance(name, str) and name else None
    if path is not None and (looks_like_path(name) or path.is_dir()):
        return _model_from_file(path, treat_as, _stamp(path / "config.json" if path.is_dir() else path))
    path = _find("model", name)
    return _model_from_file(path, treat_as, _stamp(path))


@lru_cache(maxsize=512)
def _model_from_file(path: Path, treat_as: str | None, _stamp: int) -> ModelSpec:
    if path.suffix in (".yaml", ".yml"):
        return _catalog_model(path, treat_as)
    return model_from_path(path, treat_as=treat_as)


def _catalog_model(path: Path, treat_as: str | None) -> ModelSpec:
    raw = read_mapping(path)
    allowed = {"model", "title", "aliases", "sources", "published_parameters", "config", "notes"}
    unknown = sorted(set(raw) - allowed)
    if unknown:
        raise SpecError(f"{path}: unknown key {unknown[0]!r}", field=unknown[0], allowed=", ".join(sorted(allowed)))
    if not isinstance(raw.get("config"), dict) or not raw.get("sources"):
        missing = "config" if not isinstance(raw.get("config"), dict) else "sources"
        raise SpecError(f"{path}: {missing}: this key is missing", field=missing)
    sizes = {k: raw[k] for k in ("published_parameters", "sources") if k in raw}
    plain, provenance = split_provenance(sizes, origin=str(path))
    return model_from_config(
        raw["config"],
        name=str(raw.get("model", path.stem)),
        origin=str(path),
        treat_as=treat_as,
        title=raw.get("title", ""),
        aliases=tuple(raw.get("aliases") or ()),
        sources=raw["sources"],
        notes=str(raw.get("notes", "")).strip(),
        published=_published(plain.get("published_parameters"), provenance, path),
    )


def _published(sizes: Any, provenance: dict[str, Any], path: Path) -> PublishedSize | None:
    if sizes is None:
        return None
    try:
        total = float(sizes["total"])
        active = float(sizes["active"]) if sizes.get("active") is not None else None
    except (TypeError, KeyError, ValueError):
        raise SpecError(f"{path}: published_parameters needs a number 'total'", field="published_parameters", value=sizes) from None
    origin = provenance.get("published_parameters.total")
    return PublishedSize(total, active, origin.source if origin else "", bool(origin and origin.estimate))


def platform(name: str) -> Platform:
    """A platform: by name or path, or as a number of chips such as `"8x h100-sxm"` (one where no number is given).

    Chips written this way are joined by their scale-up link. Raises `InvalidValueError` for a number of
    devices beyond that link's domain.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidValueError(f"platform: {name!r} is not a name", field="platform", value=name)
    counted = _COUNTED.match(name)
    if counted is None:
        if re.match(r"^\s*[-+]?[\d.]+\s*[x×*]\s", name):
            raise _bad_count(name)
        if looks_like_path(name):
            return _platform_from_path(Path(name).expanduser())
        if normalise(name) in files("platform") or normalise(name) in _aliases("platform"):
            return _named_platform(_find("platform", name))
        known = {*files("chip"), *_aliases("chip")}
        if normalise(name) not in known:
            raise unknown_name("platform", name, {*known, *files("platform"), *_aliases("platform")},
                               hint="'genz hardware' lists them; several chips are written '8x h100-sxm'")  # fmt: skip
        return platform_of(chip(name), 1)
    return platform_of(chip(counted.group(2)), int(counted.group(1)))


def _bad_count(name: Any) -> InvalidValueError:
    return InvalidValueError(
        f"platform: {name!r} has no whole number of devices", field="devices", value=name,
        allowed=f"1 to {MAX_DEVICES:,} devices, as in '8x h100-sxm'",
    )  # fmt: skip


def platform_of(spec: Chip, devices: int) -> Platform:
    """A platform of `devices` chips on their scale-up link."""
    if isinstance(devices, bool) or not isinstance(devices, int) or not 1 <= devices <= MAX_DEVICES:
        raise _bad_count(devices)
    link = spec.links.get("scale_up")
    if devices > 1 and link is None:
        raise InvalidValueError(
            f"{spec.name} has no scale-up link, so {devices} of them make no platform", field="devices", value=devices, allowed="1"
        )
    if link is not None and devices > link.domain:
        raise InvalidValueError(
            f"{devices} devices of {spec.name} are more than its scale-up link joins", field="devices", value=devices,
            allowed=f"1 to {link.domain}",
        )  # fmt: skip
    network = ()
    if link is not None and devices > 1:
        network = (NetworkDimension(link="scale_up", topology=link.topology, size=devices, bandwidth=link.bandwidth,
                                    latency=link.latency, technology=link.technology),)  # fmt: skip
    name = spec.name if devices == 1 else f"{devices}x {spec.name}"
    return Platform(name=name, title=spec.title, chip=spec, devices=devices, network=network,
                    technologies=_technologies(spec, network))  # fmt: skip


def _technologies(spec: Chip, network: tuple[NetworkDimension, ...]) -> dict[str, Technology]:
    wanted = {spec.process, *(level.technology for level in spec.memory.values()), *(d.technology for d in network)}
    return {name: technology(name) for name in sorted(w for w in wanted if w)}


def _platform_from_path(path: Path) -> Platform:
    """A platform file, or a chip file as a platform of one."""
    if "platform" in read_mapping(path):
        return _named_platform(path)
    return platform_of(load("chip", Chip, str(path)), 1)


def _named_platform(path: Path) -> Platform:
    raw = read_mapping(path)
    plain, provenance = split_provenance(raw, origin=str(path))
    plain["name"] = plain.pop("platform", path.stem)
    if not isinstance(plain.get("chip"), str):
        raise SpecError(f"{path}: chip: the name of a chip is missing", field="chip", value=plain.get("chip"))
    spec = chip(plain["chip"])
    base = platform_of(spec, 1)
    try:
        built = Platform.model_validate({**plain, "chip": spec, "provenance": provenance}, context={"from_file": True})
    except ValidationError as error:
        raise spec_error(error, Platform, str(path)) from None
    return built.model_copy(update={"technologies": {**base.technologies, **_technologies(spec, built.network)}})
