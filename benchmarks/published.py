"""GenZ's figure beside each published one, study by study: `python benchmarks/published.py [study ...]`.

A study is a function that returns published figures, each with the questions that answer it; add yours to `STUDIES`. Nothing is
fitted to them. What a publication leaves open (a batch, a parallelism) is chosen as the study says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import genz


@dataclass(frozen=True)
class Published:
    """One published figure, and how GenZ answers the same question."""

    label: str
    value: float
    unit: str
    answer: Callable[[], float]

    def row(self) -> tuple[str, str, str, str]:
        """Label, published, GenZ's, and the ratio of the two; an error of GenZ in place of its figure."""
        try:
            found = self.answer()
        except genz.GenZError as error:
            return self.label, f"{self.value:,.4g} {self.unit}", f"none: {error}", ""
        return self.label, f"{self.value:,.4g} {self.unit}", f"{found:,.4g} {self.unit}", f"{found / self.value:.2f}"


# Pangu Pro MoE against dense models.

ASCEND = "4x ascend-910b4"
CONTEXT = 2048


def pangu() -> tuple[str, list[Published]]:
    """Decode of Pangu Pro MoE (72B-A16B) and of dense models of 72B and 32B."""
    source = (
        "Pangu Pro MoE, arXiv:2505.21411, decode of W8A8 models on four Ascend 800I A2 at 2,048 tokens of context, tokens/s a "
        "card. The dense models are not published: Qwen2.5 of the same sizes stand in. Tensor parallelism over the four, "
        "experts on ranks of their own; cards of 64 GB, of which 98 % may be taken, as the largest batch needs. No kernel was "
        "measured on these cards: the engine's flat efficiencies (fidelity engine)."
    )
    return source, [
        Published("Pangu Pro MoE 72B-A16B, batch 456", 1148, "tok/s", partial(_decode_rate, "pangu-pro-moe-72b", 456, ep=4)),
        Published("dense 32B (Qwen2.5-32B), batch 336", 973, "tok/s", partial(_decode_rate, "qwen2.5-32b", 336)),
        Published("dense 72B (Qwen2.5-72B), batch 228", 583, "tok/s", partial(_decode_rate, "qwen2.5-72b", 228)),
    ]


def _decode_rate(model: str, batch: int, **degrees: int) -> float:
    """Tokens a second and card of one decode step at the context [1/s]."""
    prediction = genz.predict(
        model,
        ASCEND,
        input=CONTEXT,
        output=2,
        batch=batch,
        tp=4,
        precision="int8",
        fidelity="engine",
        gpu_memory_utilization=0.98,
        **degrees,
    )
    return float(batch / prediction.tpot / 4)


# Nemotron-51B against its parent.


def nemotron() -> tuple[str, list[Published]]:
    """Llama-3.1-Nemotron-51B against Llama-3.1-70B on H100."""
    source = (
        "Puzzle, arXiv:2411.19146, table of throughput on H100 with TensorRT-LLM in FP8, tokens/s a GPU. Neither batch nor "
        "parallelism are given: the best of 1, 2, 4 and 8 GPUs and of batches up to the largest that fits."
    )
    parent, child = "llama-3.1-70b", "llama-3.1-nemotron-51b"
    return source, [
        Published(f"{name}, {tokens}/{output}", value, "tok/s", partial(_best_rate, name, tokens, output))
        for tokens, output, parents, childs in ((128, 1024, 2975, 6472), (2048, 128, 339, 653))
        for name, value in ((parent, parents), (child, childs))
    ]


def _best_rate(model: str, tokens: int, output: int) -> float:
    """Output tokens a second and GPU of static batches, the best of what fits [1/s]."""
    best = 0.0
    for gpus in (1, 2, 4, 8):
        asked = {"input": tokens, "output": output, "tp": gpus, "precision": "fp8", "engine": "tensorrt-llm"}
        largest = _largest_batch(model, f"{gpus}x h100-sxm", asked)
        batches = {largest, *(2**power for power in range(3, 13) if 2**power < largest)} if largest else set()
        for batch in batches:
            prediction = genz.predict(model, f"{gpus}x h100-sxm", batch=batch, **asked)  # type: ignore[arg-type]
            best = max(best, float(prediction.throughput) / gpus)
    return best


def _largest_batch(model: str, platform: str, asked: dict[str, object]) -> int:
    try:
        return int(genz.predict(model, platform, batch=1, **asked).largest_batch)  # type: ignore[arg-type]
    except genz.DoesNotFitError:
        return 0


# VisionZip: fewer visual tokens.

QUESTION_TOKENS = 64  # system prompt and question


def visionzip() -> tuple[str, list[Published]]:
    """LLaVA-NeXT 7B with all visual tokens of an image, and with those that VisionZip leaves."""
    source = (
        "VisionZip, arXiv:2412.04467, prefill of LLaVA-NeXT 7B on one A800 80 GB in PyTorch (an A100 with a slower link, "
        "which one device does not use): 2,880 visual tokens, and 160. Not said: the text, here 64 tokens; the kernels, here "
        "the engine pytorch; whether the vision tower is in the time. Both readings are given."
    )
    times = ((2880, 0.218), (160, 0.0278))
    return source, [
        *(
            Published(f"{kept:,} visual tokens, prefill alone", s * 1e3, "ms", partial(_visual_prefill, kept))
            for kept, s in times
        ),
        *(
            Published(f"{kept:,} visual tokens, with the tower", s * 1e3, "ms", partial(_visual_ttft, kept))
            for kept, s in times
        ),
        Published("speed-up, prefill alone", 0.218 / 0.0278, "x", lambda: _visual_prefill(2880) / _visual_prefill(160)),
        Published("speed-up, with the tower", 0.218 / 0.0278, "x", lambda: _visual_ttft(2880) / _visual_ttft(160)),
    ]


def _visual(kept: int) -> genz.Prediction:
    return genz.predict(
        "llava-next-7b",
        "a100-sxm-80gb",
        input=QUESTION_TOKENS,
        output=1,
        images=1,
        image_size="672x672",
        image_tokens=kept,
        engine="pytorch",
    )


def _visual_prefill(kept: int) -> float:
    """Time of the prompt behind the tower [ms]."""
    return float(_visual(kept).outcome.prefill.time) * 1e3


def _visual_ttft(kept: int) -> float:
    """Time of the tower and of the prompt [ms]."""
    return float(_visual(kept).ttft) * 1e3


STUDIES: dict[str, Callable[[], tuple[str, list[Published]]]] = {"pangu": pangu, "nemotron": nemotron, "visionzip": visionzip}


def main(names: list[str]) -> int:
    """Print the tables of the studies that are named, of all where none is."""
    unknown = [name for name in names if name not in STUDIES]
    if unknown:
        print(f"unknown study {unknown[0]!r}; there are {', '.join(STUDIES)}", file=sys.stderr)
        return 2
    for name in names or STUDIES:
        source, figures = STUDIES[name]()
        print(f"## {name}\n\n{source}\n\n| | published | GenZ | GenZ / published |\n|---|---|---|---|")
        for figure in figures:
            print("| " + " | ".join(figure.row()) + " |")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
