"""What engines add: constants that are known because the measurements were made with them."""

import numpy as np
import pandas as pd
import pytest

from genz.calibration.cells import cells_of, fit_cell
from genz.calibration.engines import ENGINE, components, request_factors
from genz.specs import catalog
from genz.timing.kernels.runs import EngineConstants

TRUTH = EngineConstants(prompt_factor=1.4, decode_factor=1.1, attention_factor=1.0, step=2e-3, sequence=3e-5, rank=4e-4)


def requests(metrics=("ttft_s", "tpot_s", "e2e_s")) -> pd.DataFrame:
    """Static batches of a model on one to four devices, as their kernels alone would take them."""
    rows = []
    for batch in (1, 4, 16, 64):
        for tokens in (128, 512, 1024):
            for devices in (1, 2, 4):
                rows += [
                    {
                        "source": "made up",
                        "hardware": "H100-SXM-80GB",
                        "framework": "vllm",
                        "model": "llama-3.1-8b",
                        "weight_dtype": "bf16",
                        "load_kind": "static_batch",
                        "n_devices": float(devices),
                        "tp": float(devices),
                        "batch_or_concurrency": float(batch),
                        "input_tokens": float(tokens),
                        "output_tokens": 128.0,
                        "metric": metric,
                        "value": 1.0,
                    }
                    for metric in metrics
                ]
    table = pd.DataFrame(rows)
    for column in ("pp", "ep", "dp"):
        table[column] = np.nan
    for column in ("mode", "kv_dtype", "notes", "framework_version"):
        table[column] = None
    return table


@pytest.fixture(scope="module")
def priced() -> pd.DataFrame:
    return components(requests())


def test_components_are_those_of_the_phases(priced: pd.DataFrame) -> None:
    row = priced[(priced.batch_or_concurrency == 16) & (priced.input_tokens == 512) & (priced.tp == 2)].iloc[0]
    assert (row.decode_steps, row.ranks, row.engine, row.hardware) == (127, 2, "vllm", "h100-sxm")
    assert row.decode_sequences == 16 * 127
    assert 0 < row.decode_attention < row.decode_device
    bare = EngineConstants(prompt_factor=1, decode_factor=1, step=0, sequence=0, rank=0, launch=0)
    rows = priced.assign(decode_launches=0.0, prefill_launches=0.0)
    times = ENGINE.times(rows, catalog.chip("h100-sxm"), bare, "")
    whole = rows["prefill_device"] + rows["decode_device"]
    is_whole = (rows["metric"] == "e2e_s").to_numpy()
    assert times[is_whole] == pytest.approx(whole[is_whole].to_numpy())
    is_token = (rows["metric"] == "tpot_s").to_numpy()
    assert times[is_token] == pytest.approx(rows["decode_device"][is_token].to_numpy() / 127)


def test_known_constants_come_back(priced: pd.DataFrame) -> None:
    chip = catalog.chip("h100-sxm")
    rows = priced.assign(measured_s=ENGINE.times(priced, chip, TRUTH, ""))
    ((key, cell),) = list(cells_of(ENGINE, rows))
    assert (key.engine, key.format) == ("vllm", "bfloat16")
    found = fit_cell(ENGINE, key, cell, chip)
    assert found is not None
    assert found.held_out.mean < 0.02
    for name in ("prompt_factor", "decode_factor", "step", "sequence", "rank"):
        assert getattr(found.fitted.constants, name) == pytest.approx(getattr(TRUTH, name), rel=0.15), name


def test_factors_stretch_the_spread_to_what_was_measured(priced: pd.DataFrame) -> None:
    # Every row a spread and a half above its prediction: the upper factor is 1.5, the lower one nothing.
    columns = [f"predicted_{m}" for m in priced["metric"]], [f"up_{m}" for m in priced["metric"]]
    predicted, up = (np.array([priced[c].iloc[i] for i, c in enumerate(names)]) for names in columns)
    many = pd.concat([priced.assign(measured_s=predicted + 1.5 * up)] * 8, ignore_index=True)
    factors = request_factors(many)["vllm"]["e2e"]
    assert factors["up"] == pytest.approx(1.5)
    assert factors["down"] == 0
