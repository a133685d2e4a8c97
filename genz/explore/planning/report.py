"""A plan as a page of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genz.explore.planning.constraints import CONSTRAINTS
from genz.explore.planning.option import Option
from genz.export import Launch
from genz.inference.report import WIDE, render, seconds, table
from genz.units import format_bytes, format_si

if TYPE_CHECKING:
    from rich.console import RenderableType

    from genz.explore.planning.result import Front, Plan

USUAL_TOP = 10


def page(plan: Plan, *, top: int = USUAL_TOP, engine: str | None = None, launches: bool = True) -> str:
    """The question, the ranked options, the first of them at length, and what was searched."""
    shown = plan.options[:top]
    parts: list[Any] = [heading(plan), options_table(shown, len(plan.options)), figures_table(shown), details(plan.best)]
    if launches:
        parts.append(launch_text(plan.best, engine))
    parts.append("\n".join(f"Note: {note}." for note in plan.notes))
    return render(*parts, width=WIDE)


def heading(plan: Plan) -> str:
    """What was asked."""
    asked, workload = plan.asked, plan.best.parts[0].question.workload
    limits = ", ".join(
        f"{CONSTRAINTS[figure].title} up to {CONSTRAINTS[figure].shown(v)}" for figure, v in asked.constraints.items()
    )
    beams = f", {workload.beams} beams" if workload.beams != 1 else ""
    return (
        f"{asked.model.name} for {asked.load}: {workload.input_tokens} input and {workload.output_tokens} output tokens"
        f"{beams}\n"
        f"{limits or 'no objectives and no budgets'}\n"
        f"ranked by {asked.objective.name}, fidelity {plan.best.parts[0].question.fidelity}; means of a steady state"
    )


def options_table(options: Sequence[Option], of: int) -> RenderableType:
    """What each option is made of: one row an option."""
    header = ("", "platform", "replicas", "layout", "precision", "chips", "batch")
    rows = [
        (
            f"{rank}",
            option.platform,
            " + ".join(f"{part.copies} x {part.replica.devices}" for part in option.parts),
            " + ".join(part.layout for part in option.parts),
            option.precision,
            f"{option.devices:,}",
            f"{option.parts[-1].batch * option.parts[-1].replica.data:,}",
        )
        for rank, option in enumerate(options, 1)
    ]
    title = f"The {len(rows)} best of {of} options" if of > len(rows) else "Options"
    return table(title, header, rows, words=(1, 2, 3, 4))


def figures_table(options: Sequence[Option]) -> RenderableType:
    """What each option comes to: one row an option."""
    header = ("", "TTFT", "TPOT", "tok/s/user", "tok/s/chip", "USD/h", "USD/M in", "USD/M out", "J/token")
    rows = [
        (
            f"{rank}",
            number(option.figures["ttft_s"], "s"),
            number(option.figures["tpot_s"], "s"),
            number(option.figures["output_tokens_per_s_per_user"]),
            number(option.figures["output_tokens_per_s_per_device"]),
            money(option.figures["usd_per_hour"]),
            money(option.figures["usd_per_million_tokens_in"]),
            money(option.figures["usd_per_million_tokens_out"]),
            number(option.figures["energy_j_per_output_token"]),
        )
        for rank, option in enumerate(options, 1)
    ]
    return table("At the load", header, rows, words=())


def number(value: float, unit: str = "") -> str:
    """A figure; a dash where there is none."""
    return "-" if value != value else format_si(value, unit)  # noqa: PLR0124


def money(value: float) -> str:
    """Dollars, with cents where they matter; a dash where no price is known."""
    return "-" if value != value else f"{value:,.2f}" if value >= 0.1 else f"{value:.3g}"  # noqa: PLR0124


def details(option: Option) -> str:
    """What the table has no room for, of one option."""
    lines = [f"The first: {option.description}"]
    load, most = option.figures["requests_per_s"], option.capacity_requests_per_s
    lines.append(f"  takes up to {most:.4g} requests/s within the objectives; the load is {load:.4g} ({load / most:.0%})")
    if option.headroom:
        lines.append("  headroom: " + ", ".join(f"{name.upper()} {share:.1%}" for name, share in option.headroom.items()))
    for part in option.parts:
        left = format_bytes(part.memory_left)
        share = part.memory_left / part.memory.budget_bytes
        lines.append(
            f"  {part.role}: {_requests(part.batch)} on a rank, up to {part.capacity_batch} at capacity; "
            f"{left} of each device's memory left ({share:.0%} of what the engine may take)"
        )
    lines.append(f"  {seconds(option.figures['e2e_s'])} end to end, {format_si(option.figures['power_w'], 'W')} on average")
    return "\n".join(lines)


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests"


def launch_text(option: Option, engine: str | None = None) -> str:
    """The commands of an option, each with how often it is started."""
    blocks = []
    for part, launch in zip(option.parts, option.launches(engine), strict=True):
        what = "Launch" if part.role == "serve" else f"Launch, to {part.role}"
        if not isinstance(launch, Launch):
            blocks.append(f"{what}: no command, as {launch}")
            continue
        times = part.copies * launch.instances
        often = "once" if times == 1 else f"{times} times, on devices of their own behind a load balancer"
        blocks.append(f"{what} ({often}):\n{launch}")
    if option.is_disaggregated:
        blocks.append("The engines' transfer of the KV cache between the pools is set up apart from these commands.")
    return "\n\n".join(blocks)


def front_page(front: Front, frame: Any) -> str:
    """A Pareto front, one row a deployment, and whether it meets the objectives."""
    rows = [_front_row(row) for _, row in frame.iterrows()]
    header = ("platform", "pools", "chips", "batch", "tok/s/user", "tok/s/chip", "E2E", "USD/M", "SLO")
    return render(table(f"Pareto front: {front.title}", header, rows, words=(0, 8)), width=WIDE)


def _front_row(row: Any) -> tuple[str, ...]:
    return (
        row["platform"],
        "2" if row["kind"] == "disaggregated" else "1",
        f"{row['devices']:,}",
        f"{row['batch_per_rank'] * row['data']:,}",
        number(row["output_tokens_per_s_per_user"]),
        number(row["output_tokens_per_s_per_device"]),
        number(row["e2e_s"], "s"),
        money(row["usd_per_million_tokens"]),
        "met" if row["meets_objectives"] else "missed",
    )
