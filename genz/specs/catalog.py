"""Where specs are found: by name in the catalog that GenZ ships, by alias, or by path.

A name may be written as people do: case, `_` and `-` do not matter. Folders named in the environment
variable `GENZ_SPECS` are searched before the catalog; they have the same layout.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pydantic import ValidationError

from genz.errors import InvalidValueError, SpecError, nearest, shown, unknown_name
from genz.specs.base import Spec, read_mapping, spec_error, split_provenance
from genz.specs.engine import Engine
from genz.specs.hardware import Chip, NetworkDimension, Platform, Technology
from genz.specs.huggingface import CONFIG_NAME, MODELOPT_NAME, PREPROCESSOR_NAME, model_from_config, model_from_path
from genz.specs.model import ModelSpec, PublishedSize
from genz.specs.precision import Precision
from genz.specs.workload import UseCase

S = TypeVar("S", bound=Spec)
P = ParamSpec("P")
R = TypeVar("R")
SUFFIXES = (".yaml", ".yml", ".json")
_FOLDERS: dict[str, str] = {
    "chip": "hardware_specs/chips",
    "platform": "hardware_specs/platforms",
    "engine": "hardware_specs/engines",
    "technology": "hardware_specs/technologies",
    "model": "model_specs",
    "use_case": "workload_specs/use_cases",
    "precision": "workload_specs/precisions",
    "study": "workload_specs/studies",
}
_COUNTED = re.compile(r"^\s*(\d+)\s*[x×*]\s*(\S.*?)\s*$", re.IGNORECASE)
_MISCOUNTED = re.compile(r"^\s*(?:[-+]?[\d.,][\d.,e+-]*\s*[x×*]|[-+]?(?:nan|inf|infinity)\s*[x×*]\s)\s*\S", re.IGNORECASE)
MAX_DEVICES = 10**6
MAX_PARAMETERS = 1e18
READ_BESIDE = (CONFIG_NAME, MODELOPT_NAME, PREPROCESSOR_NAME, "model.safetensors.index.json", "model.safetensors")
_forgetters: list[Callable[[], None]] = []


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """Remember what a function of names or paths returns, until `forget` is called."""
    cached = lru_cache(maxsize=512)(function)
    _forgetters.append(cached.cache_clear)
    return cached  # type: ignore[return-value]  # whose arguments are hashable: names and paths


def forget() -> None:
    """Forget what was read from spec folders: they, or GENZ_SPECS, have changed."""
    for clear in _forgetters:
        clear()


def prefer(folder: Path) -> None:
    """Search a folder before all others from now on, as if it stood first in GENZ_SPECS."""
    named = [part for part in os.environ.get("GENZ_SPECS", "").split(os.pathsep) if part]
    if str(folder) not in named:
        os.environ["GENZ_SPECS"] = os.pathsep.join([str(folder), *named])
    forget()


def normalise(name: str) -> str:
    """The form of a name that is compared: lower case, dashes for underscores and spaces."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


@remembered
def roots() -> tuple[Path, ...]:
    """Folders that hold specs, the user's first."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "data" if (package / "data").is_dir() else package.parent
    own = [_path("GENZ_SPECS", part) for part in os.environ.get("GENZ_SPECS", "").split(os.pathsep) if part]
    for folder in own:
        if not _is_folder(folder):
            raise SpecError(
                f"GENZ_SPECS: {shown(str(folder))} is no folder",
                field="GENZ_SPECS",
                value=str(folder),
                allowed="folders that hold hardware_specs, model_specs or workload_specs",
            )
    return (*own, shipped)


def _path(kind: str, name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # "~nobody"
        raise InvalidValueError(f"{kind}: {shown(name)}: {error}", field=kind, value=name, allowed="a path") from None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name that is too long
        return False


@remembered
def files(kind: str) -> dict[str, Path]:
    """{name: file} of all specs of a kind."""
    found: dict[str, Path] = {}
    for root in reversed(roots()):
        folder = root / _FOLDERS[kind]
        if folder.is_dir():
            found.update({normalise(p.stem): p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES})
    return dict(sorted(found.items()))


@remembered
def _aliases(kind: str) -> dict[str, str]:
    table: dict[str, str] = {}
    order = {root / _FOLDERS[kind]: i for i, root in enumerate(roots())}
    for name, path in sorted(files(kind).items(), key=lambda entry: order[entry[1].parent]):
        aliases = read_mapping(path).get("aliases") or []
        if not isinstance(aliases, list):
            problem = f"{path}: aliases = {shown(aliases)} is not a list"
            raise SpecError(problem, field="aliases", value=aliases, allowed="a list of names")
        for alias in aliases:
            table.setdefault(normalise(str(alias)), name)
    return table


def names(kind: str) -> list[str]:
    """Names of all specs of a kind in the catalog, sorted."""
    return list(files(kind))


def _find(kind: str, name: str) -> Path:
    """The file of a named spec. Raises `UnknownNameError` with the nearest names."""
    key = normalise(name)
    listed = files(kind)
    if key in listed:
        return listed[key]
    alias = _aliases(kind).get(key)
    if alias is not None:
        return listed[alias]
    raise unknown_name(kind.replace("_", " "), name, {*listed, *_aliases(kind)}, hint=f"'genz {_LISTING[kind]}' lists them")


_LISTING = {
    "chip": "hardware",
    "platform": "hardware",
    "engine": "engines",
    "technology": "show",
    "model": "models",
    "use_case": "use-cases",
    "precision": "precisions",
    "study": "sweep --list",
}


def _check_name(kind: str, name: Any) -> None:
    """Raise `InvalidValueError` for what can be neither a name nor a path."""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise InvalidValueError(
            f"{kind}: {shown(name)} is not a name",
            field=kind,
            value=name,
            allowed=f"a name that 'genz {_LISTING[kind]}' lists, or a path",
        )


def looks_like_path(name: str) -> bool:
    """Whether a text names a file rather than a catalog entry."""
    return name.endswith(SUFFIXES) or name.startswith((".", "/", "~")) or (os.sep in name and os.path.exists(name))  # noqa: PTH110


def path_of(kind: str, name: str) -> Path:
    """The file of a spec by name, alias or path. Raises `UnknownNameError` or `InvalidValueError`."""
    _check_name(kind, name)
    return _path(kind, name) if looks_like_path(name) else _find(kind, name)


def load(kind: str, cls: type[S], name: str) -> S:
    """A spec by name, alias or path."""
    path = path_of(kind, name)
    spec: S = _load_file(cls, path, _stamp(path))
    return spec


def _stamp(*paths: Path) -> tuple[tuple[int, int], ...]:
    """What tells that a file is no longer the one that was read."""
    stamps = []
    for path in paths:
        try:
            status = path.stat()
            stamps.append((status.st_mtime_ns, status.st_size))
        except OSError:
            stamps.append((0, 0))
    return tuple(stamps)


@lru_cache(maxsize=512)
def _load_file(cls: type[S], path: Path, _stamp: tuple[tuple[int, int], ...]) -> S:
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
    if not (treat_as is None or isinstance(treat_as, str)):
        raise InvalidValueError(
            f"treat_as: {shown(treat_as)} is not a name", field="treat_as", value=treat_as, allowed="a model_type"
        )
    path = _model_path(name)
    if path.suffix in (".yaml", ".yml"):
        return _model_from_file(path, treat_as, _stamp(path))
    folder = path if _is_folder(path) else path.parent
    return _model_from_file(path, treat_as, _stamp(path, folder, *(folder / beside for beside in READ_BESIDE)))


def _model_path(name: str) -> Path:
    _check_name("model", name)
    path = _path("model", name)
    if looks_like_path(name) or (_is_folder(path) and (path / CONFIG_NAME).is_file()):
        return path
    return _find("model", name)


def configuration(name: str) -> dict[str, Any]:
    """The keys of a model's `config.json`, by name, hub id or path. Raises `UnknownNameError` or `SpecError`."""
    path = _model_path(name)
    raw = read_mapping(path / CONFIG_NAME if _is_folder(path) else path)
    return raw["config"] if path.suffix in (".yaml", ".yml") and isinstance(raw.get("config"), dict) else raw


@lru_cache(maxsize=512)
def _model_from_file(path: Path, treat_as: str | None, _stamp: tuple[tuple[int, int], ...]) -> ModelSpec:
    if path.suffix in (".yaml", ".yml"):
        return _catalog_model(path, treat_as)
    return model_from_path(path, treat_as=treat_as)


def _catalog_model(path: Path, treat_as: str | None) -> ModelSpec:
    raw = read_mapping(path)
    allowed = {"model", "title", "aliases", "sources", "published_parameters", "config", "preprocessor", "notes"}
    unknown = sorted(str(key) for key in set(raw) - allowed)
    if unknown:
        close = nearest(unknown[0], allowed)
        hint = f"did you mean {close[0]!r}?" if close else None
        raise SpecError(f"{path}: unknown key {unknown[0]!r}", field=unknown[0], allowed=", ".join(sorted(allowed)), hint=hint)
    if not isinstance(raw.get("config"), dict) or not raw.get("sources"):
        missing = "config" if not isinstance(raw.get("config"), dict) else "sources"
        raise SpecError(f"{path}: {missing}: this key is missing", field=missing)
    kinds = {str: "a text", list: "a list of names", dict: "a mapping"}
    for key, wanted in (("model", str), ("title", str), ("aliases", list), ("notes", str), ("preprocessor", dict)):
        if not isinstance(raw.get(key, wanted()), wanted):
            problem = f"{path}: {key} = {shown(raw[key])} is not allowed"
            raise SpecError(problem, field=key, value=raw[key], allowed=kinds[wanted])
    sizes: dict[str, Any] = {k: raw[k] for k in ("published_parameters", "sources") if k in raw}
    plain, provenance = split_provenance(sizes, origin=str(path))
    return model_from_config(
        raw["config"],
        name=raw.get("model", path.stem),
        origin=str(path),
        treat_as=treat_as,
        preprocessor=raw.get("preprocessor"),
        title=raw.get("title", ""),
        aliases=tuple(map(str, raw.get("aliases", ()))),
        sources=raw["sources"],
        notes=raw.get("notes", "").strip(),
        published=_published(plain.get("published_parameters"), provenance, path),
    )


def _parameter_count(sizes: dict[str, Any], key: str, path: Path) -> float:
    size = sizes[key]
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0 < size < MAX_PARAMETERS:
        field = f"published_parameters.{key}"
        raise SpecError(
            f"{path}: {field} = {shown(size)} is not allowed",
            field=field,
            value=size,
            allowed=f"a number above 0 and below {MAX_PARAMETERS:g}",
        )
    return float(size)


def _published(sizes: Any, provenance: dict[str, Any], path: Path) -> PublishedSize | None:
    if sizes is None:
        return None
    if not isinstance(sizes, dict) or not {"total"} <= set(sizes) <= {"total", "active"}:
        raise SpecError(
            f"{path}: published_parameters = {shown(sizes)} is not allowed",
            field="published_parameters",
            value=sizes,
            allowed="a mapping of total and, if it differs, active",
        )
    total = _parameter_count(sizes, "total", path)
    active = _parameter_count(sizes, "active", path) if sizes.get("active") is not None else None
    origin = provenance.get("published_parameters.total")
    return PublishedSize(total, active, origin.source if origin else "", bool(origin and origin.estimate))


def platform(name: str) -> Platform:
    """A platform: by name or path, or as a number of chips such as `"8x h100-sxm"` (one where no number is given).

    Chips written this way are joined by their scale-up link. Raises `InvalidValueError` for a number of
    devices beyond that link's domain.
    """
    _check_name("platform", name)
    counted = _COUNTED.match(name)
    if counted is None:
        if looks_like_path(name):
            return _platform_from_path(_path("platform", name))
        # Names come before aliases, for which every file has to be read.
        key = normalise(name)
        if key in files("platform") or (key not in files("chip") and key in _aliases("platform")):
            return _named_platform(_find("platform", name))
        if key in files("chip"):
            return platform_of(chip(name), 1)
        known = {*files("chip"), *_aliases("chip")}
        if key not in known and _MISCOUNTED.match(name):
            raise _bad_count(name)
        if key not in known:
            raise unknown_name(
                "platform",
                name,
                {*known, *files("platform"), *_aliases("platform")},
                hint="'genz hardware' lists them; several chips are written '8x h100-sxm'",
            )
        return platform_of(chip(name), 1)
    if len(counted.group(1)) > len(str(MAX_DEVICES)):
        raise _bad_count(name)
    return platform_of(chip(counted.group(2)), int(counted.group(1)))


def _bad_count(value: Any) -> InvalidValueError:
    return InvalidValueError(
        f"devices: {shown(value)} is not a number of devices",
        field="devices",
        value=value,
        allowed=f"a whole number from 1 to {MAX_DEVICES:,}, as in '8x h100-sxm'",
    )


def platform_of(spec: Chip, devices: int) -> Platform:
    """A platform of `devices` chips on their scale-up link."""
    if isinstance(devices, bool) or not isinstance(devices, int) or not 1 <= devices <= MAX_DEVICES:
        raise _bad_count(devices)
    link = spec.links.get("scale_up")
    if devices > 1 and link is None:
        raise InvalidValueError(
            f"devices: {devices} of {spec.name} make no platform, as it has no scale-up link",
            field="devices",
            value=devices,
            allowed="1",
        )
    if link is not None and devices > link.domain:
        raise InvalidValueError(
            f"devices: {devices} of {spec.name} are more than its scale-up link joins",
            field="devices",
            value=devices,
            allowed=f"1 to {link.domain}",
        )
    network: tuple[NetworkDimension, ...] = ()
    if link is not None and devices > 1:
        shape = even_shape(devices, link.torus_dimensions) if link.topology == "torus" else None
        network = (
            NetworkDimension(
                link="scale_up",
                topology=link.topology,
                size=devices,
                shape=shape,
                bandwidth=link.bandwidth,
                latency=link.latency,
                technology=link.technology,
            ),
        )
    name = spec.name if devices == 1 else f"{devices}x {spec.name}"
    return Platform(
        name=name, title=spec.title, chip=spec, devices=devices, network=network, technologies=technologies_of(spec, network)
    )


def even_shape(size: int, dimensions: int) -> tuple[int, ...]:
    """The sides of a torus of `size` devices that are most alike: 64 in three dimensions are 4 x 4 x 4."""
    if dimensions == 1:
        return (size,)
    side = next(d for d in range(round(size ** (1 / dimensions)) + 1, 0, -1) if size % d == 0)
    return (side, *even_shape(size // side, dimensions - 1))


def technologies_of(spec: Chip, network: tuple[NetworkDimension, ...]) -> dict[str, Technology]:
    """The technologies that a chip and a network name. Raises `UnknownNameError`."""
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
    return built.model_copy(update={"technologies": {**base.technologies, **technologies_of(spec, built.network)}})
