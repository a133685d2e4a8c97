"""Requirements of many models and use cases as a table, and the table of the paper."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, Field

from genz.errors import SpecError
from genz.explore.requirements.figures import FIGURES
from genz.explore.requirements.problem import ImpossibleSLOError
from genz.specs import catalog
from genz.specs.base import Frozen, Spec
from genz.specs.quantities import Count
from genz.specs.workload import SLO

if TYPE_CHECKING:
    import pandas as pd

    from genz.explore.requirements.requirement import Requirement

PAPER = "workload_specs/requirements/paper.yaml"


class FurtherRequest(Frozen):
    """A request of the table beyond its use cases, of some models."""

    use_case: str = Field(description="what its rows are called")
    models: tuple[str, ...]
    input_tokens: Count
    output_tokens: Count
    beams: Count = 1
    slo: SLO


class RequirementTable(Spec):
    """Models and use cases of a table, and how they are served."""

    kind: ClassVar[str] = "requirement_table"

    models: tuple[str, ...]
    use_cases: tuple[str, ...]
    requests: tuple[FurtherRequest, ...] = ()
    precision: str
    kv_cache_dtype: str
    max_model_len: Count = Field(description="longest request that is asked of every model, whatever it was made for")


def table(models: Any, use_cases: Any = None, **asked: Any) -> pd.DataFrame:
    """`require` of every model and use case: one row each, in the order given, a column a figure with its unit.

    `asked` are the other arguments of `require`. `least_...` are bounds, the others the balanced machine, each device. A row
    whose objective is out of reach keeps its place, with empty figures and the reason in `problem`; any other error stops.
    """
    import pandas as pd

    pairs = product(_listed(models), [None] if use_cases is None else _listed(use_cases))
    return pd.DataFrame([_row(model, use_case=case, **asked) for model, case in pairs])


def paper_table(**asked: Any) -> pd.DataFrame:
    """The table of arXiv:2406.01698: its models, its five use cases, and the super-LLM with a context of 2M tokens.

    `asked` goes to `require`, in the place of what the table's file says.
    """
    import pandas as pd

    said = read_table()
    served = {"precision": said.precision, "kv_cache_dtype": said.kv_cache_dtype, "max_model_len": said.max_model_len, **asked}
    rows = [_row(model, use_case=case, **served) for model, case in product(said.models, said.use_cases)]
    for further in said.requests:
        asks = {"input": further.input_tokens, "output": further.output_tokens, "beams": further.beams, "slo": further.slo}
        rows += [{**_row(model, **{**served, **asks}), "use_case": further.use_case} for model in further.models]
    return pd.DataFrame(rows)


def read_table() -> RequirementTable:
    """What the paper's table consists of. Raises `SpecError` where its file is missing or broken."""
    for root in catalog.roots():
        if (root / PAPER).is_file():
            return RequirementTable.from_file(root / PAPER)
    raise SpecError(f"{PAPER} is missing from the catalog", field="path", value=PAPER)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, (str, BaseModel)) else [value]


def _row(model: Any, **asked: Any) -> dict[str, Any]:
    from genz.explore.require import require

    names = {"model": getattr(model, "name", model), "use_case": getattr(asked.get("use_case"), "name", asked.get("use_case"))}
    try:
        found = require(model, **asked)
    except ImpossibleSLOError as error:
        return {**names, "problem": str(error)}
    return {**names, **row_of(found)}


def row_of(requirement: Requirement) -> dict[str, Any]:
    """A requirement as one flat row."""
    data = requirement.to_dict()
    bounds, figures = data["bounds"], data["each_device"]
    keys = [figure.key for figure in FIGURES.values()]
    described = ("input_tokens", "output_tokens", "batch", "beams", "precision", "engine", "fidelity", "devices", "tp")
    return {
        **{name: data[name] for name in described},
        "ttft_slo_s": requirement.slo.ttft,
        "tpot_slo_s": requirement.slo.tpot,
        **{f"least_{key}": bounds.get(key) for key in keys if key != FIGURES["link_latency"].key},
        f"longest_{FIGURES['link_latency'].key}": bounds.get(FIGURES["link_latency"].key),
        **{key: figures.get(key) for key in keys},
        "power_w": requirement.power,
        "ttft_s": requirement.ttft,
        "tpot_s": requirement.tpot,
        "binding": "+".join(requirement.binding),
        "problem": "",
    }
