"""Specification files: what they may say, where each figure came from, and what a broken file is told."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from time_limit import time_limit

from genz.errors import GenZError, SpecError
from genz.specs import catalog
from genz.specs.base import MAX_NESTING, MAX_YAML_BYTES, Provenance, read_mapping, read_text, split_provenance
from genz.specs.hardware import Chip

CHIP = """\
chip: toy
title: A toy
aliases: [toy-1]
vendor: acme
architecture: toy
year: 2024
process: n4
sources:
  sheet: "Acme data sheet, 2024"
  guess: "A guess"
source: sheet
matrix_flops: {bf16: 100 TFLOP/s, fp8: {value: 200 TFLOP/s, source: guess, estimate: true, note: twice bf16}}
vector_flops: {fp32: 10 TFLOP/s}
cores: {count: 16, clock: 1 GHz}
memory:
  hbm: {capacity: 80 GiB, bandwidth: 2 TB/s, technology: hbm3}
links:
  scale_up: {source: [sheet, guess], bandwidth: 400 Gbit/s, latency: 2 us, domain: 8, topology: ring}
power: {tdp: 300 W, idle: 30 W}
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Chip]:
    def load(text: str | bytes, name: str = "toy.yaml") -> Chip:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Chip.from_file(path)

    return load


def changed(old: str, new: str) -> str:
    assert CHIP.count(old) == 1, old
    return CHIP.replace(old, new)


def test_a_whole_file_is_read_in_si(load: Callable[..., Chip]) -> None:
    chip = load(CHIP)
    assert chip.name == "toy" and chip.title == "A toy" and chip.aliases == ("toy-1",)
    assert chip.matrix_flops == {"bf16": 1e14, "fp8": 2e14}
    assert chip.main_memory.capacity == 80 * 2**30 and chip.main_memory.bandwidth == 2e12
    assert chip.links["scale_up"].bandwidth == 50e9 and chip.links["scale_up"].latency == 2e-6
    assert chip.power.tdp == 300 and chip.cores.clock == 1e9


def test_each_figure_knows_its_source(load: Callable[..., Chip]) -> None:
    found = load(CHIP).provenance
    assert found["matrix_flops.bf16"] == Provenance("Acme data sheet, 2024")
    assert found["matrix_flops.fp8"] == Provenance("A guess", True, "twice bf16")
    assert found["links.scale_up.bandwidth"].source == "Acme data sheet, 2024; A guess"
    assert set(found) == {
        "matrix_flops.bf16",
        "matrix_flops.fp8",
        "vector_flops.fp32",
        "cores.count",
        "cores.clock",
        "memory.hbm.capacity",
        "memory.hbm.bandwidth",
        "links.scale_up.bandwidth",
        "links.scale_up.latency",
        "links.scale_up.domain",
        "power.tdp",
        "power.idle",
    }


def test_json_says_the_same_as_yaml(load: Callable[..., Chip]) -> None:
    assert load(json.dumps(yaml.safe_load(CHIP)), "toy.json") == load(CHIP)


def test_an_inner_source_goes_before_an_outer_one() -> None:
    raw = {
        "sources": {"a": "A", "b": "B", "c": "C"},
        "source": "a",
        "x": 1,
        "y": {"source": "b", "estimate": True, "p": 2, "q": {"value": 3, "source": "c", "estimate": False}},
        "listed": [{"value": 4, "source": "b"}, 5, {"deep": "6 W"}],
    }
    plain, found = split_provenance(raw, origin="here")
    assert plain == {"sources": raw["sources"], "x": 1, "y": {"p": 2, "q": 3}, "listed": [4, 5, {"deep": "6 W"}]}
    assert {path: (p.source, p.estimate) for path, p in found.items()} == {
        "x": ("A", False),
        "y.p": ("B", True),
        "y.q": ("C", False),
        "listed.0": ("B", False),
        "listed.1": ("A", False),
        "listed.2.deep": ("A", False),
    }


# (what, old text, new text, words of the error)
BROKEN: list[tuple[str, str, str, list[str]]] = [
    # keys
    ("misspelt key", "vector_flops:", "vectr_flops:", ["vectr_flops", "unknown key", "did you mean 'vector_flops'"]),
    ("misspelt inner key", "bandwidth: 2 TB/s", "bandwith: 2 TB/s", ["memory.hbm.bandwith", "did you mean 'bandwidth'"]),
    ("misspelt key in a link", "domain: 8", "domian: 8", ["links.scale_up.domian", "did you mean 'domain'"]),
    ("misspelt value key", "{value: 200 TFLOP/s, source: guess", "{vlaue: 200 TFLOP/s, source: guess", ["matrix_flops.fp8"]),
    ("strange key", "vendor: acme", "vendor: acme\nzzz: text", ["zzz", "unknown key", "vendor"]),
    ("provenance is not for files", "vendor: acme", "vendor: acme\nprovenance: {}", ["provenance", "unknown key"]),
    ("missing key", "vendor: acme\n", "", ["vendor", "missing"]),
    ("missing name", "chip: toy\n", "", ["'chip' is missing"]),
    ("another kind", "chip: toy\n", "engine: toy\n", ["'chip' is missing", "'engine'"]),
    ("empty name", "chip: toy\n", "chip: ''\n", ["name", "''", "at least 1 character"]),
    ("no name", "chip: toy\n", "chip:\n", ["name", "None", "string"]),
    ("number as name", "chip: toy\n", "chip: 3\n", ["name = 3", "string"]),
    ("list as name", "chip: toy\n", "chip: [toy]\n", ["name = ['toy']"]),
    ("key given twice", "vendor: acme", "vendor: acme\nvendor: other", ["'vendor'", "twice"]),
    ("inner key given twice", "domain: 8", "domain: 8, domain: 16", ["'domain'", "twice"]),
    ("same value given twice", "vendor: acme", "vendor: acme\nvendor: acme", ["'vendor'", "twice"]),
    ("text as alias list", "aliases: [toy-1]", "aliases: toy-1", ["aliases", "'toy-1'"]),
    ("number as alias", "aliases: [toy-1]", "aliases: [1]", ["aliases.0", "string"]),
    # units
    ("unit of a capacity for a bandwidth", "2 TB/s", "2 TB", ["memory.hbm.bandwidth", "'2 TB'", "did you mean 'TB/s'"]),
    ("unit of a bandwidth for a capacity", "80 GiB", "80 GiB/s", ["memory.hbm.capacity", "'80 GiB/s'", "'80 GiB'"]),
    ("unit of power for a rate", "10 TFLOP/s", "10 TW", ["vector_flops.fp32", "'10 TW'", "FLOP/s"]),
    ("no unit", "2 TB/s", "2", ["memory.hbm.bandwidth", "no unit", "'3.35 TB/s'"]),
    ("no unit, as text", "2 TB/s", "'2'", ["memory.hbm.bandwidth", "no unit"]),
    ("decimal comma", "2 TB/s", "'2,5 TB/s'", ["memory.hbm.bandwidth", "2,5"]),
    ("prefix in the wrong case", "80 GiB", "80 gib", ["memory.hbm.capacity", "'80 gib'", "did you mean"]),
    ("milli for mega", "400 Gbit/s", "400 mb/s", ["links.scale_up.bandwidth", "'400 mb/s'", "did you mean 'MB/s'"]),
    # values
    ("negative", "2 TB/s", "-2 TB/s", ["memory.hbm.bandwidth", "-2 TB/s", "greater than 0"]),
    ("zero", "2 TB/s", "0 TB/s", ["memory.hbm.bandwidth", "0 TB/s", "greater than 0"]),
    ("bare zero", "2 TB/s", "0", ["memory.hbm.bandwidth", "greater than 0"]),
    ("nan", "2 TB/s", ".nan", ["memory.hbm.bandwidth", "nan"]),
    ("nan with a unit", "2 TB/s", "nan TB/s", ["memory.hbm.bandwidth", "nan TB/s"]),
    ("infinity", "2 TB/s", ".inf", ["memory.hbm.bandwidth", "inf"]),
    ("too large for a float", "2 TB/s", "1e400 TB/s", ["memory.hbm.bandwidth", "not finite"]),
    ("boolean", "2 TB/s", "true", ["memory.hbm.bandwidth", "True"]),
    ("null", "2 TB/s", "null", ["memory.hbm.bandwidth", "None"]),
    ("list", "2 TB/s", "[2 TB/s]", ["memory.hbm.bandwidth", "['2 TB/s']"]),
    ("mapping", "2 TB/s", "{TB/s: 2}", ["memory.hbm.bandwidth"]),
    ("date", "2 TB/s", "2024-01-01", ["memory.hbm.bandwidth", "date"]),
    ("negative latency", "2 us", "-2 us", ["links.scale_up.latency", "greater than or equal to 0"]),
    ("negative power", "30 W", "-30 W", ["power.idle", "greater than or equal to 0"]),
    ("idle as high as the limit", "30 W", "300 W", ["power", "idle = 300 W", "tdp = 300 W"]),
    ("idle above the limit", "30 W", "0.4 kW", ["power", "idle = 400 W", "tdp = 300 W"]),
    ("half a core", "count: 16", "count: 1.5", ["cores.count", "1.5", "integer"]),
    ("no core", "count: 16", "count: 0", ["cores.count", "greater than or equal to 1"]),
    ("cores as a truth value", "count: 16", "count: true", ["cores.count", "True", "integer"]),
    ("cores as text", "count: 16", "count: '16'", ["cores.count", "'16'", "integer"]),
    ("year in words", "year: 2024", "year: soon", ["year = 'soon'", "integer"]),
    ("year long ago", "year: 2024", "year: 24", ["year = 24", "1970"]),
    ("unknown topology", "topology: ring", "topology: rng", ["links.scale_up.topology", "'rng'", "did you mean 'ring'"]),
    ("unknown data type", "fp32: 10", "fp23: 10", ["vector_flops", "'fp23'", "bf16", "did you mean 'fp32'"]),
    ("no rates", "vector_flops: {fp32: 10 TFLOP/s}", "vector_flops: {}", ["vector_flops", "at least one"]),
    ("list for a mapping", "power: {tdp: 300 W, idle: 30 W}", "power: [300 W, 30 W]", ["power"]),
    # sources
    ("missing source", "source: sheet\n", "", ["matrix_flops.bf16", "no source", "sheet, guess", "source:"]),
    ("unlisted source", "source: guess", "source: guesses", ["matrix_flops.fp8", "'guesses'", "did you mean 'guess'"]),
    ("unlisted source in a list", "[sheet, guess]", "[sheet, other]", ["links.scale_up.bandwidth", "'other'", "sheet, guess"]),
    ("empty list of sources", "[sheet, guess]", "[]", ["links.scale_up.bandwidth", "no source"]),
    ("empty source", "[sheet, guess]", "''", ["links.scale_up.bandwidth", "''"]),
    ("number as source", "[sheet, guess]", "3", ["links.scale_up.bandwidth", "source 3"]),
    ("mapping as source", "[sheet, guess]", "{sheet: 1}", ["links.scale_up.bandwidth", "{'sheet': 1}"]),
    ("list in a list of sources", "[sheet, guess]", "[[sheet]]", ["links.scale_up.bandwidth", "['sheet']"]),
    ("empty citation", '"A guess"', '"  "', ["'sources'", "citations"]),
    ("citation that is no text", '"A guess"', "3", ["'sources'", "citations"]),
    ("sources as a list", 'sources:\n  sheet: "Acme data sheet, 2024"\n  guess: "A guess"', "sources: [sheet]", ["'sources'"]),
    ("no sources", 'sources:\n  sheet: "Acme data sheet, 2024"\n  guess: "A guess"\n', "", ["'sheet'", "none is given"]),
    ("estimate as text", "estimate: true", "estimate: 'no'", ["matrix_flops.fp8.estimate", "'no'", "true or false"]),
    ("note as a number", "note: twice bf16", "note: 2", ["matrix_flops.fp8.note", "a text"]),
]


@pytest.mark.parametrize(("old", "new", "words"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_broken_files_are_told_what_is_wrong(load: Callable[..., Chip], old: str, new: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        load(changed(old, new))
    text = str(caught.value)
    assert "toy.yaml" in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("figure", ["2TB/s", "+2 TB/s", ".2 TB/s", "2", "'2'", "2e12 B/s"])
def test_no_figure_escapes_the_need_of_a_source(load: Callable[..., Chip], figure: str) -> None:
    text = changed("source: sheet\n", "").replace("TFLOP/s, source: guess", "TFLOP/s")
    for section in ("matrix_flops: {", "vector_flops: {", "cores: {", "power: {"):
        text = text.replace(section, f"{section}source: sheet, ")
    text = text.replace("capacity: 80 GiB", "capacity: {value: 80 GiB, source: sheet}").replace("2 TB/s", figure)
    with pytest.raises(SpecError, match=r"memory\.hbm\.bandwidth has no source"):
        load(text)


@pytest.mark.parametrize("figure", ["2TB/s", "+2 TB/s", "2e12 B/s", "2,000 GB/s", "{value: 2 TB/s, source: guess}"])
def test_ways_to_write_a_figure(load: Callable[..., Chip], figure: str) -> None:
    assert load(changed("2 TB/s", f"'{figure}'" if figure[0] != "{" else figure)).main_memory.bandwidth == 2e12


SYNTAX: dict[str, tuple[str | bytes, str]] = {
    "empty file": ("", "holds nothing"),
    "comment only": ("# chip: x\n", "holds nothing"),
    "number": ("3\n", "not a mapping"),
    "text": ("hello\n", "holds a text"),
    "list": ("- chip: toy\n", "holds a list"),
    "null": ("null\n", "holds nothing"),
    "two documents": (f"{CHIP}---\n{CHIP}", "single document"),
    "open bracket": ("chip: [toy\n", "not valid YAML"),
    "tabs": ("chip:\n\t- toy\n", "not valid YAML"),
    "nul": ("chip: \0toy\n", "not valid YAML"),
    "utf-16": (CHIP.encode("utf-16"), "UTF-8"),
    "latin-1": ("chip: caf\xe9\n".encode("latin-1"), "UTF-8"),
    "binary": (bytes(range(256)), "UTF-8"),
    "list as key": ("[1, 2]: x\n", "not valid YAML"),
    "mapping as key": ("{a: 1}: x\n", "not valid YAML"),
    "alias": ("chip: &name toy\nvendor: *name\n", "aliases"),
    "merged mapping": ("a: &base {x: 1}\nb: {<<: *base}\n", "aliases"),
    "alias of itself": ("a: &a [*a]\n", "aliases"),
    "undefined alias": ("a: *nowhere\n", "aliases"),
    "python object": ("chip: !!python/object/apply:os.system ['true']\n", "python/object"),
    "python name": ("!!python/name:os.system\n", "python/name"),
    "own tag": ("chip: !include other.yaml\n", "!include"),
    "flow nested deeply": ("chip: " + "[" * 10_000 + "]" * 10_000, "nested"),
    "flow nested beyond the stack": ("chip: " + "[" * 400_000, "nested"),
    "blocks nested deeply": ("\n".join(" " * i + "a:" for i in range(500)), "nested"),
    "sequences nested deeply": ("- " * 100_000 + "a", "nested"),
}


@pytest.mark.parametrize(("content", "words"), SYNTAX.values(), ids=SYNTAX.keys())
def test_what_is_no_specification_at_all(load: Callable[..., Chip], content: str | bytes, words: str) -> None:
    with pytest.raises(SpecError, match=r"toy\.yaml") as caught:
        load(content)
    assert words in str(caught.value)


def test_a_bomb_of_aliases_is_refused_at_once(load: Callable[..., Chip]) -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    layers += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    with pytest.raises(SpecError, match="aliases"):
        load("\n".join(layers))


def test_tags_of_python_run_nothing(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    path = tmp_path / "evil.yaml"
    path.write_text(f"chip: !!python/object/apply:os.system ['touch {witness}']\n")
    with pytest.raises(SpecError):
        read_mapping(path)
    assert not witness.exists()


def test_an_error_of_syntax_tells_the_line(load: Callable[..., Chip]) -> None:
    with pytest.raises(SpecError, match=r"while parsing a flow sequence.*line 4"):
        load("chip: toy\nvendor: acme\nyear: [2024\n")


JSON_SYNTAX: dict[str, tuple[str, str]] = {
    "truncated": ('{"chip": "toy", "vendor": "ac', "not valid JSON"),
    "trailing text": ("{} {}", "not valid JSON"),
    "single quotes": ("{'chip': 'toy'}", "not valid JSON"),
    "list": ("[]", "holds a list"),
    "null": ("null", "holds nothing"),
    "nested deeply": ('{"a": ' + "[" * 10_000 + "]" * 10_000 + "}", "not valid JSON"),
    "nested a little too deeply": ('{"a": ' + "[" * MAX_NESTING + "]" * MAX_NESTING + "}", "nested"),
    "objects nested deeply": ('{"a": ' * 50_000, "not valid JSON"),
    "contradiction": ('{"chip": "toy", "chip": "other"}', "'chip' is given twice"),
    "inner contradiction": ('{"a": {"b": 1, "b": 2}}', "'b' is given twice"),
    "long integer": ('{"a": ' + "1" * 5000 + "}", "not valid JSON"),
}


@pytest.mark.parametrize(("content", "words"), JSON_SYNTAX.values(), ids=JSON_SYNTAX.keys())
def test_what_is_no_json_specification(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "toy.json"
    path.write_text(content)
    with pytest.raises(SpecError, match=r"toy\.json") as caught:
        read_mapping(path)
    assert words in str(caught.value)


def test_json_may_repeat_itself_without_contradiction(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": 1, "a": 1}')
    assert read_mapping(path) == {"a": 1}


def test_files_that_are_no_plain_files(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nothing")
    for name, words in [
        ("folder.yaml", "is a folder"),
        ("pipe.yaml", "not a plain file"),
        ("loop.yaml", "cannot read"),
        ("dangling.yaml", "No such file"),
        ("absent.yaml", "No such file"),
        ("x" * 300 + ".yaml", "too long"),
    ]:
        with time_limit(5), pytest.raises(SpecError, match=words) as caught:
            read_text(tmp_path / name)
        assert caught.value.field == "path"
    for device in ("/dev/zero", "/dev/null"):
        with time_limit(5), pytest.raises(SpecError, match="not a plain file"):
            read_text(Path(device))


def test_large_files_are_not_read(tmp_path: Path) -> None:
    for name in ("huge.yaml", "huge.json"):
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(2**30)
        with pytest.raises(SpecError, match="1,073,741,824 bytes, too many"):
            read_mapping(path)
    just = tmp_path / "just.yaml"
    just.write_text("a: " + "x" * (MAX_YAML_BYTES - 2))
    with pytest.raises(SpecError, match="too many"):
        read_mapping(just)


# Catalog: every broken spec is told of the same way, whichever kind it is of.


@pytest.mark.parametrize("kind", ["chip", "engine", "precision", "use_case", "technology", "platform", "model"])
@pytest.mark.parametrize(
    "content", ["", "3", "- a", "zzz: 1", "{", "chip: &a x\ny: *a"], ids=["empty", "number", "list", "key", "syntax", "alias"]
)
def test_every_kind_of_file_fails_with_a_typed_error(tmp_path: Path, kind: str, content: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(SpecError, match=r"broken\.yaml"):
        getattr(catalog, kind)(str(path))


@pytest.mark.parametrize("kind", ["chip", "engine", "precision", "use_case", "technology"])
def test_a_file_of_another_kind_is_recognised(kind: str) -> None:
    shipped = {k: catalog.files(k) for k in ("chip", "engine", "precision", "use_case", "technology", "model")}
    for other, files in shipped.items():
        if other != kind:
            with pytest.raises(SpecError, match=f"the key '{kind}' is missing.*'{other}'"):
                getattr(catalog, kind)(str(next(iter(files.values()))))


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["2 TB/s", "3 W", "sheet"])
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=8
)
WHOLE = yaml.safe_load(CHIP)


@given(st.sampled_from(sorted(WHOLE)), trees)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_of_any_key_is_taken_or_refused_with_a_typed_error(key: str, value: Any) -> None:
    try:
        Chip.from_mapping({"name": "toy", **{k: v for k, v in WHOLE.items() if k != "chip"}, key: value}, origin="here")
    except GenZError as error:
        assert str(error).startswith("here")


@given(st.dictionaries(st.text(max_size=6) | st.integers() | st.none(), trees, max_size=4))
def test_any_mapping_splits_or_is_refused(raw: dict[Any, Any]) -> None:
    try:
        split_provenance(raw, origin="here")
    except SpecError as error:
        assert "here" in str(error)


def test_a_file_deep_enough_to_exhaust_the_stack_ends_no_process(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("- " * 500_000)
    code = f"from genz.specs import catalog\ntry:\n catalog.chip({str(path)!r})\nexcept Exception as e: print(type(e).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "SpecError")
