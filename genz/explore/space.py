"""A study with its names resolved: everything that its blocks need, so that another machine can price them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from genz.errors import GenZError, InvalidValueError, UnknownNameError, nearest
from genz.explore.axes import ARGUMENTS, Axis, Kind, label_of
from genz.explore.figures import expand, replaced
from genz.explore.mesh import BLOCK_ROWS, Mesh, mesh
from genz.explore.study import Study
from genz.inference.lengths import refuse_denoiser
from genz.inference.question import DEFAULT_ENGINE, Question, settle_question
from genz.numerics import Number
from genz.specs import catalog
from genz.specs.hardware import Chip, Platform
from genz.specs.huggingface import model_from_config
from genz.specs.model import ModelSpec
from genz.specs.workload import UseCase

AUTO = "auto"
# A request that breaks no rule: those that are asked for take its place once the structure is settled.
_SMALLEST: dict[str, Any] = {"input": 1, "output": 1, "batch": 1, "beams": 1, "cached": 0}
# What requests have beside their lengths.
MEDIA = ("images", "image_size", "image_tokens", "audio", "embed")
# Arguments that a structure resolves itself.
_RESOLVED = ("model", "platform", "chip", "devices", "engine", "precision", "use_case", "treat_as")

SpecT = TypeVar("SpecT")
Chosen = dict[str, tuple[Axis, int]]


@dataclass(frozen=True)
class Structure:
    """One combination of what is looped over: its question, and the numbers that it sets, by target.

    `model` is the whole one, of which the question may leave the head out; `media` are the images and clips of each request.
    """

    question: Question
    model: ModelSpec
    media: dict[str, Any]
    case: UseCase | None
    numbers: dict[str, Number]


@dataclass(frozen=True)
class Space:
    """A study, its mesh, and the specifications that it names.

    `specs` are by target and position on the axis, `models` by the positions of model and treat_as, `platforms` by those of
    platform (or chip) and devices. A combination that cannot be has its error in the place of a specification.
    """

    study: Study
    mesh: Mesh
    specs: dict[str, tuple[Any, ...]] = field(repr=False)
    models: dict[tuple[int, int], ModelSpec | GenZError] = field(repr=False)
    platforms: dict[tuple[int, int], Platform | GenZError] = field(repr=False)
    configurations: tuple[dict[str, Any], ...] = field(repr=False)

    def chosen(self, positions: tuple[int, ...]) -> Chosen:
        """{target: (axis, position)} of all that is fixed, or looped over and in these positions."""
        found: Chosen = {axis.target: (axis, 0) for axis in self.study.axes if axis.fixed}
        for dimension, position in zip(self.mesh.looped, positions, strict=True):
            found |= {axis.target: (axis, position) for axis in dimension.axes}
        return found

    def structure(self, positions: tuple[int, ...]) -> Structure:
        """Settle one structure. Raises the `GenZError` that `genz.predict` would."""
        chosen = self.chosen(positions)
        values = {target: axis.values[position] for target, (axis, position) in chosen.items()}
        at = {target: position for target, (_, position) in chosen.items()}
        asked = {
            name: value
            for name, value in values.items()
            if name in ARGUMENTS and ARGUMENTS[name].kind is Kind.STRUCTURE and name not in _RESOLVED
        }
        asked["engine"] = _changed(self.specs["engine"][at.get("engine", 0)], "engine", chosen)
        if "precision" in at:
            asked["precision"] = _changed(self.specs["precision"][at["precision"]], "precision", chosen)
        model = self._model(chosen, at)
        refuse_denoiser(model)
        smallest = {name: value for name, value in _SMALLEST.items() if name != "input" or model.takes_text}
        question = settle_question(model, self._platform(chosen, at), **asked, **smallest)
        media = {name: asked[name] for name in MEDIA if name in asked}
        case = self.specs["use_case"][at["use_case"]] if "use_case" in at else None
        return Structure(
            question, model, media, case, {axis.target: axis.values[i] for axis, i in chosen.values() if axis.is_numeric}
        )

    def _model(self, chosen: Chosen, at: Mapping[str, int]) -> ModelSpec:
        changes = [(axis, axis.values[i]) for axis, i in chosen.values() if axis.target.startswith("model.")]
        if not changes:
            return _sound(self.models[at["model"], at.get("treat_as", 0)])
        raw = self.configurations[at["model"]]
        for axis, value in changes:
            raw = _with_key(raw, axis.target.split(".")[1:], value, axis.name)
        name, treat_as = (
            chosen[target][0].values[at[target]] if target in chosen else None for target in ("model", "treat_as")
        )
        return model_from_config(raw, name=str(name), treat_as=treat_as)

    def _platform(self, chosen: Chosen, at: Mapping[str, int]) -> Platform:
        found = _sound(self.platforms[at.get("platform", at.get("chip", 0)), at.get("devices", 0)])
        changed = _changed(found, "platform", chosen)
        if changed is found:
            return found
        technologies = {**changed.technologies, **catalog.technologies_of(changed.chip, changed.network)}
        return changed.model_copy(update={"technologies": technologies})


def _sound(found: SpecT | GenZError) -> SpecT:
    if isinstance(found, GenZError):
        raise found
    return found


def _changed(spec: SpecT, root: str, chosen: Chosen) -> SpecT:
    """A specification with other structure in it; its figures are bound later, block by block."""
    changed: Any = spec
    for axis, position in chosen.values():
        head, _, path = axis.target.partition(".")
        if head == root and path and axis.kind is Kind.STRUCTURE and isinstance(changed, BaseModel):
            for concrete in expand(changed, path, name=axis.name):
                changed = replaced(changed, concrete, axis.values[position], name=axis.name)
    return changed  # type: ignore[no-any-return]


def _with_key(raw: Mapping[str, Any], parts: list[str], value: Any, name: str) -> dict[str, Any]:
    """A configuration with another value under a key that it has."""
    head, rest = parts[0], parts[1:]
    if head not in raw or (rest and not isinstance(raw[head], dict)):
        close = nearest(head, map(str, raw))
        raise InvalidValueError(
            f"{name}: the model's configuration has no key {head!r}",
            field=name,
            value=head,
            hint=f"did you mean {close[0]!r}?" if close else None,
        )
    return {**raw, head: _with_key(raw[head], rest, value, name) if rest else value}


def resolve(study: Study, *, block_rows: int = BLOCK_ROWS) -> Space:
    """Find everything that a study names.

    Raises what the catalog raises for a name that it does not know, and `InvalidValueError` for a field that no
    specification of the study has, or that two axes set.
    """
    by_target = {axis.target: axis for axis in study.axes}
    readers = {"engine": catalog.engine, "precision": _precision, "use_case": catalog.use_case}
    specs: dict[str, tuple[Any, ...]] = {"engine": (catalog.engine(DEFAULT_ENGINE),)}
    for target, read in readers.items():
        if target in by_target:
            specs[target] = tuple(_read(read, value) for value in by_target[target].values)
    space = Space(
        study=study,
        mesh=mesh(study, block_rows=block_rows),
        specs=specs,
        models=_models(by_target),
        platforms=_platforms(by_target),
        configurations=_configurations(by_target),
    )
    _check_fields(space, by_target)
    _check_lengths(space, by_target)
    return space


def _check_lengths(space: Space, by_target: Mapping[str, Axis]) -> None:
    """There is a length of input and output where any model asks for one: encoders make none, images have their own."""
    models = [model for model in space.models.values() if not isinstance(model, GenZError)]
    embeds = "embed" in by_target and all(by_target["embed"].values)
    needed = {
        "input": any(model.takes_text and "audio" not in by_target for model in models),
        "output": any(model.generates and not embeds for model in models),
    }
    for length, flag in (("input", "isl"), ("output", "osl")):
        if needed[length] and length not in by_target and "use_case" not in by_target:
            raise InvalidValueError(
                f"{length} is missing",
                field=length,
                allowed="a number of tokens",
                hint=f"give {length!r} ({flag!r}) or a use_case",
            )


def _read(read: Any, value: Any) -> Any:
    return read(value) if isinstance(value, str) else value


def _precision(name: str) -> Any:
    return name if name == AUTO else catalog.precision(name)


def _models(by_target: Mapping[str, Axis]) -> dict[tuple[int, int], ModelSpec | GenZError]:
    types = by_target["treat_as"].values if "treat_as" in by_target else (None,)

    def found(value: Any, treat_as: str | None) -> ModelSpec | GenZError:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        try:
            return catalog.model(value, treat_as=treat_as)
        except GenZError as error:
            # A name that is in no catalog is a slip; a type that does not suit a model is a combination like others.
            if isinstance(error, UnknownNameError) or len(types) == 1:
                raise
            return error

    return {(i, j): found(value, kind) for i, value in enumerate(by_target["model"].values) for j, kind in enumerate(types)}


def _platforms(by_target: Mapping[str, Axis]) -> dict[tuple[int, int], Platform | GenZError]:
    if "platform" in by_target:
        named = by_target["platform"].values
        return {(i, 0): _platform_of(value) for i, value in enumerate(named)}
    chips = [_read(catalog.chip, value) for value in by_target["chip"].values]
    counts = by_target["devices"].values if "devices" in by_target else (1,)
    return {(i, j): _counted(chip, count) for i, chip in enumerate(chips) for j, count in enumerate(counts)}


def _platform_of(value: Any) -> Platform:
    if isinstance(value, Chip):
        return catalog.platform_of(value, 1)
    return value if isinstance(value, Platform) else catalog.platform(value)


def _counted(chip: Chip, devices: int) -> Platform | GenZError:
    try:
        return catalog.platform_of(chip, devices)
    except InvalidValueError as error:
        return error


def _configurations(by_target: Mapping[str, Axis]) -> tuple[dict[str, Any], ...]:
    varied = next((axis for target, axis in by_target.items() if target.startswith("model.")), None)
    if varied is None:
        return ()
    for value in by_target["model"].values:
        if not isinstance(value, str):
            raise InvalidValueError(
                f"{varied.name}: {label_of(value)} is given as it is, without the configuration that it was read from",
                field=varied.name,
                value=label_of(value),
                allowed="a model by its name or path",
            )
    return tuple(catalog.configuration(value) for value in by_target["model"].values)


def _check_fields(space: Space, by_target: Mapping[str, Axis]) -> None:
    """Each field is there in one specification at least, and in none of them two axes set the same."""
    roots: dict[str, list[BaseModel]] = {
        "platform": [found for found in space.platforms.values() if isinstance(found, Platform)],
        "engine": list(space.specs["engine"]),
        "precision": [found for found in space.specs.get("precision", ()) if not isinstance(found, str)],
    }
    for root, specs in roots.items():
        fields = [axis for axis in by_target.values() if axis.target.startswith(f"{root}.")]
        if fields and not specs:
            raise InvalidValueError(
                f"{fields[0].name}: there is no {root} whose field it is", field=root, allowed=f"a {root} by its name"
            )
        for axis in fields:
            _check_somewhere(axis, specs)
        for spec in specs:
            _check_once(fields, spec)
    for axis in by_target.values():
        if axis.target.startswith("model."):
            for raw in space.configurations:
                _with_key(raw, axis.target.split(".")[1:], axis.values[0], axis.name)


def _check_somewhere(axis: Axis, specs: list[BaseModel]) -> None:
    path, first = axis.target.partition(".")[2], None
    for spec in specs:
        try:
            expand(spec, path, name=axis.name)
        except GenZError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise first


def _check_once(fields: list[Axis], spec: BaseModel) -> None:
    taken: dict[str, Axis] = {}
    for axis in fields:
        try:
            paths = expand(spec, axis.target.partition(".")[2], name=axis.name)
        except GenZError:
            continue
        for path in paths:
            other = taken.setdefault(path, axis)
            if other is not axis:
                raise InvalidValueError(
                    f"axes: {other.name!r} and {axis.name!r} both set {path}",
                    field="axes",
                    value=axis.name,
                    allowed="each figure once",
                )
