"""What to start: a command with its files and environment, and the KV cache that the engine would report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from genz import units


@dataclass(frozen=True)
class KvBlocks:
    """The KV cache of one replica as its engine allots it.

    Attributes:
        block_size: tokens in a block [tokens].
        bytes_per_block: of all layers on one device of the pipeline stage that has room for the fewest blocks [B].
        blocks: blocks on each device.
        tokens: size of the cache as the engine logs it [tokens].
        length: tokens of one request of the question, input and output [tokens].
        reported: requests of `length` tokens at once as vLLM logs them, each counted in its largest step; for other engines
            tokens / length.
        concurrency: requests of the question that fit at once, its beams included.
    """

    block_size: int
    bytes_per_block: float
    blocks: int
    tokens: int
    length: int
    reported: float
    concurrency: int

    def __str__(self) -> str:
        size = units.format_bytes(self.bytes_per_block)
        return (
            f"KV cache: {self.tokens:,} tokens in {self.blocks:,} blocks of {self.block_size} ({size} each), "
            f"room for {self.concurrency:,} requests of {self.length:,} tokens at once"
        )


@dataclass(frozen=True)
class Launch:
    """How an engine is started so that it serves a question.

    Attributes:
        engine: name of the engine.
        command: program and arguments.
        kv_cache: what the engine would report of its KV cache.
        environment: variables that the command needs.
        files: {name: text} of files that the command reads.
        notes: what to know before, and what the engine does in another way.
        instances: how often the command is started, each on devices of its own behind a load balancer.
    """

    engine: str
    command: tuple[str, ...]
    kv_cache: KvBlocks
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    instances: int = 1

    @property
    def shell(self) -> str:
        """The command as one line for a shell, its environment before it."""
        return " ".join(self._words())

    def _words(self) -> list[str]:
        return [*(f"{name}={shlex.quote(value)}" for name, value in self.environment.items()), *map(shlex.quote, self.command)]

    def to_dict(self) -> dict[str, Any]:
        """The launch as JSON-ready data; keys are stable."""
        return {
            "engine": self.engine,
            "command": list(self.command),
            "shell": self.shell,
            "environment": dict(self.environment),
            "files": dict(self.files),
            "instances": self.instances,
            "kv_cache": asdict(self.kv_cache),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines: list[str] = []
        for word in self._words():
            if word.startswith("--") or not lines:
                lines.append(word)
            else:
                lines[-1] += f" {word}"
        parts = [" \\\n  ".join(lines)]
        parts += [f"\n# {name}\n{text.rstrip()}" for name, text in self.files.items()]
        parts += [f"\n{self.kv_cache}"]
        parts += [f"Note: {note}." for note in self.notes]
        return "\n".join(parts)
