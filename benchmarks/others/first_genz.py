"""Driver of the first GenZ (`genz-llm`): one decode step of each point by `decode_moddeling`.

It gets the figures of GenZ's own chips. Its bandwidths are binary gigabytes a second, its memory binary gigabytes.
"""

from __future__ import annotations

from protocol import Sweep, measurement, points, read_sweep, report, structures, timed

MODEL = {"llama-3.1-70b": "meta-llama/Meta-Llama-3.1-70B"}
DOES_NOT_FIT = "All params would not fit"


def main() -> None:
    """Measure."""
    sweep = read_sweep()
    _, load = timed(_import)
    systems, prepare = timed(lambda: [(_system(chip), tp) for chip, tp in structures(sweep)])
    refusals: dict[str, int] = {}
    tpot, seconds = timed(lambda: _evaluate(sweep, systems, refusals))
    report(
        [
            measurement(
                "first GenZ: decode_moddeling",
                "TPOT, whether it fits",
                load=load,
                prepare=prepare,
                passes=[seconds],
                tpot_s=tpot,
                refusals=refusals,
            )
        ]
    )


def _import() -> None:
    import GenZ  # noqa: F401


def _system(chip: dict[str, float]) -> dict[str, float | bool]:
    """A chip as the first GenZ describes it: TFLOP/s, GiB, GiB/s, microseconds."""
    return {
        "Flops": chip["flops"] / 1e12,
        "Memory_size": chip["memory_bytes"] / 2**30,
        "Memory_BW": chip["memory_bandwidth"] / 2**30,
        "ICN": chip["link_bandwidth"] / 2**30,
        "ICN_LL": chip["link_latency"] * 1e6,
        "real_values": True,
    }


def _evaluate(sweep: Sweep, systems: list[tuple[dict[str, float | bool], int]], refusals: dict[str, int]) -> list[float | None]:
    from GenZ import decode_moddeling

    found: list[float | None] = []
    for system, tp in systems:
        for batch, context in points(sweep):
            try:
                answer = decode_moddeling(
                    model=MODEL[sweep["model"]],
                    batch_size=batch,
                    input_tokens=context,
                    output_tokens=1,
                    Bb=1,
                    system_name=system,
                    bits="bf16",
                    tensor_parallel=tp,
                )
            except ValueError as error:
                reason = "does not fit" if str(error).startswith(DOES_NOT_FIT) else str(error)
                refusals[reason] = refusals.get(reason, 0) + 1
                found.append(None)
            else:
                found.append(float(answer["Latency"]) / 1e3)
    return found


if __name__ == "__main__":
    main()
