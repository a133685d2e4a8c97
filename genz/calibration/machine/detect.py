"""What machine this is, and which chip of the catalog, if any."""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import asdict, dataclass
from typing import Any

from genz.calibration.machine.cpu import Cpu, detect_linux_cpu
from genz.calibration.machine.gpu import Gpu, detect_gpu
from genz.calibration.machine.macos import detect_macos_cpu
from genz.specs import catalog
from genz.specs.hardware import Chip

# Memory that a driver reports differs by this much between boards of one product: firmware and ECC take some.
MEMORY_TOLERANCE = 0.03


@dataclass(frozen=True)
class Machine:
    """The device that is measured, as PyTorch names its kind, and the processor that runs it."""

    device: str
    cpu: Cpu
    gpu: Gpu | None
    torch_version: str
    threads: int

    @property
    def device_name(self) -> str:
        return self.gpu.name if self.gpu else self.cpu.name

    def identity(self) -> dict[str, Any]:
        """What measurements must share to belong together; JSON-ready."""
        return {
            "device": self.device,
            "name": self.device_name,
            "cpu": self.cpu.name,
            "threads": self.threads,
            "gpu": asdict(self.gpu) | {"clock": None} if self.gpu else None,
            "torch": self.torch_version,
        }


def detect(torch: Any, device: str) -> Machine:
    """The machine as the operating system, PyTorch and the vendor's library tell it."""
    cpu = detect_macos_cpu() if sys.platform == "darwin" else detect_linux_cpu()
    gpu = None if device == "cpu" else detect_gpu(torch, device)
    return Machine(device, cpu, gpu, str(torch.__version__), cpu.threads)


def chip_of(machine: Machine) -> Chip | None:
    """The chip of the catalog that this device is, none where no name and size agree.

    A device is a chip if the catalog knows it by its name, or if one of the chip's names is made of words of the device's
    name, and cores and memory agree; of several the one with the most words in common. A processor of which only some cores
    may be used is not the chip.
    """
    words = _words(machine.device_name)
    chips = [catalog.chip(name) for name in catalog.names("chip")]
    in_common = {chip.name: _words_in_common(chip, words) for chip in chips if _agrees(chip, machine)}
    name = max(in_common, key=in_common.__getitem__, default=None)
    return catalog.chip(name) if name is not None and in_common[name] else None


def _words_in_common(chip: Chip, words: set[str]) -> int:
    """Words of the longest name of a chip that is made of these words alone; 0 where none is."""
    names = (_words(name) for name in (chip.name, *chip.aliases))
    return max((len(name) for name in names if name <= words), default=0)


def _words(name: str) -> set[str]:
    """Lower-case words of a name; a word that joins letters and a size ("SXM4") also counts without its number."""
    found = set(re.findall(r"[a-z0-9+]+", name.lower()))
    return found | {re.sub(r"\d+$", "", word) for word in found if re.fullmatch(r"[a-z]{3,}\d", word)}


def _agrees(chip: Chip, machine: Machine) -> bool:
    gpu = machine.gpu
    if gpu is None:
        return chip.kind_of_chip == "cpu" and chip.cores.count == machine.threads
    same_memory = abs(gpu.memory / float(chip.main_memory.capacity) - 1) <= MEMORY_TOLERANCE
    same_cores = not gpu.units or chip.cores.count == gpu.units
    return chip.kind_of_chip == "gpu" and same_memory and same_cores


def chip_name(machine: Machine) -> str:
    """The name under which measurements and the chip's own file go: the catalog's, or one made of the device's."""
    known = chip_of(machine)
    if known is not None:
        return known.name
    plain = re.sub(r"\((r|tm)\)|\b(cpu|processor)\b|@.*", " ", machine.device_name.lower())
    slug = re.sub(r"[^a-z0-9.+]+", "-", plain).strip("-") or platform.machine().lower()
    return slug if machine.gpu else f"{slug}-{machine.threads}-cores"
