"""Rows of the collectives schema: which are answered, which cell they fall into, and what is predicted for them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import genz
from genz.calibration.cells import cells_of, fit_cell
from genz.calibration.fitting import fit
from genz.measurements.collectives import COLLECTIVES
from genz.measurements.dispatch import DISPATCH
from genz.timing.kernels.collectives import DIRECT, CollectiveConstants, collective_kernel_time
from genz.timing.kernels.dispatch import DispatchConstants, dispatch_time

ROW = {
    "hardware": "h100-sxm",
    "framework": "nccl",
    "framework_version": "2.27.3",
    "collective": "all_reduce",
    "backend": "NCCL",
    "dtype": "half",
    "n_devices": 8.0,
    "n_nodes": np.nan,
    "message_bytes": 2.0**20,
    "num_tokens": np.nan,
    "hidden": np.nan,
    "topk": np.nan,
    "n_experts": np.nan,
    "measured_s": 2e-5,
    "notes": None,
}
EXCHANGE = ROW | {
    "framework": "sglang",
    "framework_version": "0.5.12",
    "collective": "moe_dispatch",
    "backend": "DeepEP-normal",
    "dtype": "fp8",
    "n_nodes": 1.0,
    "message_bytes": np.nan,
    "num_tokens": 128.0,
    "hidden": 7168.0,
    "topk": 8.0,
    "n_experts": 256.0,
    "notes": "sms=20",
}


def table(*changes, row=ROW):
    return pd.DataFrame([row | change for change in changes])


def test_every_named_operator_has_a_kernel():
    rows = table(*({"collective": op} for op in COLLECTIVES.ops))
    assert list(COLLECTIVES.refusals(rows)) == [""] * len(rows)
    keys = COLLECTIVES.keys(rows)
    assert set(keys["kernel"]) == {"ring", "all_to_all", "send_receive"}
    assert set(keys["format"]) == {"scale_up"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"message_bytes": np.nan}, "message_bytes"),
        ({"message_bytes": -1.0}, "message_bytes"),
        ({"message_bytes": np.inf}, "message_bytes"),
        ({"n_devices": np.nan}, "no group"),
        ({"n_devices": 1.0}, "no group"),
        ({"n_devices": 2.5}, "no group"),
        ({"n_devices": 2.0, "n_nodes": 4.0}, "no group"),
        ({"n_devices": 524288.0, "n_nodes": 4.0}, "more devices"),
        ({"hardware": "l40s", "n_devices": 8.0, "n_nodes": 2.0}, "no link between nodes"),
        ({"collective": "all_gather", "backend": "custom:vllm_graph"}, "own kernel"),
    ],
)
def test_odd_rows_are_refused_in_words(change, reason):
    (said,) = COLLECTIVES.refusals(table(change))
    assert reason in said


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"num_tokens": np.nan}, "num_tokens"),
        ({"hidden": 0.0}, "hidden"),
        ({"topk": 300.0}, "topk"),
        ({"n_experts": np.inf}, "n_experts"),
        ({"backend": None}, "backend"),
        ({"dtype": "fp3"}, "dtype"),
        ({"n_devices": np.nan}, "no group"),
    ],
)
def test_odd_exchanges_are_refused_in_words(change, reason):
    (said,) = DISPATCH.refusals(table(change, row=EXCHANGE))
    assert reason in said


def test_cells_name_engine_kernel_and_link():
    rows = table(
        {"framework": "vllm", "backend": "custom:vllm_graph"},
        {"framework": "sglang", "backend": "custom:sglang_eager"},
        {"framework": "trtllm", "backend": "custom:"},
        {"framework": "sglang", "backend": "custom:trtllm"},
        {
            "framework": "torch.distributed",
            "framework_version": None,
            "n_devices": 16.0,
            "n_nodes": 2.0,
            "notes": "topology=dgx; x",
        },
        {"collective": "sendrecv", "n_devices": 2.0},
    )
    keys = COLLECTIVES.keys(rows)
    assert list(keys["engine"]) == ["vllm", "sglang", "trtllm", "trtllm", "torch.distributed", "nccl"]
    assert list(keys["kernel"]) == ["direct", "direct, eager", "direct", "direct", "ring, 2 nodes, dgx", "send_receive"]
    assert list(keys["format"]) == ["scale_up"] * 4 + ["scale_out", "scale_up"]
    assert keys["version"][4] == ""


def test_cells_of_exchanges():
    rows = table(
        {},
        {"collective": "moe_combine", "backend": "DeepEP-low-latency", "n_devices": 16.0, "n_nodes": 2.0},
        {"collective": "alltoall_combine_low_precision", "backend": "NVLinkTwoSided", "dtype": "nvfp4"},
        row=EXCHANGE,
    )
    assert list(DISPATCH.keys(rows)["kernel"]) == [
        "dispatch, normal",
        "combine, low latency, 2 nodes",
        "combine, low precision, two-sided",
    ]


def test_shapes_do_not_name_chip_or_engine():
    rows = table({}, {"hardware": "a100-sxm-80gb", "framework": "vllm"}, {"n_devices": 4.0})
    first, second, third = COLLECTIVES.shape_names(rows)
    assert first == second != third
    first, second, third = DISPATCH.shape_names(table({}, {"hardware": "b200"}, {"topk": 4.0}, row=EXCHANGE))
    assert first == second != third


def test_times_are_the_kernels_own():
    chip, constants = genz.chip("h100-sxm"), CollectiveConstants()
    rows = table({"dtype": "half"}, {"dtype": "int8"}, {"collective": "all_gather"})
    times = COLLECTIVES.times(rows.assign(message_bytes=2.0**30), chip, constants, "")
    about = {"devices": 8, "link_bandwidth": 450e9, "constants": constants}
    expected = [
        collective_kernel_time("all_reduce", 2.0**30, **about, in_network_reduction=True),
        collective_kernel_time("all_reduce", 2.0**30, **about),  # bytes cannot be added up by the switch
        collective_kernel_time("all_gather", 2.0**30, **about),
    ]
    assert list(times) == pytest.approx(expected)
    assert times[0] < times[1]


def test_times_of_exchanges_are_the_kernels_own():
    chip, constants = genz.chip("h100-sxm"), DispatchConstants()
    rows = table({}, {"notes": None}, {"collective": "moe_combine", "dtype": "bf16"}, row=EXCHANGE)
    times = [DISPATCH.times(rows[i : i + 1], chip, constants, "")[0] for i in range(3)]
    about = {"top_k": 8, "experts": 256, "devices": 8, "nodes": 1, "link_bandwidth": 450e9, "clock": chip.cores.clock}
    expected = [
        dispatch_time(128, width * 7168, cores=cores, constants=constants, **about)
        for width, cores in ((1 + 4 / 128, 20), (1 + 4 / 128, 132), (2, 20))
    ]
    assert times == pytest.approx(expected)


def test_eager_calls_wait_for_the_host():
    chip = genz.chip("h100-sxm")
    row = {"backend": "custom:vllm_graph", "framework": "vllm", "message_bytes": 1024.0}
    captured = COLLECTIVES.times(table(row), chip, DIRECT, "")[0]
    eager = COLLECTIVES.times(table(row | {"backend": "custom:vllm_eager"}), chip, DIRECT, "")[0]
    assert captured < DIRECT.host <= eager


def test_only_what_rows_tell_is_free():
    one = table({"n_devices": 4.0})
    several = table({"n_devices": 4.0}, {"n_devices": 8.0})
    assert "crowding" not in COLLECTIVES.free(one, "")
    assert "switch_share" not in COLLECTIVES.free(one, "")
    assert {"crowding", "switch_share", "step"} <= set(COLLECTIVES.free(several, ""))
    direct = several.assign(backend="custom:vllm_eager")
    assert {"size_limit", "host"} <= set(COLLECTIVES.free(direct, ""))
    assert "growth" not in COLLECTIVES.free(direct, "")
    assert "peer" not in DISPATCH.free(table({}, row=EXCHANGE), "")


def made_rows(true, *, backend="NCCL", framework="nccl"):
    sizes = 2.0 ** np.arange(9, 30)
    rows = table(*({"message_bytes": n, "n_devices": d} for n in sizes for d in (2.0, 4.0, 8.0)))
    rows = rows.assign(backend=backend, framework=framework)
    return rows.assign(measured_s=COLLECTIVES.times(rows, genz.chip("h100-sxm"), true, ""))


def test_constants_are_found_again_and_carry_to_more_devices():
    chip = genz.chip("h100-sxm")
    true = dataclasses.replace(CollectiveConstants(), launch=8e-6, step=1.5e-6, bulk_share=0.7, copy=0.4)
    rows = made_rows(true)
    known, other = rows[rows["n_devices"] < 8], rows[rows["n_devices"] == 8]
    found = fit(
        lambda c: COLLECTIVES.times(known, chip, c, ""),
        known["measured_s"].to_numpy(),
        CollectiveConstants(),
        COLLECTIVES.free(known, ""),
    )
    found_constants = dataclasses.replace(found.constants, switch_share=true.switch_share)
    ratio = COLLECTIVES.times(other, chip, found_constants, "") / other["measured_s"]
    assert np.abs(ratio - 1).mean() < 0.05


def test_direct_cells_start_where_direct_kernels_are():
    chip = genz.chip("h100-sxm")
    true = dataclasses.replace(DIRECT, launch=5e-6, quick_share=0.5, size_limit=6e6)
    rows = made_rows(true, backend="custom:sglang_graph", framework="sglang")
    ((key, cell),) = cells_of(COLLECTIVES, rows)
    assert COLLECTIVES.prior(key) == DIRECT
    fitted = fit_cell(COLLECTIVES, key, cell, chip)
    assert fitted is not None
    assert fitted.held_out.mean < 0.03
