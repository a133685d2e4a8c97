"""What to launch: the command of a serving engine that realises a question, and the KV cache that it would report."""

from __future__ import annotations

from collections.abc import Callable

from genz.errors import unknown_name
from genz.export import checks, sglang, tensorrt_llm, vllm
from genz.export.launch import KvBlocks, Launch
from genz.inference.question import Question
from genz.specs import catalog

__all__ = ["ENGINES", "KvBlocks", "Launch", "launch_for"]

_LAUNCHES: dict[str, Callable[[Question], Launch]] = {
    "vllm": vllm.launch,
    "sglang": sglang.launch,
    "tensorrt-llm": tensorrt_llm.launch,
}
ENGINES = tuple(_LAUNCHES)


def launch_for(question: Question, engine: str = "vllm") -> Launch:
    """How `engine` ("vllm", "sglang" or "tensorrt-llm") is started so that it serves a question that fits.

    A `gpu_memory_utilization` of the question is a share of the device's whole memory, translated into what the
    engine calls its fraction; without one, the engine's own default stays. Memory rules are those of `engine`,
    whatever the question was predicted for.

    Raises:
        UnknownNameError: there is no such engine.
        UnsupportedError: the engine cannot realise the question; it names the nearest that it can.
        DoesNotFitError: the engine takes less memory than the question needs.
        InvalidValueError: the question has arrays or symbols.
    """
    name = catalog.engine(engine).name
    if name not in _LAUNCHES:
        raise unknown_name("engine to export to", engine, ENGINES)
    return _LAUNCHES[name](checks.on_engine(question, name))
