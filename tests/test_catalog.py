"""Finding specs: by name, by alias, by path, in a folder of one's own; and what a wrong name is told."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from genz.errors import GenZError, InvalidValueError, SpecError, UnknownNameError
from genz.specs import catalog
from genz.specs.model import ModelSpec

KINDS = ("model", "chip", "platform", "engine", "precision", "use_case", "technology")
LOADERS: dict[str, Callable[[Any], Any]] = {kind: getattr(catalog, kind) for kind in KINDS}


# What the catalog ships


@pytest.mark.parametrize("kind", KINDS)
def test_every_shipped_spec_loads_under_its_own_name(kind: str) -> None:
    for name in catalog.names(kind):
        spec = LOADERS[kind](name)
        assert catalog.normalise(spec.name) == name
        assert spec.title, name


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_aliases_mean_one_thing_each(kind: str) -> None:
    owners: dict[str, list[str]] = {}
    for name, path in catalog.files(kind).items():
        raw = yaml.safe_load(path.read_text())
        assert catalog.normalise(raw[kind]) == name, f"{path} names itself {raw[kind]!r}"
        for alias in {name, *(catalog.normalise(a) for a in raw.get("aliases", ()))}:
            owners.setdefault(alias, []).append(name)
    assert {alias: names for alias, names in owners.items() if len(names) > 1} == {}


def test_chips_and_platforms_do_not_share_names() -> None:
    chips = {*catalog.names("chip"), *catalog._aliases("chip")}
    platforms = {*catalog.names("platform"), *catalog._aliases("platform")}
    assert chips & platforms == set()


@pytest.mark.parametrize("kind", KINDS)
def test_every_alias_leads_to_its_spec(kind: str) -> None:
    for alias, name in catalog._aliases(kind).items():
        assert LOADERS[kind](alias) == LOADERS[kind](name)


@pytest.mark.parametrize("name", catalog.names("model"))
def test_every_model_is_sourced_and_agrees_with_its_makers(name: str) -> None:
    model = catalog.model(name)
    assert model.sources and all(citation.strip() for citation in model.sources.values())
    assert model.published is not None and model.published.source.strip()
    assert model.published.total > 0
    assert model.published.active is None or 0 < model.published.active <= model.published.total
    assert model.parameters == pytest.approx(model.published.total, rel=0.05)


def test_the_catalog_is_as_large_as_it_says() -> None:
    counts = Counter({kind: len(catalog.names(kind)) for kind in KINDS})
    assert counts["model"] >= 70 and counts["chip"] >= 40 and counts["engine"] >= 6 and counts["precision"] >= 15
    for kind in KINDS:
        assert catalog.names(kind) == sorted(catalog.names(kind))


# As people write them

WRITTEN: list[tuple[str, str, str]] = [
    ("chip", "H100_SXM", "h100-sxm"),
    ("chip", "h100", "h100-sxm"),
    ("chip", "H100 SXM", "h100-sxm"),
    ("chip", " h100-sxm \n", "h100-sxm"),
    ("chip", "A100", "a100-sxm-80gb"),
    ("chip", "a100_80GB", "a100-sxm-80gb"),
    ("chip", "MI300X", "mi300x"),
    ("chip", "RTX 4090", "rtx-4090"),
    ("model", "meta-llama/Llama-3.1-70B", "llama-3.1-70b"),
    ("model", "META-LLAMA/llama-3.1-70b", "llama-3.1-70b"),
    ("model", "meta-llama/Llama-3.1-70B-Instruct", "llama-3.1-70b"),
    ("model", "Llama_3.1_70B", "llama-3.1-70b"),
    ("model", "llama 3.1 70b", "llama-3.1-70b"),
    ("model", "deepseek-ai/DeepSeek-R1", "deepseek-r1"),
    ("model", "gpt-3", "gpt3-175b"),
    ("model", "openai/gpt-oss-20b", "gpt-oss-20b"),
    ("engine", "vLLM", "vllm"),
    ("engine", "llama-cpp", "llama.cpp"),
    ("engine", "TensorRT_LLM", "tensorrt-llm"),
    ("precision", "FP8_Block", "fp8_block"),
    ("precision", "fp8-block", "fp8_block"),
    ("precision", "bfloat16", "bf16"),
    ("precision", "W4A16", "int4"),
    ("use_case", "code_generation", "code-generation"),
    ("use_case", "RAG", "qa-retrieval"),
    ("technology", "HBM3", "hbm3"),
    ("platform", "h100", "h100-sxm"),
    ("platform", "8x H100_SXM", "8x h100-sxm"),
    ("platform", "8xh100", "8x h100-sxm"),
    ("platform", "8 X h100", "8x h100-sxm"),
    ("platform", "8×h100", "8x h100-sxm"),
    ("platform", "8 * h100", "8x h100-sxm"),
    ("platform", "08x h100", "8x h100-sxm"),
    ("platform", "1x h100", "h100-sxm"),
]


@pytest.mark.parametrize(("kind", "written", "name"), WRITTEN, ids=[f"{k}-{w!r}" for k, w, _ in WRITTEN])
def test_names_as_people_write_them(kind: str, written: str, name: str) -> None:
    assert LOADERS[kind](written).name == name


def test_a_spec_is_read_once() -> None:
    assert catalog.chip("h100") is catalog.chip("H100_SXM")
    assert catalog.model("gpt2") is catalog.model("GPT2")


@pytest.mark.parametrize("kind", KINDS)
def test_every_shipped_spec_loads_by_its_path(kind: str) -> None:
    name, path = next(iter(catalog.files(kind).items()))
    assert catalog.normalise(LOADERS[kind](str(path)).name) == name


# Wrong names

MISSPELT: list[tuple[str, str, str]] = [
    ("model", "lama-3-8b", "llama-3-8b"),
    ("model", "llama-3-8", "llama-3-8b"),
    ("model", "lamma-3.1-70b", "llama-3.1-70b"),
    ("model", "meta-llama/Llama-3.1-71B", "meta-llama/llama-3.1-70b"),
    ("model", "deepseek-r2", "deepseek-r1"),
    ("model", "mixtral-8x7", "mixtral-8x7b"),
    ("chip", "h100-smx", "h100-sxm"),
    ("chip", "mi300", "mi300x"),
    ("chip", "a100-sxm-80g", "a100-sxm-80gb"),
    ("platform", "h100-smx", "h100-sxm"),
    ("platform", "8x h100-smx", "h100-sxm"),
    ("engine", "vlm", "vllm"),
    ("engine", "sg-lang", "sglang"),
    ("engine", "tensorrt", "tensorrt-llm"),
    ("precision", "bf61", "bf16"),
    ("precision", "fp9", "fp8"),
    ("precision", "nvfp", "nvfp4"),
    ("use_case", "chatt", "chat"),
    ("use_case", "summarisaton", "summarisation"),
    ("technology", "hbm33", "hbm3"),
]


@pytest.mark.parametrize(("kind", "wrong", "near"), MISSPELT, ids=[f"{k}-{w}" for k, w, _ in MISSPELT])
def test_a_misspelt_name_names_the_nearest(kind: str, wrong: str, near: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        LOADERS[kind](wrong)
    error = caught.value
    assert repr(near) in str(error.hint) and "did you mean" in str(error)
    assert wrong.removeprefix("8x ") in str(error) and error.field


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["", " ", "\n", "\0", "a\0b.yaml", None, 3, 3.5, True, [], ["x"], {}, b"h100"], ids=repr)
def test_what_is_no_name_at_all(kind: str, wrong: Any) -> None:
    with pytest.raises(InvalidValueError, match="is not a name") as caught:
        LOADERS[kind](wrong)
    assert caught.value.field == kind and "genz " in str(caught.value.allowed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "wrong",
    [
        "no-such-thing-zzz",
        "x" * 5000,
        "x" * 5000 + ".yaml",
        "../x",
        "./x.yaml",
        "/nowhere/x.json",
        "~nobody-here/x",
        "a/b/c",
        "*",
        "x\ny",
        "\ud800",
        "http://example.org/x",
        "C:\\x",
        "$HOME",
        "%s",
        "{0}",
    ],
    ids=lambda v: ascii(v)[:20],
)
def test_a_name_that_leads_nowhere(kind: str, wrong: str) -> None:
    with pytest.raises(GenZError) as caught:
        LOADERS[kind](wrong)
    assert len(str(caught.value)) < 1000 or "x" * 200 in str(caught.value.value)


@given(st.text(max_size=12), st.sampled_from(KINDS))
def test_any_text_is_a_name_or_a_typed_error(text: str, kind: str) -> None:
    try:
        LOADERS[kind](text)
    except GenZError as error:
        assert str(error)


# Numbers of devices

COUNTS: list[tuple[str, str]] = [
    ("0x h100-sxm", "devices: 0 "),
    ("00x h100-sxm", "devices: 0 "),
    ("-2x h100", "'-2x h100'"),
    ("+2x h100", "'+2x h100'"),
    ("1.5x h100", "'1.5x h100'"),
    ("1.5xh100", "'1.5xh100'"),
    ("1e3x h100", "'1e3x h100'"),
    ("1,000x h100", "'1,000x h100'"),
    ("nan x h100", "'nan x h100'"),
    ("inf x h100", "'inf x h100'"),
    ("-inf x h100", "'-inf x h100'"),
    ("99999999x h100", "'99999999x h100'"),
    ("1" * 5000 + "x h100", "1111"),
]


@pytest.mark.parametrize(("name", "words"), COUNTS, ids=[name[:20] for name, _ in COUNTS])
def test_a_number_of_devices_that_cannot_be(name: str, words: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        catalog.platform(name)
    error = caught.value
    assert error.field == "devices" and words in str(error) and "a whole number from 1 to 1,000,000" in str(error)
    assert "8x h100-sxm" in str(error) and len(str(error)) < 500


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("9x h100-sxm", "1 to 8"),
        ("1000000x h100-sxm", "1 to 8"),
        ("73x gb200", "1 to 72"),
        ("2x m1-pro", "1"),
        ("3x h100-nvl", "1 to 2"),
    ],
)
def test_more_devices_than_the_link_joins(name: str, allowed: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        catalog.platform(name)
    assert (caught.value.field, caught.value.allowed) == ("devices", allowed)
    assert name.split()[1] in str(caught.value)


@pytest.mark.parametrize("devices", [0, -1, 1.5, 2.0, "2", None, True, 10**7, float("nan"), [2]], ids=repr)
def test_platform_of_a_number_that_cannot_be(devices: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        catalog.platform_of(catalog.chip("h100-sxm"), devices)
    assert caught.value.field == "devices" and caught.value.allowed


@pytest.mark.parametrize(
    "name", ["8x", "x8", "8x ", "x h100", "h100 x8", "h100x8", "8x 8x h100", "8 h100", "two x h100", "8x no-such-chip"]
)
def test_other_ways_to_count_are_told_the_right_one(name: str) -> None:
    with pytest.raises((UnknownNameError, InvalidValueError)) as caught:
        catalog.platform(name)
    assert "genz hardware" in str(caught.value) or "8x h100-sxm" in str(caught.value)


def test_a_platform_of_several_chips() -> None:
    platform = catalog.platform("4x h100-sxm")
    assert (platform.name, platform.devices, platform.scale_up_size) == ("4x h100-sxm", 4, 4)
    assert platform.network[0].bandwidth == 450e9 and "nvlink" in platform.technologies
    assert catalog.platform("1x m1-pro").network == ()


# Paths and folders of one's own


def test_a_path_is_told_from_a_name(tmp_path: Path) -> None:
    for text in ("x.yaml", "x.yml", "x.json", "./x", "../x", "/x", "~/x"):
        assert catalog.looks_like_path(text)
    for text in ("h100-sxm", "meta-llama/Llama-3.1-70B", "8x h100", "llama.cpp"):
        assert not catalog.looks_like_path(text)
    (tmp_path / "here").write_text("")
    assert catalog.looks_like_path(str(tmp_path / "here"))


CONFIG = '{"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 100}'


def test_a_folder_of_the_name_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt2").mkdir()
    assert catalog.model("gpt2").parameters == 124_439_808  # an empty folder hides nothing
    (tmp_path / "gpt2" / "config.json").write_text(CONFIG)
    assert catalog.model("gpt2").parameters < 10**6
    assert catalog.model("./gpt2") is catalog.model("gpt2")


def test_a_path_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(CONFIG)
    assert isinstance(catalog.model("~/mine"), ModelSpec)
    assert catalog.model("~/mine").name == "mine"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder laid out like the catalog, with a chip, an alias, an engine and a model of its own."""
    chips, engines, models = (tmp_path / "own" / f for f in ("hardware_specs/chips", "hardware_specs/engines", "model_specs"))
    for folder in (chips, engines, models):
        folder.mkdir(parents=True)
    chip = yaml.safe_load(catalog.files("chip")["h100-sxm"].read_text())
    (chips / "h200.yaml").write_text(yaml.safe_dump({**chip, "chip": "h200", "title": "My H200", "aliases": ["a100"]}))
    (chips / "zz.yaml").write_text(yaml.safe_dump({**chip, "chip": "zz", "title": "Mine", "aliases": ["h100"]}))
    engine = yaml.safe_load(catalog.files("engine")["vllm"].read_text())
    (engines / "mine.yml").write_text(yaml.safe_dump({**engine, "engine": "mine", "aliases": []}))
    (models / "toy.json").write_text(CONFIG)
    (models / "README.md").write_text("not a spec")
    return tmp_path / "own"


PROGRAM = """
from genz.errors import GenZError
from genz.specs import catalog
try:
    print(EXPRESSION)
except GenZError as error:
    print(type(error).__name__, error)
"""


def ask(expression: str, **environment: str) -> str:
    """What a new process, which reads its environment anew, prints of an expression."""
    program = PROGRAM.replace("EXPRESSION", expression)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
        timeout=60,
    )
    return done.stdout.strip()


def test_a_folder_of_ones_own_goes_before_the_catalog(own: Path) -> None:
    answers = {
        "catalog.chip('h200').title": "My H200",
        "catalog.chip('h100').name": "zz",
        "catalog.chip('a100').name": "h200",
        "catalog.chip('h100-sxm').name": "h100-sxm",
        "catalog.chip('mi300x').name": "mi300x",
        "catalog.engine('mine').name": "mine",
        "catalog.model('toy').model_type": "gpt2",
        "catalog.platform('2x zz').name": "2x zz",
        "'readme' in catalog.names('model')": "False",
    }
    assert ask(f"*({', '.join(answers)}), sep='|'", GENZ_SPECS=str(own)).split("|") == list(answers.values())


def test_the_first_of_several_folders_wins(own: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "hardware_specs" / "chips"
    other.mkdir(parents=True)
    text = (own / "hardware_specs" / "chips" / "h200.yaml").read_text()
    (other / "h200.yaml").write_text(text.replace("My H200", "Other"))
    first, second = str(own), str(tmp_path / "other")
    for folders, title in (((first, second), "My H200"), ((second, first), "Other"), (("", second, ""), "Other")):
        assert ask("catalog.chip('h200').title", GENZ_SPECS=os.pathsep.join(folders)) == title


def test_broken_folders_of_ones_own_are_told_of(own: Path, tmp_path: Path) -> None:
    missing = ask("catalog.chip('h100-sxm').name", GENZ_SPECS=str(tmp_path / "nowhere"))
    assert missing.startswith("SpecError GENZ_SPECS: ") and "is no folder" in missing
    path = own / "hardware_specs" / "chips" / "broken.yaml"
    path.write_text("chip: [\n")
    answer = ask("catalog.chip('h100-sxm').name, catalog.chip('h100').name", GENZ_SPECS=str(own))
    assert answer.startswith("SpecError") and "broken.yaml" in answer
    path.write_text("chip: x\naliases: h100\n")
    answer = ask("catalog.chip('h100').name", GENZ_SPECS=str(own))
    assert answer.startswith("SpecError") and "aliases = 'h100' is not a list" in answer


def test_a_broken_file_of_ones_own_leaves_other_names_alone(own: Path) -> None:
    (own / "hardware_specs" / "chips" / "broken.yaml").write_text("chip: [\n")
    assert ask("catalog.chip('h100-sxm').name", GENZ_SPECS=str(own)) == "h100-sxm"


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = catalog.files("chip")["h100-sxm"].read_text()
    path.write_text(text)
    before = catalog.chip(str(path))
    assert catalog.chip(str(path)) is before
    path.write_text(text.replace("700 W", "7000 W"))
    assert catalog.chip(str(path)).power.tdp == 10 * before.power.tdp
    path.unlink()
    with pytest.raises(SpecError, match="No such file"):
        catalog.chip(str(path))
