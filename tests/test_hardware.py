"""Chips, technologies and platforms as data: against published figures, and against each other."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from genz.errors import InvalidValueError, SpecError, UnknownNameError
from genz.specs import catalog
from genz.specs.hardware import Chip, Platform
from genz.specs.precision import DATA_TYPES

CHIPS = catalog.names("chip")
TECHNOLOGIES = catalog.names("technology")
PLATFORMS = catalog.names("platform")

# Typed from the makers' data sheets: dense rate of the widest 16-bit matrix type [TFLOP/s], memory bandwidth [TB/s],
# board power [W], memory as it is sold [GB]. A pair is a range, where a data sheet has several editions.
# NVIDIA: V100 (2020), A100 (2021), A40, RTX A6000, L4, L40S (2022-23), H100 (SXM5, PCIe, NVL), H200, GH200 (2023-24),
# HGX B200 and GB200 NVL72 (2024-25), Ada and Blackwell GeForce architecture white papers (appendix A), DGX Spark.
# AMD: MI250, MI300X, MI325X, MI355X data sheets. Intel: Gaudi 2 and 3 white papers, Data Center GPU Max 1550.
# Google: Cloud TPU documentation, "System architecture" of v4, v5e, v5p, v6e and TPU7x (no board power is published).
# AWS: Neuron documentation, Trainium 1 to 3. Huawei: device profiles of MindStudio Modeling. SambaNova: Hot Chips 2024.
# Qualcomm: Cloud AI SDK documentation. Tenstorrent: docs.tenstorrent.com.
# Apple: technical specifications (memory), fp16 rate from cores x 128 FMA x clock.
Range = float | tuple[float, float]
PUBLISHED: dict[str, tuple[Range, Range, Range | None, float]] = {
    "v100-sxm-16gb": (125, 0.9, 300, 16),
    "v100-sxm-32gb": (125, 0.9, 300, 32),
    "a100-sxm-40gb": (312, 1.555, 400, 40),
    "a100-sxm-80gb": (312, 2.039, 400, 80),
    "a100-pcie-80gb": (312, 1.935, 300, 80),
    "a40": (149.7, 0.696, 300, 48),
    "a6000": (154.8, 0.768, 300, 48),
    "l4": (121, 0.3, 72, 24),
    "l40s": (362.05, 0.864, 350, 48),
    "h100-sxm": (989.4, 3.35, 700, 80),
    "h100-pcie": (756, (2.0, 2.039), 350, 80),
    "h100-nvl": (835.5, 3.9, (350, 400), 94),
    "h200": (989.4, 4.8, 700, 141),
    "gh200": (989.4, (4.0, 4.9), (450, 1000), 96),
    "b200": (2250, (7.7, 8.0), 1000, 180),
    "gb200": (2500, 8.0, 1200, 186),
    "rtx-3090": (71.2, 0.936, 350, 24),
    "rtx-4080": (97.5, 0.7168, 320, 16),
    "rtx-4090": (165.2, 1.008, 450, 24),
    "rtx-5090": (209.5, 1.792, 575, 32),
    "gb10": (125, 0.273, (140, 240), 128),
    "mi250": (362.1 / 2, 3.277 / 2, 560 / 2, 64),  # software sees each of its two dies as one device
    "mi300x": (1307.4, 5.3, 750, 192),
    "mi325x": (1307.4, 6.0, 1000, 256),
    "mi355x": ((2300, 2516.6), 8.0, 1400, 288),
    "gaudi2": (432, 2.46, 600, 96),
    "gaudi3": ((1678, 1835), 3.7, 900, 128),
    "max-1550": (839, 3.277, 600, 128),
    "tpu-v4": (275, 1.228, None, 32),
    "tpu-v5e": (197, 0.819, None, 16),
    "tpu-v5p": (459, 2.765, None, 95),
    "tpu-v6e": (918, 1.64, None, 32),
    "m1-max": (10.6, 0.4, None, 64),
    "m2-ultra": (27.2, 0.8, None, 192),
    "t4": (65, 0.32, 70, 16),
    "a10": (125, 0.6, 150, 24),
    "a30": (165, 0.933, 165, 24),
    "l40": (181.05, 0.864, 300, 48),
    "h20": (148, 4.0, (400, 500), 96),
    "h200-nvl": (835.5, 4.8, 600, 141),
    "rtx-a4000": (76.7, 0.448, 140, 16),
    "rtx-5080": (112.6, 0.96, 360, 16),
    "jetson-agx-orin-64gb": (42.5, 0.2048, 60, 64),
    "jetson-agx-thor": (258.5, 0.273, 130, 128),
    "mi300a": (980.6, 5.3, (550, 760), 128),
    "mi350x": (2306.9, 8.0, 1000, 288),
    "rx-7900-xtx": (122.8, 0.96, 355, 24),
    "radeon-ai-pro-r9700": (191, 0.64, 300, 32),
    "max-1100": (355.5, 1.2288, 300, 48),
    "arc-pro-b60": (98.3, 0.456, 200, 24),
    "tpu-v7": (2307, 7.38, None, 192),
    "trainium1": (191, 0.82, None, 32),
    "trainium2": (667, 2.9, None, 96),
    "trainium3": (671, 4.9, None, 144),
    "ascend-910b2": (376, 1.6, None, 64),
    "ascend-910b3": (313, 1.6, None, 64),
    "sn40l": (638, 1.6, None, 64),
    "cloud-ai-100-ultra": (290, 0.548, 150, 128),
    "wormhole-n300": (131, 0.576, 300, 24),
}

# Per direction [GB/s] and largest domain: NVLink 2 to 5 (6 x 25, 12 x 25, 18 x 25, 18 x 50), Infinity Fabric (7 x 64 and
# 7 x 76.8), Gaudi (21 Ethernet ports of 100 and 200 Gbit/s), PCIe 4.0 and 5.0 x16, ICI (links x Gbit/s of the TPU pages).
SCALE_UP: dict[str, tuple[float, int]] = {
    "v100-sxm-32gb": (150, 8),
    "a100-sxm-80gb": (300, 8),
    "h100-sxm": (450, 8),
    "h200": (450, 8),
    "b200": (900, 8),
    "gb200": (900, 72),
    "l40s": (32, 8),
    "h100-pcie": (64, 8),
    "mi300x": (448, 8),
    "mi355x": (537.6, 8),
    "gaudi2": (262.5, 8),
    "gaudi3": (525, 8),
    "tpu-v5e": (200, 256),
    "tpu-v5p": (600, 8960),
    "tpu-v6e": (400, 256),
    "tpu-v7": (600, 9216),
    "h800-sxm": (200, 8),
    "h20": (450, 8),
    "mi350x": (537.6, 8),
    "ascend-910b3": (196, 8),
    "trainium1": (192, 16),
}


def agrees(value: float, published: Range, tolerance: float = 0.02) -> bool:
    low, high = published if isinstance(published, tuple) else (published, published)
    return low * (1 - tolerance) <= value <= high * (1 + tolerance)


def widest_rate(chip: Chip) -> float:
    return max(chip.matrix_flops[name] for name in ("bf16", "fp16") if name in chip.matrix_flops)


@pytest.mark.parametrize("name", PUBLISHED)
def test_data_sheet(name: str) -> None:
    chip = catalog.chip(name)
    rate, bandwidth, power, gigabytes = PUBLISHED[name]
    assert agrees(widest_rate(chip) / 1e12, rate)
    assert agrees(chip.main_memory.bandwidth / 1e12, bandwidth)
    assert power is None or agrees(chip.power.tdp, power)
    # "80 GB" are sold where 80 GiB are fitted; ECC and firmware take some of them.
    assert 0.9 * gigabytes * 2**30 < chip.main_memory.capacity <= 1.01 * gigabytes * 2**30


@pytest.mark.parametrize("name", SCALE_UP)
def test_scale_up_link(name: str) -> None:
    link = catalog.chip(name).links["scale_up"]
    bandwidth, domain = SCALE_UP[name]
    assert agrees(link.bandwidth / 1e9, bandwidth)
    assert link.domain == domain


def test_the_table_covers_most_chips() -> None:
    assert set(PUBLISHED) <= set(CHIPS) and set(SCALE_UP) <= set(CHIPS)
    assert len(CHIPS) >= 120 and len(PUBLISHED) >= 55


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_loads_and_is_whole(name: str) -> None:
    chip = catalog.chip(name)
    assert chip.name == name and chip.title and chip.vendor and chip.architecture
    assert 2015 <= chip.year <= 2030
    assert set(chip.matrix_flops) <= set(DATA_TYPES) and set(chip.vector_flops) <= set(DATA_TYPES)
    assert {"bf16", "fp16"} & set(chip.matrix_flops)
    assert "fp32" in chip.computable


@pytest.mark.parametrize("name", CHIPS)
def test_narrow_types_are_no_more_than_twice_as_fast(name: str) -> None:
    rates = catalog.chip(name).matrix_flops
    wide = widest_rate(catalog.chip(name))
    # Trainium3 was widened for microscaled fp8 alone.
    assert rates.get("fp8", 0.0) <= (3.8 if name == "trainium3" else 2.1) * wide
    # GeForce multiplies bf16 and fp8 at half rate when it adds in fp32, int8 and fp4 at full rate.
    half_rate = name.startswith("rtx-") and "pro" not in name
    built_for_int8 = name == "groq-lpu" or name.startswith("cloud-ai-100")
    assert rates.get("int8", 0.0) <= (4.1 if half_rate or built_for_int8 else 2.1) * wide
    # The fp4 units of GB300 and B300 were widened alone.
    assert rates.get("fp4", 0.0) <= (8.1 if half_rate else 6.3 if name in ("b300", "gb300") else 4.1) * wide
    assert rates.get("tf32", 0.0) <= 1.01 * wide and rates.get("fp64", 0.0) <= wide
    # Huawei states fp16 at a higher clock than bf16.
    assert rates.get("bf16", wide) == pytest.approx(rates.get("fp16", wide), rel=0.13 if name.startswith("ascend") else 1e-9)


@pytest.mark.parametrize("name", CHIPS)
def test_vector_units_are_slower_than_matrix_units(name: str) -> None:
    chip = catalog.chip(name)
    for data_type, rate in chip.vector_flops.items():
        assert rate <= chip.matrix_flops.get(data_type, widest_rate(chip)) * 1.01


@pytest.mark.parametrize("name", CHIPS)
def test_memory_gets_faster_inwards_and_caches_are_small(name: str) -> None:
    levels = list(catalog.chip(name).memory.values())
    assert len(levels) >= 2
    for outer, inner in pairwise(levels):
        assert inner.bandwidth > outer.bandwidth
        assert inner.capacity < 0.02 * levels[0].capacity


@pytest.mark.parametrize("name", CHIPS)
def test_links_are_slower_than_memory_and_sensible(name: str) -> None:
    chip = catalog.chip(name)
    assert set(chip.links) <= {"scale_up", "scale_out", "host"}
    for kind, link in chip.links.items():
        # A superchip's host link may outrun LPDDR (GB10), nothing else does.
        assert link.bandwidth < chip.main_memory.bandwidth or (name, kind) == ("gb10", "host")
        assert 0.1e-6 <= link.latency <= 100e-6
    if {"scale_up", "scale_out"} <= set(chip.links):
        assert chip.links["scale_out"].bandwidth < chip.links["scale_up"].bandwidth


@pytest.mark.parametrize("name", CHIPS)
def test_technologies_of_a_chip_play_their_roles(name: str) -> None:
    chip = catalog.chip(name)
    process = catalog.technology(chip.process)
    assert process.role == "logic"
    energies = {**process.energy_per_flop, **chip.energy_per_flop}
    assert {*chip.computable, "vector"} <= set(energies)
    for level in chip.memory.values():
        assert level.technology and catalog.technology(level.technology).role == "memory"
    for link in chip.links.values():
        assert link.technology and catalog.technology(link.technology).role == "link"


@pytest.mark.parametrize("name", CHIPS)
def test_power_at_full_rate_is_of_the_order_of_the_limit(name: str) -> None:
    platform = catalog.platform(name)
    chip = platform.chip
    energies = {**platform.technologies[chip.process].energy_per_flop, **chip.energy_per_flop}
    memory = platform.technologies[str(chip.main_memory.technology)].energy_per_byte
    assert memory is not None
    moving = chip.power.idle + chip.main_memory.bandwidth * memory
    data_type = "bf16" if "bf16" in chip.matrix_flops else "fp16"
    assert moving < chip.power.tdp
    assert 0.5 * chip.power.tdp < moving + chip.matrix_flops[data_type] * energies[data_type] < 1.7 * chip.power.tdp


@pytest.mark.parametrize("name", CHIPS)
def test_prices_are_of_this_world(name: str) -> None:
    price = catalog.chip(name).price
    assert price.purchase is None or 100 <= price.purchase <= 100_000
    assert price.hourly is None or 0.05 / 3600 <= price.hourly <= 20 / 3600


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_every_technology_has_the_energies_of_its_role(name: str) -> None:
    technology = catalog.technology(name)
    assert technology.name == name and technology.title
    if technology.role == "logic":
        energies = technology.energy_per_flop
        assert technology.energy_per_byte is None
        assert 0.05e-12 < energies["fp4"] < energies["fp8"] < energies["bf16"] <= energies["fp16"] < energies["fp32"] < 20e-12
        assert energies["vector"] > energies["bf16"]
    else:
        assert not technology.energy_per_flop
        assert technology.energy_per_byte is not None
        # From wires of a fraction of a millimetre (memory beside its core, about 0.02 pJ/bit) to a cable across a data centre.
        assert 0.02e-12 * 8 < technology.energy_per_byte < 100e-12 * 8


@pytest.mark.parametrize("kind", ["chip", "technology", "engine", "precision", "use_case"])
def test_every_figure_has_a_source_and_every_source_is_used(kind: str) -> None:
    for name in catalog.names(kind):
        spec = getattr(catalog, kind)(name)
        assert spec.provenance, name
        assert all(p.source.strip() for p in spec.provenance.values()), name
        assert all(isinstance(p.estimate, bool) for p in spec.provenance.values()), name
        text = catalog.files(kind)[name].read_text()
        body = text[text.index("sources:") :]
        for key in spec.sources:
            assert len(re.findall(rf"\b{re.escape(key)}\b", body)) >= 2, f"{name}: the source {key!r} is not used"


def numbers(node: Any, path: str = "") -> dict[str, float]:
    if isinstance(node, dict):
        return {k: v for key, inner in node.items() for k, v in numbers(inner, f"{path}.{key}".lstrip(".")).items()}
    return {path: node} if isinstance(node, (int, float)) and not isinstance(node, bool) else {}


@pytest.mark.parametrize("name", CHIPS)
def test_every_number_of_a_chip_is_sourced(name: str) -> None:
    chip = catalog.chip(name)
    stated = numbers(chip.model_dump(exclude={"sources", "provenance", "year"}, exclude_unset=True))
    assert set(stated) == set(chip.provenance)


# Platforms


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_shipped_platform_loads(name: str) -> None:
    platform = catalog.platform(name)
    assert isinstance(platform, Platform) and platform.devices >= 1
    assert platform.provenance and all(p.source.strip() for p in platform.provenance.values())


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_is_a_platform_of_one_and_of_its_whole_domain(name: str) -> None:
    one = catalog.platform(name)
    assert (one.devices, one.network, one.name, one.chip) == (1, (), name, catalog.chip(name))
    assert one.chip.process in one.technologies
    link = one.chip.links.get("scale_up")
    if link is not None:
        whole = catalog.platform(f"{link.domain}x {name}")
        assert whole.devices == link.domain and whole.scale_up_size == link.domain
        assert whole.network[0].bandwidth == link.bandwidth and whole.network[0].latency == link.latency
        assert whole.network[0].technology in whole.technologies


PLATFORM = """\
platform: pod
title: Two nodes
sources: {guide: "Reference design"}
source: guide
chip: h100-sxm
devices: 16
network:
  - {link: scale_up, topology: switch, size: 8, bandwidth: 450 GB/s, latency: 2 us, technology: nvlink}
  - {link: scale_out, topology: switch, size: 2, bandwidth: {value: 400 Gbit/s, estimate: true}, latency: 5 us,
     technology: infiniband}
host: {memory: 2 TB, power: 2 kW}
"""


@pytest.fixture
def pod(tmp_path: Path) -> Any:
    def load(old: str = "", new: str = "") -> Platform:
        path = tmp_path / "pod.yaml"
        assert old in PLATFORM
        path.write_text(PLATFORM.replace(old, new) if old else PLATFORM)
        return catalog.platform(str(path))

    return load


def test_a_platform_of_ones_own(pod: Any) -> None:
    platform = pod()
    assert (platform.name, platform.devices, platform.scale_up_size, platform.chip.name) == ("pod", 16, 8, "h100-sxm")
    assert platform.network[1].bandwidth == 50e9 and platform.host.power == 2000
    assert {"n4", "hbm3", "nvlink", "infiniband"} <= set(platform.technologies)
    assert platform.provenance["network.1.bandwidth"].source == "Reference design"
    assert platform.provenance["network.1.bandwidth"].estimate is True


BROKEN_PLATFORMS: list[tuple[str, str, str, type[Exception], str]] = [
    ("unknown chip", "chip: h100-sxm", "chip: h100-smx", UnknownNameError, "did you mean 'h100-sxm'"),
    ("no chip", "chip: h100-sxm\n", "", SpecError, "chip"),
    ("number for a chip", "chip: h100-sxm", "chip: 3", SpecError, "chip"),
    ("empty chip", "chip: h100-sxm", "chip: ''", InvalidValueError, "is not a name"),
    ("no devices", "devices: 16", "devices: 0", SpecError, "devices = 0"),
    ("negative devices", "devices: 16", "devices: -16", SpecError, "devices = -16"),
    ("half a device", "devices: 16", "devices: 15.5", SpecError, "devices = 15.5"),
    ("devices as text", "devices: 16", "devices: '16'", SpecError, "devices = '16'"),
    (
        "devices that the network does not divide",
        "devices: 16",
        "devices: 24",
        SpecError,
        "devices = 24 is no multiple of the 16",
    ),
    ("misspelt key", "network:", "netwrok:", SpecError, "did you mean 'network'"),
    ("misspelt inner key", "size: 8", "sice: 8", SpecError, "did you mean 'size'"),
    ("unknown topology", "topology: switch, size: 8", "topology: swich, size: 8", SpecError, "did you mean 'switch'"),
    ("torus without sides", "topology: switch, size: 8", "topology: torus, size: 8", SpecError, "network.0: a torus"),
    ("switch with sides", "size: 8,", "size: 8, shape: [2, 4],", SpecError, "network.0: a torus"),
    ("sides of another size", "switch, size: 8", "torus, size: 8, shape: [2, 2]", SpecError, "size = 8 is not the product"),
    ("side of zero", "switch, size: 8", "torus, size: 8, shape: [0, 8]", SpecError, "network.0.shape.0 = 0"),
    ("oversubscribed switch", "size: 8,", "size: 8, oversubscription: 2,", SpecError, "fat tree"),
    (
        "oversubscribed for ever",
        "switch, size: 8",
        "fat_tree, oversubscription: .inf, size: 8",
        SpecError,
        "oversubscription = inf",
    ),
    (
        "oversubscribed in truth",
        "switch, size: 8",
        "fat_tree, oversubscription: true, size: 8",
        SpecError,
        "= True is not allowed",
    ),
    ("unknown technology", "nvlink", "nvlnk", UnknownNameError, "did you mean 'nvlink'"),
    ("wrong unit", "450 GB/s", "450 GB", SpecError, "did you mean 'GB/s'"),
    ("negative bandwidth", "450 GB/s", "-450 GB/s", SpecError, "greater than 0"),
    ("no source", "source: guide\n", "", SpecError, "has no source"),
    (
        "figure without source in a list",
        "bandwidth: 450 GB/s",
        "bandwidth: {value: 450 GB/s, source: nowhere}",
        SpecError,
        "nowhere",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"), [r[1:] for r in BROKEN_PLATFORMS], ids=[r[0] for r in BROKEN_PLATFORMS]
)
def test_broken_platforms(pod: Any, old: str, new: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        pod(old, new)
    assert words in str(caught.value)


def test_a_chip_file_is_a_platform_of_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    raw = yaml.safe_load(catalog.files("chip")["h100-sxm"].read_text())
    raw["chip"], raw["links"]["scale_up"]["domain"] = "mine", 4
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    assert catalog.platform(str(path)).chip.name == "mine"
    assert catalog.platform(f"4x {path}").devices == 4
    with pytest.raises(InvalidValueError, match="1 to 4"):
        catalog.platform(f"5x {path}")


def test_a_chip_whose_technology_is_unknown_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(catalog.files("chip")["h100-sxm"].read_text().replace("technology: hbm3", "technology: hbm33"))
    with pytest.raises(UnknownNameError, match="did you mean 'hbm3"):
        catalog.platform(str(path))


def test_multiply_rate_falls_back_to_the_vector_units() -> None:
    v100 = catalog.chip("v100-sxm-32gb")
    assert v100.multiply_rate("fp16") == v100.matrix_flops["fp16"]
    assert "fp32" not in v100.matrix_flops and v100.multiply_rate("fp32") == v100.vector_flops["fp32"]
    assert v100.computable[0] in v100.matrix_flops
