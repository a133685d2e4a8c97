"""Figures: what they draw is what the prediction or the table says, in units that their axes name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genz
from genz import plots, units
from genz.inference.phase import BOUNDS
from genz.inference.prediction import Prediction
from genz.plots import theme
from genz.plots.scales import Quantity, even_ticks, log_ticks, quantity_of, scale_of
from genz.plots.stacked_time import parts_of

ASKED: dict[str, Any] = {"input": 1024, "output": 64}
BANDWIDTH, RATE = "chip.memory.hbm.bandwidth", "chip.matrix_flops.bf16"
DIMENSIONS = {dimension.symbol: dimension for dimension in units.DIMENSIONS}


@pytest.fixture(scope="module", params=["roofline", "engine", "calibrated"])
def prediction(request: pytest.FixtureRequest) -> Prediction:
    return genz.predict("mixtral-8x7b", "4x h100-sxm", tp=4, batch=32, precision="fp8", fidelity=request.param, **ASKED)


@pytest.fixture(scope="module")
def study() -> pd.DataFrame:
    """A grid over two figures of the hardware; the slowest memory is also too small."""
    question = genz.settle_question("llama-3.1-8b", "h100-sxm", batch=64, fidelity="roofline", **ASKED)
    rows = []
    for bandwidth in np.geomspace(0.5e12, 16e12, 6):
        for rate in np.geomspace(50e12, 4000e12, 5):
            figures = {BANDWIDTH: bandwidth, RATE: rate, "chip.memory.hbm.capacity": 80e9 if bandwidth > 1e12 else 16e9}
            outcome = genz.evaluate(question.on(genz.bind(question.platform, figures)))
            fits = bool(outcome.memory.fits)
            answer = Prediction(outcome)
            rows.append(
                {
                    BANDWIDTH: bandwidth,
                    RATE: rate,
                    "fits": fits,
                    "tpot_s": outcome.tpot if fits else None,
                    "ttft_s": outcome.ttft if fits else None,
                    "decode_bound": answer.bound["decode"] if fits else None,
                    "prefill_bound": answer.bound["prefill"] if fits else None,
                }
            )
    return pd.DataFrame(rows)


def factor_of(title: str, symbol: str) -> float:
    """SI per unit of an axis, read from its title as a person would: "Prefill time [ms]"."""
    unit = title[title.rindex("[") + 1 : title.rindex("]")]
    return units.parse(f"1 {unit}", DIMENSIONS[symbol])


def traces(figure: Any, meta: str) -> list[Any]:
    return [trace for trace in figure.data if trace.meta == meta]


def points(figure: Any) -> list[tuple[str, str, str, float, float]]:
    """Phase, layer, operator, FLOP/B and FLOP/s of every operator on a roofline."""
    factor = factor_of(figure.layout.yaxis.title.text, "FLOP/s")
    return [
        (trace.name.split(",")[0], *names, x, y * factor)
        for trace in figure.data
        if trace.mode == "markers"
        for names, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
    ]


def test_operators_stand_where_the_table_puts_them(prediction: Prediction) -> None:
    drawn = {key[:3]: key[3:] for key in points(plots.roofline(prediction))}
    table = prediction.to_frame()
    on_matrix_units = table[table["matrix_flops"] > 0]
    assert len(on_matrix_units) > 10
    for row in on_matrix_units.to_dict(orient="records"):
        intensity, rate = drawn[row["phase"], row["layer"], row["operator"]]
        assert intensity == pytest.approx(row["arithmetic_intensity"], rel=1e-12)
        assert rate == pytest.approx(row["matrix_flops"] / row["time_s"], rel=1e-12)
    without = table[(table["category"] == "collective") | (table["operator"] == "embedding")]
    assert not drawn.keys() & set(without[["phase", "layer", "operator"]].itertuples(index=False, name=None))
    computes = table[(table["category"] == "elementwise") & (table["time_s"] > 0)]
    assert drawn.keys() >= set(computes[["phase", "layer", "operator"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("fidelity", ["roofline", "engine", "calibrated"])
@pytest.mark.parametrize(("model", "chip"), [("llama-3.1-8b", "h100-sxm"), ("qwen3-8b", "mi300x"), ("llama-3.2-1b", "tpu-v5e")])
def test_no_operator_is_above_the_roof(model: str, chip: str, fidelity: str) -> None:
    answer = genz.predict(model, chip, batch=4, fidelity=fidelity, **ASKED)
    spec = answer.question.platform.chip
    fastest = max(level.bandwidth for level in spec.memory.values())
    highest = max(*spec.matrix_flops.values(), *spec.vector_flops.values())
    for *_, intensity, rate in points(plots.roofline(answer)):
        assert rate <= min(highest, intensity * fastest) * (1 + 1e-9)


def test_the_ceilings_are_those_of_the_data_sheet(prediction: Prediction) -> None:
    figure = plots.roofline(prediction)
    chip = prediction.question.platform.chip
    factor = factor_of(figure.layout.yaxis.title.text, "FLOP/s")
    lines = traces(figure, "ceiling")
    flat = {line.y[0] * factor for line in lines if line.y[0] == line.y[1]}
    slopes = {line.y[0] * factor / line.x[0] for line in lines if line.y[0] != line.y[1]}
    sheet = {chip.matrix_flops["fp8"], chip.matrix_flops["bf16"], chip.vector_flops["fp32"]}
    assert sorted(flat) == pytest.approx(sorted(sheet))
    assert sorted(slopes) == pytest.approx(sorted(level.bandwidth for level in chip.memory.values()))
    assert figure.layout.xaxis.title.text == "Arithmetic intensity [FLOP/B]"


def test_points_have_the_colour_of_their_bound_and_the_shape_of_their_phase(prediction: Prediction) -> None:
    figure = plots.roofline(prediction)
    bounds = prediction.to_frame().set_index(["phase", "layer", "operator"])["bound"]
    for trace in figure.data:
        if trace.mode != "markers":
            continue
        phase = trace.name.split(",")[0]
        assert trace.marker.symbol == {"prefill": "circle", "decode": "diamond"}[phase]
        for layer, operator in trace.customdata:
            assert trace.marker.color == theme.BOUND_COLOURS[bounds[phase, layer, operator]]


@pytest.mark.parametrize("by", ["category", "operator", "bound"])
def test_stacked_bars_add_up_to_their_phase(prediction: Prediction, by: str) -> None:
    figure = plots.stacked_time([prediction, prediction], by=by, labels=["one", "two"])
    for index, phase in enumerate(("prefill", "decode")):
        axis = "x" if index == 0 else "x2"
        bars = [trace for trace in figure.data if trace.type == "bar" and trace.xaxis == axis]
        title = figure.layout[axis.replace("x", "xaxis")].title.text
        assert phase in title.lower()
        sums = np.sum([bar.x for bar in bars], axis=0) * factor_of(title, "s")
        assert sums == pytest.approx([prediction.phases[phase].time] * 2, rel=1e-9)


def test_parts_by_bound_are_those_of_the_phase(prediction: Prediction) -> None:
    parts = parts_of(prediction.outcome.decode, "bound")
    shares = prediction.phases["decode"].time_by_bound
    assert parts["memory"] == pytest.approx(shares["memory"])
    assert {part for part in parts if part != "power limit"} == {name for name, share in shares.items() if share}


def test_parts_of_a_pipeline_add_up_to_its_time() -> None:
    """Stages work at the same time: what they do together is more than what a request waits."""
    answer = genz.predict("llama-3.1-8b", "4x h100-sxm", pp=4, batch=16, **ASKED)
    for phase in (answer.outcome.prefill, answer.outcome.decode):
        assert sum(parts_of(phase, "operator").values()) == pytest.approx(phase.time)


def test_predictions_are_named_by_what_tells_them_apart() -> None:
    two = [genz.predict("llama-3.1-8b", "2x h100-sxm", tp=2, batch=batch, **ASKED) for batch in (1, 8)]
    figure = plots.stacked_time(two)
    assert list(figure.data[0].y) == ["batch 1", "batch 8"]
    assert "tp" not in str(figure.data[0].y)


def test_long_names_make_room_for_themselves() -> None:
    answer = genz.predict("llama-3.1-8b", "h100-sxm", **ASKED)
    assert plots.stacked_time([answer, answer]).layout.height is None
    many = plots.stacked_time([answer] * 6, labels=[f"a name of many words, the {index}th of them" for index in range(6)])
    assert many.layout.height > 600


def test_one_output_token_has_no_decode() -> None:
    answer = genz.predict("llama-3.1-8b", "h100-sxm", input=128, output=1)
    assert "decode" not in plots.stacked_time(answer).layout.title.text
    assert not any("decode" in (trace.name or "") for trace in plots.roofline(answer).data)


def test_the_waterfall_ends_at_the_total(prediction: Prediction) -> None:
    figure = plots.memory_waterfall(prediction)
    fall = figure.data[0]
    factor = factor_of(figure.layout.xaxis.title.text, "B")
    *terms, total = (value * factor for value in fall.x)
    assert sum(terms) == pytest.approx(prediction.memory.total_bytes)
    assert total == pytest.approx(prediction.memory.total_bytes)
    assert (fall.measure[-1], fall.y[-1], fall.y[0]) == ("total", "total", "weights")
    lines = {shape.name.split(",")[0]: shape.x0 * factor for shape in figure.layout.shapes}
    assert lines == pytest.approx({"budget": prediction.memory.budget_bytes, "device": prediction.memory.capacity_bytes})


def test_the_waterfall_of_what_does_not_fit_says_by_how_much() -> None:
    with pytest.raises(genz.DoesNotFitError) as caught:
        genz.predict("llama-3.1-70b", "h100-sxm", **ASKED)
    memory = caught.value.memory
    figure = plots.memory_waterfall(memory)
    excess = units.format_bytes(memory.total_bytes - memory.budget_bytes, digits=3)
    assert figure.layout.title.text.startswith(f"{excess} more")


def test_cells_are_the_rows_of_the_study(study: pd.DataFrame) -> None:
    figure = plots.heat_map(study, BANDWIDTH, RATE, "tpot_s")
    (cells,) = traces(figure, "tpot_s")
    across = factor_of(figure.layout.xaxis.title.text, "B/s")
    upwards = factor_of(figure.layout.yaxis.title.text, "FLOP/s")
    for row in study.to_dict(orient="records"):
        column = int(np.argmin(np.abs(np.asarray(cells.x) * across - row[BANDWIDTH])))
        line = int(np.argmin(np.abs(np.asarray(cells.y) * upwards - row[RATE])))
        value = cells.customdata[line][column]
        assert np.isnan(value) if not row["fits"] else value == pytest.approx(row["tpot_s"])
    assert "bandwidth" in figure.layout.xaxis.title.text
    assert figure.layout.xaxis.type == "log"


def test_what_does_not_fit_is_grey_and_in_the_legend(study: pd.DataFrame) -> None:
    for figure in (plots.heat_map(study, BANDWIDTH, RATE, "tpot_s"), plots.bound_map(study, BANDWIDTH, RATE)):
        (grey,) = traces(figure, "infeasible")
        assert np.isfinite(np.asarray(grey.z, dtype=float)).sum() == (~study["fits"]).sum()
        assert any(trace.name == "infeasible" and trace.showlegend for trace in figure.data)


def test_colours_are_logarithmic_where_the_span_is_large(study: pd.DataFrame) -> None:
    wide = study.assign(tpot_s=np.geomspace(1e-3, 1.0, len(study)), fits=True)
    (cells,) = traces(plots.heat_map(wide, BANDWIDTH, RATE, "tpot_s"), "tpot_s")
    values = np.asarray(cells.customdata)
    assert np.ptp(np.asarray(cells.z)) == pytest.approx(np.log10(values.max() / values.min()))
    (even,) = traces(plots.heat_map(wide, BANDWIDTH, RATE, "tpot_s", log=False), "tpot_s")
    assert np.ptp(np.asarray(even.z)) == pytest.approx(values.max() - values.min())
    assert even.colorbar.title.text == "s"


def test_a_goal_is_a_line_at_its_value(study: pd.DataFrame) -> None:
    figure = plots.heat_map(study, BANDWIDTH, RATE, "tpot_s", goal="10 ms", log=True)
    lines = traces(figure, "goal")
    assert [line.contours.start for line in lines] == pytest.approx([-2.0] * len(lines))
    assert [line.name for line in lines if line.showlegend] == ["goal: 10 ms"]
    with pytest.raises(genz.UnitError, match="GB"):
        plots.heat_map(study, BANDWIDTH, RATE, "tpot_s", goal="10 GB")
    with pytest.raises(genz.InvalidValueError, match="positive"):
        plots.heat_map(study, BANDWIDTH, RATE, "tpot_s", goal=-1, log=True)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_the_bound_map_counts_every_bound(study: pd.DataFrame, phase: str) -> None:
    figure = plots.bound_map(study, BANDWIDTH, RATE, phase)
    for bound in BOUNDS:
        found = sum(int(np.isfinite(np.asarray(trace.z, dtype=float)).sum()) for trace in traces(figure, bound))
        assert found == (study[f"{phase}_bound"] == bound).sum()
        named = [trace for trace in figure.data if trace.name == bound]
        assert [trace.marker.color for trace in named] == [theme.BOUND_COLOURS[bound]] * bool(found)


values = st.integers(0, 6).map(float)


@settings(deadline=None)
@given(st.lists(st.tuples(values, values), min_size=1, max_size=30), st.booleans(), st.booleans())
def test_the_front_is_what_brute_force_finds(pairs: list[tuple[float, float]], smaller_x: bool, smaller_y: bool) -> None:
    frame = pd.DataFrame(pairs, columns=["a", "b"])
    signs = (1 if smaller_x else -1, 1 if smaller_y else -1)
    signed = [(signs[0] * x, signs[1] * y) for x, y in pairs]

    def is_beaten(one: tuple[float, float]) -> bool:
        return any(other != one and other[0] <= one[0] and other[1] <= one[1] for other in signed)

    best = {pair for pair, one in zip(pairs, signed, strict=True) if not is_beaten(one)}
    figure = plots.pareto(frame, "a", "b", smaller_x=smaller_x, smaller_y=smaller_y)
    drawn = {point for trace in traces(figure, "front") for point in zip(trace.x, trace.y, strict=True)}
    assert drawn == best
    assert sum(len(trace.x) for trace in figure.data if trace.mode == "markers") == len(frame)


def test_pareto_leaves_out_what_does_not_fit_and_tells_the_configuration() -> None:
    frame = pd.DataFrame(
        {
            "tp": [1, 2, 4, 8],
            "fits": [False, True, True, True],
            "tpot_s": [0.001, 0.02, 0.03, 0.01],
            "output_tokens_per_s": [9e9, 100.0, 90.0, 50.0],
        }
    )
    figure = plots.pareto(frame, "tpot_s", "output_tokens_per_s", by="tp")
    (first, second) = traces(figure, "front")
    assert {first.hovertext[0].splitlines()[0], second.hovertext[0].splitlines()[0]}
    assert all("tp: " in text for trace in (first, second) for text in trace.hovertext)
    seconds = factor_of(figure.layout.xaxis.title.text, "s")
    assert sorted(x * seconds for trace in traces(figure, "front") for x in trace.x) == pytest.approx([0.01, 0.02])
    assert figure.layout.yaxis.title.text == "Throughput [token/s]"


def test_lines_are_the_columns_of_the_table(study: pd.DataFrame) -> None:
    figure = plots.scaling(study, BANDWIDTH, "tpot_s", by=RATE, goal="10 ms")
    across = factor_of(figure.layout.xaxis.title.text, "B/s")
    seconds = factor_of(figure.layout.yaxis.title.text, "s")
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert len(lines) == study[RATE].nunique()
    for line, (_, rows) in zip(lines, study.groupby(RATE), strict=True):
        assert np.asarray(line.x) * across == pytest.approx(rows[BANDWIDTH].to_numpy())
        expected = rows["tpot_s"].to_numpy(dtype=float)
        assert np.asarray(line.y) * seconds == pytest.approx(expected, nan_ok=True)
    (goal,) = traces(figure, "goal")
    assert np.asarray(goal.y) * seconds == pytest.approx([0.01, 0.01])


SENSITIVITY = pd.DataFrame(
    {
        "metric": ["tpot_s"] * 4 + ["ttft_s"],
        "parameter": ["bandwidth", "flops", "latency", "capacity", "flops"],
        "title": ["HBM bandwidth", "matrix FLOP/s", "latency", "HBM capacity", "matrix FLOP/s"],
        "elasticity_left": [-0.9, -0.1, 0.3, 0.0, -1.0],
        "elasticity_right": [-0.9, 0.0, 0.3, 0.0, -1.0],
        "change_at_-10%": [0.1, 0.011, -0.03, 0.0, 0.111],
        "change_at_+10%": [-0.082, 0.0, 0.03, 0.0, -0.091],
        "bound_after": ["decode memory"] * 5,
    }
)


def test_the_tornado_is_sorted_and_leaves_out_what_does_not_matter() -> None:
    figure = plots.tornado(SENSITIVITY)
    falls, grows = figure.data
    assert list(falls.y) == ["HBM bandwidth", "latency", "matrix FLOP/s"]
    assert list(falls.x) == pytest.approx([10, -3, 1.1])
    assert list(grows.x) == pytest.approx([-8.2, 3, 0])
    assert ("falls by 10 %" in falls.name, "grows by 10 %" in grows.name) == (True, True)
    assert "below" in falls.hovertext[2]
    assert list(plots.tornado(SENSITIVITY, "ttft_s").data[0].x) == pytest.approx([11.1])


def test_the_tornado_of_a_sensitivity_is_its_table() -> None:
    found = genz.sensitivity("llama-3.1-8b", "h100-sxm", metrics=["tpot_s"], fidelity="roofline", **ASKED)
    figure = plots.tornado(found)
    table = found.to_frame().set_index("title")
    for bar in figure.data:
        for name, x in zip(bar.y, bar.x, strict=True):
            assert x == pytest.approx(100 * table.loc[name.replace("<br>", " "), bar.meta], nan_ok=True)


Draw = Callable[[pd.DataFrame], Any]
TABLE_FIGURES: dict[str, Draw] = {
    "heat_map": lambda frame: plots.heat_map(frame, BANDWIDTH, RATE, "tpot_s"),
    "bound_map": lambda frame: plots.bound_map(frame, BANDWIDTH, RATE),
    "pareto": lambda frame: plots.pareto(frame, "ttft_s", "tpot_s"),
    "scaling": lambda frame: plots.scaling(frame, BANDWIDTH, "tpot_s"),
}


@pytest.mark.parametrize("name", TABLE_FIGURES)
def test_empty_tables_get_a_sentence(name: str, study: pd.DataFrame) -> None:
    with pytest.raises(genz.InvalidValueError, match="no rows"):
        TABLE_FIGURES[name](study.iloc[:0])
    with pytest.raises(genz.InvalidValueError, match=r"nothing fits|infeasible"):
        TABLE_FIGURES[name](study[~study["fits"]].drop_duplicates(BANDWIDTH))
    with pytest.raises(genz.InvalidValueError, match="no table"):
        TABLE_FIGURES[name](3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TABLE_FIGURES)
def test_one_row_is_drawn(name: str, study: pd.DataFrame) -> None:
    figure = TABLE_FIGURES[name](study[study["fits"]].iloc[:1])
    assert figure.data


@pytest.mark.parametrize("name", TABLE_FIGURES)
def test_a_column_that_is_not_there_is_named_with_its_nearest(name: str, study: pd.DataFrame) -> None:
    column = {"bound_map": "decode_bound"}.get(name, "tpot_s")
    with pytest.raises(genz.UnknownNameError, match=column):
        TABLE_FIGURES[name](study.rename(columns={column: column + "x"}))


@pytest.mark.parametrize("name", ["heat_map", "bound_map", "scaling"])
def test_several_rows_in_one_place_are_refused(name: str, study: pd.DataFrame) -> None:
    twice = pd.concat([study.assign(batch=1), study.assign(batch=2)])
    with pytest.raises(genz.InvalidValueError, match="several rows"):
        TABLE_FIGURES[name](twice)
    with pytest.raises(genz.InvalidValueError, match="batch"):
        plots.heat_map(twice, BANDWIDTH, RATE, "tpot_s")


def test_other_mistakes_get_a_sentence(study: pd.DataFrame, prediction: Prediction) -> None:
    with pytest.raises(genz.InvalidValueError, match="no number"):
        plots.heat_map(study, BANDWIDTH, RATE, "decode_bound")
    with pytest.raises(genz.InvalidValueError, match="another column"):
        plots.heat_map(study, BANDWIDTH, BANDWIDTH, "tpot_s")
    with pytest.raises(genz.UnknownNameError, match="prefill"):
        plots.bound_map(study, BANDWIDTH, RATE, "prefil")
    with pytest.raises(genz.InvalidValueError, match="too many lines"):
        plots.scaling(pd.DataFrame({"a": range(20), "b": range(20), "c": range(20)}), "a", "b", by="c")
    for value in (None, "llama", [3]):
        for draw in (plots.roofline, plots.memory_waterfall, plots.stacked_time):
            with pytest.raises(genz.InvalidValueError, match=r"prediction.*genz\.predict"):
                draw(value)  # type: ignore[operator]
    for goal in ("soon", [1], float("nan")):
        with pytest.raises(genz.InvalidValueError, match="goal"):
            plots.heat_map(study, BANDWIDTH, RATE, "tpot_s", goal=goal)  # type: ignore[arg-type]
    with pytest.raises(genz.InvalidValueError, match="without a value"):
        plots.heat_map(study.assign(**{RATE: np.nan}), BANDWIDTH, RATE, "tpot_s")
    with pytest.raises(genz.UnknownNameError, match="category"):
        plots.stacked_time(prediction, by="categories")
    with pytest.raises(genz.InvalidValueError, match="no prediction"):
        plots.stacked_time([])
    with pytest.raises(genz.InvalidValueError, match="2 names for 1"):
        plots.stacked_time(prediction, labels=["a", "b"])
    with pytest.raises(genz.UnknownNameError, match="ttft"):
        plots.tornado(SENSITIVITY, "ttft")
    with pytest.raises(genz.InvalidValueError, match="none of the parameters"):
        plots.tornado(SENSITIVITY[SENSITIVITY["parameter"] == "capacity"])
    with pytest.raises(genz.InvalidValueError, match=r"genz\.sensitivity"):
        plots.tornado(SENSITIVITY.drop(columns="change_at_+10%"))


def test_dark_figures_differ_in_ink_alone(prediction: Prediction) -> None:
    light, dark = (plots.roofline(prediction, dark=is_dark) for is_dark in (False, True))
    assert light.layout.template.layout.paper_bgcolor == theme.LIGHT.surface
    assert dark.layout.template.layout.paper_bgcolor == theme.DARK.surface
    assert points(light) == points(dark)


def test_colours_stand_out_from_both_surfaces() -> None:
    """The contrast that WCAG 2.1 asks of graphics: 3 to 1."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for ink in (theme.LIGHT, theme.DARK):
        pairs = [(colour, ink.surface, 3.0) for colour in theme.BOUND_COLOURS.values()]
        for colour, surface, least in [*pairs, (ink.text, ink.surface, 7.0), (ink.muted, ink.surface, 4.5)]:
            low, high = sorted([luminance(colour), luminance(surface)])
            assert (high + 0.05) / (low + 0.05) >= least * 0.99, colour


@pytest.mark.parametrize(
    ("column", "title", "unit"),
    [
        ("tpot_s", "time per output token", "s"),
        (BANDWIDTH, "HBM bandwidth", "B/s"),
        ("platform.chip.main_memory.capacity", "main memory capacity", "B"),
        ("network.0.latency", "network latency", "s"),
        (RATE, "matrix rate in bf16", "FLOP/s"),
        ("batch", "batch", ""),
        ("kv_cache_bytes", "kv cache", "B"),
        ("least_bandwidth_b_per_s", "least bandwidth", "B/s"),
        ("chip.matrix_flops.*", "matrix rates", "FLOP/s"),
    ],
)
def test_columns_know_their_unit(column: str, title: str, unit: str) -> None:
    assert quantity_of(column) == Quantity(title, unit)


def test_multiples_are_multiples() -> None:
    """An axis of a sweep that scales what each chip has is no bandwidth."""
    factors = {"chip.main_memory.bandwidth": {"times": [0.5, 1, 2]}}
    frame = genz.sweep(model="llama-3.1-8b", platform="h100-sxm", fidelity="roofline", axes=factors, **ASKED)
    figure = plots.scaling(frame, "chip.main_memory.bandwidth", "tpot_s")
    assert figure.layout.xaxis.title.text == "Main memory bandwidth [x]"
    assert list(figure.data[0].x) == [0.5, 1, 2]


@given(st.floats(1e-12, 1e18), st.floats(1.0001, 1e9))
def test_ticks_lie_within_their_axis(low: float, ratio: float) -> None:
    high = low * ratio
    for ticks in (log_ticks(low, high), even_ticks(low, high)):
        assert len(ticks) <= 9
        assert all(low * (1 - 1e-6) <= tick <= high * (1 + 1e-6) for tick in ticks)


@given(st.lists(st.floats(1e-9, 1e17), min_size=1, max_size=5))
def test_scaled_values_are_of_a_readable_size(sizes: list[float]) -> None:
    scale = scale_of(Quantity("rate", "FLOP/s"), sizes)
    assert units.parse(f"1 {scale.unit}", units.COMPUTE) == pytest.approx(scale.factor) if scale.factor >= 1 else True
    if max(sizes) < 1e4 * min(sizes):
        assert 1 - 1e-6 <= max(sizes) / scale.factor < 1000 * (1 + 1e-6)


def test_titles_fit_a_narrow_screen(prediction: Prediction, study: pd.DataFrame) -> None:
    drawn = [draw(study[study["fits"]].drop_duplicates(BANDWIDTH)) for draw in TABLE_FIGURES.values()]
    for figure in [*drawn, plots.roofline(prediction), plots.stacked_time(prediction), plots.memory_waterfall(prediction)]:
        title = figure.layout.title
        assert title.text
        assert all(len(line) <= theme.TITLE_COLUMNS for line in title.text.split("<br>"))
        assert all(len(line) <= theme.SUBTITLE_COLUMNS for line in (title.subtitle.text or "").split("<br>"))


def test_without_plotly_the_extra_is_named(prediction: Prediction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theme, "find_spec", lambda _: None)
    with pytest.raises(genz.UnsupportedError, match=r"genz\[plots\]"):
        genz.plots.roofline(prediction)


def test_plots_load_plotly_when_they_draw() -> None:
    code = "import sys, genz; genz.plots.roofline; assert 'plotly' not in sys.modules, 'plotly'; assert 'plots' in dir(genz)"
    subprocess.run([sys.executable, "-c", code], check=True)
