"""What all engines share: questions that none of them can realise, and the numbers that every command carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from genz.errors import InvalidValueError, UnsupportedError
from genz.export.launch import KvBlocks
from genz.inference.evaluate import memory_of
from genz.inference.limits import check_fits
from genz.inference.question import Question
from genz.numerics import is_symbolic
from genz.specs import catalog
from genz.specs.channel_mixers import FeedForward, MixtureOfExperts
from genz.specs.offload import HOST
from genz.specs.parallelism import FLAGS, Parallelism, stages
from genz.specs.token_mixers import Attention, LatentAttention

MAX_SHOWN = 16


def refuse(field: str, value: object, reason: str, allowed: str, *, nearest: object = None) -> UnsupportedError:
    """The error for what an engine cannot realise."""
    hint = None if nearest is None else f"the nearest is {nearest}"
    problem = f"{field}: {value} cannot be exported: {reason}"
    return UnsupportedError(problem, field=field, value=value, allowed=allowed, hint=hint)


def on_engine(question: Question, name: str) -> Question:
    """The question under the memory rules of the engine that it is exported to.

    Raises `InvalidValueError` for arrays and symbols, `DoesNotFitError` where that engine has too little memory.
    """
    engine = question.engine if question.engine.name == name else catalog.engine(name)
    asked = replace(question, engine=engine)
    memory = memory_of(asked)
    room = memory.budget_bytes - memory.total_bytes
    values: dict[str, Any] = {**asked.workload.figures, "gpu_memory_utilization": asked.utilization, "platform": room}
    for field, value in values.items():
        if is_symbolic(value) or np.ndim(value):
            raise InvalidValueError(f"{field}: an array or a symbol is no single question", field=field, value=value,
                                    allowed="one number")  # fmt: skip
    check_fits(asked, memory)
    return asked


def check_chip(question: Question, engine: str, makers: Mapping[str, tuple[str, ...]]) -> None:
    """Raise `UnsupportedError` for a chip that the engine does not run on; `makers` are {kind of chip: vendors}."""
    chip = question.platform.chip
    if chip.vendor.lower() not in makers.get(chip.kind_of_chip, ()):
        listed = "; ".join(f"{kind.upper()}s of {', '.join(vendors)}" for kind, vendors in makers.items())
        raise refuse("platform", chip.name, f"{engine} does not run on it, or not by these flags", listed)


def check_model(question: Question, engine: str) -> None:
    """Raise `UnsupportedError` for a model whose memory in an engine GenZ cannot tell: states, encoders, cross attention."""
    model = question.model
    if question.workload.embeds or not model.generates:
        reason = "what it exports are servers that generate"
        raise refuse("model", model.name, reason, "a decoder, and an output of one token or more")
    mixers = [mixer for layer, _ in model.layer_groups for mixer in layer.token_mixers]
    plain = all(isinstance(mixer, (Attention, LatentAttention)) and mixer.causal and mixer.source is None for mixer in mixers)
    if model.encoders or not plain or any(layer.beside for layer, _ in model.layer_groups):
        reason = f"how {engine} lays out states, encoders and cross attention is not modelled"
        raise refuse("model", model.name, reason, "models of which every layer keeps a KV cache of its own")


def check_layout(question: Question, engine: str, *, decode_context: bool = False, weight_offload: bool = True) -> None:
    """Raise `UnsupportedError` for a layout that the engine cannot realise, with the nearest one that it can."""
    laid, offload = question.parallelism, question.offload
    if laid.context > 1:
        reason = f"{engine} has no context parallelism for the prefill of every model"
        raise refuse(FLAGS["context"], laid.context, reason, "1", nearest=1)
    if laid.decode_context > 1 and not decode_context:
        raise refuse(FLAGS["decode_context"], laid.decode_context, f"{engine} has no flag for it", "1", nearest=1)
    if laid.sequence_parallel:
        raise refuse("sequence_parallel", True, f"{engine} sums over the tensor ranks by all-reduce", "False", nearest=False)
    if laid.micro_batches not in (None, laid.pipeline):
        raise refuse(FLAGS["micro_batches"], laid.micro_batches, f"{engine} keeps as many batches in flight as stages",
                     str(laid.pipeline), nearest=laid.pipeline)  # fmt: skip
    if offload.cache:
        raise refuse("offload_cache", offload.cache, f"{engine} attends to a cache on the device only", "0", nearest=0)
    if offload.weights and (not weight_offload or offload.tier != HOST):
        raise refuse("offload_weights", offload.weights, f"{engine} cannot fetch weights from {offload.tier!r} in every step",
                     "0 to 1, to 'host'" if weight_offload else "0", nearest=None if weight_offload else 0)  # fmt: skip
    _check_division(question, engine)


def _check_division(question: Question, engine: str) -> None:
    """Engines split heads and matrices into equal parts, and KV heads into equal parts or whole copies."""
    laid = question.parallelism
    if _divides(question, laid):
        return
    degrees = range(1, question.model.attention_heads + 1)
    legal = [degree for degree in degrees if _divides(question, replace(laid, tensor=degree))]
    shown = ", ".join(map(str, legal[:MAX_SHOWN])) + (", ..." if len(legal) > MAX_SHOWN else "")
    nearest = min(legal, key=lambda degree: (abs(degree - laid.tensor), degree), default=1)
    reason = f"{engine} splits heads and matrices of {question.model.name} into equal parts"
    raise refuse(FLAGS["tensor"], laid.tensor, reason, shown, nearest=nearest)


def _divides(question: Question, laid: Parallelism) -> bool:
    ranks = laid.tensor
    for layer, _ in question.model.layer_groups:
        mixer, channel = layer.token_mixer, layer.channel_mixer
        if mixer is not None and mixer.units % ranks:
            return False
        kv_heads = getattr(mixer, "kv_heads", 1)
        if kv_heads % ranks and ranks % kv_heads:
            return False
        dense = channel.shared if isinstance(channel, MixtureOfExperts) else channel
        if isinstance(dense, FeedForward) and dense.intermediate % ranks:
            return False
        if isinstance(channel, MixtureOfExperts) and channel.expert.intermediate % laid.expert_tensor:
            return False
    return True


def request_length(question: Question) -> int:
    """Input and output tokens of one request."""
    return int(question.workload.final_context)


def sequences_of(question: Question) -> int:
    """Sequences that one data-parallel rank runs at once: what was asked for, else all of its requests and their beams."""
    if question.max_num_seqs is not None:
        return question.max_num_seqs
    return int(question.requests_per_rank * question.workload.beams)


def uneven_stages(question: Question) -> list[int]:
    """Layers of each pipeline stage where they are not the same number, which each engine would deal out its own way."""
    sizes = [stage.end - stage.start for stage in stages(len(question.model.layers), question.parallelism.pipeline)]
    return sizes if len(set(sizes)) > 1 else []


def plan_step(question: Question, engine: str, plan: Callable[[int], KvBlocks]) -> tuple[int, KvBlocks]:
    """The tokens of a step, and the cache that they leave: the engine's usual number, else only what the question needs.

    Raises `UnsupportedError` where the engine's blocks hold fewer requests than the question has.
    """
    needed, workload = int(question.requests_per_rank), question.workload
    sequences = sequences_of(question)
    usual = max(question.engine.memory.max_num_batched_tokens, sequences)
    own = max(min(int(needed * workload.new_prompt_tokens), usual), sequences)
    for tokens in (usual, own):
        blocks = plan(tokens)
        if blocks.concurrency >= needed:
            return tokens, blocks
    most = blocks.concurrency * question.parallelism.data
    size = f"{engine}'s cache of {blocks.tokens:,} tokens"
    held = f"{size} holds {blocks.concurrency} requests of {blocks.length:,} tokens on a replica"
    raise refuse("batch", workload.batch, held, f"at most {most}", nearest=most)


def is_windowed(question: Question) -> bool:
    """Whether some layers keep only a window or a chunk of the cache."""
    mixers = [layer.token_mixer for layer, _ in question.model.layer_groups]
    return any(mixer.reach for mixer in mixers if mixer is not None)


def instance_notes(servers: int, reason: str = "") -> list[str]:
    """How to start a command several times."""
    again = f"start the command {servers} times, on devices and ports of their own, behind a load balancer{reason}"
    return [again] if servers > 1 else []


def host_notes(question: Question, devices: int, how: str) -> list[str]:
    """How to span hosts, for an instance of more devices than the innermost network dimension joins."""
    inner = question.platform.scale_up_size
    return [f"{devices} devices are more than the {inner} of one host: {how}"] if 1 < inner < devices else []


def model_notes(question: Question) -> list[str]:
    """What the model's files hold beside what GenZ counts."""
    if not question.model.model_type.endswith("_text"):
        return []
    return [f"GenZ counts the text part of {question.model.name}: its vision part takes more memory, if it is loaded"]
