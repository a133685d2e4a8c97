"""A study: what varies, what is set once, which rows count, and which figures are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from genz.errors import GenZError, InvalidValueError, SpecError, nearest, shown
from genz.explore.axes import Axis, axis, target_of
from genz.explore.conditions import Condition, condition
from genz.explore.values import is_listing
from genz.inference.metrics import METRICS, metric
from genz.specs import catalog
from genz.specs.base import read_mapping

KEYS = ("study", "title", "notes", "ask", "axes", "zip", "where", "metrics")


@dataclass(frozen=True)
class Study:
    """A design space in words: axes that vary, others that are fixed, zips, conditions and metrics, all of them checked.

    `zips` are groups of targets that advance together; every other axis is crossed with all others.
    """

    name: str
    title: str
    axes: tuple[Axis, ...]
    zips: tuple[tuple[str, ...], ...] = ()
    where: tuple[Condition, ...] = ()
    metrics: tuple[str, ...] = tuple(METRICS)

    @classmethod
    def load(cls, name: str | Path, changes: Mapping[str, Any] | None = None) -> Self:
        """A study by the name that the catalog lists it under, or by the path of a YAML file.

        `changes` put other values in the place of those that the file gives, or beside them. Raises `UnknownNameError`,
        `SpecError`, `InvalidValueError` or `UnitError`.
        """
        path = catalog.path_of("study", str(name))
        raw = read_mapping(path)
        _check_keys(raw, path)
        asked, axes = (_mapping(raw, key, path) for key in ("ask", "axes"))
        _change(asked, axes, changes or {})
        return cls.of(
            asked,
            axes,
            zips=_lists(raw.get("zip"), "zip", path),
            where=_list(raw.get("where"), "where", path),
            metrics=_list(raw["metrics"], "metrics", path) if "metrics" in raw else None,
            name=str(raw.get("study", path.stem)),
            title=str(raw.get("title", "")),
            needs_unit=True,
        )

    @classmethod
    def of(
        cls,
        asked: Mapping[str, Any],
        axes: Mapping[str, Any],
        *,
        zips: Iterable[Iterable[str]] = (),
        where: Iterable[str] = (),
        metrics: Iterable[str] | None = None,
        name: str = "sweep",
        title: str = "",
        needs_unit: bool = False,
    ) -> Self:
        """A study from arguments that are `asked` once, and from axes.

        Quantities must say their unit where it `needs_unit`, else plain numbers are SI. Raises as `load` does.
        """
        for key, value in asked.items():
            if is_listing(value):
                raise InvalidValueError(
                    f"{key}: {shown(value)} belongs to the axes", field=key, value=value, allowed="one value"
                )
        built = [axis(key, value, fixed=True, needs_unit=needs_unit) for key, value in asked.items()]
        built += [axis(key, value, needs_unit=needs_unit) for key, value in axes.items()]
        by_target = _by_target(built)
        _check_complete(by_target)
        chosen = tuple(METRICS) if metrics is None else tuple(metric(wanted).name for wanted in metrics)
        if not chosen or len(set(chosen)) < len(chosen):
            raise InvalidValueError("metrics: each is wanted once, and one at least", field="metrics", value=list(chosen))
        return cls(
            name=name,
            title=title,
            axes=tuple(built),
            zips=_zipped(zips, by_target),
            where=tuple(condition(text, by_target) for text in where),
            metrics=chosen,
        )

    @property
    def varying(self) -> tuple[Axis, ...]:
        """The axes that have a column of their own."""
        return tuple(found for found in self.axes if not found.fixed)

    @property
    def configurations(self) -> int:
        """Rows before conditions: the product of all axes, those of a zip counted once."""
        count = 1
        together = {target: group[0] for group in self.zips for target in group}
        for found in self.axes:
            if together.get(found.target, found.target) == found.target:
                count *= len(found)
        return count

    def to_dict(self) -> dict[str, Any]:
        """The study as JSON-ready data, values in SI: two studies of the same data have the same rows."""
        return {
            "study": self.name,
            "ask": {found.name: found.labels[0] for found in self.axes if found.fixed},
            "axes": {found.name: _data(found) for found in self.varying},
            "zip": [list(group) for group in self.zips],
            "where": [stated.text for stated in self.where],
            "metrics": list(self.metrics),
        }


def _data(found: Axis) -> Any:
    return {"times": list(found.labels)} if found.relative else list(found.labels)


def _check_keys(raw: Mapping[str, Any], path: Path) -> None:
    for key in raw:
        if key not in KEYS:
            close = nearest(str(key), KEYS)
            raise SpecError(
                f"{path}: unknown key {shown(key)}",
                field=str(key),
                value=key,
                allowed=", ".join(KEYS),
                hint=f"did you mean {close[0]!r}?" if close else None,
            )


def _mapping(raw: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    found = raw.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SpecError(
            f"{path}: {key} = {shown(found)} is not allowed", field=key, value=found, allowed="a mapping of names to values"
        )
    return dict(found)


def _list(found: Any, key: str, path: Path) -> list[Any]:
    if not isinstance(found, (list, type(None))):
        raise SpecError(f"{path}: {key} = {shown(found)} is not allowed", field=key, value=found, allowed="a list")
    return found or []


def _lists(found: Any, key: str, path: Path) -> list[list[Any]]:
    return [_list(group, key, path) for group in _list(found, key, path)]


def _change(asked: dict[str, Any], axes: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put each change where its axis stands; what is new varies if it is a list, and is fixed if it is one value."""
    for name, value in changes.items():
        target = target_of(name)
        varied = next((key for key in axes if target_of(key) == target), None)
        if varied is not None:
            axes[varied] = value if is_listing(value) else [value]
            continue
        asked.pop(next((key for key in asked if target_of(key) == target), name), None)
        (axes if is_listing(value) else asked)[name] = value


def _by_target(built: list[Axis]) -> dict[str, Axis]:
    found: dict[str, Axis] = {}
    for one in built:
        other = found.setdefault(one.target, one)
        if other is not one:
            names = repr(one.name) if one.name == other.name else f"{other.name!r} and {one.name!r}"
            raise InvalidValueError(
                f"axes: {names} set the same thing", field="axes", value=one.name, allowed="each thing once"
            )
    return found


def _check_complete(by_target: Mapping[str, Axis]) -> None:
    """There is a model and one platform."""
    if "model" not in by_target:
        raise InvalidValueError("model is missing", field="model", allowed="a model, or several of them as an axis")
    chips = [name for name in ("chip", "devices") if name in by_target]
    if "platform" in by_target and chips:
        raise InvalidValueError(
            f"{chips[0]}: a platform has its chips already",
            field=chips[0],
            allowed="a platform, or a chip and devices",
            hint="give 'chip' in the place of 'platform'" if chips == ["devices"] else None,
        )
    if "platform" not in by_target and "chip" not in by_target:
        raise InvalidValueError("platform is missing", field="platform", allowed="a platform, or a chip and devices")


def _zipped(zips: Iterable[Iterable[str]], by_target: Mapping[str, Axis]) -> tuple[tuple[str, ...], ...]:
    groups = [(zips,)] if isinstance(zips, str) else [(group,) if isinstance(group, str) else tuple(group) for group in zips]
    found = []
    for group in groups:
        targets = tuple(_zippable(name, by_target).target for name in group)
        lengths = {by_target[target].name: len(by_target[target]) for target in targets}
        if len(targets) < 2 or len(lengths) < len(targets):
            raise InvalidValueError(
                f"zip: {shown(list(group))} is no group of axes", field="zip", value=list(group), allowed="two or more axes"
            )
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise InvalidValueError(f"zip: {told} values", field="zip", value=list(group), allowed="axes of one length")
        found.append(targets)
    everything = [target for group in found for target in group]
    for target in everything:
        if everything.count(target) > 1:
            name = by_target[target].name
            raise InvalidValueError(f"zip: {name!r} is in two groups", field="zip", value=name, allowed="each axis in one")
    return tuple(found)


def _zippable(name: Any, by_target: Mapping[str, Axis]) -> Axis:
    varying = [found.name for found in by_target.values() if not found.fixed]
    try:
        found = by_target.get(target_of(name))
    except GenZError:
        found = None
    if found is None or found.fixed:
        close = nearest(str(name), varying)
        raise InvalidValueError(
            f"zip: {shown(name)} is no axis of this study",
            field="zip",
            value=name,
            allowed=", ".join(varying) or None,
            hint=f"did you mean {close[0]!r}?" if close else None,
        )
    return found
